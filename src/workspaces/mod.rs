//! 工作空间: units of work, each bound to one cluster, or, while it is being moved, to none.

mod bindings;
mod edit;
pub mod list;
mod members;
pub mod queries;
mod removal;

use std::sync::Arc;

use askama::Template;
use mysql_async::Conn;
use poem::web::{Data, Path};
use poem::{EndpointExt, Request, Response, handler};

use crate::app::App;
use crate::error::{Error, Result};
pub use crate::groups::name_key;
use crate::groups::queries::{self as groups, Choice};
use crate::i18n::Text;
use crate::people::access::{Access, Address, get};
use crate::people::audit::Object;
use crate::people::{Role, Viewer};
use crate::web::fresh::{Lists, asked, since};
use crate::web::slice::{PAGE, Slice};
use crate::web::{Hx, Mistakes, filters};
use list::{Bound, Wanted};
use queries::{Member, Row};

/// The workspace that always exists.
pub const DEFAULT_ID: &str = "DEFAULT";

pub fn routes() -> Vec<Address> {
    let own = vec![
        get(
            "/workspaces",
            Access::Signed,
            index.data(Arc::new(Lists::<Index>::new())),
        ),
        get("/workspaces/:workspace_id", Access::Signed, show),
    ];
    [
        own,
        edit::routes(),
        bindings::routes(),
        members::routes(),
        removal::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn missing() -> Error {
    Error::NotFound(Text::new("workspaces.missing"))
}

impl Row {
    fn object(&self) -> Object {
        Object::new("workspace", &self.workspace_id, &self.name)
    }

    fn is_default(&self) -> bool {
        self.workspace_id == DEFAULT_ID
    }

    fn created(&self) -> Option<chrono::NaiveDateTime> {
        Some(self.created_at)
    }

    /// Its cluster's state in words.
    fn state_name(&self) -> Text {
        self.state
            .map_or_else(|| Text::new("workspaces.unbound"), crate::liveness::State::name)
    }

    /// Its cluster's name, for the trail.
    fn bound_to(&self) -> &str {
        self.cluster.as_deref().unwrap_or_default()
    }
}

/// The list; its block `list` is the fragment. Public for `tests/bench`, as the other lists.
#[derive(Template)]
#[template(path = "workspaces/index.html", blocks = ["list"])]
pub struct Index {
    wanted: Wanted,
    slice: Slice<Row>,
    clusters: Vec<Choice>,
    folders: Vec<String>,
    /// May bind and edit.
    may_edit: bool,
}

impl Index {
    /// What `viewer` sees of it; `whole` with its filters, which stand outside of the fragment.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn load(app: &App, viewer: &Viewer, wanted: Wanted, whole: bool) -> Result<Index> {
        let may_edit = viewer.role >= Role::SystemAdmin;
        let member = (!may_edit).then_some(viewer.account_id.as_str());
        let mut conn = app.db.conn().await?;
        let rows = queries::page(&mut conn, &wanted, member, PAGE as u64).await?;
        let clusters = match may_edit {
            true => groups::others(&mut conn, "").await?,
            false => Vec::new(),
        };
        let folders = match may_edit && whole {
            true => queries::folders(&mut conn).await?,
            false => Vec::new(),
        };
        Ok(Index {
            slice: wanted.slice(rows),
            wanted,
            clusters,
            folders,
            may_edit,
        })
    }

    fn is_cluster(&self, install_id: &str) -> bool {
        matches!(&self.wanted.bound, Bound::To(known) if known == install_id)
    }
}

/// `GET /workspaces`: all of them for admins, their own for members.
#[handler]
async fn index(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    lists: Data<&Arc<Lists<Index>>>,
    req: &Request,
) -> Result<Response> {
    let (wanted, key) = (
        Wanted::parse(req.uri().query().unwrap_or_default()),
        asked(req, viewer.sees_as()),
    );
    let load = || Index::load(&app, &viewer, wanted, !hx.wants_block());
    let page = lists.read(key, since(req), load).await?;
    hx.render(&*page, &page.as_list())
}

/// One workspace: the place where its assets and builds appear.
#[derive(Template)]
#[template(path = "workspaces/show.html", blocks = ["workspace"])]
struct Show {
    row: Row,
    members: Vec<Member>,
    is_own: bool,
    may_edit: bool,
    /// What was typed for a new member.
    typed: String,
    mistakes: Mistakes,
}

impl Show {
    async fn load(conn: &mut Conn, app: &App, viewer: &Viewer, workspace_id: &str) -> Result<Show> {
        let row = visible(conn, viewer, workspace_id).await?;
        Ok(Show {
            members: queries::members(conn, workspace_id).await?,
            is_own: row.install_id.as_deref() == Some(app.install.id.as_str()),
            may_edit: viewer.role >= Role::SystemAdmin,
            row,
            typed: String::new(),
            mistakes: Mistakes::default(),
        })
    }
}

/// A workspace, if the reader may see it; whether there is one is not told to others.
async fn visible(conn: &mut Conn, viewer: &Viewer, workspace_id: &str) -> Result<Row> {
    let may = viewer.role >= Role::SystemAdmin || queries::is_member(conn, workspace_id, &viewer.account_id).await?;
    let row = queries::by_id(conn, workspace_id).await?;
    row.filter(|_| may).ok_or_else(missing)
}

/// `GET /workspaces/{workspace_id}`
#[handler]
async fn show(hx: Hx, viewer: Viewer, app: Data<&App>, Path(workspace_id): Path<String>) -> Result<Response> {
    let page = Show::load(&mut app.db.conn().await?, &app, &viewer, &workspace_id).await?;
    hx.render(&page, &page.as_workspace())
}
