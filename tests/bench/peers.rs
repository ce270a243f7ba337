//! Peers of assets on loopback: they say what real ones say, at little cost, and count how often they were asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Hosts: their addresses are `127.0.1.1` and so on.
pub(crate) const HOSTS: u8 = 250;
/// The longest question.
const LONGEST: usize = 8 * 1024;

/// What a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `node_exporter`, with the answer of the real one on this machine.
    Metrics,
    /// A Jpom agent: an answer of one kilobyte.
    Agent,
    /// What an SSH server says first.
    Banner,
    /// A Docker engine.
    Engine,
}

const PARTS: [Part; 4] = [Part::Metrics, Part::Agent, Part::Banner, Part::Engine];
const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n";
const AGENT: &str = include_str!("answers/jpom.json");
const INFO: &str = include_str!("answers/docker_info.json");
const VERSION: &str = include_str!("answers/docker_version.json");

/// All of them; each part has one port at each host.
pub(crate) struct Peers {
    ports: [u16; PARTS.len()],
    asked: Arc<[AtomicU64; PARTS.len()]>,
}

impl Peers {
    pub(crate) async fn start() -> Peers {
        let asked = Arc::new([const { AtomicU64::new(0) }; PARTS.len()]);
        let metrics = Arc::new(real_metrics().await);
        let mut ports = [0; PARTS.len()];
        for (part, port) in PARTS.into_iter().zip(&mut ports) {
            for listener in listen(port).await {
                tokio::spawn(serve(part, listener, asked.clone(), metrics.clone()));
            }
        }
        Peers { ports, asked }
    }

    pub(crate) fn port(&self, part: Part) -> u16 {
        self.ports[part as usize]
    }

    /// How often such peers were asked; an engine three times for one look.
    pub(crate) fn asked(&self, part: Part) -> u64 {
        self.asked[part as usize].load(Ordering::Relaxed)
    }
}

/// The same free port at every host.
async fn listen(port: &mut u16) -> Vec<TcpListener> {
    'port: loop {
        let mut all: Vec<TcpListener> = Vec::new();
        for host in 1..=HOSTS {
            let port = all.first().map_or(0, |first| first.local_addr().unwrap().port());
            match TcpListener::bind((Ipv4Addr::new(127, 0, 1, host), port)).await {
                Ok(listener) => all.push(listener),
                Err(_) if port > 0 => continue 'port,
                Err(cause) => panic!("no peers: {cause}"),
            }
        }
        *port = all[0].local_addr().unwrap().port();
        return all;
    }
}

async fn serve(part: Part, listener: TcpListener, asked: Arc<[AtomicU64; PARTS.len()]>, metrics: Arc<Vec<u8>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (asked, metrics) = (asked.clone(), metrics.clone());
        tokio::spawn(async move {
            let asked = &asked[part as usize];
            let _ = stream.set_nodelay(true);
            // Whoever hangs up has heard enough.
            let _ = match part {
                Part::Banner => greet(&mut stream, asked).await,
                _ => answer(&mut stream, asked, &metrics).await,
            };
        });
    }
}

async fn greet(stream: &mut TcpStream, asked: &AtomicU64) -> std::io::Result<()> {
    stream.write_all(BANNER).await?;
    asked.fetch_add(1, Ordering::Relaxed);
    let mut said = [0; 256];
    while stream.read(&mut said).await? > 0 {}
    Ok(())
}

/// One question after the other, until the asker has enough of it.
async fn answer(stream: &mut TcpStream, asked: &AtomicU64, metrics: &[u8]) -> std::io::Result<()> {
    let mut said = Vec::new();
    loop {
        while !said.windows(4).any(|end| end == b"\r\n\r\n") {
            if said.len() > LONGEST || stream.read_buf(&mut said).await? == 0 {
                return Ok(());
            }
        }
        let question = String::from_utf8_lossy(&said).to_ascii_lowercase();
        let path = question.split(' ').nth(1).unwrap_or_default();
        let words = match path {
            _ if path.ends_with("/metrics") => metrics.to_vec(),
            _ if path.ends_with("/get-stat-info") => spoken("application/json", AGENT),
            _ if path.ends_with("/_ping") => spoken("text/plain; charset=utf-8", "OK"),
            _ if path.ends_with("/version") => spoken("application/json", VERSION),
            _ => spoken("application/json", INFO),
        };
        stream.write_all(&words).await?;
        asked.fetch_add(1, Ordering::Relaxed);
        if question.contains("\r\nconnection: close\r\n") {
            return stream.shutdown().await;
        }
        said.clear();
    }
}

fn spoken(kind: &str, body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\nServer: Docker/27.5.1 (linux)\r\nContent-Type: ";
    format!("{head}{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What the real `node_exporter` says of this machine, from the first byte to the last.
async fn real_metrics() -> Vec<u8> {
    let address = free_address().await;
    let mut command = Command::new("prometheus-node-exporter");
    command.arg(format!("--web.listen-address={address}"));
    let mut child = quiet(&mut command).spawn().expect("node_exporter is installed");
    let mut stream = connected(address).await;
    let question = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.starts_with(b"HTTP/1.1 200"), "node_exporter does not answer");
    said
}

pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

pub(crate) async fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    free.local_addr().unwrap()
}

/// Waits until somebody listens there.
pub(crate) async fn connected(address: SocketAddr) -> TcpStream {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(cause) => assert!(Instant::now() < end, "nobody listens at {address}: {cause}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}
