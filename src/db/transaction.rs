//! One transaction, and the same again where the database has surely undone it.

use std::time::Duration;

use mysql_async::{Conn, Transaction, TxOpts};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};

/// Whoever meets others more often should be told.
const MOST: u32 = 3;
/// Until the last try is given up: the page, which must answer within 8 s, then still says why.
const PATIENCE: Duration = Duration::from_secs(7);

/// Does the work in a transaction and commits it: a `Result` of what the work returned. Its error undoes all of it. See
/// [`Tries`] for when the work is done again: it must change nothing but through its transaction.
macro_rules! transact {
    ($conn:expr, |$tx:ident| $work:expr) => {
        async {
            let mut tries = $crate::db::Tries::new();
            loop {
                let mut transaction = tries.start($conn).await?;
                let $tx = &mut transaction;
                let done = tries.within($work).await;
                if let Some(done) = tries.end(transaction, done).await? {
                    break Ok::<_, $crate::error::Error>(done);
                }
            }
        }
        .await
    };
}
pub(crate) use transact;

/// What `transact!` counts. After a deadlock (1213, which is also how a Galera cluster refuses a commit that others were
/// faster than) and after a wait for a row that was given up (1205) nothing of a transaction is left, so it may begin anew.
/// After any other failure it is not repeated: of a connection that was lost while committing nobody knows what became.
pub struct Tries {
    left: u32,
    end: Instant,
    /// Why the last one was undone.
    met: Option<Error>,
}

impl Tries {
    #[expect(clippy::new_without_default, reason = "its time begins now")]
    pub fn new() -> Tries {
        Tries {
            left: MOST,
            end: Instant::now() + PATIENCE,
            met: None,
        }
    }

    /// Begins the next one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn start<'a>(&mut self, conn: &'a mut Conn) -> Result<Transaction<'a>> {
        self.left -= 1;
        Ok(conn.start_transaction(TxOpts::default()).await?)
    }

    /// The work, as far as it comes in time.
    ///
    /// # Errors
    /// Those of the work; when time is up, why the one before was undone, or [`Error::Unavailable`].
    pub async fn within<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = timeout_at(self.end, work).await;
        done.unwrap_or_else(|_| {
            self.left = 0;
            let late = || Error::timed_out("no answer from the database within 7 s");
            Err(self.met.take().unwrap_or_else(late))
        })
    }

    /// Commits what was done, or undoes it: none when it is to be tried again.
    ///
    /// # Errors
    /// Those of the work, and [`Error::Unavailable`] when the database does not answer.
    pub async fn end<T>(&mut self, tx: Transaction<'_>, done: Result<T>) -> Result<Option<T>> {
        let error = match done {
            Ok(done) => match tx.commit().await {
                Ok(()) => return Ok(Some(done)),
                Err(error) => error.into(),
            },
            // A statement may be under way: it is undone as soon as the connection is given back.
            Err(error) if self.left == 0 => return Err(error),
            Err(error) => {
                // A wait that was given up has undone its own statement only. Where this fails, so does the next beginning.
                let _ = tx.rollback().await;
                error
            }
        };
        if self.left == 0 || !error.is_contention() {
            return Err(error);
        }
        self.met = Some(error);
        Ok(None)
    }
}
