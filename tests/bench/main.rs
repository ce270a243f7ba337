//! How fast and how small: `./justw bench` measures with wrk on a private MariaDB, prints a table and writes JSON.
//!
//! `./justw bench watch` measures the watch over assets alone, `pages` the pages, `members` the roll, and `footprint` what the
//! program takes when nothing happens, over ten minutes instead of one.
//!
//! Ratios compare what ran minutes apart on the same machine; the goals are said to be met or not, and fail nothing.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop there")]

mod bare;
mod blackbox;
mod compare;
mod django;
mod footprint;
mod intervals;
mod load;
mod members;
mod pages;
mod peers;
mod process;
mod report;
mod rows;
mod sites;
mod tables;
mod watch;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster::app::App;
use muster::clusters::heartbeat::Heart;
use muster::config::Database;
use muster::db::embedded::{Embedded, Options};
use muster::serve::{Signals, allow_open_files};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::interval;

use django::Django;
use load::Load;
use report::{Goal, Report};
use sites::Sites;

const PATH: &str = "/clusters?size=50";
/// Busy and calm.
const CONNECTIONS: [u32; 2] = [32, 8];
/// The goals stand at 32 connections; two rounds even out what else the machine does.
const ROUNDS: [u32; 2] = [2, 1];

/// The program as it is shipped.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_muster");

#[tokio::main]
async fn main() {
    // `cargo test --all-targets` starts benchmarks too; only `cargo bench` says so.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let mut asked = Signals::new(false).unwrap();
    // The peers of the watched assets live in this process.
    allow_open_files();
    let dir = TempDir::new().unwrap();
    let embedded = Embedded::start(
        &dir.path().join("mariadb"),
        Options {
            tcp: true,
            durable: true,
        },
    )
    .await
    .unwrap();
    let pid = embedded.pid().unwrap();
    let measuring = tokio::spawn(measure(embedded.database(), pid, dir.path().to_owned()));
    let stop = measuring.abort_handle();
    let result = tokio::select! {
        result = measuring => result,
        _ = asked.recv() => {
            stop.abort();
            Ok(())
        }
    };
    embedded.stop().await;
    drop(dir);
    if let Err(error) = result {
        resume_unwind(error.into_panic());
    }
}

/// Everything between the start of the database and its stop.
async fn measure(database: Database, database_pid: u32, dir: PathBuf) {
    let mut report = Report::new(&database).await;
    let app = sites::register(&database, &dir.join("site")).await;
    tables::clusters(&app, 1_000).await;
    let asked: Vec<String> = std::env::args().collect();
    let is_wanted = |part: &str| {
        let parts = ["pages", "watch", "members", "footprint"];
        asked.iter().any(|word| word == part) || !asked.iter().any(|word| parts.contains(&word.as_str()))
    };
    if is_wanted("footprint") {
        let is_long = asked.iter().any(|word| word == "footprint");
        footprint::measure(&database, is_long, &dir, &mut report).await;
    }
    if is_wanted("pages") {
        site(&app, &database, &dir, &mut report).await;
    }
    if is_wanted("members") {
        members::measure(&database, database_pid, &dir, &mut report).await;
    }
    if is_wanted("watch") {
        watch::measure(&database, database_pid, &dir, &mut report).await;
    }
    app.db.clone().close().await;
    report.print();
    println!("\nwritten to {}", report.write().display());
}

/// The pages: the list of clusters more closely, then all of them, growing and beside their peers.
async fn site(app: &App, database: &Database, dir: &Path, report: &mut Report) {
    let sites = Sites::start(app).await;
    sites.check().await;
    let not_modified = sites.bytes_of_304().await;
    let heart = Arc::new(Mutex::new(Heart::new(app.clone())));
    let beating = tokio::spawn(beat(heart.clone()));
    for (connections, rounds) in CONNECTIONS.into_iter().zip(ROUNDS) {
        report.loads.extend(round(&sites, connections, rounds, dir).await);
    }
    let (_, site) = sites.addresses().find(|(name, _)| *name == sites::SITE).unwrap();
    report.growth = pages::measure(app, site).await;
    let django = Django::start(database).await;
    compare::check_django(&django).await;
    report.pages = compare::measure(app, &heart, site, &django, dir).await;
    django.stop().await;
    // Jumps leave lines in the trail.
    let more = pages::goals(app, site, &report.growth).await;
    sites.stop();
    beating.abort();
    tables::without_trail(app).await;
    report.goals.extend(speed(&report.loads));
    report
        .goals
        .push(Goal::below("unchanged answer (304)", not_modified, 300.0, "B"));
    report.goals.extend(compare::goals(&report.pages));
    report.goals.extend(more);
}

/// The measured server stays alive.
async fn beat(heart: Arc<Mutex<Heart>>) {
    let mut due = interval(Duration::from_secs(10));
    loop {
        due.tick().await;
        heart.lock().await.tick().await.unwrap();
    }
}

/// Every site under the same load, taking turns.
async fn round(sites: &Sites, connections: u32, rounds: u32, dir: &Path) -> Vec<Load> {
    let [same, own] = [false, true].map(|own_lists| {
        let path = dir.join(format!("own-lists-{own_lists}.lua"));
        std::fs::write(&path, load::script(own_lists)).unwrap();
        path
    });
    let (_, site) = sites.addresses().next().unwrap();
    let shared = sites.addresses().map(|(name, address)| (name, address, &same));
    let loads_wanted: Vec<_> = shared.chain([(sites::DISTINCT, site, &own)]).collect();
    let mut loads: Vec<Load> = Vec::new();
    for round in 0..rounds {
        for (name, address, script) in &loads_wanted {
            println!("wrk -c{connections} {name}, round {} of {rounds}", round + 1);
            let one = load::wrk(name, &format!("http://{address}{PATH}"), connections, script).await;
            match loads.iter_mut().find(|known| known.site == *name) {
                Some(known) => known.join(&one, round),
                None => loads.push(one),
            }
        }
    }
    loads
}

fn speed(loads: &[Load]) -> [Goal; 4] {
    let at_32 = |site: &str| {
        loads
            .iter()
            .find(|load| load.site == site && load.connections == 32)
            .unwrap()
    };
    let (site, floor, distinct) = (at_32(sites::SITE), at_32(sites::FLOOR), at_32(sites::DISTINCT));
    let (own, open) = (at_32(sites::SITE), at_32(sites::OPEN));
    [
        Goal::least("signed in / open", own.per_second / open.per_second, 0.85, "x"),
        Goal::least("distinct / floor", distinct.per_second / floor.per_second, 0.9, "x"),
        Goal::least("site", site.per_second, 4_000.0, "requests/s"),
        Goal::below("site, p99", site.p99_ms, 20.0, "ms"),
    ]
}
