//! Ten thousand assets, watched by the shipped program: whether each is checked in every interval, how pages do meanwhile, and
//! what a check costs beside one of Prometheus's blackbox_exporter.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use muster::config::Database;
use muster::db::Db;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use crate::blackbox::Blackbox;
use crate::load;
use crate::peers::{HOSTS, Part, Peers};
use crate::process::{self, Started, cpu_seconds, memory_mib};
use crate::report::{Goal, Report};

const ASSETS: u64 = 10_000;
const INTERVAL: Duration = Duration::from_secs(30);
/// Three whole intervals of each asset, wherever its own begin.
const WATCH: u32 = 120;
/// Readers, each of whom asks ten times a second: half of them for the first page, half for that of a group.
const READERS: u32 = 8;
/// How often what was checked is read; shorter than any interval.
const SAMPLES: Duration = Duration::from_secs(5);
/// Longest until all were checked for the first time.
const PATIENCE: Duration = Duration::from_secs(90);

struct Watch<'a> {
    conn: Conn,
    peers: Peers,
    program: Started,
    pid: u32,
    install_id: String,
    dir: &'a Path,
}

/// Fills the report with goals and figures. `database_pid` is where the database's own processor time is read.
pub(crate) async fn measure(database: &Database, database_pid: u32, dir: &Path, report: &mut Report) {
    let peers = Peers::start().await;
    let data = dir.join("watching");
    let program = process::start(database, &data).await;
    let mut watch = Watch {
        conn: Db::new(database).patient_conn().await.unwrap(),
        peers,
        pid: program.child.id().unwrap(),
        program,
        install_id: muster::install::read(&data).unwrap(),
        dir,
    };
    watch.groups().await;
    watch.all_kinds(database_pid, report).await;
    watch.costs(report).await;
    watch.conn.disconnect().await.unwrap();
    process::stop(watch.program.child).await;
}

