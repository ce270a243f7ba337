//! A private database that is kept running until it is told to stop.

use std::path::Path;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Embedded, Options};
use crate::config::Database;
use crate::error::Result;

/// Started again if it ends by itself; ends with [`Keeper::stop`].
#[derive(Debug)]
pub struct Keeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Starts the database in `dir` for one server and keeps it running.
    ///
    /// # Errors
    /// Those of [`Embedded::start`].
    pub async fn start(dir: &Path, options: Options) -> Result<(Database, Keeper)> {
        let embedded = Embedded::start(dir, options).await?;
        let database = embedded.database();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(embedded.keep(stopped));
        Ok((database, Keeper { stop, task }))
    }

    /// Stops it cleanly; returns once everything is on disk.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}
