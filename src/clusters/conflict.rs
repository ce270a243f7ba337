//! Two servers with the same cluster id: said in the log once per change, and on both clusters' pages.

use std::sync::{Mutex, PoisonError};

use super::queries::{self, Namesake};
use crate::app::App;
use crate::error::Result;
use crate::i18n::Text;

/// Our cluster id and the other clusters that have it, as last seen.
#[derive(Debug, Default)]
pub struct Watch(Mutex<(String, Vec<Namesake>)>);

impl Watch {
    /// Logs who has come since the last look.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        let cluster_id = app.cluster_id();
        for other in self.look(app, &cluster_id).await? {
            tracing::error!("{}", app.say(&line(&cluster_id, &other)));
        }
        Ok(())
    }

    /// Who has come since the last look.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn look(&self, app: &App, cluster_id: &str) -> Result<Vec<Namesake>> {
        let mut conn = app.db.conn().await?;
        let now = queries::namesakes(&mut conn, cluster_id, &app.install.id).await?;
        drop(conn);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known_id, others) = &*known;
        let is_known =
            |one: &Namesake| known_id == cluster_id && others.iter().any(|old| old.install_id == one.install_id);
        let new = now.iter().filter(|one| !is_known(one)).cloned().collect();
        *known = (cluster_id.to_owned(), now);
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
