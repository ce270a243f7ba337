//! What must not hold the watch over assets up: hosts that hang, results that cannot be written, a database that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use muster::assets::monitor::Monitor;
use muster::people::role::Role;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::door::Door;
use crate::hostile::{Hostile, Manner};
use crate::peers::until;
use crate::support::{TestConsole, TestDatabase, free_port};
use crate::watch::{add, make_due, round, states, works};

/// Accepts and says nothing, at every address of this machine. With the number of those who came.
async fn silent() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let count = came.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move { while stream.read_u8().await.is_ok() {} });
        }
    });
    (port, came)
}

/// Machines at these addresses, in the default group, that have a second to answer.
async fn add_many(console: &TestConsole, addresses: impl Iterator<Item = String>, is_slow: bool) {
    let rows: Vec<String> = addresses
        .enumerate()
        .map(|(n, address)| {
            format!("('machine', 'h{n}', 'h{n}', '{address}', 1, '{{\"address\":\"{address}\"}}', 1, 'down')")
        })
        .collect();
    let columns = "kind, name, name_key, address, group_id, settings, timeout_s, state";
    console
        .sql(&format!("insert into asset ({columns}) values {}", rows.join(", ")))
        .await;
    let slow = u8::from(is_slow);
    console
        .sql(&format!(
            "insert into asset_watch (asset_id, group_id, is_slow, misses) select asset_id, 1, {slow}, 9 from asset"
        ))
        .await;
}

/// Steps until somebody has asked the peer.
async fn step_until_asked(console: &TestConsole, monitor: &Monitor, peer: &Hostile) {
    let began = Instant::now();
    while peer.asked().is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the healthy one waits for those that hang"
        );
        monitor.tick(&console.app).await.unwrap();
    }
}

#[tokio::test]
async fn hosts_that_hang_delay_neither_the_others_nor_a_page() {
    let a = TestConsole::start().await;
    let (port, _) = silent().await;
    let addresses = (0..10_000).map(|n| format!("http://127.7.{}.{}:{port}", n / 250, n % 250 + 1));
    add_many(&a, addresses, true).await;
    let peer = Hostile::start(works()).await;
    add(&a, "healthy", peer.port).await;
    step_until_asked(&a, &Monitor::default(), &peer).await;
    let began = Instant::now();
    a.get("/assets?name=healthy").await.shows("healthy");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn hundreds_at_one_host_that_hangs_do_not_take_the_places_of_all_others() {
    let a = TestConsole::start().await;
    let (port, came) = silent().await;
    add_many(&a, (0..600).map(|_| format!("http://127.0.0.3:{port}")), false).await;
    let monitor = Monitor::default();
    monitor.tick(&a.app).await.unwrap();
    until(|| came.load(Ordering::Relaxed) > 0).await;
    let peer = Hostile::start(works()).await;
    add(&a, "healthy", peer.port).await;
    step_until_asked(&a, &monitor, &peer).await;
}

#[tokio::test]
async fn thousands_that_begin_to_hang_at_once_do_not_delay_the_others_by_more_than_an_interval() {
    let a = TestConsole::start().await;
    let (port, _) = silent().await;
    let addresses = (0..4_000).map(|n| format!("http://127.7.{}.{}:{port}", n / 250, n % 250 + 1));
    add_many(&a, addresses, false).await;
    a.sql("update asset_watch set due_at = utc_timestamp(6) - interval 1 minute")
        .await;
    a.sql("update asset set timeout_s = 5, state = 'up'").await;
    let peer = Hostile::start(works()).await;
    add(&a, "healthy", peer.port).await;
    let (monitor, began) = (Monitor::default(), Instant::now());
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    while peer.asked().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(25), "the healthy one waits");
        monitor.tick(&a.app).await.unwrap();
        beat.tick().await;
    }
}

#[tokio::test]
async fn what_found_no_place_at_its_host_is_due_again_soon() {
    let a = TestConsole::start().await;
    let (port, _) = silent().await;
    add_many(&a, (0..20).map(|_| format!("http://127.0.0.3:{port}")), false).await;
    a.sql("update asset_watch set interval_s = 3600").await;
    round(&a, &Monitor::default()).await;
    let soon = "select count(*) from asset_watch where due_at < utc_timestamp(6) + interval 6 second and claim = ''";
    // Those that looked found nobody in; they are down already, and come again at their own place.
    let soon = a.count(soon).await;
    assert!((12..=16).contains(&soon), "{soon}");
}

