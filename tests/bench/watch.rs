//! Ten thousand assets, watched by the shipped program: whether each is checked in every interval, how pages do meanwhile, and
//! what a check costs beside one of Prometheus's blackbox_exporter.

use std::path::Path;
use std::time::{Duration, Instant};

use muster::config::Database;
use muster::db::Db;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use crate::blackbox::Blackbox;
use crate::peers::{HOSTS, Part, Peers};
use crate::process::{self, Started, cpu_seconds, memory_mib};
use crate::report::{Goal, Report};
use crate::{intervals, load};

pub(crate) const ASSETS: u64 = 10_000;
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);
/// Three whole intervals of each asset, wherever its own begin.
pub(crate) const WATCH: u32 = 120;
/// Readers, each of whom asks ten times a second: half of them for the first page, half for that of a group.
const READERS: u32 = 8;
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
        let kind = texts(&|part| format!("'{}'", part.kind()));
        let address = texts(&|part| part.address(self.peers.port(part)));
        let settings = texts(&|part| part.settings(self.peers.port(part)));
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
            intervals::follow(&mut self.conn),
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
