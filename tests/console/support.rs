//! `TestConsole`: a whole server in this process on a database of its own, and others beside it.

use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use muster::app::App;
use muster::clusters::heartbeat::Heart;
use muster::config::{Config, Database, Flags};
use muster::db::Db;
use muster::db::embedded::{Embedded, Options};
use muster::install::Install;
use muster::routes;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use poem::endpoint::BoxEndpoint;
use poem::http::StatusCode;
use poem::test::{TestClient, TestResponse};
use tempfile::TempDir;
use uuid::Uuid;

/// The server all tests share: `MUSTER_TEST_DB` if it is set, else a private MariaDB, in memory where that is possible.
static SERVER: LazyLock<Database> = LazyLock::new(|| {
    let start = || tokio::runtime::Runtime::new().unwrap().block_on(server());
    std::thread::spawn(start).join().unwrap()
});

/// Watchdogs of the private MariaDB: their closed standard input ends it, however this process ends.
static WATCHDOGS: Mutex<Vec<std::process::Child>> = Mutex::new(Vec::new());

#[expect(clippy::disallowed_methods, reason = "a test run's own setting")]
async fn server() -> Database {
    if let Ok(url) = std::env::var("MUSTER_TEST_DB") {
        let database = config(&url, None, &[]).0.database.unwrap();
        drop_leftovers(&database).await;
        return database;
    }
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    }
    .unwrap()
    .keep();
    let embedded = Embedded::start(
        &dir,
        Options {
            tcp: true,
            durable: false,
        },
    )
    .await
    .unwrap();
    let script = "cat >/dev/null; kill -9 $1; rm -rf \"$2\"";
    let watchdog = Command::new("sh")
        .args(["-c", script, "sh", &embedded.pid().unwrap().to_string()])
        .arg(&dir)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    WATCHDOGS.lock().unwrap().push(watchdog);
    let database = embedded.database();
    // It ends with the watchdog.
    std::mem::forget(embedded);
    database
}

/// Databases that an earlier run on the same server did not drop.
async fn drop_leftovers(database: &Database) {
    let mut conn = Db::new(&Database {
        name: "mysql".into(),
        ..database.clone()
    })
    .own_conn()
    .await
    .unwrap();
    let names: Vec<String> = conn.query("show databases like 'muster\\_test\\_%'").await.unwrap();
    for name in names {
        conn.query_drop(format!("drop database `{name}`")).await.unwrap();
    }
}

/// The settings of a server on `url` in its own data directory, or in `data`.
fn config(url: &str, data: Option<TempDir>, more: &[(&str, &str)]) -> (Config, TempDir) {
    let data = data.unwrap_or_else(|| TempDir::new().unwrap());
    let flags = Flags {
        data: Some(data.path().to_owned()),
        ..Flags::default()
    };
    let mut env = vec![("JPOM_DB_URL".to_owned(), url.to_owned())];
    env.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    (Config::read(&flags, env).unwrap(), data)
}

/// A database of this test run; it goes with the private MariaDB, or at the start of the next run.
pub(crate) struct TestDatabase {
    pub(crate) database: Database,
}

impl TestDatabase {
    /// An empty one.
    pub(crate) async fn new() -> TestDatabase {
        let name = format!("muster_test_{}", Uuid::new_v4().simple());
        let mut conn = TestDatabase::admin().await;
        conn.query_drop(format!("create database `{name}` character set utf8mb4"))
            .await
            .unwrap();
        conn.disconnect().await.unwrap();
        TestDatabase {
            database: Database { name, ..SERVER.clone() },
        }
    }

    /// A connection with all rights, to no database of a test.
    pub(crate) async fn admin() -> Conn {
        Db::new(&Database {
            name: "mysql".into(),
            ..SERVER.clone()
        })
        .own_conn()
        .await
        .unwrap()
    }

    pub(crate) async fn conn(&self) -> Conn {
        Db::new(&self.database).own_conn().await.unwrap()
    }
}

pub(crate) fn url(database: &Database) -> String {
    let Database {
        user,
        password,
        host,
        port,
        name,
        ..
    } = database;
    format!("mysql://{user}:{password}@{host}:{port}/{name}")
}

pub(crate) struct TestConsole {
    pub(crate) app: App,
    pub(crate) heart: Heart,
    pub(crate) client: TestClient<BoxEndpoint<'static, poem::Response>>,
    pub(crate) database: Database,
    pub(crate) data: TempDir,
}

