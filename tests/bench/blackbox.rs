//! Prometheus's blackbox_exporter, asked for as many checks as Muster makes, of the same peers and at the same pace.

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::peers::{connected, free_address, quiet};

/// As Debian's package sets it up.
const MODULES: &str = "/etc/prometheus/blackbox.yml";
/// Connections to it that are kept, as Prometheus keeps them.
const LANES: u32 = 16;

pub(crate) struct Blackbox {
    child: Child,
    address: SocketAddr,
}

/// Ends with the measurement, however it ends.
impl Drop for Blackbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Blackbox {
    pub(crate) async fn start() -> Blackbox {
        let address = free_address().await;
        let mut command = Command::new("prometheus-blackbox-exporter");
        command.args([
            format!("--config.file={MODULES}"),
            format!("--web.listen-address={address}"),
        ]);
        let child = quiet(&mut command).spawn().expect("blackbox_exporter is installed");
        let blackbox = Blackbox { child, address };
        drop(connected(address).await);
        blackbox
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// So many probes a second of these targets, one after the other, for a time; how many there were.
    pub(crate) async fn probe(&self, module: &str, targets: &[String], per_second: f64, span: Duration) -> u64 {
        let begin = Instant::now();
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let (address, module, targets) = (self.address, module.to_owned(), targets.to_vec());
            lanes.spawn(async move {
                let io = TokioIo::new(connected(address).await);
                let (mut sender, connection) = http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                let mut made = 0;
                for turn in (lane..).step_by(LANES as usize) {
                    let due = Duration::from_secs_f64(f64::from(turn) / per_second);
                    if due >= span {
                        break;
                    }
                    sleep_until(begin + due).await;
                    let target = &targets[turn as usize % targets.len()];
                    let request = Request::get(format!("/probe?module={module}&target={target}"))
                        .header(header::HOST, address.to_string())
                        .body(Empty::<Bytes>::new())
                        .unwrap();
                    sender.ready().await.unwrap();
                    let answer = sender.send_request(request).await.unwrap();
                    let said = answer.into_body().collect().await.unwrap().to_bytes();
                    let said = String::from_utf8_lossy(&said);
                    assert!(said.contains("\nprobe_success 1\n"), "{module} {target}: {said}");
                    made += 1;
                }
                made
            });
        }
        let made: u64 = lanes.join_all().await.iter().sum();
        assert!(begin.elapsed() < span + Duration::from_secs(3), "it does not keep pace");
        made
    }
}
