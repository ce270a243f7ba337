//! Some servers on one database, assets that all of them may watch, and observers who write down what they see.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster::config::Database;
use muster::db::Db;
use muster::liveness::{LIVENESS, STATE};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use scraper::{Html, Selector};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::checker::{Allowed, INTERVAL, judge};
use crate::history::{History, Row, Said, Turn};
use crate::server::{Server, page};
use crate::support::{PASSWORD, TOKEN, TestDatabase, let_in};

const ASSETS: u32 = 4;
const METRICS: &str = "node_boot_time_seconds 1\nnode_time_seconds 100\n";
/// An observer whose database says nothing for so long looks elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks of an observer.
const GLANCE: Duration = Duration::from_millis(200);

pub(crate) struct World {
    /// With all rights, and not through any door.
    pub(crate) database: Database,
    /// As servers see it: with ordinary rights.
    pub(crate) plain: Database,
    pub(crate) servers: Vec<Server>,
    pub(crate) history: History,
    pub(crate) allowed: Allowed,
    /// Install ids; the observers know servers by their place here.
    ids: Arc<Vec<String>>,
    observers: JoinSet<()>,
    peers: JoinSet<()>,
    /// What no server may change by itself.
    furniture: String,
}

/// How a server of a world is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Start {
    /// What goes before the program.
    pub(crate) wrapper: Vec<String>,
    /// Of a database of several nodes the one that it names first.
    pub(crate) first_node: usize,
    /// Another program than the one that is tried.
    pub(crate) program: Option<PathBuf>,
}

impl World {
    /// On a database of its own of the server that all cases share.
    pub(crate) async fn start(servers: usize) -> World {
        let database = TestDatabase::new().await.database;
        World::on(&database, vec![Start::default(); servers]).await
    }

    /// As many servers as there are starts.
    pub(crate) async fn on(database: &Database, starts: Vec<Start>) -> World {
        let plain = plain_user(database).await;
        let history = History::new();
        let mut servers = Vec::new();
        for (number, start) in starts.into_iter().enumerate() {
            let behind = turned(&plain, start.first_node);
            let mut server = Server::new(&behind, format!("S{number}")).await;
            server.wrapper = start.wrapper;
            server.program = start.program.unwrap_or(server.program.clone());
            server.start();
            // One after the other: the first gets the group.
            server.ready().await;
            if number == 0 {
                let_in(database).await;
            }
            history.add(Said::Done {
                to: number,
                turn: Turn::Well,
            });
            servers.push(server);
        }
        let ids: Arc<Vec<String>> = Arc::new(servers.iter().map(Server::install_id).collect());
        let mut world = World {
            database: database.clone(),
            plain,
            servers,
            history,
            allowed: Allowed::default(),
            ids,
            observers: JoinSet::new(),
            peers: JoinSet::new(),
            furniture: String::new(),
        };
        world.furnish().await;
        world.observe();
        world
    }

    pub(crate) async fn conn(&self) -> Conn {
        Db::new(&self.database).own_conn().await.unwrap()
    }

    /// Seconds since 1970 by the database's clock.
    pub(crate) async fn now(&self) -> u64 {
        let now = self.conn().await.query_first("select unix_timestamp()").await;
        now.unwrap().unwrap()
    }

    /// The first column of the first row, as text.
    pub(crate) async fn ask(&self, sql: &str) -> String {
        let found: Option<String> = self.conn().await.query_first(sql).await.unwrap();
        found.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.conn().await.query_drop(sql).await.unwrap();
    }

    /// The database is somewhere else from now on; the servers' doors lead there.
    pub(crate) async fn moved_to(&mut self, database: &Database) {
        self.database = database.clone();
        for server in &mut self.servers {
            server.door.shut().await;
            server.door.open(database).await;
        }
        self.observers.abort_all();
        self.observe();
    }

