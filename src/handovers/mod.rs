//! Giving everything of one cluster to another: looked at first, done in one transaction, and taken back as long as its line
//! is in the trail.

pub mod queries;

use askama::Template;
use mysql_async::{Conn, Transaction};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Request, Response, handler};
use url::form_urlencoded;
use uuid::Uuid;

use crate::app::App;
use crate::clusters::queries::{self as clusters, Bound, Row};
use crate::db::transact;
use crate::error::{Error, Result};
use crate::groups::queries::{self as groups, Choice};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::web::{Form, Hx, Mistakes, filters};
use crate::workspaces::queries as workspaces;
use queries::Handover;

/// Names of each kind that are shown; the rest is counted.
const SHOWN: usize = 20;

pub fn routes() -> Vec<Address> {
    vec![
        get("/clusters/:install_id/handovers/new", Access::SystemAdmin, new),
        post("/clusters/:install_id/handovers", Access::SystemAdmin, create),
        get("/handovers/:handover_id", Access::SystemAdmin, show),
        post("/handovers/:handover_id/undoing", Access::SystemAdmin, undo),
    ]
}

/// What would go, and to whom.
#[derive(Template)]
#[template(path = "handovers/new.html", blocks = ["form"])]
struct New {
    row: Row,
    bound: Vec<Bound>,
    choices: Vec<Choice>,
    to: String,
    mistakes: Mistakes,
}

impl New {
    async fn load(conn: &mut Conn, install_id: &str, to: &str) -> Result<New> {
        let found = clusters::by_install_id(conn, install_id).await?;
        let (row, _) = found.ok_or_else(missing)?;
        Ok(New {
            row,
            bound: clusters::bound(conn, install_id).await?,
            choices: groups::others(conn, install_id).await?,
            to: to.to_owned(),
            mistakes: Mistakes::default(),
        })
    }

    /// The first names of a kind, and how many more there are.
    fn first(&self, kind: &str) -> (Vec<&str>, u64) {
        let of = || self.bound.iter().filter(|bound| bound.kind == kind);
        let names: Vec<&str> = of().take(SHOWN).map(|bound| bound.name.as_str()).collect();
        // Groups are counted apart: with and without other clusters.
        let mut totals: Vec<(bool, u64)> = of().map(|bound| (bound.others > 0, bound.total)).collect();
        totals.sort_unstable();
        totals.dedup();
        let total: u64 = totals.iter().map(|(_, total)| total).sum();
        let more = total.saturating_sub(names.len() as u64);
        (names, more)
    }
}

fn missing() -> Error {
    Error::NotFound(Text::new("handovers.missing"))
}

/// `GET /clusters/{install_id}/handovers/new`
#[handler]
async fn new(hx: Hx, app: Data<&App>, Path(install_id): Path<String>, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default().as_bytes();
    let to = form_urlencoded::parse(query).find(|(key, _)| key == "to");
    let to = to.map_or_else(String::new, |(_, to)| to.into_owned());
    let page = New::load(&mut app.db.conn().await?, &install_id, &to).await?;
    hx.render(&page, &page.as_form())
}

/// `POST /clusters/{install_id}/handovers`
#[handler]
async fn create(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(install_id): Path<String>,
) -> Result<Response> {
    let to = form.id("to");
    let mut conn = app.db.conn().await?;
    let actor = viewer.actor(&app);
    match transact!(&mut conn, |tx| hand_over(tx, &actor, (&install_id, to)))? {
        Some(handover_id) => Ok(hx.done(&format!("/handovers/{handover_id}"), "said.saved")),
        None => {
            let mut page = New::load(&mut conn, &install_id, to).await?;
            page.mistakes.note("to", Text::new("groups.choose_cluster"));
            hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
        }
    }
}

