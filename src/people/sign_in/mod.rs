//! 登录: name and password, the second factor where there is one, and leaving again.

pub mod throttle;

use askama::Template;
use mysql_async::TxOpts;
use poem::http::{HeaderValue, StatusCode, header};
use poem::web::Data;
use poem::{Request, Response, handler};

use super::access::{Access, Address, get, post};
use super::audit::{self, Action, Actor, Entry, Object};
use super::password::{self, Checked};
use super::sessions::{self, Viewer};
use super::users::queries::{self as users, Credentials};
use super::{Role, secret};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::web::guard::{is_https, is_local};
use crate::web::{Form, Hx, Mistakes, filters};
use throttle::Subject;

const BROWSER_COOKIE: &str = "muster_browser";
/// Half a year.
const BROWSER_SECONDS: u64 = 180 * 24 * 3600;

pub fn routes() -> Vec<Address> {
    vec![
        get("/sign-in", Access::Guest, new),
        post("/sign-in", Access::Guest, create),
        post("/sign-out", Access::Signed, remove),
    ]
}

#[derive(Template)]
#[template(path = "people/sign_in.html", blocks = ["form"])]
struct SignIn {
    name: String,
    back: String,
    mistakes: Mistakes,
}

/// `GET /sign-in`
#[handler]
fn new(hx: Hx, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default().as_bytes();
    let back = url::form_urlencoded::parse(query).find(|(key, _)| key == "back");
    let back = back.map_or_else(String::new, |(_, value)| value.into_owned());
    if req.data::<Viewer>().is_some() {
        return Ok(hx.see_other(&destination(&back)));
    }
    let page = SignIn {
        name: String::new(),
        back,
        mistakes: Mistakes::default(),
    };
    hx.render(&page, &page.as_form())
}

/// `POST /sign-in`
#[handler]
async fn create(hx: Hx, app: Data<&App>, form: Form, req: &Request) -> Result<Response> {
    let name: String = form.text("name").chars().take(50).collect();
    let mut attempt = Attempt::of(&app, req, &name).await?;
    let Some(account) = attempt.right(form.exact("password")).await? else {
        let mut page = SignIn {
            name,
            back: form.text("back").to_owned(),
            mistakes: Mistakes::default(),
        };
        page.mistakes.note("password", Text::new("sign_in.wrong"));
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
    };
    let cookies = attempt.admit(&account, req).await?;
    let back = destination(form.text("back"));
    let to = match account.has_two_factor {
        true => format!("/sign-in/code?{}", sessions_back(&back)),
        false => back,
    };
    Ok(with_cookies(hx.see_other(&to), &cookies))
}

/// `POST /sign-out`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, req: &Request) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let cookies = sessions::end_all_shown(&mut tx, &app, req).await?;
    audit::record(&mut tx, &Entry::by(&viewer.actor(&app), Action::SignOut)).await?;
    tx.commit().await?;
    Ok(with_cookies(hx.see_other("/sign-in"), &cookies))
}

/// Where a person goes after signing in: only a path of ours, and not back to the door.
pub(super) fn destination(back: &str) -> String {
    match is_local(back) && !back.starts_with("/sign-") && !back.starts_with("/setup") {
        true => back.to_owned(),
        false => "/".to_owned(),
    }
}

/// The query that carries where to return to.
pub(super) fn sessions_back(back: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("back", back).finish()
}

pub(super) fn with_cookies(mut answer: Response, cookies: &[String]) -> Response {
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(cookie) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    answer
}

/// One try to sign in, counted before it is judged.
struct Attempt<'a> {
    app: &'a App,
    account: Option<Credentials>,
    actor: Actor,
    subjects: Vec<Subject>,
    own: Subject,
    /// The cookie of a browser that knows the account, as it is or new.
    browser: String,
    new_hash: Option<String>,
}

