//! The watch by real servers: who takes over when one is killed, and that nothing is looked at twice.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster::config::Database;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use crate::hostile::{Hostile, Manner, http};
use crate::processes::Process;
use crate::support::{TestDatabase, free_port, url};

/// Longest any of these conditions may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const METRICS: &str = "node_boot_time_seconds 1\nnode_time_seconds 100\n";

async fn server(data: Option<TempDir>, database: &Database, cluster_id: &str) -> Process {
    let heart = [("JPOM_CLUSTER_HEART_SECOND", "5".to_owned())];
    let process = Process::spawn_in(data, Some(database), cluster_id, &heart);
    process.until("/readyz", "ready").await;
    process
}

/// Waits until the asset was checked by that server after now.
async fn checked_by(conn: &mut Conn, install_id: &str) {
    let now: String = conn
        .query_first("select cast(utc_timestamp(6) as char)")
        .await
        .unwrap()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    let sql = "select count(*) from asset_watch where checked_by = ? and checked_at > ?";
    while conn.exec_first::<u64, _, _>(sql, (install_id, &now)).await.unwrap() != Some(1) {
        assert!(Instant::now() < end, "never checked by {install_id}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_killed_server_is_stood_in_for_within_its_limit_and_gets_its_assets_back() {
    let database = TestDatabase::new().await.database;
    let a = server(None, &database, "A").await;
    let b = server(None, &database, "B").await;
    let (id_of_a, id_of_b) = (a.install_id(), b.install_id());
    let mut conn = muster::db::Db::new(&database).own_conn().await.unwrap();
    let metrics = http("200 OK", "Content-Type: text/plain\r\n", METRICS);
    let peer = Hostile::start(Manner::Answer(metrics)).await;
    let standby = "insert into cluster_group (group_id, install_id, position) values (1, ?, 2)";
    conn.exec_drop(standby, (&id_of_b,)).await.unwrap();
    let address = format!("http://127.0.0.1:{}", peer.port);
    let asset = format!(
        "insert into asset (kind, name, name_key, address, group_id, settings) values \
         ('machine', 'web', 'web', '{address}', 1, '{{\"address\":\"{address}\"}}')"
    );
    conn.query_drop(asset).await.unwrap();
    conn.query_drop("insert into asset_watch (asset_id, group_id, interval_s) select asset_id, 1, 5 from asset")
        .await
        .unwrap();
    checked_by(&mut conn, &id_of_a).await;
    checked_by(&mut conn, &id_of_a).await;

    let data = a.killed();
    let killed = Instant::now();
    checked_by(&mut conn, &id_of_b).await;
    // Fifteen seconds without a beat, and one interval of the asset.
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());

    let a = server(Some(data), &database, "A").await;
    assert_eq!(a.install_id(), id_of_a);
    checked_by(&mut conn, &id_of_a).await;
    let asked = peer.asked().len();
    for _ in 0..3 {
        checked_by(&mut conn, &id_of_a).await;
    }
    let looks = peer.asked().len() - asked;
    assert!((3..=4).contains(&looks), "{looks} looks in three intervals");
    let state: Option<String> = conn.query_first("select state from asset").await.unwrap();
    assert_eq!(state.as_deref(), Some("up"), "no outage was made up");
    let events: Option<u64> = conn.query_first("select count(*) from asset_event").await.unwrap();
    assert_eq!(events, Some(1));
}

/// Ends with the test, however it ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Hundreds of checks and the browsers need more files than the 1,024 that a service is allowed at first.
#[tokio::test]
async fn a_server_takes_the_open_files_that_it_may() {
    let database = TestDatabase::new().await.database;
    let data = TempDir::new().unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -Sn 250 && exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_muster"),
    ]);
    command
        .args(["serve", "--port", &free_port().to_string(), "--data"])
        .arg(data.path());
    command.env("JPOM_DB_URL", url(&database)).env("JPOM_CLUSTER_ID", "A");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Ended(command.spawn().unwrap());
    let end = Instant::now() + PATIENCE;
    loop {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.0.id())).unwrap();
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .unwrap();
        let [soft, hard]: [u64; 2] = [0, 1].map(|at| {
            let number = line.split_whitespace().nth(at).unwrap();
            number.parse().unwrap_or(u64::MAX)
        });
        // The shell has not narrowed it yet, or has not become the server.
        let program = std::fs::read_link(format!("/proc/{}/exe", server.0.id())).unwrap();
        if program.ends_with("muster") && soft == hard.min(65_536) {
            return assert!(soft > 250, "{line}");
        }
        assert!(Instant::now() < end, "{line}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
