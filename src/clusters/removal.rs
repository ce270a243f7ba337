//! 删除集群: everything that stands against it, each with the way out, and the deletion itself.

use askama::Template;
use mysql_async::{Conn, Transaction};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::missing;
use super::queries::{self, Bound, Details, Row};
use crate::app::App;
use crate::db::transact;
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::groups::bindings::{Named, rebind};
use crate::groups::queries::{self as groups, Choice};
use crate::i18n::Text;
use crate::liveness::{State, rule, span};
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::web::{Form, Hx, Mistakes, filters};
use crate::workspaces::queries as workspaces;

/// Lines of each kind that are shown; the rest is counted.
const SHOWN: usize = 20;

pub fn routes() -> Vec<Address> {
    vec![
        get("/clusters/:install_id/removal", Access::SuperAdmin, show),
        post("/clusters/:install_id/removal", Access::SuperAdmin, remove),
        post("/clusters/:install_id/removal/groups", Access::SuperAdmin, clear_groups),
        post(
            "/clusters/:install_id/removal/workspaces",
            Access::SuperAdmin,
            clear_workspaces,
        ),
    ]
}

#[derive(Template)]
#[template(path = "clusters/removal.html", blocks = ["removal"])]
struct Removal {
    row: Row,
    details: Details,
    bound: Vec<Bound>,
    /// Other clusters to hand over to, when there is something to hand over.
    choices: Vec<Choice>,
    /// What was typed to confirm.
    typed: String,
    mistakes: Mistakes,
}

impl Removal {
    async fn load(conn: &mut Conn, install_id: &str) -> Result<Removal> {
        let found = queries::by_install_id(conn, install_id).await?;
        let (row, details) = found.ok_or_else(|| missing(install_id))?;
        let bound = queries::bound(conn, install_id).await?;
        let choices = match bound.is_empty() {
            true => Vec::new(),
            false => groups::others(conn, install_id).await?,
        };
        Ok(Removal {
            row,
            details,
            bound,
            choices,
            typed: String::new(),
            mistakes: Mistakes::default(),
        })
    }

    fn rule(&self) -> Text {
        rule(self.row.interval_s)
    }

    /// How long ago the last beat was.
    fn age(&self) -> Text {
        let age = chrono::TimeDelta::microseconds(self.details.age_us.unwrap_or(0));
        Text::new("clusters.age").with_text("age", span(age))
    }

    /// Whether a process lives that would lose its row: the holder, or a second one that waits for it.
    fn is_alive(&self) -> bool {
        self.details.is_alive || self.row.state == State::Duplicate
    }

    fn workspaces(&self) -> Vec<&Bound> {
        self.bound.iter().filter(|bound| bound.kind == "workspace").collect()
    }

    /// Groups that nobody else would watch.
    fn orphans(&self) -> Vec<&Bound> {
        let groups = self.bound.iter().filter(|bound| bound.kind == "group");
        groups.filter(|group| group.others == 0).collect()
    }

    /// Groups whose other clusters go on.
    fn covered(&self) -> Vec<&Bound> {
        self.bound.iter().filter(|bound| bound.others > 0).collect()
    }

    /// The first lines of a kind, and how many more there are.
    fn first(&self, bound: &[&Bound]) -> (Vec<Bound>, u64) {
        let shown: Vec<Bound> = bound.iter().take(SHOWN).map(|one| (*one).clone()).collect();
        let total = shown.first().map_or(0, |one| one.total);
        (shown.clone(), total.saturating_sub(shown.len() as u64))
    }

    fn is_free(&self) -> bool {
        !self.is_alive() && self.workspaces().is_empty() && self.orphans().is_empty()
    }
}

/// `GET /clusters/{install_id}/removal`
#[handler]
async fn show(hx: Hx, app: Data<&App>, Path(install_id): Path<String>) -> Result<Response> {
    let page = Removal::load(&mut app.db.conn().await?, &install_id).await?;
    hx.render(&page, &page.as_removal())
}

