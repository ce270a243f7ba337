//! A private MariaDB inside a data directory, for one server without set-up and for the demo.

mod keeper;
mod program;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::Conn;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::Db;
use crate::config::{Database, Tls};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::write_private;
pub use keeper::Keeper;
use program::{install, spawn};

/// Longest path the kernel takes for a unix socket (`sockaddr_un`), without its closing zero.
const LONGEST_SOCKET: usize = 107;
/// Recovery after a crash can take long; a process that is still alive is given this much.
const READY: Duration = Duration::from_secs(300);
/// A clean stop flushes everything; a killed one would only cost time at the next start.
const STOP: Duration = Duration::from_secs(60);
/// Pause before a database that ended by itself is started again.
const AGAIN: Duration = Duration::from_secs(1);
const NAME: &str = "muster";

/// How the private database differs between a server, the demo and the tests.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Also listen on a free loopback port (the demo's two servers); otherwise the unix socket only.
    pub tcp: bool,
    /// Every commit reaches the disk. Only tests do without.
    pub durable: bool,
}

/// A running private MariaDB.
#[derive(Debug)]
pub struct Embedded {
    dir: PathBuf,
    options: Options,
    port: Option<u16>,
    password: String,
    child: Child,
}

impl Embedded {
    /// Installs the database on first use, stops one that an earlier process left behind, and starts it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when MariaDB is not installed or does not start, with the path of its log.
    pub async fn start(dir: &Path, options: Options) -> Result<Embedded> {
        let dir = prepare(dir)?;
        stop_orphan(&dir).await?;
        if !dir.join("data").exists() {
            install(&dir).await?;
        }
        let password = password(&dir)?;
        let port = if options.tcp { Some(free_port()?) } else { None };
        let child = spawn(&dir, options, port, &password)?;
        let mut running = Embedded {
            dir,
            options,
            port,
            password,
            child,
        };
        running.ready().await?;
        Ok(running)
    }

    /// How to reach it: by its port if it has one, else by its socket.
    pub fn database(&self) -> Database {
        database(&self.dir, self.port, &self.password)
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Runs until `stop` turns true, starting the database again if it ends by itself; then stops it cleanly.
    pub async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = turned_true(&mut stop) => return self.stop().await,
                status = self.child.wait() => {
                    tracing::error!(?status, "the private database ended by itself; starting it again");
                }
            }
            tokio::select! {
                () = turned_true(&mut stop) => return,
                () = sleep(AGAIN) => {}
            }
            match spawn(&self.dir, self.options, self.port, &self.password) {
                Ok(child) => self.child = child,
                Err(error) => tracing::error!("the private database does not start: {}", crate::error::chain(&error)),
            }
        }
    }

    /// Asks it to end and waits until everything is on disk.
    pub async fn stop(mut self) {
        if let Some(pid) = self.child.id() {
            signal(pid, Signal::TERM);
        }
        if timeout(STOP, self.child.wait()).await.is_err() {
            tracing::warn!(dir = %self.dir.display(), "the private database did not stop within 60 s; leaving it to itself");
        }
    }

    async fn ready(&mut self) -> Result<()> {
        let db = Db::new(&self.database());
        let end = Instant::now() + READY;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = self.dir.join("error.log");
                let text = Text::new("db.embedded_failed")
                    .with("status", status)
                    .with("log", log.display());
                return Err(Error::Invalid(text.with("last", last_error(&log))));
            }
            if let Ok(conn) = timeout(Duration::from_secs(1), Conn::new(db.nodes().opts().clone()))
                .await
                .unwrap_or_else(|_| Err(mysql_async::Error::Other("no answer within 1 s".into())))
            {
                return conn.disconnect().await.map_err(Error::from);
            }
            if Instant::now() > end {
                return Err(Error::timed_out("the private database was not ready within 5 min"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whoever lets go of it, for instance because the start was broken off, takes it along.
impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            signal(pid, Signal::TERM);
        }
    }
}

async fn turned_true(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone will never ask for less.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Makes the directory (0700: the socket inside is open to whoever can reach it).
fn prepare(dir: &Path) -> Result<PathBuf> {
    let dir = std::path::absolute(dir).map_err(|cause| unwritable(dir, &cause))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|cause| unwritable(&dir, &cause))?;
    if dir.join("db.sock").as_os_str().len() > LONGEST_SOCKET {
        return Err(Error::Invalid(
            Text::new("db.embedded_path").with("path", dir.display()),
        ));
    }
    Ok(dir)
}

fn unwritable(path: &Path, cause: &std::io::Error) -> Error {
    Error::Invalid(
        Text::new("install.unwritable")
            .with("path", path.display())
            .with("cause", cause),
    )
}

/// How to reach the private database that somebody else keeps running in `dir`, if one does.
pub fn running(dir: &Path) -> Option<Database> {
    let dir = std::path::absolute(dir).ok()?;
    let pid = fs::read_to_string(dir.join("db.pid")).ok()?;
    let password = fs::read_to_string(dir.join("password")).ok()?;
    is_ours(pid.trim(), &dir).then(|| database(&dir, None, password.trim()))
}

/// Whether that process is the MariaDB of this directory.
fn is_ours(pid: &str, dir: &Path) -> bool {
    let ours = format!("--datadir={}", dir.join("data").display());
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|b| *b == 0).any(|word| word == ours.as_bytes())
}

fn database(dir: &Path, port: Option<u16>, password: &str) -> Database {
    let socket = dir.join("db.sock").to_string_lossy().into_owned();
    Database {
        host: "127.0.0.1".to_owned(),
        port: port.unwrap_or(0),
        others: Vec::new(),
        socket: port.is_none().then_some(socket),
        name: NAME.to_owned(),
        user: NAME.to_owned(),
        password: password.to_owned(),
        tls: Tls::Off,
        authority: None,
    }
}

/// A MariaDB that outlived a killed server still holds the directory: it is ours, so it is asked to end.
///
/// # Errors
/// [`Error::Conflict`] when it has not ended within 60 s.
pub async fn stop_orphan(dir: &Path) -> Result<()> {
    let dir = std::path::absolute(dir).map_err(|cause| unwritable(dir, &cause))?;
    let Ok(pid) = fs::read_to_string(dir.join("db.pid")) else {
        return Ok(());
    };
    let pid = pid.trim();
    if !is_ours(pid, &dir) {
        return Ok(());
    }
    tracing::warn!(
        pid,
        "stopping the private database that an earlier process left running"
    );
    signal(pid.parse().unwrap_or(0), Signal::TERM);
    let end = Instant::now() + STOP;
    while is_ours(pid, &dir) {
        if Instant::now() > end {
            return Err(Error::Conflict(
                Text::new("db.embedded_orphan")
                    .with("pid", pid)
                    .with("path", dir.display()),
            ));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// The password of this directory's database: made once, readable by the owner only.
fn password(dir: &Path) -> Result<String> {
    let path = dir.join("password");
    if let Ok(known) = fs::read_to_string(&path)
        && !known.trim().is_empty()
    {
        return Ok(known.trim().to_owned());
    }
    let made = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    write_private(&path, &made)?;
    Ok(made)
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(|cause| Error::Internal(cause.into()))
}

/// The last line of MariaDB's log that tells of an error.
fn last_error(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    said.lines()
        .rfind(|line| line.contains("[ERROR]"))
        .unwrap_or_default()
        .to_owned()
}
