//! The numbers with the machine they come from, as a table and as JSON.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster::config::Database;
use muster::db::Db;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::BINARY;
use crate::compare::{Compared, DJANGO};
use crate::load::Load;
use crate::pages::Growth;
use crate::sites::{FLOOR, MEMORY, SITE};

/// A number and the limit it should keep.
pub(crate) struct Goal {
    name: String,
    value: f64,
    limit: f64,
    unit: &'static str,
    is_met: bool,
    sign: &'static str,
}

impl Goal {
    pub(crate) fn least(name: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Goal {
        Goal {
            name: name.into(),
            value,
            limit,
            unit,
            is_met: value >= limit,
            sign: ">=",
        }
    }

    pub(crate) fn below(name: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Goal {
        Goal {
            name: name.into(),
            value,
            limit,
            unit,
            is_met: value < limit,
            sign: "<",
        }
    }
}

pub(crate) struct Report {
    /// Day and time by the database's clock, in UTC.
    started: String,
    machine: Vec<(&'static str, String)>,
    pub(crate) loads: Vec<Load>,
    pub(crate) pages: Vec<Compared>,
    pub(crate) growth: Vec<Growth>,
    /// Other numbers without a goal: name, value, unit.
    pub(crate) figures: Vec<(&'static str, f64, &'static str)>,
    pub(crate) goals: Vec<Goal>,
}

impl Report {
    pub(crate) async fn new(database: &Database) -> Report {
        let db = Db::new(database);
        let mut conn = db.own_conn().await.unwrap();
        let (started, version): (String, String) = conn
            .query_first("select date_format(utc_timestamp(), '%Y-%m-%dT%H-%i-%sZ'), version()")
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
                ("django", said("/usr/bin/python3", &["-m", "django", "--version"])),
                (
                    "gunicorn",
                    said(
                        "/usr/bin/python3",
                        &["-c", "import gunicorn; print(gunicorn.__version__)"],
                    ),
                ),
                ("muster", env!("CARGO_PKG_VERSION").to_owned()),
                ("commit", said("git", &["describe", "--always", "--dirty"])),
            ],
            loads: Vec::new(),
            pages: Vec::new(),
            growth: Vec::new(),
            figures: Vec::new(),
            goals: Vec::new(),
        }
    }

    /// As tables of Markdown, so that they can be put into a document.
    pub(crate) fn print(&self) {
        table(
            "| Machine | |\n|---|---|",
            self.machine.iter().map(|(name, value)| format!("{name} | {value}")),
        );
        table(
            "| | Connections | Requests/s | p50 ms | p99 ms |\n|---|---:|---:|---:|---:|",
            self.loads.iter().map(|load| {
                let Load { site, connections, .. } = load;
                format!("{site} | {connections} | {}", figures(load))
            }),
        );
        self.print_pages();
        table(
            "| One request at a time, ms | 1 x | 10 x | 100 x | Speed kept |\n|---|---:|---:|---:|---:|",
            self.growth.iter().map(|growth| {
                let [once, ten, hundred] = growth.took;
                format!(
                    "{} | {once:.2} | {ten:.2} | {hundred:.2} | {:.2}",
                    growth.name,
                    growth.kept()
                )
            }),
        );
        table(
            "| Figure | | |\n|---|---:|---|",
            { self.figures.iter() }.map(|(name, value, unit)| format!("{name} | {value:.3} | {unit}")),
        );
        table(
            "| Goal | Measured | Wanted | | |\n|---|---:|---:|---|---|",
            self.goals.iter().map(|goal| {
                let met = if goal.is_met { "met" } else { "**not met**" };
                format!(
                    "{} | {:.2} | {} {} | {} | {met}",
                    goal.name, goal.value, goal.sign, goal.limit, goal.unit
                )
            }),
        );
    }

    fn print_pages(&self) {
        let at = |connections: u32, of: fn(&Compared, u32) -> String| {
            { self.pages.iter() }
                .map(move |page| format!("{} | {} | {}", page.page, page.form(), of(page, connections)))
        };
        for connections in [32, 8] {
            table(
                &format!(
                    "| {connections} connections | | Requests/s | p50 ms | p99 ms | Bare handler /s | From memory /s | Django /s | \
                     of bare | of memory | x Django |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
                ),
                at(connections, |page, connections| {
                    let rate = |site| {
                        page.at(site, connections)
                            .map_or(String::new(), |load| whole(load.per_second))
                    };
                    let ratio =
                        |site| { page.ratio(site, connections) }.map_or(String::new(), |ratio| format!("{ratio:.2}"));
                    format!(
                        "{} | {} | {} | {} | {} | {} | {}",
                        page.at(SITE, connections).map_or(String::new(), figures),
                        rate(FLOOR),
                        rate(MEMORY),
                        rate(DJANGO),
                        ratio(FLOOR),
                        ratio(MEMORY),
                        ratio(DJANGO),
                    )
                }),
            );
        }
        table(
            "| Size of the answer, bytes | | Plain | Compressed |\n|---|---|---:|---:|",
            at(0, |page, _| format!("{} | {}", page.bytes[0], page.bytes[1])),
        );
    }

    /// Writes `bench/<day and time>.json` beside the build's own directories.
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
            "pages": self.pages.iter().map(Compared::json).collect::<Vec<_>>(),
            "growth": self.growth.iter().map(Growth::json).collect::<Vec<_>>(),
            "figures": figures,
            "goals": goals,
        });
        fs::write(&path, format!("{all:#}\n")).unwrap();
        path
    }
}

/// Nothing where there is no line.
fn table(head: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        println!("\n{head}");
    }
    lines.for_each(|line| println!("| {line} |"));
}

fn figures(load: &Load) -> String {
    format!("{} | {:.2} | {:.2}", whole(load.per_second), load.p50_ms, load.p99_ms)
}

/// Slow ones need the digits behind the point.
fn whole(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

impl Compared {
    fn json(&self) -> Value {
        json!({
            "page": self.page,
            "form": self.form(),
            "loads": self.loads.iter().map(Load::json).collect::<Vec<_>>(),
            "bytes": self.bytes[0],
            "bytes_compressed": self.bytes[1],
        })
    }
}

impl Growth {
    fn json(&self) -> Value {
        json!({ "name": self.name, "ms": self.took, "kept": self.kept() })
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
