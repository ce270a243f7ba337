//! The clusters: who is here, alive, and where.

pub mod address;
pub mod check;
pub mod conflict;
mod edit;
pub mod heartbeat;
pub mod list;
pub mod portrait;
pub mod queries;
mod registration;
mod removal;
mod rival;
pub mod roll;
mod succession;
pub mod transitions;
pub mod wanted;

use std::sync::Arc;

use askama::Template;
use chrono::{NaiveDateTime, TimeDelta};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{EndpointExt, Request, Response, handler};

use crate::app::App;
use crate::error::{Error, Result};
use crate::groups::Panel;
use crate::i18n::Text;
use crate::install::is_install_id;
use crate::liveness::{State, rule, span};
use crate::people::access::{Access, Address, get};
use crate::web::fresh::{Lists, asked, since};
use crate::web::hx::Blocks;
use crate::web::{Hx, filters};
use list::List;
use queries::{Details, Namesake, Row};
use wanted::Wanted;

pub fn routes() -> Vec<Address> {
    let own = vec![
        get(
            "/clusters",
            Access::SystemAdmin,
            index.data(Arc::new(Lists::<Index>::new())),
        )
        .same_for_all(),
        get("/clusters/:install_id", Access::SystemAdmin, show),
    ];
    [
        own,
        edit::routes(),
        removal::routes(),
        registration::routes(),
        succession::routes(),
        check::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The list; its block `list` is the fragment. Public for `tests/bench`, which renders it alone.
#[derive(Template)]
#[template(path = "clusters/index.html", blocks = ["list"])]
pub struct Index {
    pub list: List,
    /// Above the list; no part of its fragment.
    pub panel: Option<Panel>,
    /// The fragment as it is sent, which says nothing of its reader.
    pub printed: Blocks,
}

#[derive(Template)]
#[template(path = "clusters/show.html", blocks = ["facts"])]
struct Show {
    row: Row,
    details: Details,
    /// Others that live under the same cluster id.
    namesakes: Vec<Namesake>,
    /// Who answers at its address.
    checks: Vec<check::queries::Row>,
}

/// `GET /clusters`
#[handler]
async fn index(hx: Hx, app: Data<&App>, lists: Data<&Arc<Lists<Index>>>, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default();
    let wanted = Wanted::parse(query);
    let status = if wanted.impossible {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let whole = !hx.wants_block();
    let page = lists
        .read(asked(req, ""), since(req), || Index::load(&app, wanted, whole))
        .await?;
    hx.answer_alike(status, &*page, (&page.as_list(), &page.printed))
}

impl Index {
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn load(app: &App, mut wanted: Wanted, whole: bool) -> Result<Index> {
        let mut conn = app.db.conn().await?;
        let (counts, rows) = if wanted.impossible {
            (Vec::new(), Vec::new())
        } else {
            let counts = queries::counts(&mut conn, &wanted).await?;
            let from = wanted.settle(matching(&counts, wanted.state));
            let rows = queries::page(&mut conn, &wanted, from).await?;
            (counts, rows)
        };
        let list = List {
            total: matching(&counts, wanted.state),
            own_interval_s: app.heart_seconds(),
            wanted,
            rows,
            counts,
        };
        let panel = if whole {
            Some(Panel::load(&mut conn).await?)
        } else {
            None
        };
        Ok(Index {
            list,
            panel,
            printed: Blocks::default(),
        })
    }
}

/// How many rows the list has over all its pages.
fn matching(counts: &[(State, u64)], wanted: Option<State>) -> u64 {
    counts
        .iter()
        .filter(|(state, _)| wanted.is_none_or(|wanted| wanted == *state))
        .map(|(_, count)| count)
        .sum()
}

/// `GET /clusters/{install_id}`
#[handler]
async fn show(hx: Hx, app: Data<&App>, Path(install_id): Path<String>) -> Result<Response> {
    if !is_install_id(&install_id) {
        return Err(missing(&install_id));
    }
    let mut conn = app.db.conn().await?;
    let (row, details) = queries::by_install_id(&mut conn, &install_id)
        .await?
        .ok_or_else(|| missing(&install_id))?;
    let namesakes = match details.is_alive {
        true => queries::namesakes(&mut conn, &row.cluster_id, &row.install_id).await?,
        false => Vec::new(),
    };
    let page = Show {
        checks: check::queries::of(&mut conn, &install_id).await?,
        namesakes,
        row,
        details,
    };
    hx.render(&page, &page.as_facts())
}

fn missing(install_id: &str) -> Error {
    let id: String = install_id.chars().take(40).collect();
    Error::NotFound(Text::new("clusters.missing").with("id", id))
}

impl Show {
    fn rule(&self) -> Text {
        rule(self.row.interval_s)
    }

    /// How long ago the last beat was, by the database's clock.
    fn age(&self) -> Text {
        match self.details.age_us {
            Some(age) => Text::new("clusters.age").with_text("age", span(TimeDelta::microseconds(age))),
            None => Text::new("clusters.age_none"),
        }
    }

    /// The last beats, newest first: when, and how many milliseconds each took at the database. A beat brings the figure
    /// of the one before it; that of a process's last beat is never told.
    fn beats(&self) -> Vec<(Option<NaiveDateTime>, String)> {
        let entries = self
            .details
            .beats
            .split(' ')
            .filter_map(|entry| entry.split_once('/'))
            .take(13);
        let (times, before): (Vec<&str>, Vec<&str>) = entries.unzip();
        let told = std::iter::once("").chain(before.into_iter().map(|took| if took == "0.0" { "" } else { took }));
        let beats = times.into_iter().zip(told).take(12);
        beats
            .filter_map(|(at, took)| Some((Some(at.parse().ok()?), took.to_owned())))
            .collect()
    }

    fn other(&self) -> Option<(&str, &str)> {
        (self.row.state == State::Duplicate).then_some((
            self.details.duplicate_host.as_str(),
            self.details.duplicate_path.as_str(),
        ))
    }
}
