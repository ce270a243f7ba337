//! The watch over assets: who looks, who takes over, what counts as down. Ticks are called by hand; rows are aged instead
//! of waiting.

use std::time::{Duration, Instant};

use muster::assets::monitor::{Monitor, queries};
use mysql_async::prelude::Queryable;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::agents::NodeExporter;
use crate::assets::{added, machine};
use crate::hostile::{Hostile, Manner, http};
use crate::peers::{Key, Sshd, me};
use crate::support::TestConsole;
use crate::support::free_port;

/// What `node_exporter` says at least.
const METRICS: &str = "node_boot_time_seconds 1\nnode_time_seconds 100\n";

pub(crate) fn works() -> Manner {
    Manner::Answer(http("200 OK", "Content-Type: text/plain\r\n", METRICS))
}

/// One step, and what it began.
pub(crate) async fn round(console: &TestConsole, monitor: &Monitor) {
    monitor.tick(&console.app).await.unwrap();
    monitor.settle(&console.app).await.unwrap();
}

pub(crate) async fn make_due(console: &TestConsole) {
    console.sql("update asset_watch set due_at = utc_timestamp(6)").await;
}

pub(crate) async fn states(console: &TestConsole) -> Vec<String> {
    let sql = "select state from asset order by asset_id";
    console.conn().await.query(sql).await.unwrap()
}

/// A machine at a port of this one, with no limit on how full it is.
pub(crate) async fn add(console: &TestConsole, name: &str, port: u16) -> String {
    let address = format!("http://127.0.0.1:{port}");
    let mut fields = machine(name, &address);
    fields.extend([("cpu_limit", "0"), ("memory_limit", "0"), ("disk_limit", "0")]);
    added(console, &fields).await
}

/// A second server that stands by for the default group.
async fn standby(a: &TestConsole) -> TestConsole {
    let b = TestConsole::beside(a).await;
    a.post("/groups/1/clusters", &[("install_id", b.id())]).await;
    b
}

#[tokio::test]
async fn a_real_machine_turns_green_with_its_facts_and_red_with_the_reason_when_it_ends() {
    let a = TestConsole::start().await;
    let exporter = NodeExporter::start(&[]).await;
    let web = add(&a, "web", exporter.port).await;
    let monitor = Monitor::default();
    round(&a, &monitor).await;
    let page = a.get(&web).await;
    assert_eq!(page.text(".subject .state"), "Up");
    page.shows("node_exporter");
    page.shows(&a.app.name());
    assert_eq!(page.texts(".events .state"), ["Up"]);

    drop(exporter);
    // Two retries go before it is taken for down.
    for expected in ["up", "up", "down"] {
        make_due(&a).await;
        round(&a, &monitor).await;
        assert_eq!(states(&a).await, [expected]);
    }
    let page = a.get(&web).await;
    page.shows("Connection refused");
    assert_eq!(page.texts(".events .state"), ["Down", "Up"]);
    page.shows("node_exporter");
    a.get("/home").await.shows("Assets that are down: 1");
    let list = a.get("/assets?state=down").await;
    list.shows("outages");
    assert!(list.count(".bar-red") >= 1);
}

#[tokio::test]
async fn a_failed_check_is_tried_again_soon_and_a_later_one_at_its_own_place_in_the_interval() {
    let a = TestConsole::start().await;
    add(&a, "gone", free_port()).await;
    let monitor = Monitor::default();
    let due = "select round(timestampdiff(microsecond, utc_timestamp(6), due_at) / 1000000) from asset_watch";
    for tries in 1..=2 {
        round(&a, &monitor).await;
        assert!(a.count(due).await <= 5, "try {tries}");
        assert_eq!(states(&a).await, ["new"]);
        make_due(&a).await;
    }
    round(&a, &monitor).await;
    assert_eq!(states(&a).await, ["down"]);
    let place = "select mod(timestampdiff(microsecond, '2026-01-01', due_at), 30000000) from asset_watch";
    let first = a.count(place).await;
    make_due(&a).await;
    round(&a, &monitor).await;
    assert_eq!(a.count(place).await, first);
    assert_eq!(
        a.count("select count(*) from asset_event").await,
        1,
        "nothing changed since"
    );
}

