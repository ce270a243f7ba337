//! 分组: named sets of assets, and which clusters watch them, in order.

pub mod bindings;
pub mod queries;
mod removal;

use std::sync::Arc;

use askama::Template;
use chrono::NaiveDateTime;
use mysql_async::{Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{EndpointExt, Request, Response, handler};
use url::form_urlencoded;

use crate::app::App;
use crate::db::transact;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::liveness::State;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::web::form::line_mistake;
use crate::web::fresh::{Lists, asked, since};
use crate::web::{Form, Hx, Mistakes, filters};

const PAGE: u64 = 50;
/// Lines of the panel above the cluster list; all of them are on the page of groups.
const PANEL: u64 = 20;
pub const LONGEST_NAME: usize = 50;

pub fn routes() -> Vec<Address> {
    let own = vec![
        get(
            "/groups",
            Access::SystemAdmin,
            index.data(Arc::new(Lists::<Index>::new())),
        ),
        post("/groups", Access::SystemAdmin, create),
        get("/groups/panel", Access::SystemAdmin, panel),
        get("/groups/:group_id", Access::SystemAdmin, show),
        post("/groups/:group_id", Access::SystemAdmin, update),
    ];
    let more = bindings::routes().into_iter().chain(removal::routes());
    own.into_iter().chain(more).collect()
}

/// A group with its clusters in order.
#[derive(Debug, Clone)]
pub struct Group {
    pub group_id: u32,
    pub name: String,
    /// The one that assets are in when nobody says otherwise; it cannot be deleted.
    pub is_default: bool,
    pub modified_at: Option<NaiveDateTime>,
    pub modified_by: String,
    pub row_version: u32,
    /// How many assets are in it; none where nobody asked.
    pub assets: Option<u64>,
    /// The first is the primary, the others stand by.
    pub members: Vec<Member>,
}

/// One cluster of a group.
#[derive(Debug, Clone)]
pub struct Member {
    pub install_id: String,
    pub name: String,
    pub state: State,
    /// Whether the holder of its row still beats; a duplicate beside it does not change that.
    pub is_alive: bool,
}

impl Group {
    /// Who watches the assets: the first cluster in order that is alive.
    pub fn owner(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is_alive)
    }

    pub fn is_owner(&self, member: &Member) -> bool {
        self.owner().is_some_and(|owner| owner.install_id == member.install_id)
    }

    /// Nobody is bound to it.
    pub fn is_unbound(&self) -> bool {
        self.members.is_empty()
    }

    /// Clusters are bound, and none of them is alive.
    pub fn is_uncovered(&self) -> bool {
        !self.is_unbound() && self.owner().is_none()
    }

    pub fn object(&self) -> Object {
        Object::new("group", &self.group_id.to_string(), &self.name)
    }
}

/// The name as it is compared: without case and outer spaces.
pub fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// The groups above the cluster list.
#[derive(Debug)]
pub struct Panel {
    groups: Vec<Group>,
    total: u64,
}

impl Panel {
    /// One statement.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn load(conn: &mut mysql_async::Conn) -> Result<Panel> {
        let (groups, total) = queries::page(conn, "", 0, PANEL).await?;
        Ok(Panel { groups, total })
    }

    pub fn bound(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| !group.is_unbound())
    }

    pub fn unbound(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.is_unbound())
    }

    /// How many are not shown here.
    pub fn more(&self) -> u64 {
        self.total - self.groups.len() as u64
    }
}

#[derive(Template)]
#[template(path = "groups/_panel.html")]
struct PanelAlone {
    panel: Panel,
}

/// `GET /groups/panel`
#[handler]
async fn panel(hx: Hx, app: Data<&App>) -> Result<Response> {
    let panel = Panel::load(&mut app.db.conn().await?).await?;
    let page = PanelAlone { panel };
    hx.render(&page, &page)
}

/// The list; its block `list` is the fragment.
#[derive(Template)]
#[template(path = "groups/index.html", blocks = ["list"])]
pub struct Index {
    groups: Vec<Group>,
    text: String,
    page: u64,
    total: u64,
    /// What was typed for a new group.
    name: String,
    mistakes: Mistakes,
}

impl Index {
    /// The groups whose names contain a text; the first page where there is no such one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn load(app: &App, text: String, page: u64) -> Result<Index> {
        let mut conn = app.db.conn().await?;
        let (mut groups, mut total) = queries::page(&mut conn, &text, (page - 1) * PAGE, PAGE).await?;
        let page = if groups.is_empty() { 1 } else { page };
        if groups.is_empty() {
            (groups, total) = queries::page(&mut conn, &text, 0, PAGE).await?;
        }
        Ok(Index {
            groups,
            text,
            page,
            total,
            name: String::new(),
            mistakes: Mistakes::default(),
        })
    }

    fn has_more(&self) -> bool {
        self.total > self.page * PAGE
    }

    fn address(&self, page: u64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.text.is_empty() {
            query.append_pair("text", &self.text);
        }
        query.append_pair("page", &page.to_string());
        format!("/groups?{}", query.finish())
    }
}

