//! Whatever is asked and however it goes wrong, the answer tells browsers what they must not do with it.

use std::time::Duration;

use muster::config::Database;
use muster::people::Role;
use muster::routes;
use muster::web::connections;
use poem::http::Method;
use poem::listener::TcpAcceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Page, TestConsole, TestDatabase, Visitor};

/// What each answer says, and how it begins.
const HEADERS: [(&str, &str); 4] = [
    ("content-security-policy", "default-src 'none'; script-src 'self'; "),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
];

#[track_caller]
fn guarded(what: &str, answer: &Page, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{what}");
    for (name, value) in HEADERS {
        let said: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert!(
            said.len() == 1 && answer.header(name).starts_with(value),
            "{what}: {name} is {said:?}"
        );
    }
    assert!(!answer.header("content-security-policy").contains("unsafe"), "{what}");
    let may_be_kept = what.contains("/static/") && status == 200;
    assert_eq!(
        answer.header("cache-control").contains("immutable"),
        may_be_kept,
        "{what}"
    );
    let is_private = ["no-store", "no-cache", "private"]
        .iter()
        .any(|word| answer.header("cache-control").contains(word));
    assert!(
        may_be_kept || is_private,
        "{what}: {:?}",
        answer.header("cache-control")
    );
}

async fn asked(a: &TestConsole, method: Method, path: &str, (name, value): (&str, &str)) -> Page {
    let request = a.client.request(method, path).header("Cookie", a.visitor.cookie());
    Page::of(request.header(name, value).send().await).await
}

/// Nothing that changes the answer.
const PLAIN: (&str, &str) = ("Accept-Language", "en");

#[tokio::test]
async fn every_address_answers_with_them_as_page_and_fragment_to_whomever() {
    let a = TestConsole::start().await;
    let member = a.visitor("ann", Role::Member).await;
    let mut seen = 0;
    for address in routes::table().iter().filter(|address| address.method == Method::GET) {
        let path: Vec<&str> = address
            .path
            .split('/')
            .map(|part| if part.starts_with([':', '*']) { "1" } else { part })
            .collect();
        let path = path.join("/");
        for (who, visitor) in [("root", &a.visitor), ("ann", &member), ("nobody", &Visitor::stranger())] {
            for block in ["", "true"] {
                let request = a.client.get(&path).header("Cookie", visitor.cookie());
                let request = if block.is_empty() {
                    request
                } else {
                    request.header("HX-Request", block)
                };
                let answer = Page::of(request.send().await).await;
                guarded(&format!("{who} {path} {block}"), &answer, answer.status.as_u16());
                seen += 1;
            }
        }
    }
    assert!(seen > 200, "{seen}");
}

#[tokio::test]
async fn what_is_refused_is_answered_with_them() {
    let a = TestConsole::start().await;
    let member = a.visitor("ann", Role::Member).await;
    for path in [
        "/nowhere",
        "/static/none",
        "/static/%2e%2e/x",
        "//evil.example",
        "/%00",
        "/%ff%fe",
        "/clusters/",
        "/clusters/%0d%0aSet-Cookie:x",
        "/clusters/none",
        "/;/?x=%",
    ] {
        guarded(path, &a.get(path).await, 404);
    }
    guarded("/clusters of a member", &a.get_as(&member, "/clusters").await, 403);
    guarded(
        "/clusters of nobody",
        &a.get_as(&Visitor::stranger(), "/clusters").await,
        303,
    );
    guarded(
        "/clusters of a wrong token",
        &a.get_with("muster_wrong", "/clusters").await,
        401,
    );
    let from_elsewhere = ("Origin", "http://evil.example");
    guarded(
        "another site",
        &asked(&a, Method::POST, "/sign-out", from_elsewhere).await,
        403,
    );
    guarded("wrong input", &a.post("/groups", &[("name", "")]).await, 422);
    guarded(
        "too long",
        &a.post("/groups", &[("name", &"x".repeat(2 << 20))]).await,
        422,
    );
    for method in [
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
        Method::TRACE,
        Method::POST,
    ] {
        let what = method.to_string();
        guarded(&what, &asked(&a, method, "/healthz", PLAIN).await, 405);
    }
    for _ in 0..5 {
        a.sign_in("ann", "wrong password").await;
    }
    guarded("too many tries", &a.sign_in("ann", "wrong password").await, 429);
}

#[tokio::test]
async fn files_streams_and_answers_to_programs_carry_them() {
    let a = TestConsole::start().await;
    let css = muster::web::files::path("console.css");
    for path in [
        "/healthz",
        "/readyz",
        "/identity",
        "/metrics",
        "/audit.csv",
        "/assets/export",
        "/assets/import/sample",
        "/log/download",
        "/log/live",
        "/clusters",
        css,
    ] {
        guarded(path, &asked(&a, Method::GET, path, PLAIN).await, 200);
        if path != "/log/live" {
            guarded(
                &format!("HEAD {path}"),
                &asked(&a, Method::HEAD, path, PLAIN).await,
                200,
            );
        }
    }
}

#[tokio::test]
async fn while_the_database_is_away_they_are_there() {
    let real = TestDatabase::new().await.database;
    let mut a = TestConsole::silent(&Database { port: 1, ..real }, None, &[]).await;
    assert!(a.heart.tick().await.is_err());
    for (path, status) in [
        ("/clusters", 503),
        ("/sign-in", 503),
        ("/readyz", 503),
        ("/nowhere", 503),
        ("/healthz", 200),
        ("/identity", 200),
        ("/metrics", 200),
    ] {
        guarded(path, &a.get(path).await, status);
        let block = a.hx_get(path).await;
        guarded(&format!("{path} as a fragment"), &block, block.status.as_u16());
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_them() {
    let a = TestConsole::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
    tokio::spawn(connections::serve(acceptor, a.site(), stopped, Duration::ZERO));
    let long = "x".repeat(200_000);
    let many: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    for (request, status) in [
        ("GARBAGE\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nX-Long: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "431"),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "200"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // Whoever says too much may be cut off before the end of it.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        while let Ok(1..) = stream.read_buf(&mut answer).await {}
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request:.40}: {answer}");
        for (name, value) in HEADERS.into_iter().chain([("cache-control", "no-")]) {
            let said = answer.matches(&format!("\r\n{name}: {value}")).count();
            assert_eq!(said, 1, "{request:.40}: {name} in {answer}");
        }
        assert!(answer.contains("\r\n\r\n"), "{answer}");
    }
}
