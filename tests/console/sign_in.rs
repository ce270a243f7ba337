//! Set-up, sign-in, sessions and the throttle, on two servers of one database.

use std::os::unix::fs::PermissionsExt;

use muster::people::Role;
use muster::people::access::Access;
use muster::people::setup::Announcer;
use muster::routes;
use muster::tasks;
use mysql_async::prelude::Queryable;
use poem::http::{Method, StatusCode};

use crate::support::{PASSWORD, Page, TestConsole, TestDatabase, Visitor};

/// Two servers on a database without a user, and the set-up token of each.
async fn two_new_servers() -> [(TestConsole, String); 2] {
    let database = TestDatabase::new().await;
    let mut servers = Vec::new();
    for _ in 0..2 {
        let mut console = TestConsole::silent(&database.database, None, &[]).await;
        console.heart.tick().await.unwrap();
        Announcer::default().tick(&console.app).await.unwrap();
        let path = console.data.path().join("setup-token");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        servers.push((console, std::fs::read_to_string(path).unwrap()));
    }
    servers.try_into().map_err(drop).unwrap()
}

async fn set_up(console: &TestConsole, token: &str, password: &str) -> Page {
    let fields = [
        ("token", token),
        ("name", "boss"),
        ("password", password),
        ("again", password),
    ];
    console.post_as(&Visitor::stranger(), "/setup", &fields).await
}

#[tokio::test]
async fn without_a_user_every_address_leads_to_the_set_up() {
    let [(a, token), (_b, others)] = two_new_servers().await;
    let table = routes::table();
    let pages = table
        .iter()
        .filter(|address| address.method == Method::GET && address.access != Access::Anyone);
    let paths: Vec<&str> = pages
        .map(|address| address.path)
        .filter(|path| *path != "/setup")
        .collect();
    assert!(paths.len() > 15);
    for path in paths.into_iter().chain(["/", "/nowhere"]) {
        let page = a.get_as(&Visitor::stranger(), path).await;
        // The second step has nothing to ask and leads to the sign-in, which leads on.
        let to = if path == "/sign-in/code" { "/sign-in" } else { "/setup" };
        assert_eq!(page.header("location"), to, "{path}");
    }
    let default = a.sign_in("admin", "admin").await;
    assert_eq!(default.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_ne!(token, others);
    for (token, password) in [
        ("", PASSWORD),
        ("wrong", PASSWORD),
        (&others, PASSWORD),
        (&token, "short"),
        (&token, "the boss is here"),
    ] {
        let page = set_up(&a, token, password).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{token} {password}");
        assert!(page.count(".mistake") > 0);
    }
}

#[tokio::test]
async fn the_set_up_works_once_even_on_two_servers_at_the_same_moment() {
    let [(a, mine), (b, theirs)] = two_new_servers().await;
    let (one, two) = tokio::join!(set_up(&a, &mine, PASSWORD), set_up(&b, &theirs, PASSWORD));
    let won: Vec<&Page> = [&one, &two]
        .into_iter()
        .filter(|page| page.status == StatusCode::SEE_OTHER)
        .collect();
    let accounts = a.count("select count(*) from account").await;
    assert_eq!((won.len(), accounts), (1, 1), "{} {}", one.status, two.status);
    let lost = if won[0].status == one.status { &two } else { &one };
    assert_eq!(lost.status, StatusCode::CONFLICT, "{}", lost.text("body"));
    let boss = won[0].visitor();
    assert!(a.is_in(&boss).await && b.is_in(&boss).await);
    assert_eq!(set_up(&a, &mine, PASSWORD).await.status, StatusCode::CONFLICT);
    let page = a.get_as(&Visitor::stranger(), "/setup").await;
    assert_eq!(page.header("location"), "/sign-in");
    for console in [&a, &b] {
        Announcer::default().tick(&console.app).await.unwrap();
        assert!(!console.data.path().join("setup-token").exists());
    }
}

#[tokio::test]
async fn a_sign_in_holds_on_every_server_and_ends_on_every_server() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.visitor("Ann", Role::Member).await;
    let page = a.sign_in("ann", PASSWORD).await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/"));
    let ann = page.visitor();
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly; SameSite=Lax") && !cookie.contains("Secure"),
        "{cookie}"
    );
    assert!(a.is_in(&ann).await && b.is_in(&ann).await);
    b.get_as(&ann, "/profile").await.shows("Ann");
    let out = b.post_as(&ann, "/sign-out", &[]).await;
    assert_eq!(out.header("location"), "/sign-in");
    assert!(
        !a.is_in(&ann).await && !b.is_in(&ann).await,
        "a stolen cookie is worth nothing after sign-out"
    );
    let kept: Vec<String> = a.conn().await.query("select token_hash from session").await.unwrap();
    assert!(kept.iter().all(|hash| *hash != ann.token), "only hashes are kept");
}