/// Groups before clusters before workspaces, as everywhere; in a few statements however much it is. None when the heir is
/// not on the roll.
async fn hand_over(tx: &mut Transaction<'_>, actor: &Actor, (from, to): (&str, &str)) -> Result<Option<String>> {
    let locked = groups::lock_of_cluster(tx, from).await?;
    let held = groups::hold_clusters(tx, &[from, to]).await?;
    let name = |id: &str| held.iter().find(|(held, _)| held == id).map(|(_, name)| name.as_str());
    let (Some(from_name), Some(to_name)) = (name(from), name(to).filter(|_| from != to)) else {
        return Ok(None);
    };
    let bound = groups::ids_of_cluster(tx, from).await?;
    if bound.iter().any(|id| !locked.contains(id)) {
        // Bound between the two locks, and not locked itself.
        return Err(Error::Conflict(Text::new("handovers.changed")));
    }
    let handover_id = Uuid::new_v4().simple().to_string();
    queries::note(tx, &handover_id, (from, to), &actor.name).await?;
    groups::hand_over(tx, from, to, &actor.name).await?;
    let moved = workspaces::move_all(tx, from, Some(to), &actor.name).await?;
    let object = Object::new("handover", &handover_id, &format!("{from_name} → {to_name}"));
    let entry = Entry::by(actor, Action::HandOver)
        .on(object)
        .change("clusters", from_name, to_name)
        .change("workspaces", "", moved)
        .change("groups", "", bound.len());
    audit::record(tx, &entry).await?;
    Ok(Some(handover_id))
}

/// What was given, and taking it back.
#[derive(Template)]
#[template(path = "handovers/show.html", blocks = ["handover"])]
struct Show {
    handover: Handover,
}

impl Show {
    fn made_at(&self) -> Option<chrono::NaiveDateTime> {
        Some(self.handover.made_at)
    }

    fn giver(&self) -> &str {
        self.handover
            .from_name
            .as_deref()
            .unwrap_or(&self.handover.from_install_id)
    }

    fn heir(&self) -> &str {
        self.handover.to_name.as_deref().unwrap_or(&self.handover.to_install_id)
    }
}

/// `GET /handovers/{handover_id}`
#[handler]
async fn show(hx: Hx, app: Data<&App>, Path(handover_id): Path<String>) -> Result<Response> {
    let handover = queries::by_id(&mut app.db.conn().await?, &handover_id).await?;
    let page = Show {
        handover: handover.ok_or_else(missing)?,
    };
    hx.render(&page, &page.as_handover())
}

/// `POST /handovers/{handover_id}/undoing`
#[handler]
async fn undo(hx: Hx, viewer: Viewer, app: Data<&App>, Path(handover_id): Path<String>) -> Result<Response> {
    let actor = viewer.actor(&app);
    let mut conn = app.db.conn().await?;
    transact!(&mut conn, |tx| give_back(tx, &actor, &handover_id))?;
    Ok(hx.done(&format!("/handovers/{handover_id}"), "said.saved"))
}

async fn give_back(tx: &mut Transaction<'_>, actor: &Actor, handover_id: &str) -> Result<()> {
    let handover = queries::by_id(tx, handover_id).await?.ok_or_else(missing)?;
    queries::lock_groups(tx, handover_id).await?;
    let both = [handover.from_install_id.as_str(), handover.to_install_id.as_str()];
    if groups::hold_clusters(tx, &both).await?.len() < both.len() {
        return Err(Error::Conflict(Text::new("handovers.gone")));
    }
    if !queries::undo(tx, handover_id, &actor.name).await? {
        return Err(Error::Conflict(Text::new("handovers.is_undone")));
    }
    let (workspaces, groups) = queries::give_back(tx, &handover, &actor.name).await?;
    let page = Show { handover };
    let object = Object::new("handover", handover_id, &format!("{} → {}", page.giver(), page.heir()));
    let entry = Entry::by(actor, Action::HandOverUndo)
        .on(object)
        .change("clusters", page.heir(), page.giver())
        .change("workspaces", "", workspaces)
        .change("groups", "", groups);
    audit::record(tx, &entry).await?;
    Ok(())
}
