//! `TestConsole`: a whole server in this process on a database of its own, and others beside it.

use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use muster::app::App;
use muster::clusters::heartbeat::Heart;
use muster::config::{Config, Database, Flags};
use muster::db::Db;
use muster::db::embedded::{Embedded, Options};
use muster::install::Install;
use muster::log::Store;
use muster::people::sessions::queries::{self as sessions, Origin};
use muster::people::users::queries::{self as users, New};
use muster::people::{Role, password, secret};
use muster::routes;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};
use poem::endpoint::BoxEndpoint;
use poem::http::StatusCode;
use poem::test::TestClient;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) use crate::page::Page;
use crate::scan::{Scan, watched};

/// The server all tests share: `MUSTER_TEST_DB` if it is set, else a private MariaDB, in memory where that is possible.
pub(crate) static SERVER: LazyLock<Database> = LazyLock::new(|| {
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
        user, password, name, ..
    } = database;
    let nodes: Vec<String> = database.nodes().map(|(host, port)| format!("{host}:{port}")).collect();
    format!("mysql://{user}:{password}@{}/{name}", nodes.join(","))
}

pub(crate) struct TestConsole {
    pub(crate) app: App,
    pub(crate) heart: Heart,
    pub(crate) client: TestClient<BoxEndpoint<'static, poem::Response>>,
    pub(crate) database: Database,
    pub(crate) scan: Scan,
    pub(crate) data: TempDir,
    /// Whose browser asks; nobody's until somebody signed in.
    pub(crate) visitor: Visitor,
}

/// A program's token that [`let_in`] makes good.
pub(crate) const TOKEN: &str = "muster_0123456789abcdef";

