//! Taking over from a cluster whose `INSTALL.json` was lost: its workspaces, groups, name and address, in one step.

use askama::Template;
use mysql_async::{Conn, Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::missing;
use super::queries::{self, Predecessor};
use crate::app::App;
use crate::error::Result;
use crate::groups::queries as groups;
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::web::{Form, Hx, Mistakes, filters};
use crate::workspaces::queries as workspaces;

pub fn routes() -> Vec<Address> {
    vec![
        get("/clusters/:install_id/succession", Access::SuperAdmin, new),
        post("/clusters/:install_id/succession", Access::SuperAdmin, create),
    ]
}

#[derive(Template)]
#[template(path = "clusters/succession.html", blocks = ["form"])]
struct Succession {
    install_id: String,
    name: String,
    predecessors: Vec<Predecessor>,
    chosen: String,
    mistakes: Mistakes,
}

impl Succession {
    async fn load(conn: &mut Conn, install_id: &str) -> Result<Succession> {
        let found = queries::by_install_id(conn, install_id).await?;
        let (row, details) = found.ok_or_else(|| missing(install_id))?;
        let predecessors = queries::predecessors(conn, install_id, (&row.host, &details.data_path)).await?;
        Ok(Succession {
            install_id: install_id.to_owned(),
            name: row.name,
            chosen: predecessors.first().map(Predecessor::key).unwrap_or_default(),
            predecessors,
            mistakes: Mistakes::default(),
        })
    }
}

impl Predecessor {
    /// What a form sends: who it was, and how often it had beaten when it was shown.
    fn key(&self) -> String {
        format!("{}:{}", self.install_id, self.beat_seq)
    }

    fn beat_at(&self) -> Option<chrono::NaiveDateTime> {
        self.beat_at
    }
}

/// `GET /clusters/{install_id}/succession`
#[handler]
async fn new(hx: Hx, app: Data<&App>, Path(install_id): Path<String>) -> Result<Response> {
    let page = Succession::load(&mut app.db.conn().await?, &install_id).await?;
    hx.render(&page, &page.as_form())
}

/// `POST /clusters/{install_id}/succession`
#[handler]
async fn create(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(install_id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let chosen = form.id("from").to_owned();
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let refusal = perform(&mut tx, &viewer.actor(&app), &install_id, &chosen).await?;
    match refusal {
        None => {
            tx.commit().await?;
            Ok(hx.done(&format!("/clusters/{install_id}"), "said.saved"))
        }
        Some(text) => {
            tx.rollback().await?;
            let mut page = Succession::load(&mut conn, &install_id).await?;
            let entry = Entry::by(&viewer.actor(&app), Action::ClusterSucceed);
            let entry = entry
                .on(Object::new("cluster", &install_id, &page.name))
                .change("from", "", &chosen);
            audit::record(&mut conn, &entry.because(&app.say(&text))).await?;
            page.chosen = chosen;
            page.mistakes.note("from", text);
            hx.answer(StatusCode::CONFLICT, &page, &page.as_form())
        }
    }
}

/// Looks at both again with their rows locked, then moves everything and takes the old one off the roll, in a few statements
/// however much it is: the heir's beat waits meanwhile. Returns what stands against it; nothing is changed then.
async fn perform(tx: &mut Transaction<'_>, actor: &Actor, heir: &str, chosen: &str) -> Result<Option<Text>> {
    let Some((from, beat_seq)) = chosen.split_once(':').filter(|(from, _)| *from != heir) else {
        return Ok(Some(Text::new("succession.choose")));
    };
    // Groups before clusters, as everywhere.
    let locked = groups::lock_of_cluster(tx, from).await?;
    let held = groups::hold_clusters(tx, &[from, heir]).await?;
    let Some((_, former)) = held.iter().find(|(id, _)| id == heir) else {
        return Err(missing(heir));
    };
    let Some(old) = queries::locked(tx, from).await? else {
        return Ok(Some(Text::new("succession.gone")));
    };
    let bound = groups::ids_of_cluster(tx, from).await?;
    let is_as_shown = beat_seq.parse() == Ok(old.beat_seq) && bound.iter().all(|id| locked.contains(id));
    if old.is_in_use() || !is_as_shown {
        return Ok(Some(Text::new("succession.alive")));
    }
    groups::hand_over(tx, from, heir, &actor.name).await?;
    let moved = workspaces::move_all(tx, from, Some(heir), &actor.name).await?;
    queries::inherit(tx, from, heir, &actor.name).await?;
    queries::remove(tx, from, &actor.name).await?;
    let entry = Entry::by(actor, Action::ClusterSucceed)
        .on(Object::new("cluster", heir, &old.name))
        .change("name", former, &old.name)
        .change("from", "", from)
        .change("workspaces", "", moved)
        .change("groups", "", bound.len());
    audit::record(tx, &entry).await?;
    let gone = Entry::by(actor, Action::ClusterRemove).on(Object::new("cluster", from, &old.name));
    audit::record(tx, &gone.change("heir", "", heir)).await?;
    Ok(None)
}
