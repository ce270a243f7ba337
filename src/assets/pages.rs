//! The pages of assets: the list, and one of them.

use std::sync::Arc;

use askama::Template;
use chrono::NaiveDateTime;
use mysql_async::TxOpts;
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{EndpointExt, Request, Response, handler};

use super::kind::Kind;
use super::list::{Shown, Sort, Wanted, Watched};
use super::outcome::Reason;
use super::queries::{self, Event, Twin};
use super::search;
use super::view::{Chart, Line, MANY, ago};
use super::{known_id, missing};
use crate::app::App;
use crate::error::{Error, Result};
use crate::groups::queries as groups;
use crate::groups::{Group, Member};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry};
use crate::web::fresh::{Lists, asked, since};
use crate::web::slice::PAGE;
use crate::web::{Form, Hx, filters};

pub fn routes() -> Vec<Address> {
    vec![
        get(
            "/assets",
            Access::SystemAdmin,
            index.data(Arc::new(Lists::<Index>::new())),
        ),
        get("/assets/:asset_id", Access::SystemAdmin, show),
        post("/assets/:asset_id/host-key", Access::SystemAdmin, accept).in_person(),
    ]
}

/// The list; its block `list` is the fragment.
#[derive(Template)]
#[template(path = "assets/index.html", blocks = ["list"])]
pub struct Index {
    wanted: Wanted,
    lines: Vec<Line>,
    next: Option<String>,
    previous: Option<String>,
    /// Those that share their address with another one.
    twins: Vec<u32>,
    /// How many the filters leave, as far as that was counted.
    total: Option<u64>,
    groups: Vec<Group>,
    /// What was ticked and typed to be done to a selection, when it could not be done so, and why not.
    asked: Form,
    mistake: Option<Text>,
    /// What was begun with all that match and is not done yet.
    rest: Option<Rest>,
}

/// A deed to all that match whose time was over, as a form that goes on with it.
#[derive(Debug)]
pub(super) struct Rest {
    pub path: &'static str,
    pub fields: Vec<(&'static str, String)>,
    /// How many are done.
    pub count: usize,
}

/// `GET /assets`: all of them, or one kind.
#[handler]
async fn index(hx: Hx, app: Data<&App>, lists: Data<&Arc<Lists<Index>>>, req: &Request) -> Result<Response> {
    let wanted = Wanted::parse(req.uri().query().unwrap_or_default());
    let page = lists
        .read(asked(req, ""), since(req), || Index::load(&app, wanted))
        .await?;
    hx.render(&*page, &page.as_list())
}

/// The list on which something was asked for that cannot be done as it was asked: with what was ticked and typed, and why.
pub(super) async fn refused(hx: &Hx, app: &App, form: &Form, mistake: Text) -> Result<Response> {
    let mut page = Index::load(app, Wanted::parse(asked_at(form))).await?;
    page.asked = form.clone();
    page.mistake = Some(mistake);
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_list())
}

/// The list with the offer to go on with what is not done yet.
pub(super) async fn stopped(hx: &Hx, app: &App, form: &Form, rest: Rest) -> Result<Response> {
    let mut page = Index::load(app, Wanted::parse(asked_at(form))).await?;
    page.rest = Some(rest);
    hx.answer(StatusCode::OK, &page, &page.as_list())
}

/// The query of the list on which something was asked for.
fn asked_at(form: &Form) -> &str {
    form.text("at").split_once('?').map_or("", |(_, query)| query)
}

impl Index {
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn load(app: &App, wanted: Wanted) -> Result<Index> {
        let mut conn = app.db.conn().await?;
        let groups = groups::all(&mut conn).await?;
        let narrowed = wanted.narrowed(&groups);
        let listed = search::counted(&mut conn, &wanted, narrowed.as_ref(), PAGE).await?;
        let slice = wanted.slice(listed.rows);
        let ids: Vec<u32> = slice.rows.iter().map(|row| row.asset_id).collect();
        let events = queries::recent(&mut conn, &ids).await?;
        let lines = { slice.rows.into_iter() }.map(|row| Line::of(row, &groups, &events));
        Ok(Index {
            lines: lines.collect(),
            wanted,
            next: slice.next,
            previous: slice.previous,
            twins: listed.twins,
            total: listed.total,
            groups,
            asked: Form::default(),
            mistake: None,
            rest: None,
        })
    }

    /// How many are on this page, and how many there are.
    fn shown(&self) -> Text {
        let shown = self.lines.len();
        match self.total.filter(|total| *total > shown as u64) {
            Some(total) => Text::new("assets.shown_of")
                .with("count", shown)
                .with("total", search::total(total)),
            None => Text::new("workspaces.shown").with("count", shown),
        }
    }

    /// With something to be mended or gone on with it waits for its reader.
    fn waits(&self) -> bool {
        self.mistake.is_some() || self.rest.is_some()
    }

    fn is_ticked(&self, asset_id: &u32) -> bool {
        self.asked.all("asset").any(|id| id.parse() == Ok(*asset_id))
    }

    fn has_twin(&self, asset_id: &u32) -> bool {
        self.twins.contains(asset_id)
    }