impl Watch<'_> {
    async fn run(&mut self, sql: &str) {
        self.conn.query_drop(sql).await.unwrap();
    }

    async fn count(&mut self, sql: &str) -> u64 {
        self.conn.query_first(sql).await.unwrap().unwrap()
    }

    async fn groups(&mut self) {
        self.run(
            "insert into asset_group (name, name_key, created_by) select concat('watched ', seq), concat('watched ', seq), '' \
             from seq_1_to_10",
        )
        .await;
    }

    /// Ten thousand new assets that are all due; the seconds until each was checked.
    async fn fill(&mut self, parts: &[Part]) -> f64 {
        // While it owns nothing, the program does not write to what is deleted.
        self.run(&format!(
            "delete from cluster_group where install_id = '{}'",
            self.install_id
        ))
        .await;
        sleep(Duration::from_secs(3)).await;
        self.run("delete from asset").await;
        let texts = |of: &dyn Fn(Part) -> String| -> String {
            let all: Vec<String> = parts.iter().map(|part| of(*part)).collect();
            format!("elt(seq mod {} + 1, {})", parts.len(), all.join(", "))
        };
        let kind = texts(&|part| format!("'{}'", kind(part)));
        let address = texts(&|part| address(part, self.peers.port(part)));
        let settings = texts(&|part| settings(part, self.peers.port(part)));
        let first = "(select min(group_id) from asset_group where name_key like 'watched %')";
        self.run(&format!(
            "insert into asset (asset_id, kind, name, name_key, address, group_id, settings) select seq, {kind}, \
             concat('host ', lpad(seq, 5, '0')), concat('host ', lpad(seq, 5, '0')), {address}, {first} + seq mod 10, \
             {settings} from seq_1_to_{ASSETS}"
        ))
        .await;
        self.run("insert into asset_watch (asset_id, group_id, interval_s) select asset_id, group_id, 30 from asset")
            .await;
        self.run("analyze table asset, asset_watch").await;
        self.run(&format!(
            "insert into cluster_group (group_id, install_id, position) select group_id, '{}', 1 from asset_group \
             where name_key like 'watched %'",
            self.install_id
        ))
        .await;
        let began = Instant::now();
        while self
            .count("select count(*) from asset_watch where checked_at is null")
            .await
            > 0
        {
            assert!(began.elapsed() < PATIENCE, "not all were checked");
            sleep(Duration::from_millis(200)).await;
        }
        let took = began.elapsed().as_secs_f64();
        let not_up = self.count("select count(*) from asset where state <> 'up'").await;
        assert_eq!(not_up, 0, "all peers answer");
        took
    }

    /// A third of each kind, with readers.
    async fn all_kinds(&mut self, database_pid: u32, report: &mut Report) {
        let parts = [Part::Metrics, Part::Banner, Part::Engine];
        println!("watch: {ASSETS} assets");
        let first = self.fill(&parts).await;
        sleep(INTERVAL).await;
        let script = self.dir.join("unhurried.lua");
        std::fs::write(&script, load::unhurried()).unwrap();
        let site = format!("http://{}/assets", self.program.address);
        let group = self
            .count("select min(group_id) from asset_group where name_key like 'watched %'")
            .await;
        let filtered = format!("{site}?group={group}");
        let pids = [self.pid, database_pid];
        let before = pids.map(cpu_seconds);
        let began = Instant::now();
        let (all, of_group, checks) = tokio::join!(
            load::wrk_for(WATCH, "assets", &site, READERS / 2, &script),
            load::wrk_for(WATCH, "of group", &filtered, READERS / 2, &script),
            checks(&mut self.conn),
        );
        let span = began.elapsed().as_secs_f64();
        let after = pids.map(cpu_seconds);
        let share = |at: usize| (after[at] - before[at]) / span * 100.0;
        report.figures.extend([
            ("watch: until all were checked once", first, "s"),
            ("watch: longest between two checks", checks.longest_gap, "s"),
            ("watch: CPU of Muster, with readers", share(0), "% of a core"),
            ("watch: CPU of MariaDB, with readers", share(1), "% of a core"),
            ("watch: requests", all.per_second + of_group.per_second, "/s"),
        ]);
        report.goals.extend([
            Goal::least(
                "10,000 assets, 30 s: intervals with a check",
                checks.kept,
                1.0,
                "of all",
            ),
            Goal::below("10,000 assets: p99 of the list meanwhile", all.p99_ms, 50.0, "ms"),
            Goal::below("10,000 assets: p99 of a group meanwhile", of_group.p99_ms, 50.0, "ms"),
            Goal::below(
                "10,000 assets: highest RSS",
                memory_mib(self.pid, "VmHWM"),
                150.0,
                "MiB",
            ),
        ]);
        report.loads.extend([all, of_group]);
    }

    /// What one check takes of the processor, here and there; both at the same time, of the same peers, at the same pace.
    async fn costs(&mut self, report: &mut Report) {
        let blackbox = Blackbox::start().await;
        for (part, module, path, goal, own, theirs) in [
            (
                Part::Metrics,
                "http_2xx",
                "/metrics",
                "CPU of a check of /metrics / of blackbox's http_2xx",
                "CPU of a check of /metrics: Muster",
                "CPU of a check of /metrics: blackbox_exporter",
            ),
            (
                Part::Agent,
                "http_post_2xx",
                "/get-stat-info",
                "CPU of a check of a Jpom agent / of blackbox's http_post_2xx",
                "CPU of a check of a Jpom agent: Muster",
                "CPU of a check of a Jpom agent: blackbox_exporter",
            ),
            (
                Part::Banner,
                "ssh_banner",
                "",
                "CPU of a check of a banner / of blackbox's ssh_banner",
                "CPU of a check of a banner: Muster",
                "CPU of a check of a banner: blackbox_exporter",
            ),
        ] {
            println!("watch: cost beside {module}");
            self.fill(&[part]).await;
            let port = self.peers.port(part);
            let scheme = if path.is_empty() { "" } else { "http://" };
            let targets: Vec<String> = (1..=HOSTS)
                .map(|host| format!("{scheme}127.0.1.{host}:{port}{path}"))
                .collect();
            let pace = ASSETS as f64 / INTERVAL.as_secs_f64();
            blackbox.probe(module, &targets, pace, Duration::from_secs(5)).await;
            let pids = [self.pid, blackbox.pid()];
            let (before, asked) = (pids.map(cpu_seconds), self.peers.asked(part));
            let probes = blackbox.probe(module, &targets, pace, INTERVAL).await;
            let (after, asked) = (pids.map(cpu_seconds), self.peers.asked(part) - asked);
            let counts = [asked - probes, probes];
            let [ours, other] = [0, 1].map(|at| (after[at] - before[at]) * 1000.0 / counts[at] as f64);
            println!("{} checks and {probes} probes: {ours:.3} and {other:.3} ms", counts[0]);
            report.figures.extend([(own, ours, "ms"), (theirs, other, "ms")]);
            report.goals.push(Goal::below(goal, ours / other, 1.0, "x"));
        }
    }
}

