//! Deleting a workspace: what still hangs on it, and the deletion itself.

use askama::Template;
use mysql_async::{Conn, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::missing;
use super::queries::{self, Member, Row};
use crate::app::App;
use crate::error::Result;
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry};
use crate::web::{Form, Hx, Mistakes, filters};

pub fn routes() -> Vec<Address> {
    vec![
        get("/workspaces/:workspace_id/removal", Access::SuperAdmin, show),
        post("/workspaces/:workspace_id/removal", Access::SuperAdmin, remove),
    ]
}

#[derive(Template)]
#[template(path = "workspaces/removal.html", blocks = ["removal"])]
struct Removal {
    row: Row,
    members: Vec<Member>,
    typed: String,
    mistakes: Mistakes,
}

impl Removal {
    async fn load(conn: &mut Conn, workspace_id: &str) -> Result<Removal> {
        Ok(Removal {
            row: queries::by_id(conn, workspace_id).await?.ok_or_else(missing)?,
            members: queries::members(conn, workspace_id).await?,
            typed: String::new(),
            mistakes: Mistakes::default(),
        })
    }
}

/// `GET /workspaces/{workspace_id}/removal`
#[handler]
async fn show(hx: Hx, app: Data<&App>, Path(workspace_id): Path<String>) -> Result<Response> {
    let page = Removal::load(&mut app.db.conn().await?, &workspace_id).await?;
    hx.render(&page, &page.as_removal())
}

/// `POST /workspaces/{workspace_id}/removal`
#[handler]
async fn remove(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(workspace_id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let members = queries::members(&mut conn, &workspace_id).await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let row = queries::locked(&mut tx, &workspace_id).await?.ok_or_else(missing)?;
    let entry = Entry::by(&viewer.actor(&app), Action::WorkspaceRemove).on(row.object());
    let against = if row.is_default() {
        Some(("state", "workspaces.default_stays"))
    } else if form.text("name") != row.name {
        Some(("name", "clusters.type_the_name"))
    } else {
        None
    };
    if let Some((field, key)) = against {
        audit::record(&mut tx, &entry.because(key)).await?;
        tx.commit().await?;
        let mut page = Removal::load(&mut conn, &workspace_id).await?;
        form.text("name").clone_into(&mut page.typed);
        page.mistakes.note(field, Text::new(key));
        return hx.answer(StatusCode::CONFLICT, &page, &page.as_removal());
    }
    queries::remove(&mut tx, &workspace_id).await?;
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let entry = entry
        .change("clusters", row.bound_to(), "")
        .change("member", names.join(", "), "");
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.done("/workspaces", "said.removed"))
}