    fn was_asked(&self, field: &str, value: &str) -> bool {
        self.asked.text(field) == value
    }

    /// Whether a pause was being described.
    fn is_pausing(&self) -> bool {
        !self.was_asked("hours", "") || !self.was_asked("note", "")
    }

    fn title(&self) -> Text {
        self.wanted.kind.map_or_else(|| Text::new("assets.title"), Kind::title)
    }

    fn is_group(&self, group_id: &u32) -> bool {
        self.wanted.group_id == Some(*group_id)
    }

    fn states(&self) -> Vec<(Shown, bool)> {
        Shown::choices()
            .map(|shown| (shown, self.wanted.state == Some(shown)))
            .collect()
    }

    /// The clusters that have groups, each once.
    fn clusters(&self) -> Vec<(&Member, bool)> {
        let mut members: Vec<&Member> = self.groups.iter().flat_map(|group| &group.members).collect();
        members.sort_by_key(|member| (member.name.as_str(), member.install_id.as_str()));
        members.dedup_by_key(|member| member.install_id.as_str());
        let is_chosen = |id: &str| self.wanted.watched == Watched::By(id.to_owned());
        members
            .into_iter()
            .map(|member| (member, is_chosen(&member.install_id)))
            .collect()
    }

    /// Headings in order; some of them sort.
    fn headings(&self) -> [(&'static str, Option<Sort>); 8] {
        [
            ("assets.name", Some(Sort::Name)),
            ("assets.address", Some(Sort::Address)),
            ("assets.group_watched", None),
            ("assets.state", Some(Sort::State)),
            ("assets.checked_latency", Some(Sort::Latency)),
            ("assets.bar_title", None),
            ("assets.facts", None),
            ("assets.modified", Some(Sort::Modified)),
        ]
    }

    fn new_path(&self) -> String {
        let kind = self.wanted.kind.unwrap_or(Kind::Machine);
        match self.wanted.group_id {
            Some(group_id) => format!("/assets/new?kind={}&group={group_id}", kind.code()),
            None => format!("/assets/new?kind={}", kind.code()),
        }
    }
}

#[derive(Template)]
#[template(path = "assets/show.html", blocks = ["asset"])]
struct Show {
    line: Line,
    history: Vec<(Event, Option<Text>)>,
    chart: Option<Chart>,
    /// Another asset at the same address.
    twin: Twin,
}

/// `GET /assets/{asset_id}`
#[handler]
async fn show(hx: Hx, app: Data<&App>, Path(asset_id): Path<String>) -> Result<Response> {
    let asset_id = known_id(&asset_id)?;
    let mut conn = app.db.conn().await?;
    let (row, twin) = queries::with_twin(&mut conn, asset_id).await?.ok_or_else(missing)?;
    let group = groups::by_id(&mut conn, row.group_id).await?;
    let history = queries::history(&mut conn, asset_id, MANY as u32).await?;
    let recent: Vec<Event> = history
        .iter()
        .rev()
        .filter(|event| event.age_s < 30 * 86_400)
        .cloned()
        .collect();
    let page = Show {
        chart: Chart::of(&row.latencies),
        line: Line::of(row, group.as_slice(), &recent),
        history: history.into_iter().map(explained).collect(),
        twin,
    };
    hx.render(&page, &page.as_asset())
}

fn explained(event: Event) -> (Event, Option<Text>) {
    let reason: Option<Reason> = serde_json::from_str(&event.reason).ok();
    (event, reason.as_ref().map(Reason::text))
}

impl Show {
    fn uptime(&self) -> Option<Text> {
        self.line.facts.uptime_s.map(lasting)
    }

    fn load(&self) -> Option<String> {
        self.line
            .facts
            .load
            .map(|[one, five, fifteen]| format!("{one:.2} · {five:.2} · {fifteen:.2}"))
    }

    fn at(&self, event: &Event) -> Option<NaiveDateTime> {
        Some(event.at)
    }

    fn event_ago(&self, event: &Event) -> Text {
        ago(event.age_s)
    }
}

/// A length of time in its largest unit.
fn lasting(seconds: u64) -> Text {
    match seconds {
        ..7200 => Text::new("facts.minutes").with("count", seconds / 60),
        7200..172_800 => Text::new("facts.hours").with("count", seconds / 3600),
        _ => Text::new("facts.days").with("count", seconds / 86_400),
    }
}

/// `POST /assets/{asset_id}/host-key`: a person says that the key that is shown now is right.
#[handler]
async fn accept(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form, Path(asset_id): Path<String>) -> Result<Response> {
    let asset_id = known_id(&asset_id)?;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let row = queries::locked(&mut tx, &[asset_id]).await?.pop().ok_or_else(missing)?;
    if !queries::accept_pin(&mut tx, (asset_id, form.text("shown")), &viewer.name).await? {
        return Err(Error::Conflict(Text::new("assets.other_key")));
    }
    let entry = Entry::by(&viewer.actor(&app), Action::AssetKey)
        .on(row.object())
        .change("fingerprint", &row.pin, &row.offered_pin);
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.done(&format!("/assets/{asset_id}"), "said.saved"))
}
