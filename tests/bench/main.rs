//! How fast and how small: `./justw bench` measures with wrk on a private MariaDB, prints a table and writes JSON.
//!
//! `./justw bench watch` measures the watch over assets alone, `pages` the pages and `members` the roll.
//!
//! Ratios compare what ran minutes apart on the same machine; the goals are said to be met or not, and fail nothing.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop there")]

mod blackbox;
mod intervals;
mod load;
mod members;
mod pages;
mod peers;
mod process;
mod report;
mod rows;
mod sites;
mod watch;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use muster::app::App;
use muster::config::Database;
use muster::db::embedded::{Embedded, Options};
use muster::liveness;
use muster::serve::{Signals, allow_open_files};
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

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
    fill(&app).await;
    let asked: Vec<String> = std::env::args().collect();
    let is_wanted = |part: &str| {
        let parts = ["pages", "watch", "members"];
        asked.iter().any(|word| word == part) || !asked.iter().any(|word| parts.contains(&word.as_str()))
    };
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

/// The pages, and the program when nothing happens.
async fn site(app: &App, database: &Database, dir: &Path, report: &mut Report) {
    let sites = Sites::start(app).await;
    sites.check().await;
    let not_modified = sites.bytes_of_304().await;
    for (connections, rounds) in CONNECTIONS.into_iter().zip(ROUNDS) {
        report.loads.extend(round(&sites, connections, rounds, dir).await);
    }
    let pages = pages::measure(app, &sites).await;
    sites.stop();
    let data = dir.join("program");
    let (listening, ready_ms) = process::starts(database, &data).await;
    let idle = process::idle(database, &data).await;
    report.ready_ms = ready_ms;
    report.goals.extend(speed(&report.loads));
    report.goals.extend(pages);
    report.goals.extend([
        Goal::below("start to listening", listening, 100.0, "ms"),
        Goal::below("idle RSS", idle.rss_mib, 15.0, "MiB"),
        Goal::below("idle CPU", idle.cpu_percent, 0.2, "% of a core"),
        Goal::below("release binary", megabytes(Path::new(BINARY)), 15.0, "MB"),
        Goal::below("unchanged answer (304)", not_modified, 300.0, "B"),
    ]);
}

/// A thousand clusters: most of them alive, some in every other state. Hours between beats, so that no state changes
/// while it is measured.
async fn fill(app: &App) {
    let mut conn = app.db.conn().await.unwrap();
    conn.query_drop(
        "insert into cluster (install_id, cluster_id, name, address, host, version, boot_id, started_at, interval_s, \
         beat_at, beat_seq, online_since, stopped_at, modified_at, modified_by) \
         select md5(seq), concat('C', seq), concat('集群 ', lpad(seq * 7919 mod 1000, 4, '0')), \
         concat('http://10.0.', seq div 250, '.', seq mod 250, ':2122'), concat('host-', seq, '.example.net'), '0.1.0', \
         md5(-seq), utc_timestamp(6), 36000, \
         if(seq mod 20 = 1, null, utc_timestamp(6) - interval if(seq mod 20 = 2, 90000, seq) second), seq mod 20 <> 1, \
         utc_timestamp(6) - interval 2 day, if(seq mod 20 = 3, utc_timestamp(6), null), utc_timestamp(6), 'admin' \
         from seq_1_to_999",
    )
    .await
    .unwrap();
    // As after the trail has told all of them; the first look at a thousand clusters is not the idle state.
    conn.query_drop(format!("update cluster set told_state = {}", liveness::STATE))
        .await
        .unwrap();
    conn.query_drop("analyze table cluster").await.unwrap();
    let count: u64 = conn.query_first("select count(*) from cluster").await.unwrap().unwrap();
    assert_eq!(count, 1_000, "999 rows and the measured server's own");
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

fn megabytes(path: &Path) -> f64 {
    std::fs::metadata(path).unwrap().len() as f64 / 1e6
}
