//! Nodes of a Galera cluster that die and hang under load: the servers go on with another one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::galera::Galera;
use crate::history::Turn;
use crate::server::{Server, post};
use crate::world::{Start, World, turned};

/// Longest that no edit is taken, whatever node dies.
const PAUSE: Duration = Duration::from_secs(5);

/// People who add groups through each server, and what they were told.
struct Load {
    confirmed: Arc<Mutex<Vec<String>>>,
    /// For each server the longest time between two edits that were taken.
    pauses: Vec<Arc<Mutex<(Instant, Duration)>>>,
    people: JoinSet<()>,
}

impl Load {
    fn start(world: &World) -> Load {
        let (confirmed, number) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicUsize::new(0)));
        let mut load = Load {
            confirmed: confirmed.clone(),
            pauses: Vec::new(),
            people: JoinSet::new(),
        };
        for server in &world.servers {
            let pause = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
            load.pauses.push(pause.clone());
            let (port, confirmed, number) = (server.port, confirmed.clone(), number.clone());
            load.people.spawn(async move {
                loop {
                    let name = format!("g{}", number.fetch_add(1, Ordering::Relaxed));
                    let answer = post(port, "/groups", &format!("name={name}")).await.unwrap_or_default();
                    if answer.starts_with("HTTP/1.1 303") {
                        confirmed.lock().unwrap().push(name);
                        let mut pause = pause.lock().unwrap();
                        *pause = (Instant::now(), pause.1.max(pause.0.elapsed()));
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            });
        }
        load
    }

    /// What was wrong: edits that were confirmed and are lost, and pauses that were too long.
    async fn judge(mut self, world: &World) -> Vec<String> {
        self.people.shutdown().await;
        let there: Vec<String> = world.conn().await.query("select name from asset_group").await.unwrap();
        let there: HashSet<String> = there.into_iter().collect();
        let confirmed = self.confirmed.lock().unwrap();
        let lost: Vec<&String> = confirmed.iter().filter(|name| !there.contains(*name)).collect();
        let mut wrong = Vec::new();
        println!("{} edits were confirmed", confirmed.len());
        if !lost.is_empty() || confirmed.len() < 100 {
            wrong.push(format!("of {} confirmed edits are lost: {lost:?}", confirmed.len()));
        }
        for (server, pause) in self.pauses.iter().enumerate() {
            let (last, longest) = *pause.lock().unwrap();
            let longest = longest.max(last.elapsed());
            println!("server {server} took no edit for {longest:?} at most");
            if longest > PAUSE {
                wrong.push(format!("server {server} took no edit for {longest:?}"));
            }
        }
        wrong
    }
}

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
    let mut wrong = load.judge(&world).await;
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
    wrong.extend(load.judge(&world).await);
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
    let mut wrong = load.judge(&world).await;
    wrong.extend(world.judge().await);
    wrong
}
