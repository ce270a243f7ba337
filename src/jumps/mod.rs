//! 切换集群: the menu of clusters, and going to one of them with one sign-in.

mod arrival;
pub mod queries;

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use mysql_async::TxOpts;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{EndpointExt, Request, Response, handler};
use url::{Url, form_urlencoded};

use crate::app::App;
use crate::clusters::check::probe::Outcome;
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::is_install_id;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry as Line, Object};
use crate::people::{Role, Viewer, secret};
use crate::web::fresh::since;
use crate::web::guard::is_local;
use crate::web::{Form, Hx, filters};
use crate::workspaces::queries::{self as workspaces, Reachable};
use queries::{Entry, Jump, Who};

/// From this many entries on the menu has a search field.
const SEARCHED: usize = 8;

pub fn routes() -> Vec<Address> {
    let own = vec![
        get("/jumps/new", Access::Signed, new.data(Arc::new(Menus::default()))).always(),
        post("/jumps", Access::Signed, create).in_person().always(),
    ];
    own.into_iter().chain(arrival::routes()).collect()
}

/// Where somebody may go.
#[derive(Debug)]
struct Ways {
    clusters: Vec<Entry>,
    workspaces: Vec<Reachable>,
}

/// What is kept of the menu, which is opened all the time: by who sees the same and what is searched for, and where each
/// person went last.
#[derive(Debug, Default)]
pub struct Menus {
    ways: Shared<(String, String), Ways>,
    recent: Shared<(String, String), Vec<Entry>>,
}

/// The menu; its block `menu` is what drops down.
#[derive(Template)]
#[template(path = "jumps/new.html", blocks = ["menu"])]
pub struct Menu {
    recent: Arc<Vec<Entry>>,
    ways: Arc<Ways>,
    own_install_id: String,
    role: Role,
    /// Where the reader is, to be there on the other cluster.
    back: String,
    text: String,
}

impl Ways {
    async fn load(app: &App, who: Who<'_>, text: &str) -> Result<Ways> {
        let mut conn = app.db.conn().await?;
        let member = who.is_member.then_some(who.account_id);
        Ok(Ways {
            clusters: queries::menu(&mut conn, who, text).await?,
            workspaces: workspaces::reachable(&mut conn, member, (who.own, text)).await?,
        })
    }
}

async fn recent(app: &App, who: Who<'_>, text: &str) -> Result<Vec<Entry>> {
    Ok(queries::recent(&mut app.db.conn().await?, who, text).await?)
}

impl Menu {
    /// Of ways that were read after an instant.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn load(
        app: &App,
        (menus, since): (&Menus, Instant),
        viewer: &Viewer,
        (query, own_install_id): (&str, &str),
    ) -> Result<Menu> {
        let (mut back, mut text) = (String::new(), String::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "back" => back = value.into_owned(),
                "text" => text = value.trim().chars().take(50).collect(),
                _ => {}
            }
        }
        let who = who(viewer, app);
        let key = |who: String| (who, text.clone());
        let ways = key(viewer.sees_as().to_owned());
        // Also by role: a token of a person may show less than their session.
        let used = key(format!("{} {}", viewer.sees_as(), who.account_id));
        Ok(Menu {
            ways: menus.ways.read(ways, since, || Ways::load(app, who, &text)).await?,
            recent: menus.recent.read(used, since, || recent(app, who, &text)).await?,
            role: viewer.role,
            own_install_id: own_install_id.to_owned(),
            back: destination(&back).to_owned(),
            text,
        })
    }

    /// This server's own, those used last, then by name.
    fn clusters(&self) -> Vec<&Entry> {
        let (own, others): (Vec<_>, Vec<_>) = self.ways.clusters.iter().partition(|entry| self.is_own(entry));
        let is_new = |entry: &&Entry| self.recent.iter().all(|used| used.install_id != entry.install_id);
        let ordered = { own.into_iter() }
            .chain(&*self.recent)
            .chain(others.into_iter().filter(is_new));
        ordered.take(queries::MOST).collect()
    }

    fn is_own(&self, entry: &Entry) -> bool {
        entry.install_id == self.own_install_id
    }

    /// Something is known against going there with one's sign-in.
    fn is_unsure(&self, entry: &Entry) -> bool {
        entry.is_alive && !entry.is_sure(self.role)
    }

    fn is_searched(&self) -> bool {
        self.ways.clusters.len() >= SEARCHED || !self.text.is_empty()
    }

    /// What a button sends for a workspace: its cluster, and its page there.
    fn way(&self, workspace: &Reachable) -> Option<String> {
        let install_id = workspace.install_id.as_ref()?;
        (*install_id != self.own_install_id).then(|| format!("{install_id} /workspaces/{}", workspace.workspace_id))
    }
}

