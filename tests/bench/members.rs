//! Thousands of members on one database: how long their beats take, whether anybody is shown offline who is not, how soon it
//! is seen that some are gone, and what it costs. The beats are those of the shipped code; members share connections, as
//! behind a proxy, since one machine has neither the memory nor the ports for ten thousand servers.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster::clusters::roll;
use muster::config::Database;
use muster::db::{Db, migrations};
use muster::liveness::STATE;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::{Mutex as Turn, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant as Tick, interval_at, sleep};

use crate::load::Load;
use crate::process::{self, cpu_seconds};
use crate::report::{Goal, Report};
use crate::{load, sites};

/// How many members, and the seconds between two of their beats.
const SIZES: [(u32, u32); 5] = [(10, 30), (100, 30), (1_000, 30), (10_000, 30), (2_000, 5)];
/// Connections that they share.
const CONNECTIONS: usize = 100;
/// Between two looks at all states.
const GLANCE: Duration = Duration::from_millis(250);
/// Beats one after another, for the comparison with a bare update.
const BURST: Duration = Duration::from_secs(3);

/// Who beats, and how long it took.
struct Members {
    conns: Arc<Vec<Turn<Conn>>>,
    free: Arc<Semaphore>,
    took: Arc<Mutex<Vec<f64>>>,
    ids: Vec<String>,
    /// So many of the first ones are dead.
    dead: Arc<AtomicU32>,
    running: JoinSet<()>,
}

/// What one size showed.
struct Shown {
    p50_ms: f64,
    p99_ms: f64,
    /// Of one core, of the database, while nobody reads.
    cpu: f64,
    false_offline: usize,
    /// Seconds from the death of a tenth until all of them are shown offline.
    detection: f64,
    page: Load,
}

/// Fills the report. `database_pid` is where the database's own processor time is read.
pub(crate) async fn measure(database: &Database, database_pid: u32, dir: &Path, report: &mut Report) {
    let own = Database {
        name: "members".to_owned(),
        ..database.clone()
    };
    let mut conn = Db::new(database).own_conn().await.unwrap();
    conn.query_drop("create database members character set utf8mb4")
        .await
        .unwrap();
    migrations::run(&Db::new(&own)).await.unwrap();
    let app = sites::register(&own, &dir.join("members")).await;
    app.db.clone().close().await;
    burst(&own, report).await;
    let program = process::start(&own, &dir.join("members-program")).await;
    let site = format!("http://{}/clusters?size=50", program.address);
    let script = dir.join("members.lua");
    std::fs::write(&script, load::unhurried()).unwrap();
    for (count, interval_s) in SIZES {
        println!("members: {count} every {interval_s} s");
        let shown = one((count, interval_s), &own, database_pid, (&site, &script)).await;
        tell(report, (count, interval_s), &shown);
    }
    process::stop(program.child).await;
}

fn tell(report: &mut Report, (count, interval_s): (u32, u32), shown: &Shown) {
    let name = |what: &str| -> &'static str { format!("{count} members every {interval_s} s: {what}").leak() };
    report.figures.extend([
        (name("beat, p50"), shown.p50_ms, "ms"),
        (name("beat, p99"), shown.p99_ms, "ms"),
        (name("database CPU"), shown.cpu * 100.0, "% of a core"),
        (name("a tenth dies, seen after"), shown.detection, "s"),
        (name("list meanwhile, p99"), shown.page.p99_ms, "ms"),
    ]);
    let limit = f64::from(3 * interval_s) + 1.0;
    report.goals.extend([
        Goal::below(name("false offlines"), shown.false_offline as f64, 1.0, "members"),
        Goal::below(name("death is seen"), shown.detection, limit, "s"),
    ]);
}

async fn one(
    (count, interval_s): (u32, u32),
    database: &Database,
    database_pid: u32,
    (site, script): (&str, &Path),
) -> Shown {
    let db = Db::new(database);
    let mut conn = db.patient_conn().await.unwrap();
    conn.query_drop("delete from cluster where host = 'member'")
        .await
        .unwrap();
    let sql = format!(
        "insert into cluster (install_id, cluster_id, name, host, version, boot_id, started_at, interval_s) \
         select md5(seq), concat('M', seq), concat('member ', seq), 'member', '0.1.0', md5(-seq), utc_timestamp(6), {interval_s} \
         from seq_1_to_{count}"
    );
    conn.query_drop(sql).await.unwrap();
    conn.query_drop("analyze table cluster").await.unwrap();
    let ids: Vec<(String, String)> = conn
        .query("select install_id, boot_id from cluster where host = 'member' order by cast(substr(cluster_id, 2) as unsigned)")
        .await
        .unwrap();
    let mut members = Members::start(&db, ids, interval_s).await;
    let interval = Duration::from_secs(u64::from(interval_s));
    // Everybody has beaten once.
    sleep(interval + GLANCE).await;
    members.took.lock().unwrap().clear();
    let (began, before) = (Instant::now(), cpu_seconds(database_pid));
    let mut wrong: HashSet<String> = HashSet::new();
    while began.elapsed() < interval {
        wrong.extend(not_online(&mut conn).await);
        sleep(2 * GLANCE).await;
    }
    let cpu = (cpu_seconds(database_pid) - before) / began.elapsed().as_secs_f64();
    let page = load::wrk_for(10, "members", site, 8, script).await;
    let (p50_ms, p99_ms) = members.quantiles();
    let dead = members.kill(count / 10);
    let died = Instant::now();
    let detection = loop {
        let gone = not_online(&mut conn).await;
        let offline: u64 = conn
            .query_first(format!(
                "select count(*) from cluster where host = 'member' and {STATE} = 'offline'"
            ))
            .await
            .unwrap()
            .unwrap();
        wrong.extend(gone.into_iter().filter(|id| !dead.contains(id)));
        if offline >= u64::from(count / 10) {
            break died.elapsed().as_secs_f64();
        }
        assert!(died.elapsed() < 5 * interval, "the dead are not seen");
        sleep(GLANCE).await;
    };
    members.running.shutdown().await;
    Shown {
        p50_ms,
        p99_ms,
        cpu,
        false_offline: wrong.len(),
        detection,
        page,
    }
}

