//! What is told of an asset besides that it is down, and who wants to hear of it.

use muster::assets::monitor::Monitor;
use muster::notify::Event;
use poem::http::StatusCode;

use crate::agents::NodeExporter;
use crate::assets::{added, machine};
use crate::notify::{Receiver, tell, tick, webhook};
use crate::peers::{Key, Sshd, me};
use crate::support::{TestConsole, free_port};

/// What a form says of events.
fn topics<'a>(wanted: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let chosen = wanted.iter().map(|topic| ("topics", *topic));
    [("asks_topics", "1")].into_iter().chain(chosen).collect()
}

const ALL: [&str; 5] = ["asset", "degraded", "host_key", "cluster", "group"];

/// A channel with nothing said of events, and one that wants all of them.
async fn two(a: &TestConsole) -> (Receiver, Receiver) {
    let (usual, all) = (Receiver::start().await, Receiver::start().await);
    webhook(a, "usual", &usual.url, &[]).await;
    webhook(a, "all", &all.url, &topics(&ALL)).await;
    (usual, all)
}

/// One check of everything, with the messages that wait for their time sent at once or not.
async fn check(a: &TestConsole, monitor: &Monitor, sends_held: bool) -> String {
    a.sql("update asset_watch set due_at = utc_timestamp(6)").await;
    monitor.tick(&a.app).await.unwrap();
    monitor.settle(&a.app).await.unwrap();
    if sends_held {
        a.sql("update notice set due_at = utc_timestamp(6) where state = 'waiting'")
            .await;
    }
    tick(&a.app).await;
    tick(&a.app).await;
    let sql = "select state from asset limit 1";
    mysql_async::prelude::Queryable::query_first(&mut a.conn().await, sql)
        .await
        .unwrap()
        .unwrap()
}

/// A real machine of which even one percent of memory is too much.
async fn full(a: &TestConsole, port: u16) {
    let address = format!("http://127.0.0.1:{port}");
    let mut fields = machine("web", &address);
    fields.extend([("cpu_limit", "0"), ("memory_limit", "1"), ("disk_limit", "0")]);
    added(a, &fields).await;
    a.sql("update asset set retries = 0").await;
}

async fn set_memory_limit(a: &TestConsole, limit: u32) {
    a.sql(&format!(
        "update asset set settings = json_set(settings, '$.limits.memory', {limit})"
    ))
    .await;
}

async fn move_to(a: &TestConsole, port: u16) {
    let address = format!("http://127.0.0.1:{port}");
    a.sql(&format!(
        "update asset set address = '{address}', settings = json_set(settings, '$.address', '{address}')"
    ))
    .await;
}

#[tokio::test]
async fn what_is_degraded_is_told_to_those_who_want_it_and_once_of_each_change() {
    let a = TestConsole::start().await;
    let (usual, all) = two(&a).await;
    let exporter = NodeExporter::start(&[]).await;
    full(&a, exporter.port).await;
    let monitor = Monitor::default();
    assert_eq!(check(&a, &monitor, false).await, "degraded");
    assert_eq!(all.take().len(), 0, "not before it is so for a minute");
    for _ in 0..2 {
        check(&a, &monitor, true).await;
    }
    let got = all.take();
    assert_eq!((got.len(), usual.take().len()), (1, 0));
    let told = got[0].json();
    assert_eq!(
        (&told["event"], &told["topic"]),
        (&"degraded".into(), &"degraded".into())
    );
    assert!(told["reason"]["en"].as_str().unwrap().contains("the limit is 1 %"));

    move_to(&a, free_port()).await;
    assert_eq!(check(&a, &monitor, true).await, "down");
    assert_eq!(
        (all.events(), usual.events()),
        (vec!["down".into()], vec!["down".into()])
    );
    move_to(&a, exporter.port).await;
    assert_eq!(check(&a, &monitor, true).await, "degraded");
    for receiver in [&all, &usual] {
        let got = receiver.take();
        assert_eq!(got.len(), 1);
        let told = got[0].json();
        assert_eq!(
            (&told["event"], &told["state"]["en"]),
            (&"up".into(), &"Degraded".into())
        );
    }
    let page = a.get("/notices/2").await;
    assert_eq!(page.text("tbody tr:first-child th"), "web is up again, but degraded");
    page.shows("web is degraded");
    set_memory_limit(&a, 0).await;
    assert_eq!(check(&a, &monitor, true).await, "up");
    assert_eq!((all.events(), usual.take().len()), (vec!["up".to_owned()], 0));
}