impl Entry {
    fn is_reachable(&self) -> bool {
        !self.address.is_empty()
    }

    /// Alive, and lately found to answer at its address, which nobody with fewer rights chose: who answers can be relayed, so
    /// whoever sets an address could be handed the sign-ins of those who go there.
    fn is_sure(&self, role: Role) -> bool {
        let set_by = Role::parse(&self.address_role).unwrap_or(Role::SystemAdmin);
        self.is_alive && self.is_recent && self.is_found() && set_by >= role
    }

    fn beat_at(&self) -> Option<chrono::NaiveDateTime> {
        self.beat_at
    }

    /// That cluster itself answered at its address.
    fn is_found(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.outcome == Outcome::Fine)
    }

    /// Where a path of ours is on that cluster.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

fn who<'a>(viewer: &'a Viewer, app: &'a App) -> Who<'a> {
    Who {
        account_id: &viewer.account_id,
        is_member: viewer.role < Role::SystemAdmin,
        own: &app.install.id,
    }
}

/// A path of ours to go to; the bare address for anything else, and for the menu itself.
fn destination(path: &str) -> &str {
    let is_fine = is_local(path) && !path.starts_with("/jumps") && !path.starts_with("/arrivals");
    if is_fine { path } else { "/" }
}

/// `GET /jumps/new`
#[handler]
async fn new(hx: Hx, viewer: Viewer, app: Data<&App>, menus: Data<&Arc<Menus>>, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default();
    let page = Menu::load(&app, (&menus, since(req)), &viewer, (query, &hx.layout.install_id)).await?;
    hx.render(&page, &page.as_menu())
}

/// What is known of a cluster that may not be there, before somebody goes.
#[derive(Template)]
#[template(path = "jumps/unsure.html", blocks = ["unsure"])]
struct Unsure {
    entry: Entry,
    back: String,
}

/// The form that carries the code over, sent by itself where scripts run.
#[derive(Template)]
#[template(path = "jumps/leave.html", blocks = ["leave"])]
struct Leave {
    entry: Entry,
    code: String,
    back: String,
}

/// `POST /jumps`: to a cluster, by its install id; behind a space a path there, else the path of the form.
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let (to, path) = form
        .text("to")
        .split_once(' ')
        .unwrap_or((form.text("to"), form.text("back")));
    let back = destination(path).to_owned();
    if to == app.install.id {
        return Ok(hx.see_other(&back));
    }
    let missing = || Error::NotFound(Text::new("jumps.missing"));
    if !is_install_id(to) {
        return Err(missing());
    }
    let mut conn = app.db.conn().await?;
    let found = queries::target(&mut conn, who(&viewer, &app), to).await?;
    let entry = found.ok_or_else(missing)?;
    if !entry.is_reachable() {
        return Err(Error::Conflict(Text::new("jumps.no_address").with("name", &entry.name)));
    }
    if !entry.is_sure(viewer.role) {
        // Nothing that lets anybody in goes to an address that may be somebody else's.
        let page = Unsure { entry, back };
        return hx.answer(StatusCode::CONFLICT, &page, &page.as_unsure());
    }
    let code = secret::random()?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let jump = Jump {
        code_hash: &secret::hash(&code),
        account_id: &viewer.account_id,
        session_id: viewer.session_id(),
        source: &app.install.id,
        target: &entry.install_id,
    };
    queries::insert(&mut tx, &jump).await?;
    let line = Line::by(&viewer.actor(&app), Action::JumpLeave);
    audit::record(
        &mut tx,
        &line.on(Object::new("cluster", &entry.install_id, &entry.name)),
    )
    .await?;
    tx.commit().await?;
    let page = Leave { entry, code, back };
    let mut answer = hx.secret(StatusCode::OK, &page, &page.as_leave())?;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(&page.entry.address)?);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(answer)
}

/// Lets the page's form be sent to that one origin, and to no other.
fn policy(address: &str) -> Result<HeaderValue> {
    let wrong = || Error::Invalid(Text::new("address.wrong"));
    let origin = Url::parse(address).map_err(|_| wrong())?.origin().ascii_serialization();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action {origin}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).map_err(|_| wrong())
}
