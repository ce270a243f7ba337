//! Nodes of a Galera cluster that die and hang under load: the servers go on with another one.

use rustix::process::Signal;

use crate::galera::Galera;
use crate::history::Turn;
use crate::load::{Load, PAUSE};
use crate::server::Server;
use crate::world::{Start, World, turned};

/// Each of three nodes is killed under load, one after the other, and comes back.
pub(crate) async fn nodes_killed() -> Vec<String> {
    let mut galera = Galera::start().await;
    let world = World::on(&galera.database(), vec![Start::default(); 3]).await;
    (0..3).for_each(|server| world.done(server, Turn::Strained));
    let load = Load::start(&world);
    world.wait(12).await;
    for node in 0..3 {
        galera.kill(node);
        world.wait(12).await;
        galera.run(node).await;
        world.wait(15).await;
    }
    let mut wrong = load.judge(&world, PAUSE).await;
    wrong.extend(world.judge().await);
    wrong
}

/// Three servers that start at once on an empty database, each at a node of its own, and go on like that under load: locks
/// of one node mean nothing to the others.
pub(crate) async fn each_at_its_own_node() -> Vec<String> {
    let galera = Galera::start().await;
    let database = galera.database();
    let mut first = Vec::new();
    for number in 0..3 {
        let mut server = Server::new(&turned(&database, number), format!("F{number}")).await;
        server.start();
        first.push(server);
    }
    let mut wrong = Vec::new();
    for server in &mut first {
        server.ready().await;
        if server.said().contains("panicked") {
            wrong.push(server.said());
        }
        server.end().await;
    }
    let sql = "delete from cluster_group; delete from workspace; delete from cluster";
    galera.sql(sql).await;
    let start = |first_node| Start {
        first_node,
        ..Start::default()
    };
    let world = World::on(&database, (0..3).map(start).collect()).await;
    (0..3).for_each(|server| world.done(server, Turn::Strained));
    let load = Load::start(&world);
    world.wait(45).await;
    wrong.extend(load.judge(&world, PAUSE).await);
    wrong.extend(world.judge().await);
    wrong
}

/// The node that is used hangs, and wakes up.
pub(crate) async fn node_frozen() -> Vec<String> {
    let galera = Galera::start().await;
    let world = World::on(&galera.database(), vec![Start::default(); 3]).await;
    (0..3).for_each(|server| world.done(server, Turn::Strained));
    let load = Load::start(&world);
    world.wait(12).await;
    galera.signal(0, Signal::STOP);
    world.wait(25).await;
    galera.signal(0, Signal::CONT);
    world.wait(30).await;
    let mut wrong = load.judge(&world, PAUSE).await;
    wrong.extend(world.judge().await);
    wrong
}
