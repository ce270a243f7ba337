//! Real processes: the program as an operator starts, stops and kills it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use muster::config::Database;
use muster::db::embedded;
use mysql_async::prelude::Queryable;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::door::Door;
use crate::scan;
use crate::support::{TOKEN, TestConsole, TestDatabase, free_port, let_in};

/// Longest any of these conditions may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
    pub(crate) data: TempDir,
}

/// Ends with the test, however it ends; then its log is looked through.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        scan::ended(self.data.path());
    }
}

impl Process {
    /// `muster serve` on `database`, or on its own private one; returns when it is ready.
    async fn start(database: Option<&Database>, cluster_id: &str) -> Process {
        let data = TempDir::new_in(if Path::new("/dev/shm").is_dir() {
            "/dev/shm"
        } else {
            "/tmp"
        })
        .unwrap();
        Process::start_in(data, database, cluster_id).await
    }

    async fn start_in(data: TempDir, database: Option<&Database>, cluster_id: &str) -> Process {
        let port = free_port();
        let child = command(data.path(), port, database, cluster_id).spawn().unwrap();
        let process = Process { child, port, data };
        process.until("/readyz", "ready").await;
        process
    }

    /// `muster serve` with more settings; returns at once.
    pub(crate) fn spawn(database: Option<&Database>, cluster_id: &str, env: &[(&str, String)]) -> Process {
        Process::spawn_in(None, database, cluster_id, env)
    }

    /// [`Process::spawn`] in a data directory that is there already.
    pub(crate) fn spawn_in(
        data: Option<TempDir>,
        database: Option<&Database>,
        cluster_id: &str,
        env: &[(&str, String)],
    ) -> Process {
        let (data, port) = (data.unwrap_or_else(|| TempDir::new().unwrap()), free_port());
        let mut command = command(data.path(), port, database, cluster_id);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().unwrap();
        Process { child, port, data }
    }

    /// Reads the log until a line contains a text; that line.
    pub(crate) async fn logged(&mut self, text: &str) -> String {
        let (log, wanted) = (self.child.stderr.take().unwrap(), text.to_owned());
        let lines = BufReader::new(log).lines().map_while(Result::ok);
        let find = tokio::task::spawn_blocking(move || lines.into_iter().find(|line| line.contains(&wanted)));
        let found = tokio::time::timeout(PATIENCE, find).await;
        found
            .unwrap_or_else(|_| panic!("never logged {text:?}"))
            .unwrap()
            .unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Killed, as by the system when memory is short; its data directory, for another start.
    pub(crate) fn killed(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.data, TempDir::new().unwrap())
    }

    pub(crate) fn install_id(&self) -> String {
        muster::install::read(self.data.path()).unwrap()
    }

