//! What assets are asked through: the real programs, and TLS in front of them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::assets::target::{Secret, Target};
use muster::clusters::address::Reach;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::support::free_port;

/// Longest a program may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody in particular, everywhere, and with time enough.
pub(crate) fn target() -> Target {
    Target {
        secret: Secret::default(),
        reach: Reach::All,
        timeout: Duration::from_secs(20),
        pin: String::new(),
        last_ticks: None,
    }
}

pub(crate) struct NodeExporter {
    child: Child,
    pub(crate) port: u16,
}

/// Ends with the test, however it ends.
impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl NodeExporter {
    /// Returns once somebody listens at its port.
    pub(crate) async fn start(more: &[String]) -> NodeExporter {
        let port = free_port();
        let mut command = Command::new("prometheus-node-exporter");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).args(more);
        let child = quiet(command).spawn().unwrap();
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < end, "node_exporter never listened");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        NodeExporter { child, port }
    }
}

/// Podman, which answers as Docker does.
pub(crate) struct Podman {
    child: Child,
    dir: TempDir,
    port: u16,
}

/// Ends with the test, however it ends.
impl Drop for Podman {
    fn drop(&mut self) {
        // Somebody who is not root runs it in two processes and leaves a third behind; only asked it ends both.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let third = std::fs::read_to_string(self.dir.path().join("libpod/tmp/pause.pid"));
        let third = third.ok().and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        if let Some(third) = third {
            let _ = kill_process(third, Signal::KILL);
        }
    }
}

impl Podman {
    /// Serves a socket and returns once it can be connected to.
    pub(crate) async fn on_socket() -> Podman {
        let podman = Podman::spawn(0);
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(podman.socket()).await.is_err() {
            assert!(Instant::now() < end, "podman never listened");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        podman
    }

    /// Serves a port of loopback.
    pub(crate) async fn on_port() -> Podman {
        let podman = Podman::spawn(free_port());
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", podman.port)).await.is_err() {
            assert!(Instant::now() < end, "podman never listened");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        podman
    }

    fn spawn(port: u16) -> Podman {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let address = match port {
            0 => format!("unix://{}", at("api.sock")),
            port => format!("tcp://127.0.0.1:{port}"),
        };
        let mut command = Command::new("podman");
        command.args([
            "--root",
            &at("root"),
            "--runroot",
            &at("run"),
            "--storage-driver",
            "vfs",
        ]);
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command.args(["system", "service", "--time", "0", &address]);
        command.env("HOME", dir.path()).env("XDG_RUNTIME_DIR", dir.path());
        let child = quiet(command).spawn().unwrap();
        Podman { child, dir, port }
    }

    pub(crate) fn socket(&self) -> String {
        self.dir.path().join("api.sock").display().to_string()
    }

    /// As the settings of an asset name it.
    pub(crate) fn address(&self) -> String {
        match self.port {
            0 => format!("unix://{}", self.socket()),
            port => format!("tcp://127.0.0.1:{port}"),
        }
    }
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Somebody who signs certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for a name or number, and its key.
    pub(crate) fn signed(&self, name: &str) -> (String, String) {
        self.sign(CertificateParams::new([name.to_owned()]).unwrap())
    }

    pub(crate) fn expired(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// TLS on a port of loopback, in front of a socket's path or a port; only for who shows a certificate of `clients`, if
/// there is one.
pub(crate) async fn relay(own: &(String, String), clients: Option<&Authority>, behind: &str) -> u16 {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let certificate = CertificateDer::from_pem_slice(own.0.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.1.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = behind.to_owned();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let _ = match Path::new(&behind).is_absolute() {
                    true => copy_bidirectional(&mut stream, &mut UnixStream::connect(&behind).await.unwrap()).await,
                    false => copy_bidirectional(&mut stream, &mut TcpStream::connect(&behind).await.unwrap()).await,
                };
            });
        }
    });
    port
}