/// `GET /groups`
#[handler]
async fn index(hx: Hx, app: Data<&App>, lists: Data<&Arc<Lists<Index>>>, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default().as_bytes();
    let (mut text, mut page) = (String::new(), 1);
    for (key, value) in form_urlencoded::parse(query) {
        match key.as_ref() {
            "text" => text = value.trim().chars().take(LONGEST_NAME).collect(),
            "page" => page = value.parse().unwrap_or(1).clamp(1, 1_000_000),
            _ => {}
        }
    }
    let page = lists
        .read(asked(req, ""), since(req), || Index::load(&app, text, page))
        .await?;
    hx.render(&*page, &page.as_list())
}

/// `POST /groups`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let name = form.text("name");
    let mistake = match name_mistake(name) {
        Some(mistake) => mistake,
        None => match insert(&app, &viewer, name).await {
            Ok(group_id) => return Ok(hx.done(&format!("/groups/{group_id}"), "said.added")),
            Err(Error::Conflict(text)) => text,
            Err(error) => return Err(error),
        },
    };
    let mut page = Index::load(&app, String::new(), 1).await?;
    page.name = name.to_owned();
    page.mistakes.note("name", mistake);
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_list())
}

/// What is wrong with the name of a group, if anything.
pub fn name_mistake(name: &str) -> Option<Text> {
    match name.is_empty() {
        true => Some(Text::new("groups.name_missing")),
        false => line_mistake(name, LONGEST_NAME),
    }
}

async fn insert(app: &App, viewer: &Viewer, name: &str) -> Result<u32> {
    let mut conn = app.db.conn().await?;
    let actor = viewer.actor(app);
    transact!(&mut conn, |tx| found(tx, &actor, name))
}

/// Makes a group whose name [`name_mistake`] has nothing against, with its line in the trail.
///
/// # Errors
/// [`Error::Conflict`] when there is one of that name.
pub async fn found(tx: &mut Transaction<'_>, actor: &Actor, name: &str) -> Result<u32> {
    let group_id = queries::insert(tx, name, &actor.name).await.map_err(taken)?;
    let group = queries::by_id(tx, group_id).await?.ok_or_else(missing)?;
    let entry = Entry::by(actor, Action::GroupCreate)
        .on(group.object())
        .change("name", "", name)
        .change("clusters", "", names(&group.members));
    audit::record(tx, &entry).await?;
    Ok(group_id)
}

fn taken(error: mysql_async::Error) -> Error {
    Error::on_duplicate(error, "asset_group_name", || Text::new("groups.name_taken"))
}

fn missing() -> Error {
    Error::NotFound(Text::new("groups.missing"))
}

/// Clusters in order, for the trail.
fn names(members: &[Member]) -> String {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.join(", ")
}

#[derive(Template)]
#[template(path = "groups/show.html", blocks = ["group"])]
struct Show {
    group: Group,
    /// What was typed.
    name: String,
    /// What somebody else saved meanwhile.
    theirs: Option<String>,
    /// The cluster that somebody is asked about before it is unbound.
    asks: String,
    mistakes: Mistakes,
}

impl Show {
    fn of(group: Group) -> Show {
        Show {
            name: group.name.clone(),
            group,
            theirs: None,
            asks: String::new(),
            mistakes: Mistakes::default(),
        }
    }
}

/// `GET /groups/{group_id}`
#[handler]
async fn show(hx: Hx, app: Data<&App>, Path(group_id): Path<String>) -> Result<Response> {
    let group_id = known_id(&group_id)?;
    let mut conn = app.db.conn().await?;
    let page = Show::of(queries::by_id(&mut conn, group_id).await?.ok_or_else(missing)?);
    hx.render(&page, &page.as_group())
}

/// An id from an address.
fn known_id(id: &str) -> Result<u32> {
    id.parse().map_err(|_| missing())
}

/// `POST /groups/{group_id}`
#[handler]
async fn update(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form, Path(group_id): Path<String>) -> Result<Response> {
    let name = form.text("name");
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let group = queries::locked(&mut tx, known_id(&group_id)?)
        .await?
        .ok_or_else(missing)?;
    let mut page = Show::of(group);
    page.name = name.to_owned();
    let row_version = form.text("row_version").parse().unwrap_or(u32::MAX);
    if let Some(mistake) = name_mistake(name) {
        page.mistakes.note("name", mistake);
        // What somebody else saved meanwhile still has to be noticed.
        page.group.row_version = row_version;
    } else {
        match rename(&mut tx, &viewer.actor(&app), &page.group, (row_version, name)).await {
            Ok(true) => {
                tx.commit().await?;
                return Ok(hx.done(&format!("/groups/{group_id}"), "said.saved"));
            }
            Ok(false) => page.theirs = Some(page.group.name.clone()),
            Err(Error::Conflict(text)) => page.mistakes.note("name", text),
            Err(error) => return Err(error),
        }
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_group())
}

/// False when somebody else saved since the form was shown.
async fn rename(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    group: &Group,
    (row_version, name): (u32, &str),
) -> Result<bool> {
    if !queries::rename(tx, (group.group_id, row_version), name, &actor.name)
        .await
        .map_err(taken)?
    {
        return Ok(false);
    }
    let entry = Entry::by(actor, Action::GroupUpdate)
        .on(group.object())
        .change("name", &group.name, name);
    audit::record(tx, &entry).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_outer_spaces_but_with_accents() {
        assert_eq!(name_key(" Ärzte "), name_key("ÄRZTE"));
        assert_ne!(name_key("resume"), name_key("résumé"));
    }
}