#[tokio::test]
async fn a_clock_of_the_database_that_is_set_back_stops_nothing() {
    let a = TestConsole::start().await;
    let peer = Hostile::start(works()).await;
    add(&a, "web", peer.port).await;
    let paused = add(&a, "paused", peer.port).await;
    let id = paused.trim_start_matches("/assets/");
    a.post("/assets/pauses", &[("asset", id), ("note", "move")]).await;
    a.sql("update asset_watch set due_at = due_at + interval 1 hour where due_at < '9999-01-01'")
        .await;
    round(&a, &Monitor::default()).await;
    assert_eq!(peer.asked().len(), 1, "and what is paused stays so");
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_dropped_alone() {
    let a = TestConsole::start().await;
    let (gone, peer) = (free_port(), Hostile::start(works()).await);
    add(&a, "odd", gone).await;
    add(&a, "good", peer.port).await;
    a.sql("update asset set retries = 0").await;
    a.sql("alter table asset_event modify reason varchar(5)").await;
    round(&a, &Monitor::default()).await;
    assert_eq!(states(&a).await, ["new", "up"]);
    assert_eq!(a.count("select count(*) from asset_event").await, 1);
}

#[tokio::test]
async fn what_fails_while_the_database_is_away_says_nothing_of_the_assets() {
    let real = TestDatabase::new().await.database;
    let (mut door, behind) = Door::to(&real, free_port());
    door.open(&real).await;
    let mut a = TestConsole::silent(&behind, None, &[]).await;
    a.heart.tick().await.unwrap();
    a.visitor = a.visitor("root", Role::SuperAdmin).await;
    let peer = Hostile::start(Manner::Hang).await;
    add(&a, "web", peer.port).await;
    a.sql("update asset set retries = 0, timeout_s = 1, state = 'up'").await;
    let monitor = Monitor::default();
    monitor.tick(&a.app).await.unwrap();
    until(|| !peer.asked().is_empty()).await;

    door.shut().await;
    assert!(monitor.tick(&a.app).await.is_err());
    door.open(&real).await;
    // It ends when the database is back, and yet began before.
    monitor.settle(&a.app).await.unwrap();
    assert_eq!(states(&a).await, ["up"]);
    assert_eq!(a.count("select misses from asset_watch").await, 0);

    make_due(&a).await;
    round(&a, &monitor).await;
    assert_eq!(states(&a).await, ["down"], "now it counts");
}

/// Five that answer, looked at just now; of them only the first is due.
async fn five_that_answered(console: &TestConsole, port: u16) -> Monitor {
    for name in ["1", "2", "3", "4", "5"] {
        add(console, name, port).await;
    }
    let monitor = Monitor::default();
    round(console, &monitor).await;
    assert_eq!(states(console).await, ["up"; 5]);
    console
        .sql("update asset_watch set due_at = utc_timestamp(6) + interval 20 second")
        .await;
    monitor
}

/// From now on these answer no more, and the first is looked at four times.
async fn lose(console: &TestConsole, monitor: &Monitor, which: &str) {
    let gone = format!("http://127.0.0.1:{}", free_port());
    let settings = format!(r#"{{"address":"{gone}"}}"#);
    console
        .sql(&format!(
            "update asset set address = '{gone}', settings = '{settings}' where {which}"
        ))
        .await;
    for _ in 0..4 {
        console
            .sql("update asset_watch set due_at = utc_timestamp(6) where asset_id = 1")
            .await;
        round(console, monitor).await;
    }
}

#[tokio::test]
async fn when_one_of_a_few_fails_the_others_are_looked_at_before_it_counts_as_down() {
    let a = TestConsole::start().await;
    let peer = Hostile::start(works()).await;
    let monitor = five_that_answered(&a, peer.port).await;
    lose(&a, &monitor, "true").await;
    assert_eq!(states(&a).await, ["unknown"; 5]);
    let downs = "select count(*) from asset_event where state = 'down'";
    assert_eq!(a.count(downs).await, 0);
}

#[tokio::test]
async fn one_of_a_few_that_is_really_down_has_the_others_looked_at_once() {
    let a = TestConsole::start().await;
    let peer = Hostile::start(works()).await;
    let monitor = five_that_answered(&a, peer.port).await;
    lose(&a, &monitor, "asset_id = 1").await;
    assert_eq!(states(&a).await, ["down", "up", "up", "up", "up"]);
    assert_eq!(peer.asked().len(), 5 + 4);
}