/// Members that are not shown online or late.
async fn not_online(conn: &mut Conn) -> Vec<String> {
    let sql = format!("select install_id from cluster where host = 'member' and {STATE} not in ('online', 'late')");
    conn.query(sql).await.unwrap()
}

impl Members {
    /// At a fixed rate, begun evenly over one interval.
    async fn start(db: &Db, ids: Vec<(String, String)>, interval_s: u32) -> Members {
        let mut conns = Vec::new();
        for _ in 0..CONNECTIONS.min(ids.len()) {
            conns.push(Turn::new(db.own_conn().await.unwrap()));
        }
        let mut members = Members {
            free: Arc::new(Semaphore::new(conns.len())),
            conns: Arc::new(conns),
            took: Arc::default(),
            ids: ids.iter().map(|(install_id, _)| install_id.clone()).collect(),
            dead: Arc::default(),
            running: JoinSet::new(),
        };
        let interval = Duration::from_secs(u64::from(interval_s));
        let count = ids.len() as u32;
        for (number, (install_id, boot_id)) in (0_u32..).zip(ids) {
            let (conns, free, took) = (members.conns.clone(), members.free.clone(), members.took.clone());
            let dead = members.dead.clone();
            let first = Tick::now() + interval * number / count;
            members.running.spawn(async move {
                let mut due = interval_at(first, interval);
                loop {
                    due.tick().await;
                    if number < dead.load(Ordering::Relaxed) {
                        return;
                    }
                    let began = Instant::now();
                    let _place = free.acquire().await.unwrap();
                    let Some(mut conn) = conns.iter().find_map(|conn| conn.try_lock().ok()) else {
                        continue;
                    };
                    let landed = roll::beat(&mut conn, &install_id, &boot_id, interval_s, 1.0)
                        .await
                        .unwrap();
                    assert!(landed.is_some(), "the row is ours");
                    took.lock().unwrap().push(began.elapsed().as_secs_f64() * 1000.0);
                }
            });
        }
        members
    }

    /// Milliseconds of the median beat, and of the slowest but one in a hundred.
    fn quantiles(&self) -> (f64, f64) {
        let mut took = self.took.lock().unwrap().clone();
        took.sort_by(f64::total_cmp);
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
        (at(0.5), at(0.99))
    }

    /// The first ones say nothing any more; their install ids.
    fn kill(&self, count: u32) -> HashSet<String> {
        self.dead.store(count, Ordering::Relaxed);
        self.ids.iter().take(count as usize).cloned().collect()
    }
}

/// Beats as fast as they go on eight connections, and bare updates by primary key likewise.
async fn burst(database: &Database, report: &mut Report) {
    let db = Db::new(database);
    let mut conn = db.own_conn().await.unwrap();
    conn.query_drop("create table bare (id char(32) character set ascii primary key, at datetime(6))")
        .await
        .unwrap();
    conn.query_drop("insert into bare select md5(seq), utc_timestamp(6) from seq_1_to_1000")
        .await
        .unwrap();
    conn.query_drop(
        "insert into cluster (install_id, cluster_id, name, host, version, boot_id, started_at, interval_s) \
         select md5(seq), concat('M', seq), concat('member ', seq), 'member', '0.1.0', md5(-seq), utc_timestamp(6), 30 \
         from seq_1_to_1000",
    )
    .await
    .unwrap();
    let ids: Vec<(String, String)> = conn
        .query("select install_id, boot_id from cluster where host = 'member'")
        .await
        .unwrap();
    let ids = Arc::new(ids);
    let mut rates = [0.0, 0.0];
    for (rate, is_bare) in rates.iter_mut().zip([false, true]) {
        let mut running = JoinSet::new();
        for lane in 0..8 {
            let ids = ids.clone();
            let mut conn = db.own_conn().await.unwrap();
            running.spawn(async move {
                let (began, mut count) = (Instant::now(), 0_u32);
                while began.elapsed() < BURST {
                    let (id, boot) = &ids[(count as usize * 8 + lane) % ids.len()];
                    if is_bare {
                        let sql = "update bare set at = utc_timestamp(6) where id = ?";
                        conn.exec_drop(sql, (id,)).await.unwrap();
                    } else {
                        roll::beat(&mut conn, id, boot, 30, 1.0).await.unwrap();
                    }
                    count += 1;
                }
                count
            });
        }
        let counts = running.join_all().await;
        *rate = f64::from(counts.iter().sum::<u32>()) / BURST.as_secs_f64();
    }
    report.figures.push(("beats on eight connections", rates[0], "1/s"));
    report
        .figures
        .push(("bare updates by primary key likewise", rates[1], "1/s"));
    report.figures.push(("beat / bare update", rates[0] / rates[1], "x"));
}
