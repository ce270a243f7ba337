//! Who is who: copies, old rows, lost rows, and five who come at once.

use std::time::Duration;

use muster::db::{Db, migrations};
use mysql_async::prelude::Queryable;

use crate::checker::{BEAT, LIMIT};
use crate::history::Turn;
use crate::server::Server;
use crate::support::TestDatabase;
use crate::world::World;

/// A copy of a server's directory is started beside it, as of a machine that was copied; then the first one dies.
pub(crate) async fn copied_and_started_twice() -> Vec<String> {
    let mut world = World::start(2).await;
    world.wait(12).await;
    let mut twin = Server::new(&world.plain, "S0".to_owned()).await;
    twin.data = world.servers[0].copied();
    twin.start();
    world.wait(2 * LIMIT.as_secs()).await;
    let mut wrong = Vec::new();
    if !twin
        .said()
        .contains(&world.servers[0].data.path().display().to_string())
    {
        wrong.push(format!("the copy does not say whose copy it is: {}", twin.said()));
    }
    // Now it may have the row; the log says when it took it.
    world.kill(0);
    world.wait(LIMIT.as_secs() - 5).await;
    world.done(0, Turn::Open);
    twin.ready().await;
    world.done(0, Turn::Well);
    world.wait(20).await;
    wrong.extend(world.judge().await);
    wrong
}

/// Somebody brings back the table of clusters as it was, under running servers and after one was started again.
pub(crate) async fn old_rows_restored() -> Vec<String> {
    let mut world = World::start(3).await;
    world.allowed.old_boots = true;
    world.wait(8).await;
    world.sql("create table kept as select * from cluster").await;
    world.wait(8).await;
    world.end(0).await;
    world.start_again(0).await;
    world.wait(8).await;
    (0..3).for_each(|server| world.done(server, Turn::Open));
    world
        .sql(
            "update cluster c join kept k on k.install_id = c.install_id set c.boot_id = k.boot_id, \
             c.beat_at = k.beat_at, c.beat_seq = k.beat_seq, c.stopped_at = k.stopped_at, c.pid = k.pid",
        )
        .await;
    world.wait(BEAT + 3).await;
    (1..3).for_each(|server| world.done(server, Turn::Well));
    // The one that was started again finds an old holder in its row, and waits until that is past its limit.
    world.wait(2 * LIMIT.as_secs() + 5).await;
    (0..3).for_each(|server| world.done(server, Turn::Well));
    world.wait(15).await;
    world.judge().await
}

/// The row of a living server is deleted by hand: it stops, another takes over, and a restart registers it anew.
pub(crate) async fn row_deleted() -> Vec<String> {
    let mut world = World::start(3).await;
    world.wait(12).await;
    let mut conn = world.conn().await;
    conn.query_drop("set foreign_key_checks = 0").await.unwrap();
    let id = world.servers[0].install_id();
    conn.exec_drop("delete from cluster where install_id = ?", (&id,))
        .await
        .unwrap();
    world.done(0, Turn::Cut);
    world.wait(25).await;
    let rows: Option<u32> = conn
        .exec_first("select count(*) from cluster where install_id = ?", (&id,))
        .await
        .unwrap();
    let mut wrong = Vec::new();
    if rows != Some(0) {
        wrong.push("a deleted server has put itself back".to_owned());
    }
    world.kill(0);
    world.start_again(0).await;
    world.wait(15).await;
    wrong.extend(world.judge().await);
    wrong
}

/// Five servers start at once on an empty database, and whichever is making the tables is killed.
pub(crate) async fn five_first_starts_with_a_killed_migration() -> Vec<String> {
    let database = TestDatabase::new().await.database;
    let mut servers = Vec::new();
    for number in 0..5 {
        servers.push(Server::new(&database, format!("S{number}")).await);
    }
    servers.iter_mut().for_each(Server::start);
    let mut conn = Db::new(&database).own_conn().await.unwrap();
    let done = "select count(*) from information_schema.tables where table_schema = database()";
    // Several times: whoever comes next goes on where it was broken off.
    for few in [2_u32, 8, 15] {
        while conn.query_first::<u32, _>(done).await.unwrap().unwrap_or(0) < few {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        servers.iter_mut().take(3).for_each(Server::kill);
        servers.iter_mut().take(3).for_each(Server::start);
    }
    for server in &servers {
        server.ready().await;
    }
    let (clusters, migrated, groups): (u32, usize, u32) = conn
        .query_first("select (select count(*) from cluster), (select count(*) from migration), (select count(*) from cluster_group)")
        .await
        .unwrap()
        .unwrap();
    let mut wrong = Vec::new();
    if (clusters, migrated, groups) != (5, migrations::ALL.len(), 1) {
        wrong.push(format!("{clusters} clusters, {migrated} migrations, {groups} bindings"));
    }
    wrong.extend(
        servers
            .iter()
            .filter(|server| server.said().contains("panicked"))
            .map(Server::said),
    );
    wrong
}
