//! A MariaDB Galera cluster of three nodes on loopback, each of which can be killed, frozen and started again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster::config::{Database, Tls};
use muster::db::Db;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::free_port;

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";
const PASSWORD: &str = "galera-51c0d2";
/// Longest that a node may take to have caught up.
const PATIENCE: Duration = Duration::from_secs(60);
/// As `docs/galera.md` recommends: a node that says nothing is given up after a second and a half.
const EVICTION: &str = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.25S;evs.suspect_timeout=PT1.5S;\
                        evs.inactive_timeout=PT2S;evs.install_timeout=PT2S;gcache.size=16M";

struct Node {
    port: u16,
    group: u16,
    transfer: u16,
    dir: PathBuf,
    child: Option<Child>,
}

pub(crate) struct Galera {
    nodes: Vec<Node>,
    env: Vec<(&'static str, String)>,
    _dir: TempDir,
}

/// Ends with the case, however it ends.
impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Galera {
    /// Three nodes that are in touch.
    pub(crate) async fn start() -> Galera {
        Galera::of(3, &[]).await
    }

    /// So many nodes, with more in their environment.
    pub(crate) async fn of(count: u8, env: &[(&'static str, String)]) -> Galera {
        let dir = TempDir::new().unwrap();
        // Copying to a new node is done by rsync, which gives root's rights away.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let node = |number: u8| Node {
            port: free_port(),
            group: free_port(),
            transfer: free_port(),
            dir: dir.path().join(format!("node{number}")),
            child: None,
        };
        let mut galera = Galera {
            nodes: (0..count).map(node).collect(),
            env: env.to_vec(),
            _dir: dir,
        };
        galera.install();
        galera.spawn(0, &["--wsrep-new-cluster", &galera.init_file()]);
        galera.ready(0).await;
        for node in 1..usize::from(count) {
            galera.run(node).await;
        }
        galera
    }

    /// With all nodes in it.
    pub(crate) fn database(&self) -> Database {
        let [first, others @ ..] = self.nodes.as_slice() else {
            unreachable!()
        };
        Database {
            host: "127.0.0.1".to_owned(),
            port: first.port,
            others: others.iter().map(|node| ("127.0.0.1".to_owned(), node.port)).collect(),
            socket: None,
            name: "muster".to_owned(),
            user: "muster".to_owned(),
            password: PASSWORD.to_owned(),
            tls: Tls::Off,
            authority: None,
        }
    }

    pub(crate) async fn sql(&self, statements: &str) {
        let mut conn = Db::new(&self.database()).own_conn().await.unwrap();
        for sql in statements.split(';') {
            conn.query_drop(sql).await.unwrap();
        }
    }

    pub(crate) fn kill(&mut self, node: usize) {
        let mut child = self.nodes[node].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn signal(&self, node: usize, signal: Signal) {
        kill_process(Pid::from_child(self.nodes[node].child.as_ref().unwrap()), signal).unwrap();
    }

    /// Starts it; it fetches what it has missed.
    pub(crate) async fn run(&mut self, node: usize) {
        self.spawn(node, &[]);
        self.ready(node).await;
    }

    fn install(&self) {
        for node in &self.nodes {
            fs::create_dir_all(&node.dir).unwrap();
        }
        let data = format!("--datadir={}", self.nodes[0].dir.display());
        let mut install = Command::new("mariadb-install-db");
        install.args([
            "--no-defaults",
            &data,
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
        ]);
        install.args(as_user());
        assert!(
            install
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        if is_root() {
            let dirs = self.nodes.iter().map(|node| node.dir.as_path());
            assert!(
                Command::new("chown")
                    .args(["-R", "mysql"])
                    .args(dirs)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }

    fn init_file(&self) -> String {
        let path = self.nodes[0].dir.join("init.sql");
        let sql = format!(
            "create database muster character set utf8mb4;\n\
             create user 'muster'@'127.0.0.1' identified by '{PASSWORD}';\n\
             grant all on *.* to 'muster'@'127.0.0.1' with grant option;\n"
        );
        fs::write(&path, sql).unwrap();
        format!("--init-file={}", path.display())
    }

    fn spawn(&mut self, number: usize, more: &[&str]) {
        let members: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.group))
            .collect();
        let node = &mut self.nodes[number];
        let path = |name: &str| node.dir.join(name).display().to_string();
        let log = fs::File::create(node.dir.join("error.log")).unwrap();
        let mut command = Command::new(server());
        command.args([
            "--no-defaults",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=24M",
            "--innodb-log-file-size=16M",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            "--wsrep-sst-method=rsync",
        ]);
        command.args([
            format!("--datadir={}", node.dir.display()),
            format!("--socket={}", path("db.sock")),
            format!("--pid-file={}", path("db.pid")),
            format!("--port={}", node.port),
            format!("--wsrep-provider={PROVIDER}"),
            format!("--wsrep-cluster-address=gcomm://{}", members.join(",")),
            format!("--wsrep-node-address=127.0.0.1:{}", node.group),
            format!("--wsrep-sst-receive-address=127.0.0.1:{}", node.transfer),
            format!(
                "--wsrep-provider-options=base_port={0};gmcast.listen_addr=tcp://127.0.0.1:{0};ist.recv_addr=127.0.0.1:{1};{EVICTION}",
                node.group,
                free_port()
            ),
        ]);
        command.args(as_user()).args(more).current_dir(&node.dir);
        command.envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        node.child = Some(command.spawn().unwrap());
    }

    async fn ready(&mut self, number: usize) {
        let end = Instant::now() + PATIENCE;
        loop {
            let node = &mut self.nodes[number];
            let ended = node.child.as_mut().unwrap().try_wait().unwrap();
            let log = || fs::read_to_string(node.dir.join("error.log")).unwrap_or_default();
            assert!(
                ended.is_none() && Instant::now() < end,
                "node {number} does not come: {}",
                log()
            );
            if is_synced(node.port).await {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn is_synced(port: u16) -> bool {
    let opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("muster"))
        .pass(Some(PASSWORD));
    let ask = async {
        let mut conn = Conn::new(opts).await?;
        conn.query_first::<(String, String), _>("show status like 'wsrep_local_state_comment'")
            .await
    };
    matches!(timeout(Duration::from_secs(1), ask).await, Ok(Ok(Some((_, state)))) if state == "Synced")
}

fn server() -> &'static str {
    let known = ["/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd"];
    known
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("mariadbd")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_user() -> Option<&'static str> {
    is_root().then_some("--user=mysql")
}
