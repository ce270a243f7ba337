//! Several servers behind one address, and a jump through proxies.

use muster::people::Role;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::nginx::Nginx;
use crate::page::Page;
use crate::processes::Process;
use crate::support::free_port;
use crate::support::{TestConsole, Visitor};
use crate::tls::{NAME, ask, between, certificate, get};

/// One browser's request through a proxy, with its answer as a page.
async fn browse(port: u16, visitor: &Visitor, method: &str, path: &str, form: &str) -> Page {
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nAccept-Language: en\r\n\
         Cookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        visitor.cookie(),
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = poem::http::HeaderMap::new();
    if let Some(to) = head.lines().find_map(|line| line.strip_prefix("location: ")) {
        headers.insert("location", to.parse().unwrap());
    }
    Page {
        status,
        headers,
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn two_servers_behind_one_address_are_one_console_to_a_browser() {
    let a = TestConsole::start().await;
    let proxy = ("SERVER_TRUSTED_PROXIES", "127.0.0.1".to_owned());
    let servers = [
        Process::spawn(Some(&a.database), "ONE", std::slice::from_ref(&proxy)),
        Process::spawn(Some(&a.database), "TWO", std::slice::from_ref(&proxy)),
    ];
    for server in &servers {
        server.until("/readyz", "ready").await;
    }
    let (files, port) = (TempDir::new().unwrap(), free_port());
    let _nginx = Nginx::balance(files.path(), port, servers.each_ref().map(|server| server.port));
    let visitor = &a.visitor;
    let own = format!("/clusters/{}", a.id());
    let paths = [
        "/home",
        "/clusters",
        &own,
        "/workspaces",
        "/groups",
        "/users",
        "/audit",
        "/settings",
        "/log",
        "/security",
    ];
    let mut seen = std::collections::HashSet::new();
    for click in 0..200 {
        let page = browse(port, visitor, "GET", paths[click % paths.len()], "").await;
        assert_eq!(page.status, 200, "{}", paths[click % paths.len()]);
        let here = page.text(".switcher .chip .cut");
        if page.count("#cluster-list") > 0 {
            assert_eq!(
                page.text(".is-own .c-name .cut"),
                here,
                "this server is the one that answers"
            );
        }
        seen.insert(here);
        // A form that one server showed is sent to the other.
        if click % 20 == 0 {
            let form = browse(port, visitor, "GET", &format!("{own}/edit"), "").await;
            let version = form.value("input[name=row_version]");
            let csrf = form.value("#cluster-form input[name=csrf]");
            let body = format!("csrf={csrf}&row_version={version}&name=name+{click}");
            let saved = browse(port, visitor, "POST", &own, &body).await;
            assert_eq!((saved.status.as_u16(), saved.header("location")), (303, own.as_str()));
            a.get(&own).await.shows(&format!("name {click}"));
        }
    }
    assert_eq!(seen.len(), 2, "both servers answered: {seen:?}");
}

#[tokio::test]
async fn a_jump_goes_through_nginx_with_tls_and_a_path() {
    let a = TestConsole::start().await;
    a.visitor("ann", Role::SystemAdmin).await;
    let files = TempDir::new().unwrap();
    let trusted = certificate(files.path());
    let env = [
        ("SERVER_SERVLET_CONTEXT_PATH", "/muster".to_owned()),
        ("SERVER_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    let process = Process::spawn(Some(&a.database), "P", &env);
    process.until("/muster/readyz", "ready").await;
    let port = free_port();
    let _nginx = Nginx::start(files.path(), port, process.port);
    let id = muster::install::read(process.data.path()).unwrap();
    let address = format!("https://{NAME}:{port}/muster");
    a.sql(&format!(
        "update cluster set address = '{address}', address_role = 'super_admin' where install_id = '{id}'"
    ))
    .await;
    // What a check finds where the name and the certificate are real.
    a.sql(&format!(
        "replace into address_check (install_id, kind, address, checker_id, outcome, checked_at) \
         values ('{id}', 'peer', '{address}', '{}', 'ok', utc_timestamp(6))",
        a.id()
    ))
    .await;
    a.sql(&format!(
        "delete from address_check where install_id = '{id}' and kind = 'own'"
    ))
    .await;
    let page = a.post("/jumps", &[("to", &id), ("back", "/clusters?name=x")]).await;
    assert_eq!(
        page.count(&format!("#leave form[action='{address}/arrivals']")),
        1,
        "{}",
        page.text("main")
    );
    assert!(
        page.header("content-security-policy")
            .contains(&format!("form-action https://{NAME}:{port};"))
    );
    let session = enter(port, &trusted, &page.value("#leave input[name=code]")).await;
    let request = get("/muster/clusters").replace("Connection:", &format!("Cookie: muster_s_{session}\nConnection:"));
    let list = ask(port, &trusted, &request).await.unwrap();
    assert!(list.starts_with("HTTP/1.1 200"), "{list}");
}

/// The form that the other cluster's page sends, once nginx answers.
async fn arrive(port: u16, trusted: &CertificateDer<'static>, code: &str) -> String {
    let body = format!("code={code}&back=%2Fclusters%3Fname%3Dx");
    let request = format!(
        "POST /muster/arrivals HTTP/1.1\nHost: {NAME}:{port}\nOrigin: null\nSec-Fetch-Site: cross-site\n\
         Content-Type: application/x-www-form-urlencoded\nContent-Length: {}\nConnection: close\n\n{body}",
        body.len()
    );
    for _ in 0..500 {
        if let Ok(answer) = ask(port, trusted, &request).await {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nginx never answered");
}

/// The session at the end of all steps of arriving.
async fn enter(port: u16, trusted: &CertificateDer<'static>, code: &str) -> String {
    let answer = arrive(port, trusted, code).await;
    assert!(
        answer.contains("location: /muster/arrivals/new?back=%2Fclusters%3Fname%3Dx"),
        "{answer}"
    );
    let carried = between(&answer, "set-cookie: muster_arrival=", ";");
    let with =
        |request: String, cookie: &str| request.replace("Connection:", &format!("Cookie: {cookie}\nConnection:"));
    let request = with(
        get("/muster/arrivals/new?back=%2Fclusters%3Fname%3Dx"),
        &format!("muster_arrival={carried}"),
    );
    let page = ask(port, trusted, &request).await.unwrap();
    let (form, csrf) = (
        between(&page, "set-cookie: muster_form=", ";"),
        between(&page, "name=\"csrf\" value=\"", "\""),
    );
    let body = format!("csrf={csrf}&back=%2Fclusters%3Fname%3Dx");
    let request = format!(
        "POST /muster/arrivals/entry HTTP/1.1\nHost: {NAME}:{port}\nOrigin: https://{NAME}:{port}\n\
         Cookie: muster_form={form}; muster_arrival={carried}\nContent-Type: application/x-www-form-urlencoded\n\
         Content-Length: {}\nConnection: close\n\n{body}",
        body.len()
    );
    let answer = ask(port, trusted, &request).await.unwrap();
    assert!(answer.contains("location: /muster/clusters?name=x"), "{answer}");
    assert!(
        answer.contains("Path=/muster; ") && answer.contains("; Secure"),
        "{answer}"
    );
    between(&answer, "set-cookie: muster_s_", ";").to_owned()
}