#[tokio::test]
async fn a_limit_that_is_reached_for_a_moment_is_told_to_nobody() {
    let a = TestConsole::start().await;
    let (_, all) = two(&a).await;
    let exporter = NodeExporter::start(&[]).await;
    full(&a, exporter.port).await;
    let monitor = Monitor::default();
    check(&a, &monitor, false).await;
    set_memory_limit(&a, 0).await;
    assert_eq!(check(&a, &monitor, true).await, "up");
    assert_eq!(all.take().len(), 0);
    // What gets worse within the minute is told as that alone.
    set_memory_limit(&a, 1).await;
    check(&a, &monitor, false).await;
    move_to(&a, free_port()).await;
    check(&a, &monitor, true).await;
    assert_eq!(all.events(), ["down"]);
    // It ended before anybody was told, and before that it was down.
    a.sql("update notice_channel set is_on = 0").await;
    move_to(&a, exporter.port).await;
    check(&a, &monitor, true).await;
    a.sql("update notice_channel set is_on = 1").await;
    set_memory_limit(&a, 0).await;
    check(&a, &monitor, true).await;
    assert_eq!(all.take().len(), 0, "it was off when that was over");
}

#[tokio::test]
async fn a_changed_host_key_is_told_also_of_a_host_that_was_down() {
    let a = TestConsole::start().await;
    let (usual, one) = (Receiver::start().await, Receiver::start().await);
    webhook(&a, "usual", &usual.url, &[]).await;
    webhook(&a, "one", &one.url, &topics(&["host_key"])).await;
    let key = Key::new("ed25519", "RFC4716", "");
    let server = Sshd::start(&["ed25519"]);
    server.authorize(&key, "");
    let (user, port) = (me(), server.port.to_string());
    let fields = [
        ("kind", "ssh"),
        ("name", "host"),
        ("host", "127.0.0.1"),
        ("port", &port),
        ("login", "key"),
        ("user", &user),
        ("private_key", &key.text),
        ("group_id", "1"),
        ("timeout_s", "20"),
        ("cpu_limit", "0"),
        ("memory_limit", "0"),
        ("disk_limit", "0"),
    ];
    let host = added(&a, &fields).await;
    a.sql("update asset set retries = 0").await;
    let monitor = Monitor::default();
    assert_eq!(check(&a, &monitor, true).await, "up");
    let at = |port: String| format!("update asset set settings = json_set(settings, '$.port', {port})");
    a.sql(&at(free_port().to_string())).await;
    assert_eq!(check(&a, &monitor, true).await, "down");
    assert_eq!((usual.events(), one.take().len()), (vec!["down".to_owned()], 0));

    a.sql(&at(port.clone())).await;
    a.sql("update asset set pin = 'ssh-ed25519 SHA256:another'").await;
    for _ in 0..2 {
        assert_eq!(check(&a, &monitor, true).await, "changed");
    }
    for receiver in [&usual, &one] {
        let got = receiver.take();
        assert_eq!(got.len(), 1);
        let told = got[0].json();
        assert_eq!((&told["event"], &told["topic"]), (&"down".into(), &"host_key".into()));
        assert!(told["reason"]["en"].as_str().unwrap().contains("SHA256:another"));
    }
    a.get("/notices/1").await.shows("The host key of host changed");
    let shown = a.get(&host).await.value("input[name=shown]");
    let accepted = a.post(&format!("{host}/host-key"), &[("shown", &shown)]).await;
    assert_eq!(accepted.status, StatusCode::SEE_OTHER);
    assert_eq!(check(&a, &monitor, true).await, "up");
    assert_eq!((usual.events(), one.events()), (vec!["up".into()], vec!["up".into()]));
}