#[tokio::test]
async fn a_session_planted_before_the_sign_in_is_worth_nothing_after_it() {
    let a = TestConsole::start().await;
    a.visitor("ann", Role::Member).await;
    let mallory = a.visitor("mallory", Role::Member).await;
    // The victim's browser carries mallory's cookie.
    let page = a
        .post_as(&mallory, "/sign-in", &[("name", "ann"), ("password", PASSWORD)])
        .await;
    let ann = page.visitor();
    assert_ne!(ann.token, mallory.token);
    assert!(a.is_in(&ann).await && !a.is_in(&mallory).await);
}

#[tokio::test]
async fn a_wrong_password_an_unknown_name_and_a_disabled_account_get_the_same_answer() {
    let a = TestConsole::start().await;
    for name in ["ann", "gone"] {
        a.visitor(name, Role::Member).await;
    }
    a.conn()
        .await
        .query_drop("update account set disabled_at = now() where name = 'gone'")
        .await
        .unwrap();
    let mut said = Vec::new();
    for (name, password) in [("ann", "wrong password"), ("nobody", PASSWORD), ("gone", PASSWORD)] {
        let page = a.sign_in(name, password).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(page.session(), None);
        said.push(page.text("#door .mistake"));
    }
    assert!(
        !said[0].is_empty() && said.iter().all(|text| *text == said[0]),
        "{said:?}"
    );
    let typed = a
        .count("select count(*) from audit where concat(actor, object_name, changes) like '%nobody%'")
        .await;
    assert_eq!(typed, 0, "a name that does not exist may be a password");
    assert_eq!(
        a.count("select count(*) from audit where action = 'sign_in' and result = 'refused'")
            .await,
        3
    );
}

#[tokio::test]
async fn a_form_must_come_from_a_page_of_ours() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    let bob = a.visitor("bob", Role::Member).await;
    let post = async |cookie: String, csrf: &str, header: Option<&str>| {
        let mut request = a
            .client
            .post("/profile")
            .header("Cookie", cookie)
            .header("Accept-Language", "en");
        if let Some(value) = header {
            request = request.header("X-CSRF-Token", value);
        }
        let body = format!("csrf={csrf}&display_name=x");
        let request = request.content_type("application/x-www-form-urlencoded").body(body);
        Page::of(request.send().await).await.status
    };
    assert_eq!(post(ann.cookie(), "", None).await, StatusCode::FORBIDDEN);
    assert_eq!(post(ann.cookie(), &bob.csrf(), None).await, StatusCode::FORBIDDEN);
    assert_eq!(
        post(ann.cookie(), &ann.csrf(), Some("wrong")).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(post(ann.cookie(), &ann.csrf(), None).await, StatusCode::SEE_OTHER);
    assert_eq!(post(ann.cookie(), "", Some(&ann.csrf())).await, StatusCode::SEE_OTHER);
    let page = a.get_as(&ann, "/profile").await;
    assert_eq!(
        page.count(&format!("input[name=csrf][value='{}']", ann.csrf())),
        page.count("form[method=post]")
    );
}

#[tokio::test]
async fn a_session_ends_when_idle_and_at_its_absolute_limit_and_polls_do_not_keep_it() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::SystemAdmin).await;
    let set = async |what: &str| {
        let sql = format!("update session set {what} where account_id = '{}'", ann.account_id);
        a.conn().await.query_drop(sql).await.unwrap();
    };
    set("seen_at = seen_at - interval 7 hour").await;
    let poll = a
        .client
        .get("/clusters")
        .header("HX-Request", "true")
        .header("Cookie", ann.cookie())
        .send()
        .await;
    assert_eq!(poll.0.status(), StatusCode::OK);
    set("seen_at = seen_at - interval 2 hour").await;
    assert!(!a.is_in(&ann).await, "a poll does not count as use");
    set("seen_at = utc_timestamp(6) - interval 7 hour").await;
    assert!(a.is_in(&ann).await);
    set("seen_at = seen_at - interval 2 hour").await;
    assert!(a.is_in(&ann).await, "a page counts as use");
    set("expires_at = utc_timestamp(6) - interval 1 second").await;
    assert!(!a.is_in(&ann).await);
    tasks::sweep(&a.app).await.unwrap();
    assert_eq!(a.count("select count(*) from session").await, 1, "only root's is left");
}

#[tokio::test]
async fn one_returns_to_where_one_was_and_never_to_another_site() {
    let a = TestConsole::start().await;
    a.visitor("ann", Role::SystemAdmin).await;
    let page = a.get_as(&Visitor::stranger(), "/clusters?name=b&page=2").await;
    assert_eq!(
        page.header("location"),
        "/sign-in?back=%2Fclusters%3Fname%3Db%26page%3D2"
    );
    let back = async |back: &str| {
        let fields = [("name", "ann"), ("password", PASSWORD), ("back", back)];
        let page = a.post_as(&Visitor::stranger(), "/sign-in", &fields).await;
        page.header("location").to_owned()
    };
    assert_eq!(back("/clusters?name=b&page=2").await, "/clusters?name=b&page=2");
    for elsewhere in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "https:evil.example",
        "http:/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "@evil.example",
        ".evil.example",
        "",
        "/\t/evil.example",
        "/\n/evil.example",
        "/a\r\nSet-Cookie: x=y",
        "/\u{2028}/evil.example",
        "%2F%2Fevil.example",
        "/sign-in?back=//evil.example",
        "/sign-out",
        "mailto:a@b",
        "ftp://evil.example",
    ] {
        assert_eq!(back(elsewhere).await, "/", "{elsewhere:?}");
    }
    let block = a.client.get("/clusters").header("HX-Request", "true").send().await;
    let block = Page::of(block).await;
    assert_eq!(
        (block.status, block.header("hx-redirect")),
        (StatusCode::UNAUTHORIZED, "/sign-in")
    );
}

