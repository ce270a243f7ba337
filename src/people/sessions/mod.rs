//! Who is asking: sessions behind cookies and tokens behind `Authorization`, both in the shared database, so that any
//! server knows whom any other has let in.

pub mod beside;
mod look;
pub mod queries;
mod shown;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mysql_async::Transaction;
use poem::http::{HeaderValue, Method, header};
use poem::{Endpoint, FromRequest, Request, RequestBody, Response};
use tokio::time::timeout;
use uuid::Uuid;

use super::audit::Actor;
use super::role::Role;
use super::{People, secret};
use crate::app::{App, Standing};
use crate::error::{Error, Result, chain};
use crate::liveness::State;
use crate::web::fresh::since;
use crate::web::guard::bearer;
use crate::web::layout::Reader;
use crate::web::{Hx, page};
use look::{Found, LOOK, look};
use queries::{Holder, Origin};
use shown::{FORM_COOKIE, SessionCookie, Shown};

pub use shown::{cookie, cookie_name, cookie_value, origin};

/// A session ends after this long without a page, and after the absolute limit in any case.
pub const IDLE_HOURS: u32 = 8;
pub const ABSOLUTE_HOURS: u32 = 7 * 24;
/// How long the second factor may take after the password.
pub const PENDING_MINUTES: u32 = 10;

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub account_id: String,
    pub name: String,
    pub display_name: String,
    pub role: Role,
    pub proof: Proof,
    /// Where the request came from.
    pub origin: Origin,
}

/// How they showed who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Session {
        session_id: String,
    },
    /// An API token, by its name.
    Token(String),
}

impl Viewer {
    /// What to call them.
    pub fn called(&self) -> &str {
        match self.display_name.as_str() {
            "" => &self.name,
            name => name,
        }
    }

    /// Whoever has the same sees the same: all who may see what concerns the whole system, or each alone.
    pub fn sees_as(&self) -> &str {
        match self.role < Role::SystemAdmin {
            true => &self.account_id,
            false => self.role.code(),
        }
    }

    /// Their session; empty for a token.
    pub fn session_id(&self) -> &str {
        match &self.proof {
            Proof::Session { session_id } => session_id,
            Proof::Token(_) => "",
        }
    }

    pub fn actor(&self, app: &App) -> Actor {
        Actor {
            account_id: self.account_id.clone(),
            name: self.name.clone(),
            role: self.role.code().to_owned(),
            address: self.origin.address.clone(),
            install_id: app.install.id.clone(),
            token: match &self.proof {
                Proof::Token(name) => name.clone(),
                Proof::Session { .. } => String::new(),
            },
        }
    }
}

impl<'a> FromRequest<'a> for Viewer {
    async fn from_request(req: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(req.data::<Viewer>().cloned().ok_or_else(|| nobody(req))?)
    }
}

/// Somebody who has shown a password and still owes the second factor.
#[derive(Debug, Clone)]
pub struct HalfWay {
    pub account_id: String,
    pub name: String,
    pub token_hash: String,
}

/// The database did not say who is asking.
#[derive(Debug, Clone)]
pub struct Unknown(pub String);

/// What an unknown reader must do first.
pub fn nobody(req: &Request) -> Error {
    let known = req
        .data::<Arc<People>>()
        .is_none_or(|people| people.anybody.load(Ordering::Relaxed));
    if known { Error::SignIn } else { Error::SetUp }
}

/// Finds out who is asking and hands it to whatever comes after; never refuses by itself.
pub async fn identify<E: Endpoint>(next: Arc<E>, mut req: Request) -> poem::Result<Response> {
    let (Some(app), Some(people)) = (req.data::<App>().cloned(), req.data::<Arc<People>>().cloned()) else {
        return Ok(next.get_response(req).await);
    };
    let shown = Shown::of(&req, &app);
    let is_starting = matches!(*app.standing.borrow(), Standing::Starting(_));
    let mut form_cookie = None;
    if !is_starting {
        match timeout(LOOK, look(&app, &people, &shown, since(&req))).await {
            Ok(Ok(found)) => form_cookie = admit(&mut req, &app, &shown, &found).await,
            Ok(Err(error)) => drop(req.extensions_mut().insert(Unknown(chain(&error)))),
            Err(_) => drop(req.extensions_mut().insert(Unknown("no answer within 5 s".into()))),
        }
    }
    let (hx, is_get) = (Hx::of(&req), req.method() == Method::GET);
    let mut answer = tokio::select! {
        answer = next.get_response(req) => answer,
        error = app.db.nodes().left() => page::refusal(&hx, &error.into(), is_get)?,
    };
    if let Some(cookie) = form_cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// What the token of a request allows, for addresses that answer without asking who it is; none without a good one.
/// Without a token the database is not asked.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn shown_role(app: &App, req: &Request) -> Result<Option<Role>> {
    let Some(token) = bearer(req) else {
        return Ok(None);
    };
    let mut conn = app.db.conn().await?;
    let Some(holder) = queries::token_holder(&mut conn, &secret::hash(token), "").await? else {
        return Ok(None);
    };
    drop(conn);
    note_token(app, &holder, &origin(req, app)).await;
    Ok(Some(holder.account_role.min(holder.token_role)))
}

