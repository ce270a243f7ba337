//! Set-up, sign-in, sessions and the throttle, on two servers of one database.

use std::os::unix::fs::PermissionsExt;

use muster::people::Role;
use muster::people::setup::Announcer;
use muster::tasks;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

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
    for path in ["/", "/clusters", "/users", "/nowhere", "/audit"] {
        let page = a.get_as(&Visitor::stranger(), path).await;
        assert_eq!(page.header("location"), "/setup", "{path}");
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

async fn miss(console: &TestConsole, name: &str) -> Page {
    console.sign_in(name, "wrong password").await
}

#[tokio::test]
async fn guessing_is_slowed_down_across_servers_for_known_and_unknown_names_alike() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.visitor("ann", Role::Member).await;
    for (console, name) in [(&a, "ann"), (&b, "ann"), (&a, "nobody"), (&b, "nobody")] {
        for _ in 0..3 {
            miss(console, name).await;
        }
    }
    // All of these find the same account.
    let spellings = [
        (&a, "ann"),
        (&b, "ann"),
        (&b, "ANN"),
        (&a, "änn"),
        (&b, "ａｎｎ"),
        (&a, "a\u{200b}nn"),
    ];
    for (console, name) in spellings.into_iter().chain([(&a, "nobody"), (&b, "NÓBODY")]) {
        let page = console.sign_in(name, PASSWORD).await;
        assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "{name}");
        assert!(page.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    // The delay doubles and passes.
    a.sql("update sign_in_miss set missed_at = missed_at - interval 2 second")
        .await;
    assert_eq!(miss(&a, "nobody").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let wait: u64 = miss(&a, "nobody").await.header("retry-after").parse().unwrap();
    assert!((2..=4).contains(&wait), "{wait}");
    a.sql("update sign_in_miss set missed_at = missed_at - interval 61 minute")
        .await;
    assert_eq!(miss(&a, "nobody").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    a.sql("update sign_in_miss set missed_at = missed_at - interval 61 minute")
        .await;
    tasks::sweep(&a.app).await.unwrap();
    assert_eq!(a.count("select count(*) from sign_in_miss").await, 0);
}

#[tokio::test]
async fn a_flood_of_sign_ins_does_not_delay_a_heartbeat() {
    let mut a = TestConsole::start().await;
    let names: Vec<String> = (0..60).map(|number| format!("nobody {number}")).collect();
    let before = a.count("select beat_seq from cluster").await;
    let (client, stranger) = (&a.client, Visitor::stranger());
    let body = |name: &str| format!("csrf={}&name={name}&password=wrong+password", stranger.csrf());
    let tries = names.iter().map(|name| {
        let request = client.post("/sign-in").header("Cookie", stranger.cookie());
        request
            .content_type("application/x-www-form-urlencoded")
            .body(body(name))
            .send()
    });
    let mut flood = std::pin::pin!(futures_util::future::join_all(tries));
    tokio::select! {
        biased;
        answers = &mut flood => panic!("{} were hashed before one beat", answers.len()),
        beat = a.heart.tick() => beat.unwrap(),
    }
    let judged = flood
        .await
        .into_iter()
        .filter(|answer| answer.0.status() == StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(judged.count(), 60);
    assert_eq!(a.count("select beat_seq from cluster").await, before + 1);
}

#[tokio::test]
async fn a_stranger_who_guesses_keeps_nobody_out_of_their_own_browser() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.visitor("ann", Role::Member).await;
    let first = a.sign_in("ann", PASSWORD).await;
    let cookies = first.headers.get_all("set-cookie").iter();
    let mut cookies = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
    let known = cookies.find(|cookie| cookie.starts_with("muster_browser=")).unwrap();
    for _ in 0..8 {
        miss(&a, "ann").await;
    }
    assert_eq!(a.sign_in("ann", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    let stranger = Visitor::stranger();
    let form = format!(
        "csrf={}&name=ann&password={}",
        stranger.csrf(),
        PASSWORD.replace(' ', "+")
    );
    let request = b
        .client
        .post("/sign-in")
        .header("Cookie", format!("{}; {known}", stranger.cookie()));
    let request = request.content_type("application/x-www-form-urlencoded").body(form);
    let answer = Page::of(request.send().await).await;
    assert!(a.is_in(&answer.visitor()).await);
}

#[tokio::test]
async fn tries_at_the_same_moment_are_counted_before_they_are_judged() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.visitor("ann", Role::Member).await;
    let tries = (0..20).map(|number| {
        let console = if number % 2 == 0 { &a } else { &b };
        console.sign_in("ann", "wrong password")
    });
    let answers = futures_util::future::join_all(tries).await;
    let with = |status: StatusCode| answers.iter().filter(|page| page.status == status).count();
    let (judged, waiting) = (
        with(StatusCode::UNPROCESSABLE_ENTITY),
        with(StatusCode::TOO_MANY_REQUESTS),
    );
    assert_eq!((judged, waiting), (5, 15));
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
