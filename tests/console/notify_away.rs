//! Clusters that do not answer and groups that nobody watches: told by one of those who live. Rows are aged and ticks called
//! by hand.

use std::time::{Duration, Instant};

use muster::notify::Lookout;
use serde_json::Value;

use crate::notify::{Receiver, tick, two, webhook};
use crate::support::TestConsole;

/// What was told, by event and subject; of what is sent at once nobody knows what comes first.
fn told(receiver: &Receiver) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = receiver.take();
    let told = told.iter().map(|got| got.json());
    let mut pairs: Vec<(String, String)> = told
        .map(|told| (text(&told["event"]), text(&told["subject"])))
        .collect();
    pairs.sort();
    pairs
}

fn pair(event: &str, subject: &str) -> (String, String) {
    (event.to_owned(), subject.to_owned())
}

/// It is somebody's turn again.
async fn next(a: &TestConsole) {
    a.sql("update outage set at = at - interval 1 minute where subject = ''")
        .await;
}

/// One that has looked for long.
async fn patient(a: &TestConsole) -> Lookout {
    let lookout = Lookout::default();
    lookout.tick(&a.app).await.unwrap();
    lookout.has_looked_for(Duration::from_secs(100));
    lookout
}

/// One look of one server, and what it tells.
async fn look(a: &TestConsole, lookout: &Lookout) {
    next(a).await;
    lookout.tick(&a.app).await.unwrap();
    tick(&a.app).await;
    tick(&a.app).await;
}

/// A group with an asset, bound to a cluster.
async fn group(a: &TestConsole, group_id: u32, cluster: &TestConsole) {
    a.sql(&format!(
        "insert into asset_group (group_id, name, name_key) values ({group_id}, 'g{group_id}', 'g{group_id}')"
    ))
    .await;
    a.sql(&format!(
        "insert into asset (kind, name, name_key, address, group_id, settings) \
         values ('machine', 'x', 'x', 'x', {group_id}, '{{}}')"
    ))
    .await;
    bind(a, group_id, cluster).await;
}

async fn bind(a: &TestConsole, group_id: u32, cluster: &TestConsole) {
    let id = cluster.id();
    a.sql(&format!(
        "insert into cluster_group (group_id, install_id) values ({group_id}, '{id}')"
    ))
    .await;
}

#[tokio::test]
async fn of_a_cluster_that_goes_silent_one_of_the_living_tells_once_and_once_when_it_is_back() {
    let (a, b) = two().await;
    let mut c = TestConsole::beside(&a).await;
    let receiver = Receiver::start().await;
    let page = webhook(&a, "hook", &receiver.url, &[]).await;
    let (of_a, of_b) = (patient(&a).await, patient(&b).await);
    c.set("name = '上海'").await;
    let subject = format!("cluster/{}", c.id());
    for event in ["down", "up"] {
        match event {
            "down" => c.age(91.0).await,
            _ => c.heart.tick().await.unwrap(),
        }
        // Whoever takes turns, and also when two look at the same moment.
        for _ in 0..10 {
            next(&a).await;
            let meddle = async {
                for _ in 0..5 {
                    next(&a).await;
                }
            };
            let (one, other, ()) = tokio::join!(of_a.tick(&a.app), of_b.tick(&b.app), meddle);
            one.and(other).unwrap();
        }
        tokio::join!(tick(&a.app), tick(&b.app));
        assert_eq!(told(&receiver), [pair(event, &subject)]);
    }
    let page = a.get(&page).await;
    page.shows("The cluster “上海” is offline");
    page.shows("The cluster “上海” is online again");
    let written = a.count("select count(*) from notice").await;
    assert_eq!(written, 2);
}

#[tokio::test]
async fn of_two_who_notice_the_same_one_tells() {
    let (a, mut c) = two().await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    let lookouts = [
        patient(&a).await,
        patient(&a).await,
        patient(&a).await,
        patient(&a).await,
    ];
    for expected in 1..=20 {
        match expected % 2 {
            1 => c.age(91.0).await,
            _ => c.heart.tick().await.unwrap(),
        }
        // Nobody waits for a turn: all look at once.
        a.sql("delete from outage where subject = ''").await;
        a.sql("insert into outage (subject, at) values ('', '2000-01-01')")
            .await;
        let [one, other, three, four] = &lookouts;
        let free = async {
            for _ in 0..20 {
                next(&a).await;
            }
        };
        let (one, other, three, four, ()) = tokio::join!(
            one.tick(&a.app),
            other.tick(&a.app),
            three.tick(&a.app),
            four.tick(&a.app),
            free
        );
        for done in [one, other, three, four] {
            done.unwrap();
        }
        a.sql("update notice set state = 'sent'").await;
        assert_eq!(a.count("select count(*) from notice").await, expected);
    }
}

