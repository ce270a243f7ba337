//! A real OpenSSH server, and loopback peers that do what real ones do not.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::support::free_port;

/// Longest wait for what a peer should do by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// `sshd` of whoever runs the tests, for that user alone. Ends with the test, however it ends.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// With a new host key of each kind.
    pub(crate) fn start(kinds: &[&str]) -> Sshd {
        let dir = TempDir::new().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            // Where a server run by root drops its rights.
            let _ = std::fs::create_dir_all("/run/sshd");
        }
        let host_keys = kinds.iter().map(|kind| {
            let file = dir.path().join(format!("host_{kind}"));
            keygen(&["-t", kind, "-N", "", "-f", &file.display().to_string()]);
            format!("HostKey {}\n", file.display())
        });
        let host_keys: String = host_keys.collect();
        let authorized = dir.path().join("authorized_keys");
        std::fs::write(&authorized, "").unwrap();
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\n{host_keys}AuthorizedKeysFile {}\nStrictModes no\nUsePAM {}\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n",
            authorized.display(),
            // Without it a user whose password is locked cannot come in by key; as root it would open sessions.
            if is_root { "no" } else { "yes" },
        );
        let file = dir.path().join("sshd_config");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(file);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (log, lines) = follow(&mut child);
        let is_up = lines.iter().any(|line| line.starts_with("Server listening"));
        let server = Sshd { child, port, dir, log };
        match server.log() {
            _ if is_up => server,
            // Another test took the port in between.
            log if log.contains("in use") => Sshd::start(kinds),
            log => panic!("{log}"),
        }
    }

    /// Lets a key in, with options as in `authorized_keys`.
    pub(crate) fn authorize(&self, key: &Key, options: &str) {
        let public = std::fs::read_to_string(key.file.with_extension("pub")).unwrap();
        let file = self.dir.path().join("authorized_keys");
        let known = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{known}{options} {public}")).unwrap();
    }

    /// As OpenSSH says it: `ssh-ed25519 SHA256:…`.
    pub(crate) fn host_key(&self, kind: &str) -> String {
        let public = self.dir.path().join(format!("host_{kind}.pub"));
        let said = keygen(&["-l", "-f", &public.display().to_string()]);
        let name = std::fs::read_to_string(public).unwrap();
        let print = said.split(' ').nth(1).unwrap();
        format!("{} {print}", name.split(' ').next().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

/// Collects what a server says; its lines as they come, until the receiver is dropped.
fn follow(child: &mut Child) -> (Arc<Mutex<Vec<String>>>, Receiver<String>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (told, lines) = channel();
    let (said, kept) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
    std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line.trim_end().to_owned());
            let _ = told.send(line);
        }
    });
    (log, lines)
}

fn keygen(arguments: &[&str]) -> String {
    let output = Command::new("ssh-keygen").arg("-q").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Who runs the tests.
pub(crate) fn me() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A private key as `ssh-keygen` writes it.
pub(crate) struct Key {
    _dir: TempDir,
    pub(crate) file: PathBuf,
    pub(crate) text: String,
}

impl Key {
    /// `format` as for `ssh-keygen -m`.
    pub(crate) fn new(kind: &str, format: &str, passphrase: &str) -> Key {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("key");
        let path = file.display().to_string();
        keygen(&["-t", kind, "-m", format, "-N", passphrase, "-a", "4", "-f", &path]);
        let text = std::fs::read_to_string(&file).unwrap();
        Key { _dir: dir, file, text }
    }
}

/// A peer that treats each connection as told. Ends with the test.
pub(crate) async fn peer<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    port
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it never came to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A folder with BusyBox under every name it has, and nothing else.
pub(crate) fn busybox() -> TempDir {
    let dir = TempDir::new().unwrap();
    let program = ["/usr/bin/busybox", "/bin/busybox"].map(Path::new);
    let program = program
        .into_iter()
        .find(|path| path.exists())
        .expect("busybox is missing");
    let output = Command::new(program).arg("--list").output().unwrap();
    for name in String::from_utf8(output.stdout).unwrap().lines() {
        std::os::unix::fs::symlink(program, dir.path().join(name)).unwrap();
    }
    dir
}
