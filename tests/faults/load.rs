//! People who work all the while, and whether what they were told is true.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::server::post;
use crate::world::World;

/// Longest that no edit is taken, whatever node dies.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// Of the next group, whoever adds it.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// People who add groups through each server, and what they were told.
pub(crate) struct Load {
    confirmed: Arc<Mutex<Vec<String>>>,
    /// For each server the longest time between two edits that were taken.
    pauses: Vec<Arc<Mutex<(Instant, Duration)>>>,
    people: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(world: &World) -> Load {
        let confirmed = Arc::<Mutex<Vec<String>>>::default();
        let mut load = Load {
            confirmed: confirmed.clone(),
            pauses: Vec::new(),
            people: JoinSet::new(),
        };
        for server in &world.servers {
            let pause = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
            load.pauses.push(pause.clone());
            let (port, confirmed) = (server.port, confirmed.clone());
            load.people.spawn(async move {
                loop {
                    let name = format!("g{}", NUMBER.fetch_add(1, Ordering::Relaxed));
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
    pub(crate) async fn judge(mut self, world: &World, most: Duration) -> Vec<String> {
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
            if longest > most {
                wrong.push(format!("server {server} took no edit for {longest:?}"));
            }
        }
        wrong
    }
}