#[tokio::test]
async fn cookies_of_ended_sessions_do_not_hide_the_one_that_is_good() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let ann = a.visitor("ann", Role::Member).await;
    // Browsers send the oldest first.
    let stale = (0..12).map(|number| format!("muster_s_{number:08x}={}", "0".repeat(64)));
    let cookies: Vec<String> = stale.chain([ann.cookie()]).collect();
    let page = b
        .client
        .get("/profile")
        .header("Cookie", cookies.join("; "))
        .send()
        .await;
    assert_eq!(page.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_older_hash_is_renewed_at_sign_in_with_and_without_a_second_step() {
    let a = TestConsole::start().await;
    let params = argon2::Params::new(8 * 1024, 1, 1, None).unwrap();
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = argon2::PasswordHasher::hash_password(&argon, PASSWORD.as_bytes())
        .unwrap()
        .to_string();
    assert!(hash.starts_with("$argon2id$v=19$m=8192,t=1,p=1"), "{hash}");
    for name in ["ann", "bob"] {
        a.visitor(name, Role::Member).await;
    }
    a.sql(&format!(
        "update account set password_hash = '{hash}' where name in ('ann', 'bob')"
    ))
    .await;
    a.sql("update account set totp_at = utc_timestamp(6) where name = 'bob'")
        .await;
    a.sign_in("ann", PASSWORD).await;
    let half = a.sign_in("bob", PASSWORD).await;
    assert!(half.header("location").starts_with("/sign-in/code"));
    let renewed = "select count(*) from account where password_hash like '%m=19456%' and name in ('ann', 'bob')";
    assert_eq!(a.count(renewed).await, 2);
    assert_eq!(
        a.count("select count(*) from audit where action = 'sign_in_half'")
            .await,
        1
    );
}

#[tokio::test]
async fn whose_session_ended_is_told_so_and_returns_to_the_page_of_the_form() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    a.sql("delete from session").await;
    let request = a.client.post("/profile").header("Cookie", ann.cookie());
    let request = request
        .header("HX-Request", "true")
        .header("HX-Current-URL", "http://console/profile?x=1");
    let answer = Page::of(request.send().await).await;
    assert_eq!(answer.header("hx-redirect"), "/sign-in?ended=1&back=%2Fprofile%3Fx%3D1");
    a.get_as(&Visitor::stranger(), "/sign-in?ended=1")
        .await
        .shows("signed in no longer");
    for (header, url) in [
        ("Referer", "https://evil.example//evil.example/"),
        ("Referer", "javascript:alert(1)"),
    ] {
        let request = a
            .client
            .post("/profile")
            .header("Cookie", ann.cookie())
            .header(header, url);
        let answer = Page::of(request.send().await).await;
        assert_eq!(answer.header("location"), "/sign-in?ended=1");
    }
}

#[tokio::test]
async fn a_page_does_not_come_back_by_the_back_button_after_signing_out() {
    let a = TestConsole::start().await;
    assert_eq!(a.get("/clusters").await.header("cache-control"), "no-store");
    assert_eq!(a.hx_get("/clusters").await.header("cache-control"), "private, no-cache");
}

#[tokio::test]
async fn two_systems_on_one_host_keep_one_browser_signed_in_at_both() {
    let (a, b) = (TestConsole::start().await, TestConsole::start().await);
    let mut jar: Vec<(String, String)> = Vec::new();
    for console in [&a, &b] {
        console.visitor("ann", Role::Member).await;
        let stranger = Visitor::stranger();
        let cookies = jar.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies: Vec<String> = cookies.chain([stranger.cookie()]).collect();
        let body = format!(
            "csrf={}&name=ann&password={}",
            stranger.csrf(),
            PASSWORD.replace(' ', "+")
        );
        let request = console.client.post("/sign-in").header("Cookie", cookies.join("; "));
        let request = request.content_type("application/x-www-form-urlencoded").body(body);
        let answer = Page::of(request.send().await).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text("body"));
        for set in answer.headers.get_all("set-cookie") {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            jar.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0") {
                jar.push((name.to_owned(), rest.split(';').next().unwrap().to_owned()));
            }
        }
    }
    let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for console in [&a, &b] {
        let page = console
            .client
            .get("/profile")
            .header("Cookie", cookies.join("; "))
            .send()
            .await;
        assert_eq!(page.0.status(), StatusCode::OK);
    }
}
