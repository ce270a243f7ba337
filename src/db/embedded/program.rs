//! MariaDB's own programs: making the system tables and starting the server.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::{NAME, Options, unwritable};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::write_private;

const SERVER: [&str; 4] = [
    "mariadbd",
    "/usr/sbin/mariadbd",
    "/usr/libexec/mariadbd",
    "/usr/local/sbin/mariadbd",
];
const INSTALLER: [&str; 2] = ["mariadb-install-db", "mysql_install_db"];

/// Makes the system tables beside their final place, so that a crash meanwhile leaves nothing half done.
pub(super) async fn install(dir: &Path) -> Result<()> {
    let making = dir.join("data.new");
    let _ = fs::remove_dir_all(&making);
    let arguments = [
        "--no-defaults".to_owned(),
        format!("--datadir={}", making.display()),
        "--auth-root-authentication-method=socket".to_owned(),
        "--skip-test-db".to_owned(),
    ];
    let output = first_found(&INSTALLER, |name| {
        Command::new(name)
            .args(&arguments)
            .args(as_root())
            .stdin(Stdio::null())
            .output()
    })
    .await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let last: String = said
            .lines()
            .rev()
            .take(5)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n");
        return Err(Error::Invalid(
            Text::new("db.embedded_install")
                .with("path", dir.display())
                .with("last", last),
        ));
    }
    fs::rename(&making, dir.join("data")).map_err(|cause| unwritable(dir, &cause))
}

/// Runs the first of the names that exists.
async fn first_found<F, T>(names: &[&str], run: impl Fn(String) -> F) -> Result<T>
where
    F: Future<Output = std::io::Result<T>>,
{
    for name in names {
        match run((*name).to_owned()).await {
            Ok(done) => return Ok(done),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => return Err(Error::Internal(cause.into())),
        }
    }
    Err(Error::Invalid(
        Text::new("db.embedded_missing").with("program", names[0]),
    ))
}

/// MariaDB refuses to run as root unless told so.
fn as_root() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// Starts the server in a process group of its own: a Ctrl-C must not take the database from under the last beat.
pub(super) fn spawn(dir: &Path, options: Options, port: Option<u16>, password: &str) -> Result<Child> {
    write_private(&dir.join("init.sql"), &init_sql(password))?;
    let temporary = dir.join("tmp");
    fs::create_dir_all(&temporary).map_err(|cause| unwritable(&temporary, &cause))?;
    // The log of the run before tells why that one ended.
    let path = dir.join("error.log");
    let _ = fs::rename(&path, dir.join("error.log.1"));
    let log = fs::File::create(path).map_err(|cause| unwritable(dir, &cause))?;
    for name in SERVER {
        let log = log.try_clone().map_err(|cause| unwritable(dir, &cause))?;
        let mut command = Command::new(name);
        command
            .args(arguments(dir, options, port))
            .args(as_root())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .process_group(0);
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => return Err(Error::Internal(cause.into())),
        }
    }
    Err(Error::Invalid(
        Text::new("db.embedded_missing").with("program", SERVER[0]),
    ))
}

/// The account and the schema, set anew at each start so that the password file always fits.
fn init_sql(password: &str) -> String {
    let mut sql =
        format!("create database if not exists {NAME} character set utf8mb4 collate utf8mb4_unicode_520_ci;\n");
    for host in ["localhost", "127.0.0.1"] {
        sql += &format!("create or replace user '{NAME}'@'{host}' identified by '{password}';\n");
        sql += &format!("grant all on *.* to '{NAME}'@'{host}' with grant option;\n");
    }
    sql
}

/// Small in memory (about 50 MiB): the tables here are small, and the machine has other work.
fn arguments(dir: &Path, options: Options, port: Option<u16>) -> Vec<String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let mut arguments = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", path("data")),
        // Its own: each server that starts removes what others have in a directory that they share.
        format!("--tmpdir={}", path("tmp")),
        format!("--socket={}", path("db.sock")),
        format!("--pid-file={}", path("db.pid")),
        format!("--init-file={}", path("init.sql")),
        "--skip-name-resolve".to_owned(),
        "--skip-log-bin".to_owned(),
        "--character-set-server=utf8mb4".to_owned(),
        "--performance-schema=off".to_owned(),
        "--innodb-buffer-pool-size=24M".to_owned(),
        "--innodb-log-file-size=16M".to_owned(),
        "--key-buffer-size=1M".to_owned(),
        "--aria-pagecache-buffer-size=2M".to_owned(),
        "--table-open-cache=200".to_owned(),
        format!(
            "--innodb-flush-log-at-trx-commit={}",
            if options.durable { 1 } else { 0 }
        ),
    ];
    match port {
        Some(port) => arguments.extend(["--bind-address=127.0.0.1".to_owned(), format!("--port={port}")]),
        None => arguments.push("--skip-networking".to_owned()),
    }
    arguments
}
