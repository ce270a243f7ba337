//! A new workspace, and changing one.

use askama::Template;
use mysql_async::{Conn, Transaction};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};
use uuid::Uuid;

use super::missing;
use super::queries::{self, Described, Row};
use crate::app::App;
use crate::db::transact;
use crate::error::{Error, Result};
use crate::groups::queries::{self as groups, Choice};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry, Object};
use crate::web::form::line_mistake;
use crate::web::{Form, Hx, Mistakes, filters};

const LONGEST_NAME: usize = 50;
const LONGEST_DESCRIPTION: usize = 200;
const LONGEST_FOLDER: usize = 50;

pub fn routes() -> Vec<Address> {
    vec![
        get("/workspaces/new", Access::SystemAdmin, new),
        post("/workspaces", Access::SystemAdmin, create),
        get("/workspaces/:workspace_id/edit", Access::SystemAdmin, edit),
        post("/workspaces/:workspace_id", Access::SystemAdmin, update),
    ]
}

#[derive(Template)]
#[template(path = "workspaces/edit.html", blocks = ["form"])]
struct Edit {
    /// What is saved; none for a new one.
    saved: Option<Row>,
    typed: Described,
    clusters: Vec<Choice>,
    folders: Vec<String>,
    /// Somebody else saved since the form was shown.
    is_late: bool,
    row_version: u32,
    /// The cluster the form showed before anybody chose.
    shown_cluster: Option<String>,
    mistakes: Mistakes,
}

impl Edit {
    async fn load(conn: &mut Conn, saved: Option<Row>) -> Result<Edit> {
        let clusters = groups::others(conn, "").await?;
        let typed = match &saved {
            Some(row) => Described {
                name: row.name.clone(),
                description: row.description.clone(),
                folder: row.folder.clone(),
                install_id: row.install_id.clone(),
            },
            // Chosen for the person only where there is no choice.
            None => Described {
                install_id: clusters
                    .first()
                    .filter(|_| clusters.len() == 1)
                    .map(|only| only.install_id.clone()),
                ..Described::default()
            },
        };
        let shown_cluster = saved.as_ref().and_then(|row| row.install_id.clone());
        Ok(Edit {
            row_version: saved.as_ref().map_or(0, |row| row.row_version),
            saved,
            typed,
            clusters,
            folders: queries::folders(conn).await?,
            is_late: false,
            shown_cluster,
            mistakes: Mistakes::default(),
        })
    }

    /// Takes in what was typed.
    fn fill(&mut self, form: &Form) {
        self.typed = Described {
            name: form.text("name").to_owned(),
            description: form.text("description").to_owned(),
            folder: form.text("folder").to_owned(),
            install_id: Some(form.id("install_id").to_owned()).filter(|id| !id.is_empty()),
        };
        self.row_version = form.text("row_version").parse().unwrap_or(u32::MAX);
        self.shown_cluster = Some(form.id("was").to_owned()).filter(|id| !id.is_empty());
        let typed = &self.typed;
        match typed.name.is_empty() {
            true => self.mistakes.note("name", Text::new("workspaces.name_missing")),
            false => {
                if let Some(mistake) = line_mistake(&typed.name, LONGEST_NAME) {
                    self.mistakes.note("name", mistake);
                }
            }
        }
        if let Some(mistake) = line_mistake(&typed.description, LONGEST_DESCRIPTION) {
            self.mistakes.note("description", mistake);
        }
        if let Some(mistake) = line_mistake(&typed.folder, LONGEST_FOLDER) {
            self.mistakes.note("folder", mistake);
        }
        // One that has none stays so until somebody chooses; a new one needs a choice.
        let was_unbound = self.saved.as_ref().is_some_and(|saved| saved.install_id.is_none());
        if typed.install_id.is_none() && !was_unbound {
            self.mistakes.note("install_id", Text::new("workspaces.choose_cluster"));
        }
    }

    fn is_chosen(&self, install_id: &str) -> bool {
        self.typed.install_id.as_deref() == Some(install_id)
    }

    /// One of the clusters in the list is chosen; else none must look as if it were.
    fn has_choice(&self) -> bool {
        self.clusters.iter().any(|cluster| self.is_chosen(&cluster.install_id))
    }

    fn path(&self) -> String {
        match &self.saved {
            Some(saved) => format!("/workspaces/{}", saved.workspace_id),
            None => "/workspaces".to_owned(),
        }
    }
}

/// `GET /workspaces/new`
#[handler]
async fn new(hx: Hx, app: Data<&App>) -> Result<Response> {
    let page = Edit::load(&mut app.db.conn().await?, None).await?;
    hx.render(&page, &page.as_form())
}

