//! Arriving from another cluster: a code that is good once, for seconds and here only, becomes a session of our own.

use mysql_async::TxOpts;
use poem::http::{HeaderValue, header};
use poem::web::Data;
use poem::{Request, Response, handler};
use url::form_urlencoded;

use super::{destination, queries};
use crate::app::App;
use crate::error::Result;
use crate::i18n::Lang;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::people::sessions::{self, origin, stranger};
use crate::people::{Role, Viewer, secret};
use crate::web::guard::is_https;
use crate::web::layout::{ARRIVED, COOKIE_SECONDS, LANG_COOKIE, THEME_COOKIE, Theme};
use crate::web::{Form, Hx};

pub fn routes() -> Vec<Address> {
    vec![post("/arrivals", Access::Guest, create).from_elsewhere()]
}

/// `POST /arrivals`
#[handler]
async fn create(hx: Hx, app: Data<&App>, form: Form, req: &Request) -> Result<Response> {
    let back = destination(form.text("back"));
    let from = origin(req, &app);
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let arrived = queries::arrive(&mut tx, &secret::hash(form.text("code")), &app.install.id).await?;
    let Some(arrival) = arrived else {
        // What was used up stays so.
        let entry = Entry::by(&stranger(req, &app), Action::JumpArrive).refused();
        audit::record_seldom(&mut tx, &entry).await?;
        tx.commit().await?;
        return Ok(refused(&hx, req, back));
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
    let mut answer = hx.done(back, &format!("{ARRIVED}{name}"));
    for cookie in looks(&app, &form, is_https(req)).into_iter().chain([cookie]) {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    Ok(answer)
}

/// Language and theme come along: to a browser this is another site.
fn looks(app: &App, form: &Form, is_https: bool) -> Vec<String> {
    let lang = Lang::parse(form.text("lang")).map(|lang| (LANG_COOKIE, lang.code()));
    let theme = Theme::parse(form.text("theme")).map(|theme| (THEME_COOKIE, theme.code()));
    let cookies = lang.into_iter().chain(theme);
    cookies
        .map(|(name, code)| sessions::cookie(app, name, code, Some(COOKIE_SECONDS), is_https))
        .collect()
}

/// Whoever is signed in here goes on; everybody else signs in, and is told why.
fn refused(hx: &Hx, req: &Request, back: &str) -> Response {
    if req.data::<Viewer>().is_some() {
        return hx.see_other(back);
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("jump", "1").append_pair("back", back);
    hx.see_other(&format!("/sign-in?{}", query.finish()))
}
