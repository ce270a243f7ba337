//! The shipped program as a process of its own: how soon it listens, what it takes when idle.

use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use muster::config::Database;
use muster::db::Db;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::BINARY;

const STARTS: usize = 7;
/// Start and stop each take far less.
const LIMIT: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(10);
/// `USER_HZ`, in which Linux counts a process's time in `/proc` (man 5 proc).
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Idle {
    /// How long it was watched.
    pub(crate) seconds: f64,
    pub(crate) rss_mib: f64,
    pub(crate) cpu_percent: f64,
    /// Bytes a minute to the database, as that counts them, and from it.
    pub(crate) sent: f64,
    pub(crate) received: f64,
    /// A minute.
    pub(crate) statements: f64,
}

/// A program that shows the list.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// Milliseconds from its start.
    listening: f64,
    ready: f64,
}

/// The settings of a server on this database.
pub(crate) fn environment(database: &Database) -> [(String, String); 1] {
    let Database {
        user,
        password,
        host,
        port,
        name,
        ..
    } = database;
    [(
        "JPOM_DB_URL".to_owned(),
        format!("mysql://{user}:{password}@{host}:{port}/{name}"),
    )]
}

/// From spawn to the first connection, and to the first list: the medians in milliseconds.
pub(crate) async fn starts(database: &Database, data: &Path) -> (f64, f64) {
    // The very first start makes the data directory and registers.
    stop(start(database, data).await.child).await;
    let (mut listening, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let started = start(database, data).await;
        stop(started.child).await;
        listening.push(started.listening);
        ready.push(started.ready);
    }
    (median(listening), median(ready))
}

/// After ten quiet seconds: processor time and traffic over `watch`, and memory at the end of it. Nobody else may use the
/// database meanwhile.
pub(crate) async fn idle(database: &Database, data: &Path, watch: Duration) -> Idle {
    println!("idle for {} s", (SETTLE + watch).as_secs());
    let mut conn = Db::new(database).own_conn().await.unwrap();
    let child = start(database, data).await.child;
    let pid = child.id().unwrap();
    sleep(SETTLE).await;
    let (began, before, traffic_before) = (Instant::now(), cpu_seconds(pid), traffic(&mut conn).await);
    sleep(watch).await;
    let traffic_after = traffic(&mut conn).await;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_percent = (cpu_seconds(pid) - before) / seconds * 100.0;
    let rss_mib = memory_mib(pid, "VmRSS");
    let [sent, received, statements] = [0, 1, 2].map(|at| (traffic_after[at] - traffic_before[at]) * 60.0 / seconds);
    stop(child).await;
    conn.disconnect().await.unwrap();
    Idle {
        seconds,
        rss_mib,
        cpu_percent,
        sent,
        received,
        statements,
    }
}

/// What the database received, sent and was asked on all its connections but this one.
async fn traffic(conn: &mut Conn) -> [f64; 3] {
    let mut counts = [0.0; 3];
    for (scope, sign) in [("session", -1.0), ("global", 1.0)] {
        let sql = format!("show {scope} status where variable_name in ('Bytes_received', 'Bytes_sent', 'Questions')");
        let found: Vec<(String, f64)> = conn.query(sql).await.unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        for (count, (_, value)) in counts.iter_mut().zip(found) {
            *count += sign * value;
        }
    }
    counts
}

/// Starts the program and waits until it shows the list.
pub(crate) async fn start(database: &Database, data: &Path) -> Started {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .and_then(|free| free.local_addr())
        .unwrap()
        .port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new(BINARY);
    command
        .args(["serve", "--port", &port.to_string(), "--data"])
        .arg(data)
        .envs(environment(database))
        .env("JPOM_CLUSTER_ID", "BENCH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let since = || started.elapsed().as_secs_f64() * 1000.0;
    let end = started + LIMIT;
    while TcpStream::connect(address).await.is_err() {
        going(&mut child, end).await;
    }
    let listening = since();
    let listed = |answer: Result<String>| answer.is_ok_and(|said| said.starts_with("HTTP/1.1 200"));
    while !listed(get(address, "/clusters", &crate::sites::signed_in("")).await) {
        going(&mut child, end).await;
    }
    Started {
        child,
        address,
        listening,
        ready: since(),
    }
}

/// A pause in which the program may come further.
async fn going(child: &mut Child, end: Instant) {
    let ended = child.try_wait().unwrap();
    assert!(ended.is_none(), "{BINARY} ended with {ended:?}");
    assert!(Instant::now() < end, "{BINARY} is not up after {LIMIT:?}");
    sleep(Duration::from_micros(200)).await;
}

pub(crate) async fn stop(mut child: Child) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    timeout(LIMIT, child.wait())
        .await
        .expect("it stops when told to")
        .unwrap();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `VmRSS` as it is, `VmHWM` as it was at its highest.
pub(crate) fn memory_mib(pid: u32, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    kib.parse::<f64>().unwrap() / 1024.0
}

/// User and system time: fields 14 and 15, counted from behind the name, which may hold spaces.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks: u32 = fields[11..=12].iter().map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / TICKS_PER_SECOND
}

/// One request on a connection of its own: head and body as they came.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> Result<String> {
    let answer = get_bytes(address, path, headers).await?;
    String::from_utf8(answer).map_err(std::io::Error::other)
}

/// [`get`], when it may be compressed.
pub(crate) async fn get_bytes(address: SocketAddr, path: &str, headers: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
