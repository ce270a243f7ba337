//! Registering this server's cluster again after somebody deleted it: a deliberate act on its own pages.

use mysql_async::TxOpts;
use poem::web::Data;
use poem::{Response, handler};

use super::queries;
use crate::app::{App, Standing};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Entry, Object};
use crate::web::Hx;

pub fn routes() -> Vec<Address> {
    vec![post("/registration", Access::SuperAdmin, create).always()]
}

/// `POST /registration`: the heart registers anew at its next tick.
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>) -> Result<Response> {
    if !matches!(*app.standing.borrow(), Standing::Removed { .. }) {
        return Err(Error::Conflict(Text::new("clusters.is_registered")));
    }
    let install_id = &app.install.id;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    // A row that somebody deleted by hand is made anew by the heart.
    queries::put_back(&mut tx, install_id).await?;
    let entry = Entry::by(&viewer.actor(&app), Action::ClusterRegister);
    audit::record(&mut tx, &entry.on(Object::new("cluster", install_id, &app.name()))).await?;
    tx.commit().await?;
    app.standing.send_replace(Standing::Starting(None));
    Ok(hx.see_other("/clusters"))
}