impl TestConsole {
    /// A server on an empty database, registered and with one beat behind it.
    pub(crate) async fn start() -> TestConsole {
        let database = TestDatabase::new().await;
        let mut console = TestConsole::silent(&database.database, None, &[]).await;
        console.heart.tick().await.unwrap();
        console
    }

    /// A second server on the same database.
    pub(crate) async fn beside(first: &TestConsole) -> TestConsole {
        let mut console = TestConsole::silent(&first.database, None, &[("JPOM_CLUSTER_ID", "B")]).await;
        console.heart.tick().await.unwrap();
        console
    }

    /// A server that has not called the roll yet.
    pub(crate) async fn silent(database: &Database, data: Option<TempDir>, env: &[(&str, &str)]) -> TestConsole {
        let (config, data) = config(&url(database), data, env);
        let install = Install::open(&config.data).unwrap();
        let app = App::new(config, install, Db::new(database)).unwrap();
        let client = TestClient::new(routes::all(&app));
        TestConsole {
            heart: Heart::new(app.clone()),
            client,
            app,
            database: database.clone(),
            data,
        }
    }

    /// Another start of the same install in a copy of its data directory, as after cloning a machine.
    pub(crate) async fn cloned(&self) -> TestConsole {
        let copy = TempDir::new().unwrap();
        std::fs::copy(self.data.path().join("INSTALL.json"), copy.path().join("INSTALL.json")).unwrap();
        TestConsole::silent(&self.database, Some(copy), &[]).await
    }

    pub(crate) fn id(&self) -> &str {
        &self.app.install.id
    }

    pub(crate) async fn conn(&self) -> Conn {
        self.app.db.own_conn().await.unwrap()
    }

    /// Runs SQL on the row of this server.
    pub(crate) async fn set(&self, assignments: &str) {
        let sql = format!("update cluster set {assignments} where install_id = '{}'", self.id());
        self.conn().await.query_drop(sql).await.unwrap();
    }

    /// Moves the last beat back, as if the server had been silent for that long.
    pub(crate) async fn age(&self, seconds: f64) {
        self.set(&format!(
            "beat_at = beat_at - interval {} microsecond",
            (seconds * 1e6) as u64
        ))
        .await;
    }

    /// Rows of clusters that do not run, named by number, all offline.
    pub(crate) async fn add_rows(&self, count: u32) {
        let rows: Vec<String> = (0..count)
            .map(|number| {
                format!(
                    "('{number:032x}', 'C{number}', 'name {number:04}', 'http://10.0.0.1:{number}', 'host{number}', '{number:032x}', \
                     7, '2026-01-01 00:00:00')"
                )
            })
            .collect();
        let sql = format!(
            "insert into cluster (install_id, cluster_id, name, address, host, boot_id, beat_seq, beat_at) values {}",
            rows.join(",")
        );
        self.conn().await.query_drop(sql).await.unwrap();
    }

    /// A page as a browser asks for it, in English.
    pub(crate) async fn get(&self, path: &str) -> Page {
        Page::of(self.client.get(path).header("Accept-Language", "en").send().await).await
    }

    /// A fragment as htmx asks for it, in English.
    pub(crate) async fn hx_get(&self, path: &str) -> Page {
        Page::of(
            self.client
                .get(path)
                .header("Accept-Language", "en")
                .header("HX-Request", "true")
                .send()
                .await,
        )
        .await
    }

    /// The state this server's pages show for a cluster.
    #[track_caller]
    pub(crate) fn state_of(&self, id: &str) -> impl Future<Output = String> {
        let path = "/clusters?size=100".to_owned();
        let selector = format!("#cluster-{id} .state");
        async move { self.hx_get(&path).await.text(&selector) }
    }
}

/// An answer with its HTML ready to be asked.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: poem::http::HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) async fn of(response: TestResponse) -> Page {
        let status = response.0.status();
        let headers = response.0.headers().clone();
        let body = response.0.into_body().into_string().await.unwrap();
        Page { status, headers, body }
    }

    /// The text of all that matches, white space folded.
    pub(crate) fn text(&self, selector: &str) -> String {
        let html = scraper::Html::parse_document(&self.body);
        let selector = scraper::Selector::parse(selector).unwrap();
        let words: Vec<String> = html
            .select(&selector)
            .flat_map(|found| found.text())
            .map(str::to_owned)
            .collect();
        words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn count(&self, selector: &str) -> usize {
        let html = scraper::Html::parse_document(&self.body);
        html.select(&scraper::Selector::parse(selector).unwrap()).count()
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(
            self.text("*").contains(text),
            "{text:?} is not in: {}",
            self.text("body")
        );
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