#[tokio::test]
async fn assets_that_are_due_at_once_are_spread_over_their_interval() {
    let a = TestConsole::start().await;
    let rows: Vec<String> = (0..300)
        .map(|n| format!("('machine', '{n}', '{n}', 'x', 1, '{{}}')"))
        .collect();
    a.sql(&format!(
        "insert into asset (kind, name, name_key, address, group_id, settings) values {}",
        rows.join(", ")
    ))
    .await;
    a.sql("insert into asset_watch (asset_id, group_id) select asset_id, 1 from asset")
        .await;
    let monitor = Monitor::default();
    round(&a, &monitor).await;
    // Those that failed are tried again sooner; the place is what a claim gives.
    a.sql("update asset_watch set misses = 9, due_at = utc_timestamp(6)")
        .await;
    a.sql("update asset set state = 'down'").await;
    round(&a, &monitor).await;
    let seconds: Vec<u32> = a
        .conn()
        .await
        .query("select count(*) from asset_watch group by floor(timestampdiff(second, '2026-01-01', due_at))")
        .await
        .unwrap();
    assert!(seconds.len() >= 25, "{seconds:?}");
    assert!(seconds.iter().all(|count| *count < 40), "{seconds:?}");
}

#[tokio::test]
async fn only_the_owner_of_the_group_looks_and_never_two_at_once() {
    let a = TestConsole::start().await;
    let b = standby(&a).await;
    let peer = Hostile::start(works()).await;
    add(&a, "web", peer.port).await;
    let (of_a, of_b) = (Monitor::default(), Monitor::default());
    for looks in 1..=5 {
        make_due(&a).await;
        let (one, other) = tokio::join!(of_a.tick(&a.app), of_b.tick(&b.app));
        one.and(other).unwrap();
        of_a.settle(&a.app).await.unwrap();
        of_b.settle(&b.app).await.unwrap();
        assert_eq!(peer.asked().len(), looks);
    }
    assert_eq!(
        a.count(&format!(
            "select count(*) from asset_watch where checked_by = '{}'",
            a.id()
        ))
        .await,
        1
    );
}

#[tokio::test]
async fn of_two_who_find_the_same_asset_due_one_gets_it() {
    let a = TestConsole::start().await;
    add(&a, "web", free_port()).await;
    let (mut one, mut other) = (a.conn().await, a.conn().await);
    let ids = queries::due(&mut one, &[1], false, 10).await.unwrap();
    assert_eq!(queries::due(&mut other, &[1], false, 10).await.unwrap(), ids);
    let (first, second) = ("1".repeat(32), "2".repeat(32));
    let first = queries::claim(&mut one, &ids, &first).await.unwrap();
    let second = queries::claim(&mut other, &ids, &second).await.unwrap();
    assert_eq!((first.len(), second.len()), (1, 0));
}

#[tokio::test]
async fn a_standby_takes_over_and_gives_back() {
    let a = TestConsole::start().await;
    let b = standby(&a).await;
    let peer = Hostile::start(works()).await;
    let web = add(&a, "web", peer.port).await;
    let (of_a, of_b) = (Monitor::default(), Monitor::default());
    round(&a, &of_a).await;

    // It said that it stopped: that needs no doubt.
    a.set("stopped_at = utc_timestamp(6)").await;
    make_due(&a).await;
    round(&b, &of_b).await;
    assert_eq!(peer.asked().len(), 2);
    let page = b.get(&web).await;
    page.shows(&b.app.name());
    assert_eq!(page.text(".tag-standby .rank"), "standby");

    a.set("stopped_at = null, beat_at = utc_timestamp(6), beat_seq = beat_seq + 1")
        .await;
    make_due(&a).await;
    round(&b, &of_b).await;
    assert_eq!(peer.asked().len(), 2, "the primary is back");
    round(&a, &of_a).await;
    assert_eq!(peer.asked().len(), 3);
    b.get(&web).await.shows("primary");
}