impl<'a> Attempt<'a> {
    async fn of(app: &'a App, req: &Request, name: &str) -> Result<Attempt<'a>> {
        let origin = sessions::origin(req, app);
        let mut conn = app.db.conn().await?;
        let account = users::credentials(&mut conn, name).await?;
        let shown = browser_cookie(req);
        let known = match (&account, &shown) {
            (Some(account), Some(cookie)) => {
                users::is_known_browser(&mut conn, &secret::hash(cookie), &account.account_id).await?
            }
            _ => false,
        };
        let browser = match shown {
            Some(cookie) if known => cookie,
            _ => secret::random()?,
        };
        let own = match known {
            true => Subject::browser(&secret::hash(&browser)),
            false => Subject::account(name),
        };
        let mut subjects = vec![own.clone()];
        if !known && !origin.address.is_empty() {
            subjects.push(Subject::address(&origin.address));
        }
        // What a stranger types as a name may be a password, so only a name that exists is written down.
        let actor = Actor {
            account_id: account
                .as_ref()
                .map_or_else(String::new, |account| account.account_id.clone()),
            name: account
                .as_ref()
                .map_or_else(String::new, |account| account.name.clone()),
            address: origin.address,
            install_id: origin.install_id,
            ..Actor::default()
        };
        if let Some(seconds) = throttle::claim(&mut conn, &subjects).await? {
            audit::record(
                &mut conn,
                &Entry::by(&actor, Action::SignIn).on(tried("too_many")).refused(),
            )
            .await?;
            let text = Text::new("sign_in.too_many").with("seconds", seconds);
            return Err(Error::Wait(text, seconds));
        }
        Ok(Attempt {
            app,
            account,
            actor,
            subjects,
            own,
            browser,
            new_hash: None,
        })
    }

    /// The account, if the password is right and it may sign in. Takes as long if there is none.
    async fn right(&mut self, password: &str) -> Result<Option<Credentials>> {
        let known = self.account.as_ref().filter(|account| !account.is_disabled);
        let checked = password::check(password, known.map(|account| account.password_hash.as_str())).await?;
        match (checked, known) {
            (Checked::Right { new_hash }, Some(account)) => {
                self.new_hash = new_hash;
                Ok(Some(account.clone()))
            }
            _ => {
                let mut conn = self.app.db.conn().await?;
                let entry = Entry::by(&self.actor, Action::SignIn).on(tried("wrong")).refused();
                audit::record(&mut conn, &entry).await?;
                Ok(None)
            }
        }
    }

    /// Starts the session (or the wait for the second factor) and returns its cookies.
    async fn admit(self, account: &Credentials, req: &Request) -> Result<Vec<String>> {
        let (origin, https) = (sessions::origin(req, self.app), is_https(req));
        let mut conn = self.app.db.conn().await?;
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        let mut cookies = sessions::end_all_shown(&mut tx, self.app, req).await?;
        throttle::succeed(&mut tx, &self.subjects, &self.own).await?;
        let pending = account.has_two_factor;
        let session = sessions::start(&mut tx, self.app, &account.account_id, pending, (&origin, https)).await?;
        cookies.push(session);
        if !pending {
            users::signed_in(&mut tx, &account.account_id, self.new_hash.as_deref()).await?;
            users::remember_browser(&mut tx, &secret::hash(&self.browser), &account.account_id).await?;
            cookies.push(remembering(self.app, &self.browser, https));
            let actor = Actor {
                role: account.role.code().to_owned(),
                ..self.actor
            };
            audit::record(&mut tx, &Entry::by(&actor, Action::SignIn)).await?;
        }
        tx.commit().await?;
        Ok(cookies)
    }
}

/// Signs somebody in who has just proven who they are in another way (set-up, second factor); returns the cookies.
pub(super) async fn admit_proven(
    tx: &mut mysql_async::Transaction<'_>,
    app: &App,
    req: &Request,
    (account_id, name, role): (&str, &str, Role),
) -> Result<Vec<String>> {
    let (origin, https) = (sessions::origin(req, app), is_https(req));
    let mut cookies = sessions::end_all_shown(tx, app, req).await?;
    cookies.push(sessions::start(tx, app, account_id, false, (&origin, https)).await?);
    let browser = secret::random()?;
    users::signed_in(tx, account_id, None).await?;
    users::remember_browser(tx, &secret::hash(&browser), account_id).await?;
    cookies.push(remembering(app, &browser, https));
    let actor = Actor {
        account_id: account_id.to_owned(),
        name: name.to_owned(),
        role: role.code().to_owned(),
        address: origin.address,
        install_id: origin.install_id,
    };
    audit::record(tx, &Entry::by(&actor, Action::SignIn)).await?;
    Ok(cookies)
}

fn remembering(app: &App, browser: &str, https: bool) -> String {
    sessions::cookie(app, BROWSER_COOKIE, browser, Some(BROWSER_SECONDS), https)
}

fn browser_cookie(req: &Request) -> Option<String> {
    let value = req.header(header::COOKIE)?;
    let cookies = cookie::Cookie::split_parse(value).flatten();
    let found = cookies.into_iter().find(|cookie| cookie.name() == BROWSER_COOKIE)?;
    (found.value().len() == 64).then(|| found.value().to_owned())
}

fn tried(how: &str) -> Object {
    Object::new("sign_in", how, "")
}
