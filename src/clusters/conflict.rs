//! Two servers with the same cluster id: said in the log once per change, and on both clusters' pages.

use std::sync::{Mutex, PoisonError};

use super::queries::{self, Namesake};
use crate::app::App;
use crate::error::Result;
use crate::i18n::Text;

/// The clusters that have our cluster id, as last seen.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Vec<Namesake>>);

impl Watch {
    /// Logs who has come since the last look.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        for other in self.look(app).await? {
            tracing::error!("{}", app.say(&line(&app.config.cluster_id, &other)));
        }
        Ok(())
    }

    /// Who has come since the last look.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn look(&self, app: &App) -> Result<Vec<Namesake>> {
        let mut conn = app.db.conn().await?;
        let now = queries::namesakes(&mut conn, &app.config.cluster_id, &app.install.id).await?;
        drop(conn);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |one: &Namesake| known.iter().any(|old| old.install_id == one.install_id);
        let new = now.iter().filter(|one| !is_known(one)).cloned().collect();
        *known = now;
        Ok(new)
    }
}

/// As Jpom's users know it: own cluster id, the other's install id and name.
fn line(cluster_id: &str, other: &Namesake) -> Text {
    Text::new("conflict.line")
        .with("cluster_id", cluster_id)
        .with("install_id", &other.install_id)
        .with("name", &other.name)
}