#[tokio::test]
async fn whoever_has_just_come_to_look_does_not_believe_that_others_are_gone() {
    let a = TestConsole::start().await;
    let b = standby(&a).await;
    let peer = Hostile::start(works()).await;
    add(&a, "web", peer.port).await;
    // A limit of three seconds, so that the test need not wait for long.
    a.set("interval_s = 1, beat_at = utc_timestamp(6) - interval 1 hour")
        .await;
    let of_b = Monitor::default();
    let began = Instant::now();
    while peer.asked().is_empty() {
        round(&b, &of_b).await;
        assert!(began.elapsed() < Duration::from_secs(20), "it never took over");
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(states(&a).await, ["up"]);
}

#[tokio::test]
async fn a_server_without_a_heartbeat_looks_at_nothing() {
    let a = TestConsole::start().await;
    let peer = Hostile::start(works()).await;
    add(&a, "web", peer.port).await;
    let monitor = Monitor::default();
    let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(61)) else {
        panic!("this machine started just now");
    };
    a.app.beat_landed(long_ago, 30);
    round(&a, &monitor).await;
    assert_eq!(peer.asked().len(), 0);
    a.app.beat_landed(Instant::now(), 30);
    round(&a, &monitor).await;
    assert_eq!(peer.asked().len(), 1);
}

#[tokio::test]
async fn a_result_that_comes_after_the_asset_was_changed_is_dropped() {
    let a = TestConsole::start().await;
    let (gone, peer) = (free_port(), Hostile::start(works()).await);
    let web = add(&a, "web", gone).await;
    a.sql("update asset set retries = 0, state = 'up'").await;
    let monitor = Monitor::default();
    monitor.tick(&a.app).await.unwrap();
    let address = format!("http://127.0.0.1:{}", peer.port);
    let mut fields = machine("web", &address);
    fields.extend([
        ("row_version", "0"),
        ("cpu_limit", "0"),
        ("memory_limit", "0"),
        ("disk_limit", "0"),
    ]);
    assert_eq!(a.post(&web, &fields).await.header("location"), web);
    monitor.settle(&a.app).await.unwrap();
    assert_eq!(
        states(&a).await,
        ["up"],
        "that it is down was said of the former address"
    );
    let checked = "select count(*) from asset_watch where checked_at is not null";
    assert_eq!(a.count(checked).await, 0);
    round(&a, &monitor).await;
    assert_eq!(peer.asked().len(), 1);
}

#[tokio::test]
async fn when_more_than_half_fail_at_once_they_are_unknown_and_the_band_says_why() {
    let a = TestConsole::start().await;
    let gone = free_port();
    for name in ["1", "2", "3", "4", "5"] {
        add(&a, name, gone).await;
    }
    a.sql("update asset set state = 'up', retries = 0").await;
    let monitor = Monitor::default();
    round(&a, &monitor).await;
    assert_eq!(states(&a).await, ["unknown"; 5]);
    let page = a.get("/assets").await;
    page.shows("More than half of the assets that this server watches fail at once");
    page.shows("this does not count as down");
    assert_eq!(
        a.count("select count(*) from asset_event where state = 'down'").await,
        0
    );

    let peer = Hostile::start(works()).await;
    let address = format!("http://127.0.0.1:{}", peer.port);
    a.sql(&format!(
        "update asset set address = '{address}', settings = '{{\"address\":\"{address}\"}}'"
    ))
    .await;
    make_due(&a).await;
    round(&a, &monitor).await;
    assert_eq!(states(&a).await, ["up"; 5]);
    assert_eq!(a.get("/assets").await.count(".band[role=status]:not([hidden])"), 0);
}