#[tokio::test]
async fn a_channel_says_what_it_wants_to_hear_of() {
    let a = TestConsole::start().await;
    let usual = ["Asset down", "Host key changed", "Cluster offline", "Group unwatched"];
    let form = a.get("/notices/new?kind=webhook").await;
    assert_eq!(form.count("input[name=topics]"), 5);
    assert_eq!(form.count("input[name=topics][checked]"), 4);
    form.shows("When all of them are gone, nobody is told");
    let receiver = Receiver::start().await;
    let page = webhook(&a, "hook", &receiver.url, &[]).await;
    assert_eq!(a.get(&page).await.texts(".tag"), usual);
    let version = |page: String| async { a.get(&(page + "/edit")).await.value("[name=row_version]") };
    let fields = |version: &str| {
        vec![
            ("name".to_owned(), "hook".to_owned()),
            ("row_version".into(), version.into()),
        ]
    };
    let post = |more: Vec<(&'static str, &'static str)>| {
        let (a, page) = (&a, page.clone());
        async move {
            let mut sent = fields(&version(page.clone()).await);
            sent.extend(
                more.iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            );
            let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (&**name, &**value)).collect();
            a.post(&page, &sent).await
        }
    };
    let none = post(topics(&[])).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(none.text(".mistake").contains("Choose one event at least"));
    assert_eq!(none.count("input[name=topics][checked]"), 0);
    let few = [
        &topics(&["group", "degraded", "no such", "group"])[..],
        &[("is_on", "1")],
    ]
    .concat();
    assert_eq!(post(few).await.status, StatusCode::SEE_OTHER);
    assert_eq!(a.get(&page).await.texts(".tag"), ["Asset degraded", "Group unwatched"]);
    let listed = a.get("/notices").await.texts("tbody .c-bound");
    assert_eq!(listed.first().unwrap(), "Asset degraded · Group unwatched");
    // A form of an older version does not ask, and changes nothing of it.
    assert_eq!(post(vec![("is_on", "1")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(a.get(&page).await.count(".tag"), 2);
    a.get("/audit?kind=notice_channel").await.shows("degraded, group");

    tell(&a.app, "asset/1", Event::Down, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 0);
    // What a later version added does no harm, and what an older one wrote means what is usual.
    for (settings, hears) in [
        (r#"{"topics":["weather"]}"#, 0),
        (r#"{"topics":["weather","asset"]}"#, 1),
        ("{}", 1),
        ("", 1),
    ] {
        a.sql(&format!("update notice_channel set settings = '{settings}'"))
            .await;
        tell(&a.app, settings, Event::Down, 0).await;
        tick(&a.app).await;
        assert_eq!(receiver.take().len(), hears, "{settings}");
    }
}

#[tokio::test]
async fn a_channel_hears_of_its_group_alone_and_goes_with_it() {
    let a = TestConsole::start().await;
    a.sql("insert into asset_group (group_id, name, name_key) values (7, 'seven', 'seven')")
        .await;
    let (all, seven) = (Receiver::start().await, Receiver::start().await);
    webhook(&a, "all", &all.url, &[]).await;
    webhook(&a, "seven", &seven.url, &[("group_id", "7")]).await;
    tell(&a.app, "asset/1", Event::Down, 0).await;
    tick(&a.app).await;
    assert_eq!((all.take().len(), seven.take().len()), (1, 0));
    a.post("/groups/7/removal", &[]).await;
    assert_eq!(a.count("select count(*) from notice_channel").await, 1);
    let gone = "select count(*) from audit where action = 'notice_remove' and object_name = 'seven'";
    assert_eq!(a.count(gone).await, 1, "as when it is deleted by hand");
    a.get("/audit?kind=notice_channel").await.shows("http://127.0.0.1");
}