#[tokio::test]
async fn whoever_has_just_started_or_does_not_beat_says_of_nobody_that_it_is_gone() {
    let (a, mut b) = two().await;
    group(&a, 7, &b).await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    patient(&a).await;
    // All were away; the first one starts, and finds the other's last beat old.
    b.age(3600.0).await;
    let of_a = Lookout::default();
    look(&a, &of_a).await;
    of_a.has_looked_for(Duration::from_secs(89));
    look(&a, &of_a).await;
    assert_eq!(told(&receiver), []);
    // It was only slower, and what was not told needs no end.
    b.heart.tick().await.unwrap();
    of_a.has_looked_for(Duration::from_secs(91));
    look(&a, &of_a).await;
    assert_eq!(told(&receiver), []);

    b.age(91.0).await;
    let now = Instant::now();
    a.app.beat_landed(now.checked_sub(Duration::from_secs(61)).unwrap(), 30);
    look(&a, &of_a).await;
    assert_eq!(told(&receiver), [], "a server without a heartbeat is no witness");
    a.app.beat_landed(now, 30);
    look(&a, &of_a).await;
    let subject = format!("cluster/{}", b.id());
    assert_eq!(told(&receiver), [pair("down", &subject), pair("down", "group/7")]);
}

#[tokio::test]
async fn what_was_away_before_anybody_looked_is_told_neither_now_nor_when_it_is_over() {
    let (a, mut b) = two().await;
    group(&a, 7, &b).await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    b.age(3600.0).await;
    let of_a = patient(&a).await;
    look(&a, &of_a).await;
    b.heart.tick().await.unwrap();
    look(&a, &of_a).await;
    assert_eq!(told(&receiver), []);
    b.age(91.0).await;
    look(&a, &of_a).await;
    assert_eq!(told(&receiver).len(), 2, "the next time is told");
}

#[tokio::test]
async fn a_group_that_nobody_watches_is_told_to_its_channel_and_so_is_its_end() {
    let (a, mut b) = two().await;
    group(&a, 7, &b).await;
    group(&a, 8, &b).await;
    bind_second(&a, 8, &a).await;
    a.sql("delete from asset where group_id = 1").await;
    let (all, seven) = (Receiver::start().await, Receiver::start().await);
    webhook(&a, "all", &all.url, &[]).await;
    webhook(&a, "seven", &seven.url, &[("group_id", "7")]).await;
    let of_a = patient(&a).await;
    b.age(91.0).await;
    look(&a, &of_a).await;
    let cluster = format!("cluster/{}", b.id());
    assert_eq!(told(&all), [pair("down", &cluster), pair("down", "group/7")]);
    let got = seven.take();
    assert_eq!(got.len(), 1, "of a cluster those who are for one group are not told");
    let got = got[0].json();
    assert_eq!((&got["topic"], &got["name"]), (&"group".into(), &"g7".into()));
    assert!(got["reason"]["en"].as_str().unwrap().contains(&b.app.name()));
    look(&a, &of_a).await;
    b.heart.tick().await.unwrap();
    look(&a, &of_a).await;
    assert_eq!(told(&all), [pair("up", &cluster), pair("up", "group/7")]);
    let got = seven.take();
    assert_eq!(got[0].json()["state"]["en"], format!("watched by {}", b.app.name()));
    a.get("/notices").await.shows("seven");

    // Its cluster is another's from now on, and one without assets needs nobody.
    b.age(91.0).await;
    look(&a, &of_a).await;
    assert_eq!(told(&seven), [pair("down", "group/7")]);
    bind_second(&a, 7, &a).await;
    a.sql("insert into asset_group (group_id, name, name_key) values (9, 'g9', 'g9')")
        .await;
    look(&a, &of_a).await;
    assert_eq!(told(&seven), [pair("up", "group/7")]);
    assert_eq!(
        a.count("select count(*) from notice where subject = 'group/9'").await,
        0
    );
}

