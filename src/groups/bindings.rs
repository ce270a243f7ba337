//! Which clusters watch a group, and in which order.

use askama::Template;
use mysql_async::Transaction;
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Request, Response, handler};

use super::queries::{self, Choice};
use super::{Group, Member, Show, known_id, missing, names};
use crate::app::App;
use crate::db::transact;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry};
use crate::web::{Form, Hx, Mistakes, filters};

pub fn routes() -> Vec<Address> {
    vec![
        get("/groups/:group_id/clusters/new", Access::SystemAdmin, new),
        post("/groups/:group_id/clusters", Access::SystemAdmin, create),
        post(
            "/groups/:group_id/clusters/:install_id/removal",
            Access::SystemAdmin,
            remove,
        ),
        post("/groups/:group_id/clusters/:install_id/rise", Access::SystemAdmin, rise),
    ]
}

#[derive(Template)]
#[template(path = "groups/bind.html", blocks = ["form"])]
struct Bind {
    group: Group,
    choices: Vec<Choice>,
    /// The page to go back to: `clusters`, or the group's own.
    from: String,
    mistakes: Mistakes,
}

/// `GET /groups/{group_id}/clusters/new`
#[handler]
async fn new(hx: Hx, app: Data<&App>, Path(group_id): Path<String>, req: &Request) -> Result<Response> {
    let from = if req.uri().query() == Some("from=clusters") {
        "clusters"
    } else {
        ""
    };
    let page = Bind::load(&app, known_id(&group_id)?, from).await?;
    hx.render(&page, &page.as_form())
}

impl Bind {
    async fn load(app: &App, group_id: u32, from: &str) -> Result<Bind> {
        let mut conn = app.db.conn().await?;
        let group = queries::by_id(&mut conn, group_id).await?.ok_or_else(missing)?;
        Ok(Bind {
            choices: queries::choices(&mut conn, group_id).await?,
            group,
            from: from.to_owned(),
            mistakes: Mistakes::default(),
        })
    }
}

/// `POST /groups/{group_id}/clusters`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form, Path(group_id): Path<String>) -> Result<Response> {
    let (group_id, install_id) = (known_id(&group_id)?, form.id("install_id"));
    let mut conn = app.db.conn().await?;
    let actor = viewer.actor(&app);
    if transact!(&mut conn, |tx| bind(tx, &actor, group_id, install_id))? {
        return Ok(hx.done(&back(&form, group_id), "said.bound"));
    }
    let mut page = Bind::load(&app, group_id, form.text("from")).await?;
    page.mistakes.note("install_id", Text::new("groups.choose_cluster"));
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

/// False when that cluster is not on the roll.
async fn bind(tx: &mut Transaction<'_>, actor: &Actor, group_id: u32, install_id: &str) -> Result<bool> {
    let group = queries::locked(tx, group_id).await?.ok_or_else(missing)?;
    let members = group.members.iter().map(|member| member.install_id.as_str());
    let ids: Vec<&str> = members.chain([install_id]).collect();
    let held = queries::hold_clusters(tx, &ids).await?;
    let Some((_, name)) = held.into_iter().find(|(held, _)| held == install_id) else {
        return Ok(false);
    };
    let mut wanted = named(&group.members);
    if !wanted.iter().any(|(known, _)| *known == install_id) {
        wanted.push((install_id, &name));
    }
    rebind(tx, actor, &group, &wanted).await?;
    Ok(true)
}

/// Where the form was opened: on the cluster list, or on the group's own page.
fn back(form: &Form, group_id: u32) -> String {
    match form.text("from") {
        "clusters" => "/clusters".to_owned(),
        _ => format!("/groups/{group_id}"),
    }
}

