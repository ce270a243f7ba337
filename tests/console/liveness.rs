//! Who is alive: the states of design 3 and the invariants that exist so far.

use muster::app::Standing;
use muster::liveness::STATE;
use muster::people::Role;
use mysql_async::prelude::Queryable;

use crate::support::{TestConsole, TestDatabase};

#[tokio::test]
async fn a_server_that_starts_is_on_the_list_and_online() {
    let a = TestConsole::start().await;
    assert_eq!(a.state_of(a.id()).await, "Online");
    assert_eq!(*a.app.standing.borrow(), Standing::Working);
}

#[tokio::test]
async fn two_servers_on_one_database_see_each_other() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    for viewer in [&a, &b] {
        assert_eq!(
            (viewer.state_of(a.id()).await, viewer.state_of(b.id()).await),
            ("Online".into(), "Online".into())
        );
    }
}

/// The exact edges, with the database's clock held still.
#[tokio::test]
async fn each_state_begins_to_the_microsecond_where_the_rule_says() {
    let a = TestConsole::start().await;
    let mut conn = a.conn().await;
    conn.query_drop("set timestamp = 1800000000").await.unwrap();
    let edges: [(u32, i64, &str); 9] = [
        (30, 0, "online"),
        (30, 46_000_000, "online"),
        (30, 46_000_001, "late"),
        (30, 90_000_000, "late"),
        (30, 90_000_001, "offline"),
        (5, 8_500_000, "online"),
        (5, 8_500_001, "late"),
        (5, 15_000_001, "offline"),
        (30, -1_000_001, "late"),
    ];
    for (interval, age, expected) in edges {
        let sql = "update cluster set interval_s = ?, beat_at = utc_timestamp(6) - interval ? microsecond";
        conn.exec_drop(sql, (interval, age)).await.unwrap();
        let state: String = conn
            .query_first(format!("select {STATE} from cluster"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(state, expected, "interval {interval} s, age {age} µs");
    }
}

#[tokio::test]
async fn a_reader_judges_by_the_writers_interval_not_its_own() {
    let a = TestConsole::start().await;
    let mut slow = TestConsole::silent(&a.database, None, &[("JPOM_CLUSTER_HEART_SECOND", "3600")]).await;
    slow.heart.tick().await.unwrap();
    slow.age(3000.0).await;
    assert_eq!(a.state_of(slow.id()).await, "Online");
}

#[tokio::test]
async fn a_silent_server_is_late_then_offline_on_every_server_and_back_with_its_next_beat() {
    let mut a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.age(60.0).await;
    assert_eq!(
        (a.state_of(a.id()).await, b.state_of(a.id()).await),
        ("Late".into(), "Late".into())
    );
    a.age(60.0).await;
    assert_eq!(
        (a.state_of(a.id()).await, b.state_of(a.id()).await),
        ("Offline".into(), "Offline".into())
    );
    a.heart.tick().await.unwrap();
    assert_eq!(
        (a.state_of(a.id()).await, b.state_of(a.id()).await),
        ("Online".into(), "Online".into())
    );
}

#[tokio::test]
async fn online_since_starts_anew_only_after_an_outage() {
    let mut a = TestConsole::start().await;
    let since = async |a: &TestConsole| -> String {
        let sql = "select cast(online_since as char) from cluster";
        a.conn().await.query_first(sql).await.unwrap().unwrap()
    };
    let first = since(&a).await;
    a.age(60.0).await;
    a.heart.tick().await.unwrap();
    assert_eq!(since(&a).await, first);
    a.age(91.0).await;
    a.heart.tick().await.unwrap();
    assert_ne!(since(&a).await, first);
}

#[tokio::test]
async fn a_clean_stop_is_seen_at_once_and_a_restart_too() {
    let mut a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.heart.last_word().await;
    assert_eq!(b.state_of(a.id()).await, "Stopped");
    let (database, data) = (a.database.clone(), a.data);
    drop((a.heart, a.client, a.app));
    let mut again = TestConsole::silent(&database, Some(data), &[]).await;
    again.heart.tick().await.unwrap();
    assert_eq!(b.state_of(again.id()).await, "Online");
}

#[tokio::test]
async fn a_row_without_a_beat_says_so() {
    let a = TestConsole::start().await;
    a.set("beat_seq = 0, beat_at = null").await;
    assert_eq!(a.state_of(a.id()).await, "No heartbeat yet");
}

#[tokio::test]
async fn restarting_one_server_changes_nothing_of_another() {
    let a = TestConsole::start().await;
    let mut b = TestConsole::beside(&a).await;
    let row = async || -> String {
        let sql = "select concat_ws('|', boot_id, beat_seq, beat_at, name, started_at, row_version) from cluster where install_id = ?";
        a.conn().await.exec_first(sql, (a.id(),)).await.unwrap().unwrap()
    };
    let before = row().await;
    b.heart.last_word().await;
    let (database, data) = (b.database.clone(), b.data);
    drop((b.heart, b.client, b.app));
    TestConsole::silent(&database, Some(data), &[])
        .await
        .heart
        .tick()
        .await
        .unwrap();
    assert_eq!(row().await, before);
}

#[tokio::test]
async fn beats_do_not_count_as_changes_by_people() {
    let mut a = TestConsole::start().await;
    a.heart.tick().await.unwrap();
    let (modified, version): (Option<String>, u32) = a
        .conn()
        .await
        .query_first("select cast(modified_at as char), row_version from cluster")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((modified, version), (None, 0));
}

#[tokio::test]
async fn a_server_whose_beats_do_not_land_says_so_on_its_own_pages() {
    let a = TestConsole::start().await;
    assert!(a.get("/clusters").await.count("main > .band:not([hidden])") == 0);
    // The offline limit of 90 s less one interval of 30 s.
    let now = std::time::Instant::now();
    a.app.beat_landed(now - std::time::Duration::from_secs(60), 30);
    assert_eq!(a.app.fenced(now), None);
    a.app.beat_landed(now - std::time::Duration::from_secs(61), 30);
    assert!(a.app.fenced(now).is_some());
    let page = a.get("/clusters").await;
    assert!(
        page.text("main > .band:not([hidden])").contains("61"),
        "{}",
        page.text("main > .band")
    );
}

#[tokio::test]
async fn a_removed_server_stops_says_by_whom_and_is_not_put_back() {
    let mut a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.set("removed_at = utc_timestamp(6), removed_by = 'lin'").await;
    a.heart.tick().await.unwrap();
    assert!(matches!(&*a.app.standing.borrow(), Standing::Removed { by, .. } if by == "lin"));
    let page = a.get("/clusters").await;
    assert_eq!(page.status, 503);
    page.shows("lin");
    a.heart.tick().await.unwrap();
    assert_eq!(b.hx_get("/clusters").await.count("tbody tr"), 1);
    // Nor does a restart bring it back.
    let (database, data) = (a.database.clone(), a.data);
    drop((a.heart, a.client, a.app));
    let mut again = TestConsole::silent(&database, Some(data), &[]).await;
    again.heart.tick().await.unwrap();
    assert!(matches!(&*again.app.standing.borrow(), Standing::Removed { .. }));
    assert_eq!(b.hx_get("/clusters").await.count("tbody tr"), 1);
}

#[tokio::test]
async fn a_row_deleted_by_hand_stops_the_server_and_only_a_restart_registers_anew() {
    let mut a = TestConsole::start().await;
    a.conn().await.query_drop("delete from cluster").await.unwrap();
    a.heart.tick().await.unwrap();
    a.heart.tick().await.unwrap();
    let rows = async |a: &TestConsole| -> u64 {
        a.conn()
            .await
            .query_first("select count(*) from cluster")
            .await
            .unwrap()
            .unwrap()
    };
    assert_eq!(rows(&a).await, 0);
    assert_eq!(a.get("/clusters").await.status, 503);
    let (database, data) = (a.database.clone(), a.data);
    drop((a.heart, a.client, a.app));
    let mut again = TestConsole::silent(&database, Some(data), &[]).await;
    again.heart.tick().await.unwrap();
    assert_eq!(rows(&again).await, 1);
}

#[tokio::test]
async fn five_servers_started_at_once_on_an_empty_database_all_come_up_and_each_migration_ran_once() {
    let database = TestDatabase::new().await;
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..5 {
        let database = database.database.clone();
        starts.spawn(async move {
            let id = format!("S{number}");
            let mut server = TestConsole::silent(&database, None, &[("JPOM_CLUSTER_ID", &id)]).await;
            server.heart.tick().await.unwrap();
            server
        });
    }
    let servers: Vec<TestConsole> = starts.join_all().await;
    let visitor = servers[0].visitor("root", Role::SuperAdmin).await;
    for mut server in servers {
        server.visitor = visitor.clone();
        assert_eq!(server.state_of(server.id()).await, "Online");
    }
    let versions: Vec<u32> = database
        .conn()
        .await
        .query("select version from migration order by version")
        .await
        .unwrap();
    let expected: Vec<u32> = (1..=u32::try_from(muster::db::migrations::ALL.len()).unwrap()).collect();
    assert_eq!(versions, expected);
}
