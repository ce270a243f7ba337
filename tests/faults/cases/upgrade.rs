//! Two versions of the program on one database, as during an upgrade.

use std::path::Path;
use std::time::{Duration, Instant};

use muster::db::migrations;

use crate::checker::LIMIT;
use crate::load::{Load, PAUSE};
use crate::previous;
use crate::server::{Server, this_one};
use crate::support::TestDatabase;
use crate::world::{Start, World};

/// A server is being replaced: nobody works on it meanwhile.
const REPLACED: Duration = Duration::from_secs(60);

/// Servers of the release before work under load while a new one migrates their database; then each is replaced.
pub(crate) async fn two_versions_side_by_side() -> Vec<String> {
    let previous = previous::program().unwrap();
    let start = Start {
        program: Some(previous.clone()),
        ..Start::default()
    };
    let database = TestDatabase::new().await.database;
    let mut world = World::on(&database, vec![start; 3]).await;
    let old = schema(&world).await;
    let load = Load::start(&world);
    world.wait(12).await;
    let mut newer = Server::new(&world.plain, "N0".to_owned()).await;
    newer.start();
    newer.ready().await;
    println!("the schema was number {old} and is number {}", schema(&world).await);
    // Long enough that an old one which the new schema keeps from beating would be shown offline.
    world.wait(2 * LIMIT.as_secs()).await;
    let mut wrong = load.judge(&world, PAUSE).await;
    if schema(&world).await != migrations::ALL.len().to_string() {
        wrong.push("the new server has not migrated".to_owned());
    }
    let load = Load::start(&world);
    for server in 0..3 {
        world.end(server).await;
        world.servers[server].program = this_one();
        world.start_again(server).await;
        world.wait(10).await;
    }
    wrong.extend(load.judge(&world, REPLACED).await);
    let sql = "select count(*) from cluster where beat_at > utc_timestamp(6) - interval 15 second";
    if world.ask(sql).await != "4" {
        wrong.push("not all of the new servers beat".to_owned());
    }
    if old != migrations::ALL.len().to_string() {
        wrong.extend(comes_too_late(&world, &previous).await);
    }
    wrong.extend(world.judge().await);
    wrong
}

async fn schema(world: &World) -> String {
    world.ask("select concat(max(version)) from migration").await
}

/// An old one that is started on the newer schema is refused with the reason, and leaves no trace.
async fn comes_too_late(world: &World, previous: &Path) -> Vec<String> {
    let trace = "select concat_ws('/', (select count(*) from cluster), (select count(*) from migration), \
                 (select count(*) from audit where action = 'cluster_register'), \
                 (select count(*) from information_schema.columns where table_schema = database()))";
    let before = world.ask(trace).await;
    let mut late = Server::new(&world.plain, "L0".to_owned()).await;
    previous.clone_into(&mut late.program);
    late.start();
    let end = Instant::now() + LIMIT;
    while late.runs() && Instant::now() < end {
        world.wait(1).await;
    }
    let (is_refused, said, after) = (!late.runs(), late.said(), world.ask(trace).await);
    let mut wrong = Vec::new();
    let is_clear = said.contains("is newer than this program knows") && said.contains("nothing was changed");
    if !is_refused || !is_clear {
        wrong.push(format!(
            "an old server on the newer schema is not refused with the reason: {said}"
        ));
    }
    if before != after {
        wrong.push(format!(
            "an old server that was refused has changed {before} to {after}"
        ));
    }
    wrong
}
