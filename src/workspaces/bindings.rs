//! Binding a selection of workspaces to a cluster, or to none.

use mysql_async::Transaction;
use poem::web::Data;
use poem::{Response, handler};

use super::edit::held;
use super::queries;
use crate::app::App;
use crate::db::transact;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Actor, Entry};
use crate::web::guard::is_local;
use crate::web::{Form, Hx};

/// As many as a page has, and some.
const MOST: usize = 200;

pub fn routes() -> Vec<Address> {
    vec![post("/workspaces/bindings", Access::SystemAdmin, create)]
}

/// `POST /workspaces/bindings`: those that are ticked, to the chosen cluster or to none.
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut ids: Vec<&str> = form.ids("workspace").take(MOST).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Error::Invalid(Text::new("workspaces.none_ticked")));
    }
    let to = match form.id("to") {
        "none" => None,
        "" => return Err(Error::Invalid(Text::new("workspaces.choose_cluster"))),
        to => Some(to),
    };
    let mut conn = app.db.conn().await?;
    let actor = viewer.actor(&app);
    transact!(&mut conn, |tx| bind(tx, &actor, (&ids, to)))?;
    let back = Some(form.text("back"))
        .filter(|back| is_local(back))
        .unwrap_or("/workspaces");
    Ok(hx.done(back, if to.is_some() { "said.bound" } else { "said.unbound" }))
}

/// Clusters before workspaces, as everywhere; one line of the trail for each that changes.
async fn bind(tx: &mut Transaction<'_>, actor: &Actor, (ids, to): (&[&str], Option<&str>)) -> Result<()> {
    let formers = queries::clusters_of(tx, ids).await?;
    let name = held(tx, to, formers.iter().map(String::as_str)).await?;
    for row in queries::locked_among(tx, ids).await? {
        if row.install_id.as_deref() == to {
            continue;
        }
        if row.install_id.as_ref().is_some_and(|former| !formers.contains(former)) {
            return Err(Error::Conflict(Text::new("workspaces.moved_meanwhile")));
        }
        queries::bind(tx, &row.workspace_id, to, &actor.name).await?;
        let entry = Entry::by(actor, Action::WorkspaceBind)
            .on(row.object())
            .change("clusters", row.bound_to(), &name);
        audit::record(tx, &entry).await?;
    }
    Ok(())
}