/// `POST /workspaces`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut page = Edit::load(&mut conn, None).await?;
    page.fill(&form);
    if page.mistakes.is_empty() {
        let workspace_id = Uuid::new_v4().simple().to_string();
        let typed = &page.typed;
        match transact!(&mut conn, |tx| insert(tx, &app, &viewer, (&workspace_id, typed))) {
            Ok(()) => return Ok(hx.done(&format!("/workspaces/{workspace_id}"), "said.added")),
            Err(error) => page.note(error)?,
        }
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

async fn insert(
    tx: &mut Transaction<'_>,
    app: &App,
    viewer: &Viewer,
    (workspace_id, described): (&str, &Described),
) -> Result<()> {
    let cluster = held(tx, described.install_id.as_deref(), None).await?;
    queries::insert(tx, workspace_id, described, &viewer.name)
        .await
        .map_err(taken)?;
    let entry = Entry::by(&viewer.actor(app), Action::WorkspaceCreate)
        .on(Object::new("workspace", workspace_id, &described.name))
        .change("name", "", &described.name)
        .change("description", "", &described.description)
        .change("folder", "", &described.folder)
        .change("clusters", "", cluster);
    audit::record(tx, &entry).await?;
    Ok(())
}

/// The cluster's name, with its row held, so that it is not removed meanwhile; and others held with it.
pub(super) async fn held<'a>(
    tx: &mut Transaction<'_>,
    install_id: Option<&'a str>,
    others: impl IntoIterator<Item = &'a str>,
) -> Result<String> {
    let ids: Vec<&str> = install_id.into_iter().chain(others).collect();
    let held = groups::hold_clusters(tx, &ids).await?;
    let Some(install_id) = install_id else {
        return Ok(String::new());
    };
    let found = held.into_iter().find(|(id, _)| id == install_id);
    found
        .map(|(_, name)| name)
        .ok_or_else(|| Error::Invalid(Text::new("workspaces.cluster_gone")))
}

fn taken(error: mysql_async::Error) -> Error {
    Error::on_duplicate(error, "workspace_name", || Text::new("workspaces.name_taken"))
}

impl Edit {
    /// What the person can mend stands beside its field.
    fn note(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Conflict(text) => self.mistakes.note("name", text),
            Error::Invalid(text) => self.mistakes.note("install_id", text),
            other => return Err(other),
        }
        Ok(())
    }
}

/// `GET /workspaces/{workspace_id}/edit`
#[handler]
async fn edit(hx: Hx, app: Data<&App>, Path(workspace_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let saved = queries::by_id(&mut conn, &workspace_id).await?.ok_or_else(missing)?;
    let page = Edit::load(&mut conn, Some(saved)).await?;
    hx.render(&page, &page.as_form())
}

/// `POST /workspaces/{workspace_id}`
#[handler]
async fn update(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(workspace_id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let saved = queries::by_id(&mut conn, &workspace_id).await?.ok_or_else(missing)?;
    let mut page = Edit::load(&mut conn, Some(saved)).await?;
    page.fill(&form);
    if page.mistakes.is_empty() {
        match transact!(&mut conn, |tx| save(tx, &app, &viewer, (&workspace_id, &page))) {
            Ok(true) => return Ok(hx.done(&format!("/workspaces/{workspace_id}"), "said.saved")),
            Ok(false) => page.is_late = true,
            Err(error) => page.note(error)?,
        }
        if page.is_late {
            let was = page.shown_cluster.clone();
            page.saved = Some(queries::by_id(&mut conn, &workspace_id).await?.ok_or_else(missing)?);
            page.row_version = page.saved.as_ref().map_or(0, |row| row.row_version);
            // A cluster nobody chose in this form is not chosen by saving it again.
            let saved = page.saved.as_ref().and_then(|row| row.install_id.clone());
            if page.typed.install_id == was {
                page.typed.install_id.clone_from(&saved);
            }
            page.shown_cluster = saved;
        }
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

/// False when somebody else saved since the form was shown.
async fn save(
    tx: &mut Transaction<'_>,
    app: &App,
    viewer: &Viewer,
    (workspace_id, page): (&str, &Edit),
) -> Result<bool> {
    // Its former cluster, too: whoever moves everything of that one holds it before the workspaces.
    let former = page.saved.as_ref().and_then(|saved| saved.install_id.as_deref());
    let cluster = held(tx, page.typed.install_id.as_deref(), former).await?;
    let before = queries::locked(tx, workspace_id).await?.ok_or_else(missing)?;
    if before.install_id.as_deref() != former {
        return Ok(false);
    }
    let row = (workspace_id, page.row_version);
    if !queries::update(tx, row, &page.typed, &viewer.name)
        .await
        .map_err(taken)?
    {
        return Ok(false);
    }
    let entry = Entry::by(&viewer.actor(app), Action::WorkspaceUpdate)
        .on(before.object())
        .change("name", &before.name, &page.typed.name)
        .change("description", &before.description, &page.typed.description)
        .change("folder", &before.folder, &page.typed.folder)
        .change("clusters", before.bound_to(), cluster);
    audit::record(tx, &entry).await?;
    Ok(true)
}
