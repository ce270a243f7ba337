//! Checks who answers at the addresses of clusters: each server its own, and now and then that of another one. Apart from
//! the heartbeat, and never while a page waits.

pub mod probe;
pub mod queries;

use poem::web::{Data, Path};
use poem::{Response, handler};

use super::address::Reach;
use super::missing;
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, post};
use crate::web::Hx;
use probe::{Outcome, Verdict};
use queries::{Due, Row};

pub fn routes() -> Vec<Address> {
    vec![post("/clusters/:install_id/check", Access::SystemAdmin, create)]
}

/// One step: our own address, when it is another or nobody looked for half a minute, then one of the others that nobody looked at for ten minutes.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn tick(app: &App) -> Result<()> {
    let own = app.install.id.as_str();
    let due = queries::own_due(&mut app.db.conn().await?, own).await?;
    if let Some(due) = due {
        look(app, &due, "own").await?;
    }
    let claimed = queries::claim_peer(&mut app.db.conn().await?, own).await?;
    if let Some(due) = claimed {
        look(app, &due, "peer").await?;
    }
    Ok(())
}

/// `POST /clusters/{install_id}/check`: looks now; the page shows the result with its next refresh.
#[handler]
async fn create(hx: Hx, _viewer: Viewer, app: Data<&App>, Path(install_id): Path<String>) -> Result<Response> {
    let due = queries::of_cluster(&mut app.db.conn().await?, &install_id).await?;
    soon(&app, due.ok_or_else(|| missing(&install_id))?);
    Ok(hx.done(&format!("/clusters/{install_id}"), "said.checking"))
}

/// Looks at an address now, while nobody waits for it.
pub(super) fn soon(app: &App, due: Due) {
    let kind = if due.install_id == app.install.id {
        "own"
    } else {
        "peer"
    };
    let app = app.clone();
    tokio::spawn(async move {
        if let Err(error) = look(&app, &due, kind).await {
            tracing::warn!("address check: {}", crate::error::chain(&error));
        }
    });
}

async fn look(app: &App, due: &Due, kind: &str) -> Result<(), Error> {
    let verdict = match due.address.is_empty() {
        true => Verdict::of(Outcome::None),
        false => probe::judge(&due.address, &due.install_id, reach(app)).await,
    };
    let mut conn = app.db.conn().await?;
    queries::record(&mut conn, due, (kind, &app.install.id), &verdict).await?;
    Ok(())
}

/// How far this server may reach, by its settings.
pub fn reach(app: &App) -> Reach {
    match app.config.check_private {
        true => Reach::All,
        false => Reach::Public,
    }
}

/// What the page asks of a check.
impl Row {
    pub fn at(&self) -> Option<chrono::NaiveDateTime> {
        Some(self.checked_at)
    }

    /// The result in words, with who answers instead.
    pub fn said(&self) -> Text {
        let text = self.outcome.name();
        match self.outcome {
            Outcome::Other => text.with(
                "name",
                if self.answered.is_empty() {
                    &self.answered_id
                } else {
                    &self.answered
                },
            ),
            _ => text,
        }
    }
}
