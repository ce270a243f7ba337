//! Arriving from another cluster: a code that is good once, for seconds and here only, becomes a session of our own.
//!
//! The form comes from another origin, so the browser shows none of our cookies with it. It is answered by a page of ours that
//! sees them: only there it is known whether somebody else is signed in, and only its own form, which no other site can send,
//! uses the code up.

use askama::Template;
use mysql_async::TxOpts;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{Request, Response, handler};
use url::form_urlencoded;

use super::destination;
use super::queries::{self, Arrival};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Lang;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::people::sessions::{self, origin, stranger};
use crate::people::{Role, Viewer, secret};
use crate::web::guard::{cookies, is_https};
use crate::web::layout::{ARRIVED, COOKIE_SECONDS, LANG_COOKIE, THEME_COOKIE, Theme};
use crate::web::{Form, Hx, filters};

/// Carries the code from the one form to the other.
const CODE_COOKIE: &str = "muster_arrival";
/// As long as the code is good.
const CODE_SECONDS: u64 = 30;

pub fn routes() -> Vec<Address> {
    vec![
        post("/arrivals", Access::Guest, create).from_elsewhere(),
        get("/arrivals/new", Access::Guest, new),
        post("/arrivals/entry", Access::Guest, update),
    ]
}

/// Who arrives, asked only when somebody else is signed in.
#[derive(Template)]
#[template(path = "jumps/arrive.html", blocks = ["arrive"])]
struct Arrive {
    arrival: Arrival,
    back: String,
    /// Whoever is signed in here and is somebody else.
    other: Option<String>,
}

/// `POST /arrivals`: keeps the code for the page that follows; nothing is used up.
#[handler]
fn create(hx: Hx, app: Data<&App>, form: Form, req: &Request) -> Response {
    let https = is_https(req);
    let code: String = form
        .text("code")
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(64)
        .collect();
    let lang = Lang::parse(form.text("lang")).map(|lang| (LANG_COOKIE, lang.code()));
    let theme = Theme::parse(form.text("theme")).map(|theme| (THEME_COOKIE, theme.code()));
    // Language and theme come along: to a browser this is another site.
    let looks = lang.into_iter().chain(theme);
    let looks = looks.map(|(name, value)| sessions::cookie(&app, name, value, Some(COOKIE_SECONDS), https));
    let carried = sessions::cookie(&app, CODE_COOKIE, &code, Some(CODE_SECONDS), https);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("back", destination(form.text("back")));
    let answer = hx.see_other(&format!("/arrivals/new?{}", query.finish()));
    with(answer, looks.chain([carried]))
}

/// `GET /arrivals/new`: sends its own form by itself, unless somebody else is signed in here.
#[handler]
async fn new(hx: Hx, app: Data<&App>, req: &Request) -> Result<Response> {
    let query = form_urlencoded::parse(req.uri().query().unwrap_or_default().as_bytes());
    let back = query.into_owned().find(|(key, _)| key == "back").map(|(_, back)| back);
    let back = destination(back.as_deref().unwrap_or_default()).to_owned();
    let hash = secret::hash(&code(req));
    let found = queries::peek(&mut app.db.conn().await?, &hash, &app.install.id).await?;
    let Some(arrival) = found else {
        return refused(&hx, &app, req, &back).await;
    };
    let viewer = req
        .data::<Viewer>()
        .filter(|viewer| viewer.account_id != arrival.account_id);
    let page = Arrive {
        other: viewer.map(|viewer| viewer.name.clone()),
        arrival,
        back,
    };
    hx.secret(StatusCode::OK, &page, &page.as_arrive())
}

/// `POST /arrivals/entry`: uses the code up.
#[handler]
async fn update(hx: Hx, app: Data<&App>, form: Form, req: &Request) -> Result<Response> {
    let back = destination(form.text("back"));
    let from = origin(req, &app);
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let hash = secret::hash(&code(req));
    let Some(arrival) = queries::arrive(&mut tx, &hash, &app.install.id).await? else {
        // What was used up stays so.
        tx.commit().await?;
        return refused(&hx, &app, req, back).await;
    };
    let who = (arrival.account_id.as_str(), arrival.session_id.as_str());
    let cookie = sessions::start_from(&mut tx, &app, who, (&from, is_https(req))).await?;
    let actor = Actor {
        account_id: arrival.account_id.clone(),
        name: arrival.name.clone(),
        role: Role::parse(&arrival.role).map_or("", Role::code).to_owned(),
        address: from.address,
        install_id: app.install.id.clone(),
        token: String::new(),
    };
    let entry = Entry::by(&actor, Action::JumpArrive).on(Object::new("cluster", &app.install.id, &app.name()));
    audit::record(&mut tx, &entry.change("cluster", "", &arrival.source)).await?;
    tx.commit().await?;
    let name: String = form_urlencoded::byte_serialize(arrival.source.as_bytes()).collect();
    let answer = hx.done(back, &format!("{ARRIVED}{name}"));
    let spent = sessions::cookie(&app, CODE_COOKIE, "", Some(0), is_https(req));
    Ok(with(answer, [cookie, spent]))
}

/// The code that the browser carries; empty for none.
fn code(req: &Request) -> String {
    let found = cookies(req).find(|(name, _)| name == CODE_COOKIE);
    found.map_or_else(String::new, |(_, value)| value)
}

fn with(mut answer: Response, cookies: impl IntoIterator<Item = String>) -> Response {
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    answer
}

/// Whoever is signed in here goes on; everybody else signs in, and is told why. The trail says whose code it was and what was
/// wrong with it.
async fn refused(hx: &Hx, app: &App, req: &Request, back: &str) -> Result<Response> {
    if let Error::SetUp = sessions::nobody(req) {
        return Err(Error::SetUp);
    }
    let mut conn = app.db.conn().await?;
    let entry = Entry::by(&stranger(req, app), Action::JumpArrive);
    match queries::refusal(&mut conn, &secret::hash(&code(req)), &app.install.id).await? {
        Some((name, reason)) => {
            audit::record(&mut conn, &entry.on(Object::new("account", "", &name)).because(&reason)).await?;
        }
        None => audit::record_seldom(&mut conn, &entry.refused()).await?,
    }
    if req.data::<Viewer>().is_some() {
        return Ok(hx.see_other(back));
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("jump", "1").append_pair("back", back);
    Ok(hx.see_other(&format!("/sign-in?{}", query.finish())))
}
