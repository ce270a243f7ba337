//! The peer of the pages: Django's admin over the same tables, under gunicorn with a worker for each core. Workers with threads
//! were tried and are slower.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use muster::config::Database;
use muster::db::Db;
use mysql_async::prelude::Queryable;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::process;

/// The system's own, which has the packages.
const PYTHON: &str = "/usr/bin/python3";
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Django {
    child: Child,
    address: SocketAddr,
    session: String,
}

impl Django {
    pub(crate) async fn start(database: &Database) -> Django {
        let mut conn = Db::new(database).own_conn().await.unwrap();
        conn.query_drop("create database django character set utf8mb4")
            .await
            .unwrap();
        conn.disconnect().await.unwrap();
        let prepared = python(database, &["prepare.py"]).output().await.unwrap();
        assert!(
            prepared.status.success(),
            "{}",
            String::from_utf8_lossy(&prepared.stderr)
        );
        let session = String::from_utf8(prepared.stdout).unwrap().trim().to_owned();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let workers = std::thread::available_parallelism().map_or(2, usize::from).to_string();
        let child = python(
            database,
            &["-m", "gunicorn", "wsgi", "--log-level", "warning", "--bind"],
        )
        .arg(address.to_string())
        .args(["--workers", &workers])
        .spawn()
        .unwrap();
        let end = Instant::now() + LIMIT;
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < end, "gunicorn is not up after {LIMIT:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Django {
            child,
            address,
            session,
        }
    }

    pub(crate) fn cookie(&self) -> String {
        format!("Cookie: sessionid={}", self.session)
    }

    pub(crate) fn url(&self, list: &str) -> String {
        format!("http://{}/admin/muster/{list}/", self.address)
    }

    pub(crate) async fn get(&self, list: &str) -> String {
        let cookie = format!("{}\r\n", self.cookie());
        process::get(self.address, &format!("/admin/muster/{list}/"), &cookie)
            .await
            .unwrap()
    }

    pub(crate) async fn stop(self) {
        process::stop(self.child).await;
    }
}

fn python(database: &Database, arguments: &[&str]) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/django");
    let mut command = Command::new(PYTHON);
    command
        .args(arguments)
        .current_dir(folder)
        .env("DJANGO_SETTINGS_MODULE", "settings")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BENCH_DB_HOST", &database.host)
        .env("BENCH_DB_PORT", database.port.to_string())
        .env("BENCH_DB_USER", &database.user)
        .env("BENCH_DB_PASSWORD", &database.password)
        .env("BENCH_DB_NAME", &database.name)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}
