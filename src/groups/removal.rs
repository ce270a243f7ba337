//! Deleting a group: one with assets in it stays, and its channels go with it.

use mysql_async::TxOpts;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::{Group, known_id, missing, names, queries};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Entry, Object};
use crate::web::Hx;

pub fn routes() -> Vec<Address> {
    vec![post("/groups/:group_id/removal", Access::SystemAdmin, remove)]
}

/// `POST /groups/{group_id}/removal`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, Path(group_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let group = queries::locked(&mut tx, known_id(&group_id)?)
        .await?
        .ok_or_else(missing)?;
    let actor = viewer.actor(&app);
    let entry = Entry::by(&actor, Action::GroupRemove).on(group.object());
    if group.is_default {
        audit::record(&mut tx, &entry.refused()).await?;
        tx.commit().await?;
        return Err(Error::Conflict(Text::new("groups.default_stays")));
    }
    for (id, name, target) in queries::channels(&mut tx, group.group_id).await? {
        let channel = Object::new("notice_channel", &id.to_string(), &name);
        let entry = Entry::by(&actor, Action::NoticeRemove).on(channel);
        audit::record(&mut tx, &entry.change("address", &target, "")).await?;
    }
    let removed = queries::remove(&mut tx, group.group_id).await;
    removed.map_err(|error| still_used(error, &group))?;
    audit::record(&mut tx, &entry.change("clusters", names(&group.members), "")).await?;
    tx.commit().await?;
    Ok(hx.done("/groups", "said.removed"))
}

/// Assets are in it.
fn still_used(error: mysql_async::Error, group: &Group) -> Error {
    match &error {
        mysql_async::Error::Server(server) if server.code == 1451 => {
            let count = group.assets.unwrap_or_default();
            Error::Conflict(
                Text::new("groups.has_assets")
                    .with("name", &group.name)
                    .with("count", count),
            )
        }
        _ => error.into(),
    }
}