#[tokio::test]
async fn a_changed_host_key_is_loud_and_counts_only_once_a_person_accepts_it() {
    let a = TestConsole::start().await;
    let key = Key::new("ed25519", "RFC4716", "");
    let first = Sshd::start(&["ed25519"]);
    first.authorize(&key, "");
    let (user, port) = (me(), first.port.to_string());
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
        ("disk_limit", "0"),
    ];
    let host = added(&a, &fields).await;
    let monitor = Monitor::default();
    round(&a, &monitor).await;
    let page = a.get(&host).await;
    assert_eq!(page.text(".subject .state"), "Up", "{}", page.text(".notice"));
    let known = first.host_key("ed25519");
    page.shows(&known);

    a.sql("update asset set pin = 'ssh-ed25519 SHA256:another'").await;
    make_due(&a).await;
    round(&a, &monitor).await;
    let page = a.get(&host).await;
    assert_eq!(page.text(".subject .state"), "Host key changed");
    page.shows("it was ssh-ed25519 SHA256:another");
    let shown = page.value("input[name=shown]");
    let accept = format!("{host}/host-key");
    let wrong = a.post(&accept, &[("shown", "ssh-ed25519 SHA256:yet another")]).await;
    wrong.shows("yet another key");
    assert_eq!(a.post(&accept, &[("shown", &shown)]).await.header("location"), host);
    round(&a, &monitor).await;
    let page = a.get(&host).await;
    assert_eq!(page.text(".subject .state"), "Up");
    page.shows(&known);
    a.get("/audit?action=asset_key").await.shows("SHA256:another");
}

#[tokio::test]
async fn one_message_tells_of_an_outage_and_one_of_its_end() {
    let a = TestConsole::start().await;
    let port = free_port();
    add(&a, "web", port).await;
    a.sql("insert into notice_channel (name, name_key, kind, target, settings) values ('x', 'x', 'mail', 'x', '{}')")
        .await;
    a.sql("update asset set retries = 0, state = 'up'").await;
    let monitor = Monitor::default();
    for _ in 0..3 {
        round(&a, &monitor).await;
        make_due(&a).await;
    }
    let events = || async {
        let sql = "select event from notice order by notice_id";
        let events: Vec<String> = a.conn().await.query(sql).await.unwrap();
        events
    };
    assert_eq!(events().await, ["down"]);
    a.sql("update notice set state = 'sent', ended_at = utc_timestamp(6)")
        .await;
    let exporter = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let answer = async {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = exporter.accept().await.unwrap();
        stream.write_all(&http("200 OK", "", METRICS)).await.unwrap();
        let _ = stream.read_u8().await;
    };
    tokio::join!(round(&a, &monitor), answer);
    assert_eq!(states(&a).await, ["up"]);
    assert_eq!(events().await, ["down", "up"]);
}

#[tokio::test]
async fn at_another_address_nothing_is_known_of_it() {
    let a = TestConsole::start().await;
    let peer = Hostile::start(works()).await;
    let web = add(&a, "web", peer.port).await;
    let monitor = Monitor::default();
    round(&a, &monitor).await;
    a.sql("update asset_watch set misses = 2").await;
    let known = "select count(*) from asset_watch where facts is not null or latencies <> '' or misses > 0";
    assert_eq!(a.count(known).await, 1);
    let address = format!("http://127.0.0.1:{}", free_port());
    let mut fields = machine("web", &address);
    fields.push(("row_version", "0"));
    assert_eq!(a.post(&web, &fields).await.header("location"), web);
    assert_eq!(a.count(known).await, 0);
    // What the former one had missed does not count.
    round(&a, &monitor).await;
    assert_eq!(states(&a).await, ["up"]);
}
