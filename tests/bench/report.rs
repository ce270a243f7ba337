//! The numbers with the machine they come from, as a table and as JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster::config::Database;
use muster::db::Db;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::BINARY;
use crate::load::Load;

/// A number and the limit it should keep.
pub(crate) struct Goal {
    name: &'static str,
    value: f64,
    limit: f64,
    unit: &'static str,
    is_met: bool,
    sign: &'static str,
}

impl Goal {
    pub(crate) fn least(name: &'static str, value: f64, limit: f64, unit: &'static str) -> Goal {
        Goal {
            name,
            value,
            limit,
            unit,
            is_met: value >= limit,
            sign: ">=",
        }
    }

    pub(crate) fn below(name: &'static str, value: f64, limit: f64, unit: &'static str) -> Goal {
        Goal {
            name,
            value,
            limit,
            unit,
            is_met: value < limit,
            sign: "<",
        }
    }
}

pub(crate) struct Report {
    /// Unix time by the database's clock.
    started: u64,
    machine: Vec<(&'static str, String)>,
    pub(crate) loads: Vec<Load>,
    /// Milliseconds from the start of the program to its first list; no goal stands on it.
    pub(crate) ready_ms: f64,
    /// Other numbers without a goal: name, value, unit.
    pub(crate) figures: Vec<(&'static str, f64, &'static str)>,
    pub(crate) goals: Vec<Goal>,
}

impl Report {
    pub(crate) async fn new(database: &Database) -> Report {
        let db = Db::new(database);
        let mut conn = db.own_conn().await.unwrap();
        let (started, version): (u64, String) = conn
            .query_first("select unix_timestamp(), version()")
            .await
            .unwrap()
            .unwrap();
        conn.disconnect().await.unwrap();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Report {
            started,
            machine: vec![
                ("cores", cores.to_string()),
                ("cpu", cpu()),
                ("kernel", file("/proc/sys/kernel/osrelease")),
                ("load before", file("/proc/loadavg")),
                ("database", version),
                ("wrk", said("wrk", &["-v"])),
                ("rustc", said("rustc", &["--version"])),
                ("muster", env!("CARGO_PKG_VERSION").to_owned()),
                ("commit", said("git", &["describe", "--always", "--dirty"])),
            ],
            loads: Vec::new(),
            ready_ms: 0.0,
            figures: Vec::new(),
            goals: Vec::new(),
        }
    }

    pub(crate) fn print(&self) {
        println!();
        for (name, value) in &self.machine {
            println!("{name:<12} {value}");
        }
        println!(
            "\n{:<8} {:>11} {:>11} {:>9} {:>9}",
            "", "connections", "requests/s", "p50 ms", "p99 ms"
        );
        for load in &self.loads {
            println!(
                "{:<8} {:>11} {:>11.0} {:>9.2} {:>9.2}",
                load.site, load.connections, load.per_second, load.p50_ms, load.p99_ms
            );
        }
        match self.ready_ms {
            0.0 => println!(),
            ready => println!("\nfrom start to the first list: {ready:.0} ms\n"),
        }
        for (name, value, unit) in &self.figures {
            println!("{name:<62} {value:>10.3} {unit}");
        }
        for goal in &self.goals {
            println!(
                "{:<62} {:>10.2} {:>2} {:<7} {:<12} {}",
                goal.name,
                goal.value,
                goal.sign,
                goal.limit,
                goal.unit,
                if goal.is_met { "met" } else { "NOT MET" }
            );
        }
    }

    /// Writes `bench/<seconds>.json` beside the build's own directories.
    pub(crate) fn write(&self) -> PathBuf {
        let folder = Path::new(BINARY).ancestors().nth(2).unwrap().join("bench");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{}.json", self.started));
        let machine: serde_json::Map<String, Value> = self
            .machine
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let loads: Vec<Value> = self.loads.iter().map(Load::json).collect();
        let goals: Vec<Value> = self.goals.iter().map(Goal::json).collect();
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|(name, value, unit)| json!({ "name": name, "value": value, "unit": unit }))
            .collect();
        let all = json!({
            "started": self.started,
            "machine": machine,
            "loads": loads,
            "start_to_list_ms": self.ready_ms,
            "figures": figures,
            "goals": goals,
        });
        fs::write(&path, format!("{all:#}\n")).unwrap();
        path
    }
}

impl Load {
    fn json(&self) -> Value {
        json!({
            "site": self.site,
            "connections": self.connections,
            "requests_per_second": self.per_second,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
        })
    }
}

impl Goal {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "goal": format!("{} {}", self.sign, self.limit),
            "met": self.is_met,
        })
    }
}

fn cpu() -> String {
    let info = file("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown", |(_, name)| name).to_owned()
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The first line a program says; wrk says its version with exit status 1.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}