/// Puts into the request who it is from, and what proves that a form comes from our page. Returns the cookie that a
/// stranger's forms need, when there is none yet.
async fn admit(req: &mut Request, app: &App, shown: &Shown, found: &Found) -> Option<String> {
    if let Some(holder) = &found.token {
        note_token(app, holder, &shown.origin).await;
        let viewer = Viewer {
            account_id: holder.account_id.clone(),
            name: holder.name.clone(),
            display_name: holder.display_name.clone(),
            role: holder.account_role.min(holder.token_role),
            proof: Proof::Token(holder.token_name.clone()),
            origin: shown.origin.clone(),
        };
        insert(req, viewer, String::new(), None);
        return None;
    }
    // Our own cookie comes first.
    let behind = |cookie: &SessionCookie| {
        let holder = found.holders.iter().find(|holder| holder.token_hash == cookie.hash)?;
        Some((holder.clone(), secret::derived("form", &cookie.value)))
    };
    let good: Vec<(Holder, String)> = shown.sessions.iter().filter_map(behind).collect();
    if let Some((holder, csrf)) = good.iter().find(|(holder, _)| !holder.pending) {
        note_session(req, app, holder, &shown.origin).await;
        let viewer = Viewer {
            account_id: holder.account_id.clone(),
            name: holder.name.clone(),
            display_name: holder.display_name.clone(),
            role: holder.role,
            proof: Proof::Session {
                session_id: holder.session_id.clone(),
            },
            origin: shown.origin.clone(),
        };
        insert(req, viewer, csrf.clone(), holder.own_state);
        return None;
    }
    if let Some((holder, _)) = good.into_iter().next() {
        req.extensions_mut().insert(HalfWay {
            account_id: holder.account_id,
            name: holder.name,
            token_hash: holder.token_hash,
        });
    }
    let (value, set) = match &shown.form {
        Some(value) => (value.clone(), None),
        None => {
            let value = secret::random().ok()?;
            (
                value.clone(),
                Some(cookie(app, FORM_COOKIE, &value, None, shown.is_https)),
            )
        }
    };
    let csrf = secret::derived("form", &value);
    req.extensions_mut().insert(Reader {
        csrf,
        ..Reader::default()
    });
    set
}

fn insert(req: &mut Request, viewer: Viewer, csrf: String, own_state: Option<State>) {
    req.extensions_mut().insert(Reader {
        name: viewer.called().to_owned(),
        is_admin: viewer.role >= Role::SystemAdmin,
        is_super: viewer.role >= Role::SuperAdmin,
        csrf,
        own_state: own_state.map(|state| (state.name(), state.colour())),
    });
    req.extensions_mut().insert(viewer);
}

/// A page counts as use; the polls of an open page do not, or a session would never be idle.
async fn note_session(req: &Request, app: &App, holder: &Holder, origin: &Origin) {
    let is_poll = req.header("HX-Request").is_some() && req.method().is_safe();
    if holder.unseen_s < 60 || is_poll {
        return;
    }
    if let Ok(mut conn) = app.db.conn().await {
        // Missing one costs a minute of the idle limit.
        let _ = queries::see(&mut conn, &holder.token_hash, origin).await;
    }
}

async fn note_token(app: &App, holder: &queries::TokenHolder, origin: &Origin) {
    if holder.unused_s.is_some_and(|seconds| seconds < 60) {
        return;
    }
    if let Ok(mut conn) = app.db.conn().await {
        let _ = queries::see_token(&mut conn, &holder.token_id, &origin.address).await;
    }
}

/// Somebody who is not signed in, for the trail.
pub fn stranger(req: &Request, app: &App) -> Actor {
    let origin = origin(req, app);
    Actor {
        address: origin.address,
        install_id: origin.install_id,
        ..Actor::default()
    }
}

/// Starts a session and returns its cookie. The token is new each time, so one that somebody planted is worth nothing.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn start(
    tx: &mut Transaction<'_>,
    app: &App,
    account_id: &str,
    pending: bool,
    (from, is_https): (&Origin, bool),
) -> Result<String> {
    let (cookie, _) = begin(tx, app, (account_id, pending), (from, is_https)).await?;
    Ok(cookie)
}

/// [`start`], for a session that comes from another one and ends no later.
///
/// # Errors
/// As [`start`].
pub async fn start_from(
    tx: &mut Transaction<'_>,
    app: &App,
    (account_id, session_id): (&str, &str),
    (from, is_https): (&Origin, bool),
) -> Result<String> {
    let (cookie, new_id) = begin(tx, app, (account_id, false), (from, is_https)).await?;
    queries::inherit(tx, &new_id, session_id).await?;
    Ok(cookie)
}

/// The cookie and the id of a new session.
async fn begin(
    tx: &mut Transaction<'_>,
    app: &App,
    (account_id, pending): (&str, bool),
    (from, is_https): (&Origin, bool),
) -> Result<(String, String)> {
    let token = secret::random()?;
    let session_id = Uuid::new_v4().simple().to_string();
    queries::start(tx, (&secret::hash(&token), &session_id, account_id), pending, from).await?;
    let seconds = u64::from(ABSOLUTE_HOURS) * 3600;
    let cookie = cookie(app, &cookie_name(app), &token, Some(seconds), is_https);
    Ok((cookie, session_id))
}

/// Ends every session this browser has in our database and returns the cookies that forget them.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn end_all_shown(tx: &mut Transaction<'_>, app: &App, req: &Request) -> Result<Vec<String>> {
    let shown = Shown::of(req, app);
    let mut forgotten = Vec::new();
    for SessionCookie { name, hash, .. } in &shown.sessions {
        let ended = queries::end(tx, hash).await?;
        // Sessions of another system on this host are not ours to forget.
        if ended > 0 || *name == cookie_name(app) {
            forgotten.push(cookie(app, name, "", Some(0), shown.is_https));
        }
    }
    Ok(forgotten)
}