async fn bind_second(a: &TestConsole, group_id: u32, cluster: &TestConsole) {
    let id = cluster.id();
    a.sql(&format!(
        "insert into cluster_group (group_id, install_id, position) values ({group_id}, '{id}', 2)"
    ))
    .await;
}

#[tokio::test]
async fn a_restart_in_good_order_is_no_outage_and_one_that_does_not_come_back_is() {
    let (a, mut b) = two().await;
    group(&a, 7, &b).await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    let of_a = patient(&a).await;
    b.heart.last_word().await;
    look(&a, &of_a).await;
    assert_eq!(a.count("select count(*) from notice where state = 'waiting'").await, 1);
    b.set(&format!("boot_id = '{}', stopped_at = null", b.app.install.boot_id()))
        .await;
    b.heart.tick().await.unwrap();
    look(&a, &of_a).await;
    a.sql("update notice set due_at = utc_timestamp(6)").await;
    tick(&a.app).await;
    assert_eq!(told(&receiver), []);

    b.heart.last_word().await;
    look(&a, &of_a).await;
    let waits = "select timestampdiff(second, utc_timestamp(6), due_at) from notice where state = 'waiting'";
    assert!((80..=90).contains(&a.count(waits).await));
    a.sql("update notice set due_at = utc_timestamp(6) where state = 'waiting'")
        .await;
    tick(&a.app).await;
    assert_eq!(told(&receiver), [pair("down", "group/7")], "and not of the cluster");
}

#[tokio::test]
async fn what_is_removed_is_told_to_those_who_were_told_of_it_and_does_not_stay_down() {
    let (a, b) = two().await;
    group(&a, 7, &b).await;
    let receiver = Receiver::start().await;
    let page = webhook(&a, "hook", &receiver.url, &[]).await;
    let of_a = patient(&a).await;
    b.age(91.0).await;
    look(&a, &of_a).await;
    let cluster = format!("cluster/{}", b.id());
    assert_eq!(told(&receiver), [pair("down", &cluster), pair("down", "group/7")]);
    a.sql("delete from asset where group_id = 7").await;
    let removed = a.post("/groups/7/removal", &[]).await;
    assert_eq!(removed.status, poem::http::StatusCode::SEE_OTHER);
    b.set("removed_at = utc_timestamp(6)").await;
    for _ in 0..2 {
        look(&a, &of_a).await;
    }
    assert_eq!(told(&receiver), [pair("up", &cluster), pair("up", "group/7")]);
    a.get(&page).await.shows("g7 was removed and is not watched any more");
    assert_eq!(a.count("select count(*) from outage where subject <> ''").await, 0);
}

#[tokio::test]
async fn of_many_groups_at_once_one_message_tells_and_one_of_the_end_of_the_last() {
    let (a, mut b) = two().await;
    for group_id in 10..20 {
        group(&a, group_id, &b).await;
    }
    let (all, twelve) = (Receiver::start().await, Receiver::start().await);
    webhook(&a, "all", &all.url, &[("asks_topics", "1"), ("topics", "group")]).await;
    webhook(&a, "twelve", &twelve.url, &[("group_id", "12")]).await;
    let of_a = patient(&a).await;
    b.age(91.0).await;
    for _ in 0..2 {
        look(&a, &of_a).await;
    }
    let got = all.take();
    assert_eq!(got.len(), 1);
    let got = got[0].json();
    assert_eq!(got["name"], "g10, g11, g12, g13, g14 … (10)");
    assert_eq!(
        told(&twelve),
        [pair("down", "group/12")],
        "who is for one hears of that"
    );
    // All but one are another's from now on.
    for group_id in 10..19 {
        bind_second(&a, group_id, &a).await;
    }
    look(&a, &of_a).await;
    assert_eq!(told(&all), []);
    assert_eq!(told(&twelve), [pair("up", "group/12")]);
    b.heart.tick().await.unwrap();
    look(&a, &of_a).await;
    let subject = got["subject"].as_str().unwrap();
    assert_eq!(told(&all), [pair("up", subject)]);
    let page = a.get("/notices/1").await;
    page.shows("Nobody watches the groups g10, g11, g12, g13, g14 … (10)");
    page.shows("The groups g10, g11, g12, g13, g14 … (10) are watched again");
    // The next time is told anew.
    b.age(91.0).await;
    look(&a, &of_a).await;
    assert_eq!(told(&all), [pair("down", "group/19")]);
}
