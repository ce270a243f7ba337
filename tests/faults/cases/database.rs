//! What happens to the database, and on the way to it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use muster::db::Db;
use muster::db::embedded::{Embedded, Options};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cases::processes::faketime;
use crate::checker::{BEAT, LIMIT};
use crate::galera::Galera;
use crate::history::Turn;
use crate::world::{Start, World};

const OPTIONS: Options = Options {
    tcp: true,
    durable: true,
};

/// One server is cut off from the database: nothing comes back, nothing is refused.
pub(crate) async fn partitioned() -> Vec<String> {
    let world = World::start(3).await;
    world.wait(12).await;
    world.servers[0].door.freeze(true);
    world.done(0, Turn::Cut);
    world.wait(2 * LIMIT.as_secs()).await;
    world.servers[0].door.freeze(false);
    world.done(0, Turn::Well);
    world.wait(20).await;
    world.judge().await
}

/// One server's connections are refused.
pub(crate) async fn refused() -> Vec<String> {
    let mut world = World::start(3).await;
    world.wait(12).await;
    world.servers[0].door.shut().await;
    world.done(0, Turn::Cut);
    world.wait(2 * LIMIT.as_secs()).await;
    let database = world.database.clone();
    world.servers[0].door.open(&database).await;
    world.done(0, Turn::Well);
    world.wait(20).await;
    world.judge().await
}

/// Two seconds a statement: pages take their time, and beats land.
pub(crate) async fn slow() -> Vec<String> {
    let mut world = World::start(3).await;
    world.allowed.slow = true;
    world.wait(12).await;
    world.servers[0].door.delay(Duration::from_secs(2));
    world.done(0, Turn::Strained);
    world.wait(6 * LIMIT.as_secs()).await;
    world.servers[0].door.delay(Duration::ZERO);
    world.done(0, Turn::Well);
    world.wait(15).await;
    world.judge().await
}

/// Connections that are dead without anybody being told, as behind a firewall that has forgotten them.
pub(crate) async fn half_open() -> Vec<String> {
    let world = World::start(3).await;
    world.wait(12).await;
    for _ in 0..2 {
        world.servers.iter().for_each(|server| server.door.forget());
        (0..3).for_each(|server| world.done(server, Turn::Strained));
        world.wait(20).await;
    }
    (0..3).for_each(|server| world.done(server, Turn::Well));
    world.wait(15).await;
    world.judge().await
}

/// A world on a database of its own, which may be harmed.
pub(crate) async fn own(dir: &TempDir) -> (Embedded, World) {
    let embedded = Embedded::start(&dir.path().join("mariadb"), OPTIONS).await.unwrap();
    let world = World::on(&embedded.database(), vec![Start::default(); 3]).await;
    (embedded, world)
}

/// The database is killed, and another process takes over what it left.
pub(crate) async fn killed_and_started_again() -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let (embedded, mut world) = own(&dir).await;
    world.allowed.unseen = true;
    world.wait(12).await;
    let pid = Pid::from_raw(embedded.pid().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    // It is waited for.
    embedded.stop().await;
    (0..3).for_each(|server| world.done(server, Turn::Cut));
    world.wait(8).await;
    let embedded = Embedded::start(&dir.path().join("mariadb"), OPTIONS).await.unwrap();
    world.moved_to(&embedded.database()).await;
    (0..3).for_each(|server| world.done(server, Turn::Well));
    world.wait(30).await;
    let wrong = world.judge().await;
    embedded.stop().await;
    wrong
}

/// Others have taken every connection; those that beat go on, and who starts meanwhile waits.
pub(crate) async fn without_a_free_connection() -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let (embedded, mut world) = own(&dir).await;
    world.wait(12).await;
    world.sql("set global max_connections = 40").await;
    world.kill(0);
    (1..3).for_each(|server| world.done(server, Turn::Strained));
    let mut greedy: Vec<Conn> = Vec::new();
    while let Ok(conn) = Db::new(&world.plain).own_conn().await {
        greedy.push(conn);
    }
    assert!(greedy.len() > 10, "{}", greedy.len());
    world.servers[0].start();
    world.wait(25).await;
    world.done(0, Turn::Open);
    drop(greedy);
    world.done(0, Turn::Open);
    world.servers[0].ready().await;
    (0..3).for_each(|server| world.done(server, Turn::Well));
    world.wait(20).await;
    let wrong = world.judge().await;
    embedded.stop().await;
    wrong
}

/// The database takes no writes for a while, as one that has become a replica.
pub(crate) async fn read_only() -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let (embedded, mut world) = own(&dir).await;
    world.allowed.unseen = true;
    world.wait(12).await;
    world.sql("set global read_only = 1").await;
    (0..3).for_each(|server| world.done(server, Turn::Cut));
    world.wait(2 * LIMIT.as_secs()).await;
    world.sql("set global read_only = 0").await;
    (0..3).for_each(|server| world.done(server, Turn::Well));
    world.wait(20).await;
    let wrong = world.judge().await;
    embedded.stop().await;
    wrong
}

/// Somebody holds the row of a server: it cannot beat, and hangs nowhere.
pub(crate) async fn row_locked() -> Vec<String> {
    let world = World::start(3).await;
    world.wait(12).await;
    let id = world.servers[0].install_id();
    let mut conn = world.conn().await;
    let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
    let sql = "select 1 from cluster where install_id = ? for update";
    tx.exec_drop(sql, (id,)).await.unwrap();
    world.done(0, Turn::Cut);
    world.wait(LIMIT.as_secs() + 8).await;
    tx.rollback().await.unwrap();
    world.done(0, Turn::Well);
    world.wait(20).await;
    world.judge().await
}

/// The database's clock is set on by an hour, and back by it.
pub(crate) async fn clock_set() -> Vec<String> {
    let dir = TempDir::new().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = dir.path().join("time");
    let set = |shift: &str| std::fs::write(&file, shift).unwrap();
    set("+0");
    let env = [
        ("LD_PRELOAD", faketime().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let single = Galera::of(1, &env).await;
    let mut world = World::on(&single.database(), vec![Start::default(); 3]).await;
    world.allowed.unseen = true;
    world.wait(12).await;
    let mut wrong = Vec::new();
    for shift in ["+1h", "+0"] {
        let before = world.now().await;
        set(shift);
        // Until its next beat nobody can know of a server what it did in that hour.
        (0..3).for_each(|server| world.done(server, Turn::Open));
        world.wait(BEAT + 3).await;
        (0..3).for_each(|server| world.done(server, Turn::Well));
        let moved = world.now().await.abs_diff(before);
        if !(3000..4200).contains(&moved) {
            wrong.push(format!("the clock was not set: {moved} s"));
        }
        // Whoever watches looks once a minute for what lies too far ahead.
        world.wait(80).await;
        let sql = "select count(*) from asset_watch where checked_at > utc_timestamp(6) - interval 12 second \
                   and checked_at < utc_timestamp(6) + interval 2 second";
        let seen: Option<u32> = world.conn().await.query_first(sql).await.unwrap();
        if seen != Some(4) {
            wrong.push(format!("after {shift} only {seen:?} of four assets are looked at"));
        }
    }
    wrong.extend(world.judge().await);
    wrong
}