/// What was found out about the checks.
struct Checks {
    /// Share of the assets' intervals in which they were checked.
    kept: f64,
    /// Seconds.
    longest_gap: f64,
}

/// Follows the checks for [`WATCH`] seconds by what they leave in the database.
async fn checks(conn: &mut Conn) -> Checks {
    let since = "timestampdiff(microsecond, '2026-01-01',";
    let now = format!("select {since} utc_timestamp(6))");
    let begin: u64 = conn.query_first(&now).await.unwrap().unwrap();
    let end = begin + u64::from(WATCH) * 1_000_000;
    let rows = format!("select asset_id, {since} due_at), {since} checked_at) from asset_watch");
    let mut seen: HashMap<u32, (u64, Vec<u64>)> = HashMap::new();
    loop {
        let sampled: u64 = conn.query_first(&now).await.unwrap().unwrap();
        let found: Vec<(u32, u64, u64)> = conn.query(&rows).await.unwrap();
        for (asset, due, checked) in found {
            let (_, times) = seen.entry(asset).or_insert((due, Vec::new()));
            if times.last() != Some(&checked) {
                times.push(checked);
            }
        }
        if sampled > end {
            break;
        }
        sleep(SAMPLES).await;
    }
    assert_eq!(seen.len() as u64, ASSETS);
    let interval = INTERVAL.as_micros() as u64;
    let (mut kept, mut all, mut longest) = (0_u64, 0_u64, 0);
    for (due, times) in seen.values() {
        // Its own intervals begin where it is due.
        let mut from = begin - (begin - due % interval) % interval + interval;
        while from + interval <= end {
            all += 1;
            kept += u64::from(times.iter().any(|time| (from..from + interval).contains(time)));
            from += interval;
        }
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        longest = longest.max(gaps.max().unwrap_or(end - begin));
    }
    assert!(all >= 3 * ASSETS, "three intervals of each");
    Checks {
        kept: kept as f64 / all as f64,
        longest_gap: longest as f64 / 1e6,
    }
}

fn kind(part: Part) -> &'static str {
    match part {
        Part::Metrics | Part::Agent => "machine",
        Part::Banner => "ssh",
        Part::Engine => "docker",
    }
}

/// Host of an asset as SQL.
fn host() -> String {
    format!("'127.0.1.', seq mod {HOSTS} + 1")
}

fn address(part: Part, port: u16) -> String {
    let scheme = match part {
        Part::Metrics | Part::Agent => "http://",
        Part::Banner => "",
        Part::Engine => "tcp://",
    };
    format!("concat('{scheme}', {}, ':{port}')", host())
}

/// As a form would have written them, without limits: how full this machine is does not matter here.
fn settings(part: Part, port: u16) -> String {
    let limits = "\"limits\": {\"cpu\": 0, \"memory\": 0, \"disk\": 0}";
    let (before, after) = match part {
        Part::Metrics => (
            "{\"agent\": \"node_exporter\", \"address\": \"http://",
            format!(":{port}\", {limits}}}"),
        ),
        Part::Agent => (
            "{\"agent\": \"jpom\", \"address\": \"http://",
            format!(":{port}\", {limits}}}"),
        ),
        Part::Banner => (
            "{\"login\": \"banner\", \"host\": \"",
            format!("\", \"port\": {port}, {limits}}}"),
        ),
        Part::Engine => ("{\"address\": \"tcp://", format!(":{port}\"}}")),
    };
    format!("concat('{before}', {}, '{after}')", host())
}