    /// Asks again until the answer contains a text; the condition is the wait.
    pub(crate) async fn until(&self, path: &str, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = get(self.port, path).await;
            if answer.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "{path} never said {text:?}: {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn command(data: &Path, port: u16, database: Option<&Database>, cluster_id: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["serve", "--port", &port.to_string(), "--data"]).arg(data);
    command
        .env("JPOM_CLUSTER_ID", cluster_id)
        .env("JPOM_SYSTEM_LANG", "en")
        .env("LC_ALL", "en_US.UTF-8");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(database) = database {
        command.env("JPOM_DB_URL", crate::support::url(database));
    }
    command
}

/// Whether a process still runs; one that has ended but was not waited for has no command line any more.
fn runs(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

/// The whole answer, or nothing while nobody listens.
async fn get(port: u16, path: &str) -> String {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Language: en\r\nHX-Request: true\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    scan::clean(path, ask.await.unwrap_or_default())
}

/// What a start that is refused says, in English.
fn refusal(data: &Path, port: u16, database: Option<&Database>) -> String {
    let output: Output = command(data, port, database, "X").output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn of_two_real_servers_one_killed_is_offline_and_one_ended_is_stopped_on_the_others_page() {
    let database = TestDatabase::new().await.database;
    let viewer = Process::start(Some(&database), "V").await;
    let_in(&database).await;
    let mut killed = Process::start(Some(&database), "K").await;
    let mut ended = Process::start(Some(&database), "E").await;
    let (killed_id, ended_id) = (killed.install_id(), ended.install_id());
    for id in [&killed_id, &ended_id, &viewer.install_id()] {
        viewer.until("/clusters?state=online", &format!("cluster-{id}")).await;
    }

    killed.signal(Signal::KILL);
    killed.child.wait().unwrap();
    let page = get(viewer.port, "/clusters?state=offline").await;
    assert!(
        !page.contains(&format!("cluster-{killed_id}")),
        "a killed server is not offline before its limit"
    );
    let mut conn = muster::db::Db::new(&database).own_conn().await.unwrap();
    let sql = "update cluster set beat_at = beat_at - interval 91 second where install_id = ?";
    conn.exec_drop(sql, (&killed_id,)).await.unwrap();
    viewer
        .until("/clusters?state=offline", &format!("cluster-{killed_id}"))
        .await;

    let asked = Instant::now();
    ended.signal(Signal::TERM);
    assert!(ended.child.wait().unwrap().success());
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "a clean stop takes less than 2 s"
    );
    viewer
        .until("/clusters?state=stopped", &format!("cluster-{ended_id}"))
        .await;
}

#[tokio::test]
async fn five_real_servers_started_at_once_on_an_empty_database_all_come_up() {
    let database = TestDatabase::new().await.database;
    let starts = ["A1", "A2", "A3", "A4", "A5"].map(|id| Process::start(Some(&database), id));
    let [a, b, c, d, e] = starts;
    let (a, b, c, d, e) = tokio::join!(a, b, c, d, e);
    let_in(&database).await;
    for server in [&a, &b, &c, &d, &e] {
        server.until("/clusters", &format!("cluster-{}", a.install_id())).await;
    }
    let mut conn = muster::db::Db::new(&database).own_conn().await.unwrap();
    let (rows, migrations): (u32, usize) = conn
        .query_first("select (select count(*) from cluster), (select count(*) from migration)")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((rows, migrations), (5, muster::db::migrations::ALL.len()));
}

#[tokio::test]
async fn one_server_needs_no_set_up_and_survives_being_killed() {
    let mut first = Process::start(None, "ONE").await;
    let id = first.install_id();
    let_in(&embedded::running(&first.data.path().join("mariadb")).unwrap()).await;
    first.until("/clusters", &format!("cluster-{id}")).await;
    let pid = std::fs::read_to_string(first.data.path().join("mariadb/db.pid"))
        .unwrap()
        .trim()
        .to_owned();
    first.signal(Signal::KILL);
    first.child.wait().unwrap();
    assert!(runs(&pid), "its database outlives it");

    let data = std::mem::replace(&mut first.data, TempDir::new().unwrap());
    let mut second = Process::start_in(data, None, "ONE").await;
    assert_eq!(second.install_id(), id);
    second.until("/clusters?state=online", &format!("cluster-{id}")).await;
    let now = std::fs::read_to_string(second.data.path().join("mariadb/db.pid"))
        .unwrap()
        .trim()
        .to_owned();
    assert!(now != pid && !runs(&pid), "never two databases on one directory");
    second.signal(Signal::TERM);
    assert!(second.child.wait().unwrap().success());
    assert!(!runs(&now), "a clean stop takes its database along");
}

#[tokio::test]
async fn a_database_that_comes_late_or_goes_away_is_waited_for_and_nothing_needs_a_restart() {
    let real = TestDatabase::new().await.database;
    let (mut door, behind) = Door::to(&real, free_port());
    let (data, port) = (TempDir::new().unwrap(), free_port());
    let child = command(data.path(), port, Some(&behind), "LATE")
        .env("JPOM_CLUSTER_HEART_SECOND", "5")
        .spawn()
        .unwrap();
    let process = Process { child, port, data };
    process.until("/healthz", "ok").await;
    process.until("/clusters", "HTTP/1.1 503").await;

    door.open(&real).await;
    process.until("/readyz", "ready").await;
    let_in(&real).await;
    process.until("/clusters", &process.install_id()).await;

    door.shut().await;
    process.until("/clusters", "HTTP/1.1 503").await;
    assert!(get(port, "/clusters").await.to_lowercase().contains("retry-after"));
    assert!(get(port, "/healthz").await.contains("ok"));

    let mut conn = muster::db::Db::new(&real).own_conn().await.unwrap();
    let seq = "select beat_seq from cluster";
    let before: u64 = conn.query_first(seq).await.unwrap().unwrap();
    door.open(&real).await;
    process.until("/clusters", "HTTP/1.1 200").await;
    let end = Instant::now() + PATIENCE;
    while conn.query_first::<u64, _>(seq).await.unwrap().unwrap() <= before {
        assert!(Instant::now() < end, "beats did not resume");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_database_that_hangs_is_told_of_within_seconds_and_delays_no_stop() {
    let real = TestDatabase::new().await.database;
    let (mut door, behind) = Door::to(&real, free_port());
    door.open(&real).await;
    let mut process = Process::start(Some(&behind), "HANG").await;
    let (port, id) = (process.port, process.install_id());
    let_in(&real).await;
    process.until("/clusters", &format!("cluster-{id}")).await;

    door.freeze(true);
    let asked = Instant::now();
    assert!(get(port, "/clusters").await.starts_with("HTTP/1.1 503"));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(get(port, "/healthz").await.contains("ok"));
    assert!(get(port, "/readyz").await.starts_with("HTTP/1.1 503"));

    door.freeze(false);
    process.until("/clusters", &format!("cluster-{id}")).await;

    door.freeze(true);
    let asked = Instant::now();
    process.signal(Signal::TERM);
    process.child.wait().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_server_that_was_paused_is_offline_meanwhile_and_online_with_its_next_beat() {
    let database = TestDatabase::new().await.database;
    let viewer = Process::start(Some(&database), "V").await;
    let_in(&database).await;
    let (data, port) = (TempDir::new().unwrap(), free_port());
    let child = command(data.path(), port, Some(&database), "P")
        .env("JPOM_CLUSTER_HEART_SECOND", "5")
        .spawn()
        .unwrap();
    let paused = Process { child, port, data };
    paused.until("/readyz", "ready").await;
    let row = format!("cluster-{}", paused.install_id());
    viewer.until("/clusters?state=online", &row).await;

    paused.signal(Signal::STOP);
    let mut conn = muster::db::Db::new(&database).own_conn().await.unwrap();
    let sql = "update cluster set beat_at = beat_at - interval 16 second where install_id = ?";
    conn.exec_drop(sql, (paused.install_id(),)).await.unwrap();
    viewer.until("/clusters?state=offline", &row).await;
    paused.signal(Signal::CONT);
    viewer.until("/clusters?state=online", &row).await;
}

#[tokio::test]
async fn the_demo_runs_two_servers_keeps_its_state_and_stops_all_three() {
    let state = TempDir::new_in(if Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "/tmp"
    })
    .unwrap();
    let (a, b) = (free_port(), free_port());
    let demo = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command
            .args(["demo", "--port-a", &a.to_string(), "--port-b", &b.to_string(), "--data"])
            .arg(state.path());
        command
            .args(more)
            .env("LC_ALL", "en_US.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut ids = Vec::new();
    for fresh in [&[][..], &[], &["--fresh"]] {
        let process = Process {
            child: demo(fresh),
            port: a,
            data: TempDir::new().unwrap(),
        };
        process.until("/readyz", "ready").await;
        // The second run finds the first one's people.
        if ids.len() != 1 {
            let_in(&embedded::running(&state.path().join("mariadb")).unwrap()).await;
        }
        process.until("/clusters?state=online", "North builds").await;
        process.until("/clusters?state=online", "East builds").await;
        ids.push(muster::install::read(&state.path().join("a")).unwrap());
        let database = std::fs::read_to_string(state.path().join("mariadb/db.pid"))
            .unwrap()
            .trim()
            .to_owned();
        let mut process = process;
        process.signal(Signal::INT);
        assert!(process.child.wait().unwrap().success());
        assert!(!runs(&database) && get(a, "/healthz").await.is_empty() && get(b, "/healthz").await.is_empty());
    }
    assert_eq!(ids[0], ids[1], "a second run finds the first one's state");
    assert_ne!(ids[1], ids[2], "--fresh starts anew");

    let _taken = std::net::TcpListener::bind(("127.0.0.1", b)).unwrap();
    let output = demo(&[]).wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains(&b.to_string()) && said.contains("--port-b"),
        "{said}"
    );
}

#[tokio::test]
async fn starts_that_cannot_work_are_refused_with_place_and_remedy() {
    let running = TestConsole::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let data = TempDir::new().unwrap();
    let said = refusal(data.path(), port, Some(&running.database));
    assert!(said.contains(&port.to_string()) && said.contains("--port"), "{said}");

    let said = refusal(running.data.path(), free_port(), Some(&running.database));
    assert!(said.contains(&running.data.path().display().to_string()), "{said}");

    std::fs::write(data.path().join("INSTALL.json"), "{\"installId\":").unwrap();
    let said = refusal(data.path(), free_port(), Some(&running.database));
    assert!(
        said.contains("INSTALL.json") && said.contains("muster identity"),
        "{said}"
    );

    let data = TempDir::new().unwrap();
    let wrong = Database {
        password: "wrong".into(),
        ..running.database.clone()
    };
    let said = refusal(data.path(), free_port(), Some(&wrong));
    assert!(said.contains("jpom.db.user-pwd"), "{said}");
}

#[tokio::test]
async fn identity_commands_say_what_they_did_and_keep_the_old_id() {
    let a = TestConsole::start().await;
    a.set("stopped_at = beat_at").await;
    let lost = a.id().to_owned();
    let data = TempDir::new().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_muster"))
            .arg("identity")
            .args(arguments)
            .arg("--data")
            .arg(data.path())
            .env("JPOM_DB_URL", crate::support::url(&a.database))
            .env("LC_ALL", "en_US.UTF-8")
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert!(!run(&["show"]).0, "there is no identity yet");
    muster::install::write_new(data.path()).unwrap();
    let first = muster::install::read(data.path()).unwrap();
    assert!(run(&["show"]).1.contains(&first));
    let (done, said) = run(&["new", "--dry-run"]);
    assert!(done && said.contains("Dry run") && said.contains(&first), "{said}");
    assert_eq!(muster::install::read(data.path()).unwrap(), first);
    let (done, said) = run(&["new"]);
    let second = muster::install::read(data.path()).unwrap();
    assert!(
        done && second != first && said.contains(&first) && said.contains(&second),
        "{said}"
    );
    assert!(!run(&["adopt", "nonsense"]).0);
    assert!(!run(&["adopt", &first]).0, "that cluster is not in the database");
    let (done, said) = run(&["adopt", "--dry-run", &lost]);
    assert!(done && said.contains("Dry run") && said.contains(&second), "{said}");
    assert_eq!(muster::install::read(data.path()).unwrap(), second);
    let (done, said) = run(&["adopt", &lost]);
    assert!(done, "{said}");
    assert_eq!(muster::install::read(data.path()).unwrap(), lost);
    a.set("stopped_at = null").await;
    assert!(!run(&["adopt", &lost]).0, "a living cluster cannot be adopted");
    let kept = std::fs::read_dir(data.path()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("INSTALL.json.old-")
    });
    assert_eq!(kept.count(), 2);
}

#[tokio::test]
async fn each_line_of_the_log_carries_the_install_id_in_both_formats() {
    let database = TestDatabase::new().await.database;
    for format in ["text", "json"] {
        let data = TempDir::new().unwrap();
        let port = free_port();
        let child = command(data.path(), port, Some(&database), "L")
            .args(["--log-format", format])
            .spawn()
            .unwrap();
        let mut process = Process { child, port, data };
        process.until("/readyz", "ready").await;
        process.signal(Signal::TERM);
        process.child.wait().unwrap();
        let mut log = String::new();
        process.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let id = process.install_id();
        assert!(log.lines().count() >= 3, "{log}");
        for line in log.lines() {
            let carries = match format {
                "json" => serde_json::from_str::<serde_json::Value>(line).unwrap()["install_id"] == id,
                _ => line.starts_with(&format!("{}/", &id[..8])),
            };
            assert!(carries, "{line}");
        }
    }
}
