//! One real server: the program as a process, behind a door of its own to the database.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster::config::Database;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::checker::BEAT;
use crate::door::Door;
use crate::support::{TOKEN, free_port, url};

/// Longest that a server may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A page that takes longer is none.
const PAGE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    pub(crate) data: TempDir,
    pub(crate) port: u16,
    pub(crate) door: Door,
    /// The database as it sees it.
    behind: Database,
    cluster_id: String,
    pub(crate) program: PathBuf,
    /// What goes before the program: another program and its arguments.
    pub(crate) wrapper: Vec<String>,
    child: Option<Child>,
}

/// Ends with the case, however it ends.
impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// One that was not started yet.
    pub(crate) async fn new(database: &Database, cluster_id: String) -> Server {
        let (mut door, mut behind) = Door::to(database, free_port());
        match database.others.is_empty() {
            true => door.open(database).await,
            // A database of several nodes is reached without a door.
            false => behind = database.clone(),
        }
        Server {
            data: TempDir::new().unwrap(),
            port: free_port(),
            door,
            behind,
            cluster_id,
            program: this_one(),
            wrapper: Vec::new(),
            child: None,
        }
    }

    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let program = [self.program.as_os_str(), OsStr::new("serve")];
        let mut words = self.wrapper.iter().map(OsStr::new).chain(program);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(["--port", &self.port.to_string(), "--data"])
            .arg(self.data.path());
        command
            .env("JPOM_DB_URL", url(&self.behind))
            .env("JPOM_CLUSTER_ID", &self.cluster_id)
            .env("JPOM_CLUSTER_HEART_SECOND", BEAT.to_string())
            .env("JPOM_SYSTEM_LANG", "en")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn log(&self) -> PathBuf {
        self.data.path().join("stderr.log")
    }

    /// Everything it has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) async fn ready(&self) {
        let end = Instant::now() + PATIENCE;
        while !page(self.port, "/readyz")
            .await
            .is_some_and(|(_, answer)| answer.contains("ready"))
        {
            assert!(
                Instant::now() < end,
                "{} did not come up: {}",
                self.cluster_id,
                self.said()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// As by the system when memory is short.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// As an operator does; waits for its end.
    pub(crate) async fn end(&mut self) {
        self.signal(Signal::TERM);
        let Some(mut child) = self.child.take() else { return };
        let end = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "{} does not end", self.cluster_id);
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn install_id(&self) -> String {
        muster::install::read(self.data.path()).unwrap()
    }

    /// All files that it has written, as one text, without its own settings and secrets.
    pub(crate) fn written(&self) -> String {
        let mut all = self.said();
        let logs = fs::read_dir(self.data.path().join("log"))
            .into_iter()
            .flatten()
            .flatten();
        for entry in logs {
            all += &fs::read_to_string(entry.path()).unwrap_or_default();
        }
        all
    }

    /// A copy of its data directory, as of a machine that was copied.
    pub(crate) fn copied(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        for name in ["INSTALL.json", "application.yml", "muster.boot"] {
            let from = self.data.path().join(name);
            if from.exists() {
                fs::copy(from, Path::new(copy.path()).join(name)).unwrap();
            }
        }
        copy
    }
}

/// The program that is tried.
pub(crate) fn this_one() -> PathBuf {
    env!("CARGO_BIN_EXE_muster").into()
}

/// An answer and how long it took; none when there was none.
pub(crate) async fn page(port: u16, path: &str) -> Option<(Duration, String)> {
    let began = Instant::now();
    let answer = ask(port, &format!("GET {path} HTTP/1.1\r\nHX-Request: true\r\n"), "").await?;
    Some((began.elapsed(), answer))
}

/// The answer to a form without scripts.
pub(crate) async fn post(port: u16, path: &str, fields: &str) -> Option<String> {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let head = format!("POST {path} HTTP/1.1\r\n{kind}\r\nContent-Length: {}\r\n", fields.len());
    ask(port, &head, fields).await
}

async fn ask(port: u16, head: &str, body: &str) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "{head}Host: localhost\r\nAccept-Language: en\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    timeout(PAGE, ask).await.ok()?.ok()
}
