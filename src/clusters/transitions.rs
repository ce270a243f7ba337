//! Writes each change of a cluster's state into the audit trail, once, whichever server sees it first.

use std::time::{Duration, Instant};

use mysql_async::TxOpts;

use super::queries;
use crate::app::App;
use crate::error::Result;
use crate::liveness::{Sight, State};
use crate::people::audit::{self, Action, Actor, Entry, Object};

/// One server's view over time: it distrusts itself after it has been away.
#[derive(Debug, Default)]
pub struct Observer(Sight);

impl Observer {
    /// One look at all clusters. Who has watched for less than a cluster's offline limit, or lost sight of the database in
    /// between, does not say that the cluster went silent: it may be the observer who was gone.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        let mut conn = app.db.conn().await?;
        let changed = queries::changed_states(&mut conn).await?;
        let watched = self.0.looked(Instant::now());
        for cluster in changed {
            let silent = cluster.state == State::Offline;
            if silent && watched < Duration::from_secs(u64::from(cluster.interval_s) * 3) {
                continue;
            }
            let mut tx = conn.start_transaction(TxOpts::default()).await?;
            // Compare and set: of several observers one writes the line.
            if queries::tell_state(&mut tx, &cluster).await? {
                let before = if cluster.told_state.is_empty() {
                    "-"
                } else {
                    &cluster.told_state
                };
                let entry = Entry::by(&Actor::server(app), Action::ClusterState)
                    .on(Object::new("cluster", &cluster.install_id, &cluster.name))
                    .change("state", before, cluster.state.code());
                audit::record(&mut tx, &entry).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// For tests: as if it had watched for that long.
    pub fn has_watched_for(&self, length: Duration) {
        self.0.has_looked_for(length);
    }
}
