//! Who may use a workspace besides the admins.

use mysql_async::TxOpts;
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::{Show, missing, queries};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Entry};
use crate::people::users::queries as users;
use crate::web::{Form, Hx};

pub fn routes() -> Vec<Address> {
    vec![
        post("/workspaces/:workspace_id/members", Access::SystemAdmin, create).in_person(),
        post(
            "/workspaces/:workspace_id/members/:account_id/removal",
            Access::SystemAdmin,
            remove,
        )
        .in_person(),
    ]
}

/// `POST /workspaces/{workspace_id}/members`: somebody by the name they sign in with.
#[handler]
async fn create(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(workspace_id): Path<String>,
) -> Result<Response> {
    let typed = form.text("name").to_owned();
    let mut conn = app.db.conn().await?;
    let account = users::by_name(&mut conn, &typed).await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let row = queries::locked(&mut tx, &workspace_id).await?.ok_or_else(missing)?;
    let mistake = match &account {
        None => Some("workspaces.no_such_user"),
        Some(account) => match queries::add_member(&mut tx, &workspace_id, &account.account_id, &viewer.name).await {
            Ok(()) => None,
            Err(error) if Error::is_duplicate(&error, "PRIMARY") => Some("workspaces.is_member"),
            Err(error) => return Err(error.into()),
        },
    };
    if let Some(key) = mistake {
        tx.rollback().await?;
        let mut page = Show::load(&mut conn, &app, &viewer, &workspace_id).await?;
        page.typed = typed;
        page.mistakes.note("name", Text::new(key));
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_workspace());
    }
    let name = account.map(|account| account.name).unwrap_or_default();
    let entry = Entry::by(&viewer.actor(&app), Action::WorkspaceMember).on(row.object());
    audit::record(&mut tx, &entry.change("member", "", name)).await?;
    tx.commit().await?;
    Ok(hx.done(&format!("/workspaces/{workspace_id}"), "said.added"))
}

/// `POST /workspaces/{workspace_id}/members/{account_id}/removal`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, Path(ids): Path<(String, String)>) -> Result<Response> {
    let (workspace_id, account_id) = ids;
    let mut conn = app.db.conn().await?;
    let account = users::by_id(&mut conn, &account_id).await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let row = queries::locked(&mut tx, &workspace_id).await?.ok_or_else(missing)?;
    if queries::remove_member(&mut tx, &workspace_id, &account_id).await? {
        let name = account.map(|account| account.name).unwrap_or_default();
        let entry = Entry::by(&viewer.actor(&app), Action::WorkspaceMember).on(row.object());
        audit::record(&mut tx, &entry.change("member", name, "")).await?;
    }
    tx.commit().await?;
    Ok(hx.done(&format!("/workspaces/{workspace_id}"), "said.removed"))
}
