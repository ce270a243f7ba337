//! A door to the real database that can be shut, as a cable that is pulled, or frozen, as a host that hangs.

use std::time::Duration;

use muster::config::Database;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

#[derive(Debug, Clone, Copy)]
struct Manner {
    frozen: bool,
    /// Before each question.
    pause: Duration,
    /// Connections from before the last such number are dead, and neither side is told.
    forgotten: u32,
}

pub(crate) struct Door {
    port: u16,
    inside: Option<JoinHandle<()>>,
    manner: watch::Sender<Manner>,
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
            manner: watch::Sender::new(Manner {
                frozen: false,
                pause: Duration::ZERO,
                forgotten: 0,
            }),
        };
        (door, behind)
    }

    pub(crate) async fn open(&mut self, real: &Database) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let place = (real.host.clone(), real.port);
        let manner = self.manner.subscribe();
        self.inside = Some(tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((here, _)) = listener.accept().await {
                while passing.try_join_next().is_some() {}
                // The database may be away: whoever came is sent away.
                if let Ok(there) = TcpStream::connect((place.0.as_str(), place.1)).await {
                    passing.spawn(pass(here, there, manner.clone()));
                }
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
        self.manner.send_modify(|manner| manner.frozen = frozen);
    }

    /// Each question waits so long before it passes.
    pub(crate) fn delay(&self, pause: Duration) {
        self.manner.send_modify(|manner| manner.pause = pause);
    }

    /// From now on nothing passes on the connections that there are, and nobody is told; new ones are well.
    pub(crate) fn forget(&self) {
        self.manner.send_modify(|manner| manner.forgotten += 1);
    }
}

async fn pass(here: TcpStream, there: TcpStream, manner: watch::Receiver<Manner>) {
    let (mut asks, mut hears) = here.into_split();
    let (mut answers, mut is_asked) = there.into_split();
    let born = manner.borrow().forgotten;
    tokio::select! {
        () = carry(&mut asks, &mut is_asked, manner.clone(), born, true) => {}
        () = carry(&mut answers, &mut hears, manner, born, false) => {}
    }
}

async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut manner: watch::Receiver<Manner>,
    born: u32,
    is_question: bool,
) {
    let mut bytes = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let passes = |manner: &Manner| !manner.frozen && manner.forgotten == born;
        let Ok(pause) = manner.wait_for(passes).await.map(|manner| manner.pause) else {
            return;
        };
        if is_question {
            sleep(pause).await;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    // An end is not passed on by what is dead.
    let _ = manner
        .wait_for(|manner| !manner.frozen && manner.forgotten == born)
        .await;
}
