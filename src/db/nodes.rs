//! The nodes of one database, as of a Galera cluster: the first that answers is used, by everybody who lists them alike.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Pool};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::error::{Error, Result};

/// How often the nodes are looked at, where there are several.
pub const PERIOD: Duration = Duration::from_secs(1);
/// A node that does not answer within this is not well.
const ANSWER: Duration = Duration::from_secs(1);
/// Whoever opens a connection asks the next node, too, when one has not answered for so long.
const HEAD_START: Duration = Duration::from_millis(600);
/// A node is left after so many looks without an answer; one that refuses is left at once.
const MISSES: i32 = 2;
/// One that stands further in front is gone back to once it has answered so often in a row.
const STEADY: i32 = 10;

/// A node that is not in touch with most others takes connections and refuses each statement.
const PROBE: &str = "select 1";

#[derive(Debug)]
struct Node {
    pool: Pool,
    opts: Opts,
    /// `host:port`, for the log.
    name: String,
    probe: Mutex<Probe>,
}

#[derive(Debug, Default)]
struct Probe {
    conn: Option<Conn>,
    /// Looks in a row with an answer, or, below zero, without.
    streak: i32,
}

/// All nodes in the order of the settings, and which one is used.
#[derive(Debug)]
pub struct Nodes {
    all: Vec<Node>,
    current: watch::Sender<usize>,
}

impl Nodes {
    pub fn new(nodes: Vec<(String, Opts)>) -> Nodes {
        let node = |(name, opts): (String, Opts)| Node {
            pool: Pool::new(opts.clone()),
            opts,
            name,
            probe: Mutex::default(),
        };
        Nodes {
            all: nodes.into_iter().map(node).collect(),
            current: watch::Sender::new(0),
        }
    }

    pub fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    pub fn current(&self) -> usize {
        *self.current.borrow()
    }

    pub fn opts(&self) -> &Opts {
        &self.all[self.current()].opts
    }

    pub fn pool(&self) -> &Pool {
        &self.all[self.current()].pool
    }

    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.all.iter().map(|node| &node.pool)
    }

    /// Waits until another node is used than now: what was asked of this one may be answered by nobody.
    pub async fn left(&self) -> Error {
        if !self.are_several() {
            return std::future::pending().await;
        }
        let mut current = self.current.subscribe();
        current.mark_unchanged();
        let _ = current.changed().await;
        Error::timed_out("another node of the database is used now")
    }

    /// A connection to the node in use, or to the first of the others that gives one; that one is used from then on.
    ///
    /// # Errors
    /// That of the last node, when none gives one.
    pub async fn connect(&self) -> mysql_async::Result<Conn> {
        let current = self.current();
        let order = std::iter::once(current).chain((0..self.all.len()).filter(|node| *node != current));
        let mut asked: FuturesUnordered<_> = (0..)
            .zip(order)
            .map(|(place, node)| self.try_one(place, node))
            .collect();
        let mut last = None;
        while let Some((node, answer)) = asked.next().await {
            match answer {
                Ok(conn) => {
                    self.use_from_now_on(node);
                    return Ok(conn);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| mysql_async::Error::Other("no node".into())))
    }

    async fn try_one(&self, place: u32, node: usize) -> (usize, mysql_async::Result<Conn>) {
        sleep(HEAD_START * place).await;
        let open = async {
            let mut conn = Conn::new(self.all[node].opts.clone()).await?;
            if self.are_several() {
                conn.query_drop(PROBE).await?;
            }
            Ok(conn)
        };
        (node, open.await)
    }

    /// One look at all nodes, and what follows from it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none answers.
    pub async fn look(&self) -> Result<()> {
        let streaks = join_all(self.all.iter().map(Node::look)).await;
        let current = self.current();
        let is_left = streaks[current] <= -MISSES;
        let in_front = streaks[..current].iter().position(|streak| *streak >= STEADY);
        match (in_front, is_left) {
            (Some(node), _) => self.use_from_now_on(node),
            (None, true) => match streaks.iter().position(|streak| *streak > 0) {
                Some(node) => self.use_from_now_on(node),
                None => return Err(Error::timed_out("no node of the database answers")),
            },
            (None, false) => {}
        }
        Ok(())
    }

    fn use_from_now_on(&self, node: usize) {
        let moved = self
            .current
            .send_if_modified(|current| std::mem::replace(current, node) != node);
        if moved {
            tracing::warn!(
                node = self.all[node].name,
                "another node of the database is used from now on"
            );
        }
    }
}

impl Node {
    /// Looks in a row with an answer, this one included; below zero, without.
    async fn look(&self) -> i32 {
        let mut probe = self.probe.lock().await;
        let known = probe.conn.take();
        let ask = async {
            let mut conn = match known {
                Some(conn) => conn,
                None => Conn::new(self.opts.clone()).await?,
            };
            conn.query_drop(PROBE).await?;
            Ok::<Conn, mysql_async::Error>(conn)
        };
        probe.streak = match timeout(ANSWER, ask).await {
            Ok(Ok(conn)) => {
                probe.conn = Some(conn);
                probe.streak.max(0).saturating_add(1)
            }
            Ok(Err(_)) => -MISSES,
            Err(_) => probe.streak.min(0) - 1,
        };
        probe.streak
    }
}