    /// One group for all servers, and assets in it.
    async fn furnish(&mut self) {
        let mut conn = self.conn().await;
        conn.query_drop("delete from cluster_group").await.unwrap();
        for (position, id) in (1..).zip(self.ids.iter()) {
            let sql = "insert into cluster_group (group_id, install_id, position) values (1, ?, ?)";
            conn.exec_drop(sql, (id, position)).await.unwrap();
        }
        for asset in 1..=ASSETS {
            let port = self.peer(asset).await;
            let address = format!("http://127.0.0.1:{port}");
            let sql = "insert into asset (asset_id, kind, name, name_key, address, group_id, settings) \
                       values (?, 'machine', ?, ?, ?, 1, ?)";
            let settings = format!(r#"{{"address":"{address}"}}"#);
            let name = format!("web {asset}");
            conn.exec_drop(sql, (asset, &name, &name, &address, settings))
                .await
                .unwrap();
        }
        let sql = format!(
            "insert into asset_watch (asset_id, group_id, interval_s) select asset_id, 1, {INTERVAL} from asset"
        );
        conn.query_drop(sql).await.unwrap();
        self.furniture = furniture(&mut conn).await;
    }

    /// A machine's exporter that writes down who asks when.
    async fn peer(&mut self, asset: u32) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let history = self.history.clone();
        self.peers.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let history = history.clone();
                tokio::spawn(async move {
                    let mut asked = [0; 2048];
                    if stream.read(&mut asked).await.is_ok_and(|length| length > 0) {
                        history.add(Said::Look { asset });
                        let length = METRICS.len();
                        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
                        let answer = format!("{head}Content-Length: {length}\r\n\r\n{METRICS}");
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        port
    }

    fn observe(&mut self) {
        let (db, history, ids) = (Db::new(&self.database), self.history.clone(), self.ids.clone());
        self.observers.spawn(async move {
            let mut checked = HashMap::new();
            // It comes again after a database that went away.
            loop {
                if let Ok(mut conn) = db.own_conn().await {
                    while let Ok(Ok(())) = timeout(PATIENCE, glance(&mut conn, &history, &ids, &mut checked)).await {
                        sleep(GLANCE).await;
                    }
                }
                sleep(GLANCE).await;
            }
        });
        for (by, server) in self.servers.iter().enumerate() {
            let (port, history, ids) = (server.port, self.history.clone(), self.ids.clone());
            self.observers.spawn(async move {
                loop {
                    if let Some((took, answer)) = page(port, "/clusters?size=100").await {
                        let states = states(&answer, &ids);
                        if !states.is_empty() {
                            history.add(Said::Page { by, took, states });
                        }
                    }
                    sleep(2 * GLANCE).await;
                }
            });
        }
    }

    pub(crate) fn done(&self, to: usize, turn: Turn) {
        self.history.add(Said::Done { to, turn });
    }

    pub(crate) fn freeze(&self, server: usize) {
        self.servers[server].signal(Signal::STOP);
        self.done(server, Turn::Cut);
    }

    pub(crate) fn wake(&self, server: usize) {
        self.done(server, Turn::Well);
        self.servers[server].signal(Signal::CONT);
    }

    pub(crate) fn kill(&mut self, server: usize) {
        self.servers[server].kill();
        self.done(server, Turn::Killed);
    }

    pub(crate) async fn end(&mut self, server: usize) {
        self.done(server, Turn::Cut);
        self.servers[server].end().await;
        self.done(server, Turn::Ended);
    }

    pub(crate) async fn start_again(&mut self, server: usize) {
        // From now on it may beat, and from when it is ready it must.
        self.done(server, Turn::Open);
        self.servers[server].start();
        self.servers[server].ready().await;
        self.done(server, Turn::Well);
    }

    /// Some time, in which the observers look.
    pub(crate) async fn wait(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }

    /// What was wrong; its servers end.
    pub(crate) async fn judge(mut self) -> Vec<String> {
        let mut conn = self.conn().await;
        let now = furniture(&mut conn).await;
        self.observers.abort_all();
        let mut wrong = judge(&self.history.lines(), self.allowed);
        if now != self.furniture {
            wrong.push(format!("something was changed: {} is now {now}", self.furniture));
        }
        for (number, server) in self.servers.iter().enumerate() {
            let written = server.written();
            let secrets = [TOKEN, PASSWORD, self.database.password.as_str(), PLAIN];
            if secrets.iter().any(|secret| written.contains(secret)) {
                wrong.push(format!("server {number} has written a secret into its log"));
            }
            if written.contains("panicked") {
                wrong.push(format!("server {number} has panicked"));
            }
        }
        self.servers.iter_mut().for_each(Server::kill);
        if !wrong.is_empty() {
            wrong.push(format!(
                "the history and the logs are kept in {}",
                self.kept().display()
            ));
        }
        wrong
    }
}

impl World {
    /// What one needs to find out why.
    fn kept(&self) -> PathBuf {
        let folder = crate::folder().join(&self.database.name);
        fs::create_dir_all(&folder).unwrap();
        let lines: Vec<String> = self
            .history
            .lines()
            .iter()
            .map(|line| serde_json::to_string(line).unwrap())
            .collect();
        fs::write(folder.join("history.jsonl"), lines.join("\n")).unwrap();
        for (number, server) in self.servers.iter().enumerate() {
            fs::write(folder.join(format!("{number}.log")), server.written()).unwrap();
        }
        folder
    }
}

/// The password of servers' user of the database.
const PLAIN: &str = "plain-7f3a9c";

/// A user with the rights that README asks for and no more, and the database as it sees it.
async fn plain_user(database: &Database) -> Database {
    let user = format!("u{}", &database.name[database.name.len().saturating_sub(12)..]);
    let mut conn = Db::new(database).own_conn().await.unwrap();
    conn.query_drop(format!("create user '{user}'@'%' identified by '{PLAIN}'"))
        .await
        .unwrap();
    conn.query_drop(format!("grant all privileges on `{}`.* to '{user}'@'%'", database.name))
        .await
        .unwrap();
    Database {
        user,
        password: PLAIN.to_owned(),
        ..database.clone()
    }
}

/// The same database with another node in front.
pub(crate) fn turned(database: &Database, first: usize) -> Database {
    let mut nodes: Vec<(String, u16)> = database.nodes().map(|(host, port)| (host.to_owned(), port)).collect();
    nodes.rotate_left(first);
    let (host, port) = nodes.remove(0);
    Database {
        host,
        port,
        others: nodes,
        ..database.clone()
    }
}

/// What belongs to people: bindings, workspaces, assets, accounts.
async fn furniture(conn: &mut Conn) -> String {
    let mut all = String::new();
    for sql in [
        "select concat_ws('/', group_id, install_id, position) from cluster_group order by 1",
        "select concat_ws('/', workspace_id, name, install_id) from workspace order by 1",
        "select concat_ws('/', asset_id, name, address, group_id) from asset order by 1",
        "select concat_ws('/', account_id, name, role) from account order by 1",
    ] {
        let rows: Vec<String> = conn.query(sql).await.unwrap();
        all += &format!("{}; ", rows.join(", "));
    }
    all
}

async fn glance(
    conn: &mut Conn,
    history: &History,
    ids: &[String],
    checked: &mut HashMap<u32, String>,
) -> mysql_async::Result<()> {
    let sql = format!(
        "select install_id, {STATE}, {LIVENESS} in ('online', 'late'), beat_seq, coalesce(boot_id, '') from cluster"
    );
    let rows: Vec<(String, String, bool, u64, String)> = conn.query(sql).await?;
    let rows = rows.into_iter().filter_map(|(id, state, lives, beats, boot)| {
        let of = ids.iter().position(|known| *known == id)?;
        Some(Row {
            of,
            state,
            lives,
            beats,
            boot,
        })
    });
    history.add(Said::Roll(rows.collect()));
    let sql =
        "select asset_id, coalesce(checked_by, ''), concat(checked_at) from asset_watch where checked_at is not null";
    let checks: Vec<(u32, String, String)> = conn.query(sql).await?;
    for (asset, by, at) in checks {
        let is_new = checked.insert(asset, at.clone()).is_none_or(|before| before != at);
        if let Some(by) = ids.iter().position(|id| is_new && *id == by) {
            history.add(Said::Check { by, asset });
        }
    }
    Ok(())
}

/// What a list says of each cluster that is known.
fn states(answer: &str, ids: &[String]) -> Vec<(usize, String)> {
    let list = Html::parse_fragment(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body));
    let of = |(number, id): (usize, &String)| {
        let selector = Selector::parse(&format!("#cluster-{id} .state")).unwrap();
        let state = list.select(&selector).next()?.text().collect::<String>();
        let state = state.trim().to_lowercase();
        let is_plain = matches!(state.as_str(), "online" | "late" | "offline" | "stopped");
        is_plain.then_some((number, state))
    };
    ids.iter().enumerate().filter_map(of).collect()
}