/// Makes an account and its token in a database that has been migrated.
pub(crate) async fn let_in(database: &Database) {
    let mut conn = Db::new(database).own_conn().await.unwrap();
    let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
    let account = New {
        account_id: &"a".repeat(32),
        name: "program",
        display_name: "",
        role: Role::SuperAdmin,
        password_hash: "",
        by: "",
        is_first: false,
    };
    users::insert(&mut tx, &account).await.unwrap();
    let keys = (&*"b".repeat(32), &*secret::hash(TOKEN), &*"a".repeat(32));
    sessions::insert_token(&mut tx, keys, "program", Role::SuperAdmin, 30)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Everybody's in these tests.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A browser's session, as the database knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitor {
    pub(crate) account_id: String,
    pub(crate) token: String,
}

impl Visitor {
    /// A browser that nobody has signed in with.
    pub(crate) fn stranger() -> Visitor {
        Visitor {
            account_id: String::new(),
            token: "f".repeat(64),
        }
    }

    /// As of somebody who has just written something: what tests write themselves, past the server, is to be seen at once.
    pub(crate) fn cookie(&self) -> String {
        format!("{}; muster_wrote=1", self.calm_cookie())
    }

    /// As of somebody who only looks.
    pub(crate) fn calm_cookie(&self) -> String {
        match (self.account_id.as_str(), self.token.as_str()) {
            ("", token) => format!("muster_form={token}"),
            (_, token) => format!("muster_s_test={token}"),
        }
    }

    pub(crate) fn csrf(&self) -> String {
        secret::derived("form", &self.token)
    }
}

impl TestConsole {
    /// A server on an empty database, registered and with one beat behind it.
    pub(crate) async fn start() -> TestConsole {
        let database = TestDatabase::new().await;
        let mut console = TestConsole::silent(&database.database, None, &[]).await;
        console.heart.tick().await.unwrap();
        console.visitor = console.visitor("root", Role::SuperAdmin).await;
        console
    }

    /// Somebody new with that role, signed in; [`PASSWORD`] lets them in again.
    pub(crate) async fn visitor(&self, name: &str, role: Role) -> Visitor {
        let (account_id, token) = (Uuid::new_v4().simple().to_string(), secret::random().unwrap());
        let hash = password::hash(PASSWORD).await.unwrap();
        let account = New {
            account_id: &account_id,
            name,
            display_name: "",
            role,
            password_hash: &hash,
            by: "",
            is_first: false,
        };
        let mut conn = self.conn().await;
        let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
        users::insert(&mut tx, &account).await.unwrap();
        tx.commit().await.unwrap();
        self.session_of(&account_id, token).await
    }

    /// Another browser of somebody.
    pub(crate) async fn session_of(&self, account_id: &str, token: String) -> Visitor {
        let mut conn = self.conn().await;
        let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
        let session_id = Uuid::new_v4().simple().to_string();
        let from = Origin {
            install_id: self.id().to_owned(),
            ..Origin::default()
        };
        sessions::start(&mut tx, (&secret::hash(&token), &session_id, account_id), false, &from)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Visitor {
            account_id: account_id.to_owned(),
            token,
        }
    }

    /// A second server on the same database.
    pub(crate) async fn beside(first: &TestConsole) -> TestConsole {
        let mut console = TestConsole::silent(&first.database, None, &[("JPOM_CLUSTER_ID", "B")]).await;
        console.heart.tick().await.unwrap();
        console.visitor = first.visitor.clone();
        console
    }

    /// [`TestConsole::beside`] before its first beat.
    pub(crate) async fn beside_silent(first: &TestConsole) -> TestConsole {
        TestConsole::silent(&first.database, None, &[]).await
    }

    /// A server that has not called the roll yet.
    pub(crate) async fn silent(database: &Database, data: Option<TempDir>, env: &[(&str, &str)]) -> TestConsole {
        let (config, data) = config(&url(database), data, env);
        let install = Install::open(&config.data).unwrap();
        let log = Arc::new(Store::open(&config.data).unwrap());
        let app = App::new(config, install, Db::new(database), log).unwrap();
        let scan = Scan::new(&database.name, data.path());
        TestConsole {
            heart: Heart::new(app.clone()),
            client: TestClient::new(watched(routes::all(&app), &scan.seen)),
            app,
            scan,
            database: database.clone(),
            data,
            visitor: Visitor::default(),
        }
    }

    /// Another start of the same install in a copy of its data directory, as after cloning a machine.
    pub(crate) async fn cloned(&self) -> TestConsole {
        let copy = TempDir::new().unwrap();
        std::fs::copy(self.data.path().join("INSTALL.json"), copy.path().join("INSTALL.json")).unwrap();
        let mut console = TestConsole::silent(&self.database, Some(copy), &[]).await;
        console.visitor = self.visitor.clone();
        console
    }

    /// Its pages, for a listener.
    pub(crate) fn site(&self) -> BoxEndpoint<'static, poem::Response> {
        watched(routes::all(&self.app), &self.scan.seen)
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
        self.get_as(&self.visitor, path).await
    }

    /// A page as somebody else's browser asks for it.
    pub(crate) async fn get_as(&self, visitor: &Visitor, path: &str) -> Page {
        let request = self.client.get(path).header("Accept-Language", "en");
        Page::of(request.header("Cookie", visitor.cookie()).send().await).await
    }

    /// A form as a browser without scripts sends it.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_as(&self.visitor, path, fields).await
    }

    pub(crate) async fn post_as(&self, visitor: &Visitor, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &visitor.csrf()).extend_pairs(fields);
        let request = self.client.post(path).header("Accept-Language", "en");
        let request = request.header("Cookie", visitor.cookie());
        let request = request.content_type("application/x-www-form-urlencoded");
        Page::of(request.body(form.finish()).send().await).await
    }

    /// A fragment as htmx asks for it, in English.
    pub(crate) async fn hx_get(&self, path: &str) -> Page {
        Page::of(
            self.client
                .get(path)
                .header("Accept-Language", "en")
                .header("HX-Request", "true")
                .header("Cookie", self.visitor.cookie())
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

impl TestConsole {
    /// A sign-in as a browser without scripts sends it.
    pub(crate) async fn sign_in(&self, name: &str, password: &str) -> Page {
        let fields = [("name", name), ("password", password)];
        self.post_as(&Visitor::stranger(), "/sign-in", &fields).await
    }

    pub(crate) async fn is_in(&self, visitor: &Visitor) -> bool {
        let page = self.get_as(visitor, "/profile").await;
        let out = page.header("location").starts_with("/sign-in");
        assert!(page.status == StatusCode::OK || out, "{}", page.status);
        !out
    }

    /// Runs a statement.
    pub(crate) async fn sql(&self, sql: &str) {
        self.conn().await.query_drop(sql).await.unwrap();
    }

    /// A page as a program with that token asks for it.
    pub(crate) async fn get_with(&self, token: &str, path: &str) -> Page {
        let request = self.client.get(path).header("Accept-Language", "en");
        Page::of(request.header("Authorization", format!("Bearer {token}")).send().await).await
    }

    /// A form as a program with that token sends it.
    pub(crate) async fn post_with(&self, token: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.client.post(path).header("Accept-Language", "en");
        let request = request.header("Authorization", format!("Bearer {token}"));
        let request = request.content_type("application/x-www-form-urlencoded");
        Page::of(request.body(form).send().await).await
    }

    /// The one number that a statement asks for.
    pub(crate) async fn count(&self, sql: &str) -> u64 {
        self.conn().await.query_first(sql).await.unwrap().unwrap()
    }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
