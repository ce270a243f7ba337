//! A door to the real database that can be shut, as a cable that is pulled, or frozen, as a host that hangs.

use muster::config::Database;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) struct Door {
    port: u16,
    inside: Option<JoinHandle<()>>,
    frozen: watch::Sender<bool>,
}

impl Door {
    /// A closed one, and the database as seen through it.
    pub(crate) fn to(real: &Database, port: u16) -> (Door, Database) {
        let behind = Database {
            port,
            host: "127.0.0.1".into(),
            ..real.clone()
        };
        let door = Door {
            port,
            inside: None,
            frozen: watch::Sender::new(false),
        };
        (door, behind)
    }

    pub(crate) async fn open(&mut self, real: &Database) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let place = (real.host.clone(), real.port);
        let frozen = self.frozen.subscribe();
        self.inside = Some(tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((here, _)) = listener.accept().await {
                let there = TcpStream::connect((place.0.as_str(), place.1)).await.unwrap();
                passing.spawn(pass(here, there, frozen.clone()));
            }
        }));
    }

    /// Ends every connection; a new one is refused.
    pub(crate) async fn shut(&mut self) {
        let inside = self.inside.take().unwrap();
        inside.abort();
        let _ = inside.await;
    }

    /// While frozen, connections are accepted and kept, and nothing passes.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

async fn pass(mut here: TcpStream, mut there: TcpStream, mut frozen: watch::Receiver<bool>) {
    loop {
        frozen.wait_for(|frozen| !*frozen).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut here, &mut there) => return,
            _ = frozen.wait_for(|frozen| *frozen) => {}
        }
    }
}