/// `POST /clusters/{install_id}/removal`
#[handler]
async fn remove(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(install_id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let actor = viewer.actor(&app);
    let refusal = transact!(&mut conn, |tx| perform(tx, &actor, &install_id, &form))?;
    let Some((field, text)) = refusal else {
        return Ok(hx.done("/clusters", "said.removed"));
    };
    let mut page = Removal::load(&mut conn, &install_id).await?;
    page.typed = form.text("name").to_owned();
    page.mistakes.note(field, text);
    hx.answer(StatusCode::CONFLICT, &page, &page.as_removal())
}

/// Looks at everything again with the rows locked, so that a beat either lands before and is seen, or finds no row; then
/// removes it. Returns what stands against it.
async fn perform(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    install_id: &str,
    form: &Form,
) -> Result<Option<(&'static str, Text)>> {
    // Groups before the cluster, as everywhere.
    let locked = groups::lock_of_cluster(tx, install_id).await?;
    let known = queries::locked(tx, install_id)
        .await?
        .ok_or_else(|| missing(install_id))?;
    let entry = Entry::by(actor, Action::ClusterRemove).on(Object::new("cluster", install_id, &known.name));
    let bound = groups::of_cluster(tx, install_id).await?;
    let against = if known.is_in_use() {
        Some(("state", "clusters.still_online"))
    } else if workspaces::count_of(tx, install_id).await? > 0 {
        Some(("state", "clusters.still_has_workspaces"))
    } else if bound.iter().any(|group| group.members.len() == 1) {
        Some(("state", "clusters.still_has_groups"))
    } else if form.text("beat_seq").parse() != Ok(known.beat_seq)
        || bound.iter().any(|group| !locked.contains(&group.group_id))
    {
        Some(("state", "clusters.beat_meanwhile"))
    } else if form.text("name") != known.name {
        Some(("name", "clusters.type_the_name"))
    } else {
        None
    };
    if let Some((field, key)) = against {
        audit::record(tx, &entry.because(key)).await?;
        return Ok(Some((field, Text::new(key))));
    }
    for group in &bound {
        record_unbinding(tx, actor, group, install_id).await?;
    }
    groups::unbind_everywhere(tx, install_id).await?;
    queries::remove(tx, install_id, &actor.name).await?;
    audit::record(tx, &entry).await?;
    Ok(None)
}

/// The group's own trail tells why a cluster went.
async fn record_unbinding(tx: &mut Transaction<'_>, actor: &Actor, group: &Group, install_id: &str) -> Result<()> {
    let names = |with: bool| {
        let members = group
            .members
            .iter()
            .filter(|member| with || member.install_id != install_id);
        members
            .map(|member| member.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let entry = Entry::by(actor, Action::GroupBind)
        .on(group.object())
        .change("clusters", names(true), names(false));
    audit::record(tx, &entry).await?;
    Ok(())
}

/// `POST /clusters/{install_id}/removal/groups`: those that nobody else has, to another cluster or to none. One transaction
/// a group: a long one would make the heirs' beats wait.
#[handler]
async fn clear_groups(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(install_id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let bound = groups::of_cluster(&mut conn, &install_id).await?;
    let mut orphans: Vec<u32> = bound
        .iter()
        .filter(|group| group.members.len() == 1)
        .map(|group| group.group_id)
        .collect();
    orphans.sort_unstable();
    let actor = viewer.actor(&app);
    for group_id in orphans {
        transact!(&mut conn, |tx| hand_over(tx, &actor, group_id, (&install_id, &form)))?;
    }
    Ok(hx.done(&format!("/clusters/{install_id}/removal"), "said.saved"))
}

/// A group that still has this cluster alone goes to the heir.
async fn hand_over(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    group_id: u32,
    (install_id, form): (&str, &Form),
) -> Result<()> {
    let group = groups::locked(tx, group_id).await?;
    let alone = group.filter(|group| group.members.len() == 1 && group.members[0].install_id == install_id);
    let Some(group) = alone else {
        return Ok(());
    };
    let heir = heir(tx, install_id, form).await?;
    let wanted: Named<'_> = heir.iter().map(|(id, name)| (id.as_str(), name.as_str())).collect();
    rebind(tx, actor, &group, &wanted).await
}

/// The cluster that is to take over, by id and name, held together with the one that goes; none to unbind.
async fn heir(tx: &mut Transaction<'_>, install_id: &str, form: &Form) -> Result<Option<(String, String)>> {
    let to = form.id("to");
    let wanted: &[&str] = if to.is_empty() {
        &[install_id]
    } else {
        &[install_id, to]
    };
    let held = groups::hold_clusters(tx, wanted).await?;
    if to.is_empty() {
        return Ok(None);
    }
    let found = held.into_iter().find(|(id, _)| id == to && to != install_id);
    found
        .map(Some)
        .ok_or_else(|| Error::Invalid(Text::new("groups.choose_cluster")))
}

/// `POST /clusters/{install_id}/removal/workspaces`: to another cluster, or to none.
#[handler]
async fn clear_workspaces(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(install_id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let actor = viewer.actor(&app);
    transact!(&mut conn, |tx| move_workspaces(tx, &actor, &install_id, &form))?;
    Ok(hx.done(&format!("/clusters/{install_id}/removal"), "said.saved"))
}

async fn move_workspaces(tx: &mut Transaction<'_>, actor: &Actor, install_id: &str, form: &Form) -> Result<()> {
    let heir = heir(tx, install_id, form).await?;
    let known = queries::locked(tx, install_id)
        .await?
        .ok_or_else(|| missing(install_id))?;
    let to = heir.as_ref().map(|(id, _)| id.as_str());
    let moved = workspaces::move_all(tx, install_id, to, &actor.name).await?;
    let name = heir.as_ref().map_or("-", |(_, name)| name.as_str());
    let entry = Entry::by(actor, Action::WorkspaceBind)
        .on(Object::new("cluster", install_id, &known.name))
        .change("workspaces", "", moved)
        .change("clusters", &known.name, name);
    audit::record(tx, &entry).await?;
    Ok(())
}
