//! Faults, on real servers: `./justw faults` makes them all, `./justw test` a few.
//!
//! Names choose some of them; `--soak MINUTES` mixes faults at random, `--seed N` repeats such a run. Each case leaves a
//! history, and a checker says whether it keeps what must always hold.

#![expect(clippy::unwrap_used, reason = "a case that cannot go on should stop there")]

mod cases;
mod checker;
mod door;
mod galera;
mod history;
mod load;
mod previous;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/scan.rs"]
mod scan;
mod server;
mod soak;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/page.rs"]
mod page;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/support.rs"]
mod support;
mod trials;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cases::Case;
use mysql_async::prelude::Queryable;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Cases at the same time; each has three servers.
const AT_ONCE: usize = 4;

#[derive(Serialize)]
struct Ended {
    name: &'static str,
    took: Duration,
    wrong: Vec<String>,
    /// Why it was not run; it then says nothing of whether anything holds.
    not_run: Option<String>,
}

#[tokio::main]
async fn main() {
    trials::prove();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    let ended = match after("--soak") {
        Some(minutes) => vec![soak::run(minutes, after("--seed")).await],
        None => {
            let (cases, mut lacking) = prepared(chosen(&words));
            let mut ended = run(cases).await;
            ended.append(&mut lacking);
            ended
        }
    };
    print(&ended);
    println!("\n{}", write(&ended).await.display());
    let is_well = ended.iter().all(|case| case.wrong.is_empty()) && ended.iter().any(|case| case.not_run.is_none());
    std::process::exit(i32::from(!is_well));
}

fn chosen(words: &[String]) -> Vec<Case> {
    let is_all = words.iter().any(|word| word == "--all");
    let names: Vec<&String> = words.iter().filter(|word| !word.starts_with("--")).collect();
    let wanted = |case: &Case| match names.is_empty() {
        true => is_all || case.is_short,
        false => names.iter().any(|name| case.name.contains(name.as_str())),
    };
    cases::all().into_iter().filter(wanted).collect()
}

/// Those that can be run here, and those that cannot; what they need is built before others measure time.
fn prepared(cases: Vec<Case>) -> (Vec<Case>, Vec<Ended>) {
    let (mut able, mut lacking) = (Vec::new(), Vec::new());
    for case in cases {
        match (case.needs)() {
            Ok(()) => able.push(case),
            Err(why) => lacking.push(Ended {
                name: case.name,
                took: Duration::ZERO,
                wrong: Vec::new(),
                not_run: Some(why),
            }),
        }
    }
    (able, lacking)
}

async fn run(cases: Vec<Case>) -> Vec<Ended> {
    let (places, mut running) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for case in cases {
        let places = places.clone();
        running.spawn(async move {
            let count = if case.is_alone { AT_ONCE } else { 1 };
            let _place = places.acquire_many_owned(count as u32).await.unwrap();
            let began = Instant::now();
            // In a task of its own: one that cannot go on is one that failed.
            let wrong = match tokio::spawn((case.run)()).await {
                Ok(wrong) => wrong,
                Err(error) => vec![error.to_string()],
            };
            Ended {
                name: case.name,
                took: began.elapsed(),
                wrong,
                not_run: None,
            }
        });
    }
    let mut ended = Vec::new();
    while let Some(case) = running.join_next().await {
        ended.push(case.unwrap());
    }
    ended.sort_by_key(|case| case.name);
    ended
}

fn print(ended: &[Ended]) {
    println!();
    for case in ended {
        let said = match &case.not_run {
            Some(why) => format!("not run: {why}"),
            None if case.wrong.is_empty() => "held".to_owned(),
            None => "BROKEN".to_owned(),
        };
        println!("{:<45} {:>6.1} s  {said}", case.name, case.took.as_secs_f64());
        for what in &case.wrong {
            println!("    {what}");
        }
    }
}

/// Beside the build's own directories.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_muster"))
        .ancestors()
        .nth(2)
        .unwrap()
        .join("faults");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Into `faults/<seconds>.json`.
async fn write(ended: &[Ended]) -> PathBuf {
    let mut conn = support::TestDatabase::admin().await;
    let now: u64 = conn.query_first("select unix_timestamp()").await.unwrap().unwrap();
    let path = folder().join(format!("{now}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(ended).unwrap()).unwrap();
    path
}
