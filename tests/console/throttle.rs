//! Guessing is slow on all servers together, and keeps nobody out.

use std::time::{Duration, Instant};

use muster::people::Role;
use muster::people::sign_in::throttle::{self, Subject};
use muster::tasks;
use poem::http::StatusCode;

use crate::support::{PASSWORD, Page, TestConsole, Visitor};

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
    let mut beats = 0;
    let answers = loop {
        tokio::select! {
            biased;
            answers = &mut flood => break answers,
            beat = a.heart.tick() => beat.unwrap(),
        }
        beats += 1;
    };
    let judged = answers
        .iter()
        .filter(|answer| answer.0.status() == StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(judged.count(), 60);
    assert!(a.count("select beat_seq from cluster").await >= before + beats);
    // Hashing on the thread of the heart would let about one beat pass for each password.
    assert!(beats > 4 * 60, "{beats} beats meanwhile");
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
async fn an_unknown_name_takes_as_long_as_a_known_one() {
    let a = TestConsole::start().await;
    for name in ["ann", "bea", "cleo"] {
        a.visitor(name, Role::Member).await;
    }
    let quickest = async |names: [&str; 3]| {
        let mut best = Duration::MAX;
        for name in names {
            let start = Instant::now();
            assert_eq!(miss(&a, name).await.status, StatusCode::UNPROCESSABLE_ENTITY);
            best = best.min(start.elapsed());
        }
        best
    };
    quickest(["warm", "it", "up"]).await;
    let (known, unknown) = (quickest(["ann", "bea", "cleo"]).await, quickest(["x", "y", "z"]).await);
    // One hash takes many times what everything else does.
    assert!(unknown > known / 3, "known {known:?}, unknown {unknown:?}");
}

#[tokio::test]
async fn guesses_from_elsewhere_delay_nobody_and_a_sign_in_of_ones_own_buys_no_guesses() {
    let a = TestConsole::start().await;
    let mut conn = a.conn().await;
    let from = |address: &str| vec![Subject::account_from("ANN", address), Subject::account("ANN")];
    let mut guesses = 0;
    while throttle::claim(&mut conn, &from("192.0.2.1")).await.unwrap().is_none() {
        guesses += 1;
    }
    assert_eq!(guesses, 5);
    assert_eq!(throttle::claim(&mut conn, &from("198.51.100.1")).await.unwrap(), None);
    // From very many places all together wait, and not for long.
    for place in 0..60 {
        throttle::claim(&mut conn, &from(&format!("10.0.0.{place}")))
            .await
            .unwrap();
    }
    let wait = throttle::claim(&mut conn, &from("203.0.113.5")).await.unwrap().unwrap();
    assert!(wait <= 30, "{wait}");

    let (address, own) = (Subject::address("192.0.2.7"), Subject::account_from("OWN", "192.0.2.7"));
    let mut judged = 0;
    for _ in 0..30 {
        if throttle::claim(&mut conn, std::slice::from_ref(&address))
            .await
            .unwrap()
            .is_none()
        {
            judged += 1;
        }
        let both = [address.clone(), own.clone()];
        if throttle::claim(&mut conn, &both).await.unwrap().is_none() {
            throttle::succeed(&mut conn, &both, &own).await.unwrap();
        }
    }
    assert!(judged <= 7, "{judged} guesses at others from one address");
}