/// `POST /groups/{group_id}/clusters/{install_id}/removal`: asks first when nobody would watch the group any more.
#[handler]
async fn remove(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path((group_id, install_id)): Path<(String, String)>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let (group_id, is_sure) = (known_id(&group_id)?, form.text("sure") == "yes");
    let actor = viewer.actor(&app);
    let Some(group) = transact!(&mut conn, |tx| unbind(tx, &actor, (group_id, &install_id), is_sure))? else {
        return Ok(hx.done(&format!("/groups/{group_id}"), "said.unbound"));
    };
    let mut page = Show::of(group);
    page.asks = install_id;
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_group())
}

/// The group as it stays when nobody would watch it any more, and nobody agreed to that.
async fn unbind(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    (group_id, install_id): (u32, &str),
    is_sure: bool,
) -> Result<Option<Group>> {
    let group = queries::locked(tx, group_id).await?.ok_or_else(missing)?;
    if group.left_alone_by(install_id).is_some() && !is_sure {
        return Ok(Some(group));
    }
    let mut wanted = named(&group.members);
    // Somebody else may have done so meanwhile.
    wanted.retain(|(known, _)| *known != install_id);
    rebind(tx, actor, &group, &wanted).await?;
    Ok(None)
}

/// `POST /groups/{group_id}/clusters/{install_id}/rise`
#[handler]
async fn rise(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    Path((group_id, install_id)): Path<(String, String)>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let (group_id, actor) = (known_id(&group_id)?, viewer.actor(&app));
    transact!(&mut conn, |tx| lift(tx, &actor, (group_id, &install_id)))?;
    Ok(hx.done(&format!("/groups/{group_id}"), "said.saved"))
}

async fn lift(tx: &mut Transaction<'_>, actor: &Actor, (group_id, install_id): (u32, &str)) -> Result<()> {
    let group = queries::locked(tx, group_id).await?.ok_or_else(missing)?;
    let mut wanted = named(&group.members);
    // Nothing happens if somebody else unbound it meanwhile.
    if let Some(at) = wanted.iter().position(|(known, _)| *known == install_id) {
        wanted.swap(at, at.saturating_sub(1));
    }
    rebind(tx, actor, &group, &wanted).await
}

impl Group {
    /// That nobody checks its assets any more once a cluster is unbound; none when somebody goes on, or there are none.
    pub fn left_alone_by(&self, install_id: &str) -> Option<Text> {
        let is_bound = self.members.iter().any(|member| member.install_id == install_id);
        let mut others = self.members.iter().filter(|member| member.install_id != install_id);
        let count = self.assets.filter(|count| *count > 0 && is_bound)?;
        let goes_on = others.any(|member| member.is_alive);
        let text = Text::new("groups.left_alone")
            .with("name", &self.name)
            .with("count", count);
        (!goes_on).then_some(text)
    }
}

/// Clusters by id and name, in order.
pub type Named<'a> = Vec<(&'a str, &'a str)>;

pub fn named(members: &[Member]) -> Named<'_> {
    members
        .iter()
        .map(|member| (member.install_id.as_str(), member.name.as_str()))
        .collect()
}

/// Gives a locked group these clusters in this order, and writes the trail; nothing when it has them already. A transaction
/// that does so for several groups holds all their clusters first ([`queries::hold_clusters`]).
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn rebind(tx: &mut Transaction<'_>, actor: &Actor, group: &Group, wanted: &Named<'_>) -> Result<(), Error> {
    if named(&group.members) == *wanted {
        return Ok(());
    }
    let ids: Vec<&str> = wanted.iter().map(|(install_id, _)| *install_id).collect();
    // Whoever was removed since the group was read is not bound again.
    let held = queries::hold_clusters(tx, &ids).await?;
    let there = |id: &str| held.iter().any(|(held, _)| held == id);
    let (ids, after): (Vec<&str>, Vec<&str>) = wanted.iter().filter(|(id, _)| there(id)).copied().unzip();
    queries::set_members(tx, group.group_id, &ids, &actor.name).await?;
    let entry = Entry::by(actor, Action::GroupBind).on(group.object()).change(
        "clusters",
        names(&group.members),
        after.join(", "),
    );
    audit::record(tx, &entry).await?;
    Ok(())
}
