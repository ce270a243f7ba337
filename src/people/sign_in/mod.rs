//! 登录: name and password, the second factor where there is one, and leaving again.

pub mod throttle;

use askama::Template;
use mysql_async::{Conn, Transaction, TxOpts};
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
        post("/sign-out", Access::Signed, remove).always(),
    ]
}

#[derive(Template)]
#[template(path = "people/sign_in.html", blocks = ["form"])]
struct SignIn {
    name: String,
    back: String,
    /// The reader was signed in a moment ago.
    has_ended: bool,
    /// The reader came from another cluster, with a code that was not good.
    has_jumped: bool,
    mistakes: Mistakes,
}

/// `GET /sign-in`
#[handler]
fn new(hx: Hx, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default().as_bytes();
    let (mut back, mut has_ended, mut has_jumped) = (String::new(), false, false);
    for (key, value) in url::form_urlencoded::parse(query) {
        match key.as_ref() {
            "back" => back = value.into_owned(),
            "ended" => has_ended = true,
            "jump" => has_jumped = true,
            _ => {}
        }
    }
    if req.data::<Viewer>().is_some() {
        return Ok(hx.see_other(&destination(&back)));
    }
    if let Error::SetUp = sessions::nobody(req) {
        return Err(Error::SetUp);
    }
    let page = SignIn {
        name: String::new(),
        back,
        has_ended: has_ended && !has_jumped,
        has_jumped,
        mistakes: Mistakes::default(),
    };
    hx.render(&page, &page.as_form())
}

/// `POST /sign-in`
#[handler]
async fn create(hx: Hx, app: Data<&App>, form: Form, req: &Request) -> Result<Response> {
    let name: String = form.text("name").chars().take(50).collect();
    let mut attempt = Attempt::of(&app, req, &name).await?;
    let account = attempt.right(form.exact("password")).await?;
    let cookies = match &account {
        Some(account) => attempt.admit(account, req).await?,
        None => None,
    };
    let (Some(account), Some(cookies)) = (account, cookies) else {
        let mut page = SignIn {
            name,
            back: form.text("back").to_owned(),
            has_ended: false,
            has_jumped: false,
            mistakes: Mistakes::default(),
        };
        page.mistakes.note("password", Text::new("sign_in.wrong"));
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
    };
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
    /// The cookie of a browser that may know the account.
    browser: Option<String>,
    new_hash: Option<String>,
}

impl<'a> Attempt<'a> {
    async fn of(app: &'a App, req: &Request, name: &str) -> Result<Attempt<'a>> {
        let origin = sessions::origin(req, app);
        let mut conn = app.db.conn().await?;
        let shown = sessions::cookie_value(req, BROWSER_COOKIE);
        let hash = secret::hash(shown.as_deref().unwrap_or_default());
        let candidate = users::candidate(&mut conn, name, &hash).await?;
        let account = candidate.account;
        let (folded, from) = (&candidate.folded, &origin.address);
        let (own, subjects) = match &account {
            Some(account) if candidate.is_known => {
                let own = Subject::browser(&hash, &account.account_id);
                (own.clone(), vec![own])
            }
            // The address first, so that one that has to wait delays no account.
            _ => {
                let own = Subject::account_from(folded, from);
                let near = (!from.is_empty()).then(|| Subject::address(from));
                let all = near.into_iter().chain([own.clone(), Subject::account(folded)]);
                (own, all.collect())
            }
        };
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
            return Err(too_many(&mut conn, &actor, Action::SignIn, seconds).await?);
        }
        Ok(Attempt {
            app,
            account,
            actor,
            subjects,
            own,
            browser: shown,
            new_hash: None,
        })
    }

    /// The account, if the password is right and it may sign in. Takes as long if there is none.
    async fn right(&mut self, password: &str) -> Result<Option<Credentials>> {
        let known = self.account.as_ref().filter(|account| !account.is_disabled);
        let checked = password::check(password, known.map(|account| account.password_hash.as_str())).await;
        match (checked, known) {
            (Ok(Checked::Right { new_hash }), Some(account)) => {
                self.new_hash = new_hash;
                Ok(Some(account.clone()))
            }
            (Ok(_), _) => {
                self.wrong().await?;
                Ok(None)
            }
            (Err(busy), _) => {
                throttle::forgive(&mut self.app.db.conn().await?, &self.subjects).await?;
                Err(busy)
            }
        }
    }

    async fn wrong(&self) -> Result<()> {
        let reason = match &self.account {
            Some(account) if account.is_disabled => "disabled",
            _ => "wrong",
        };
        let entry = Entry::by(&self.actor, Action::SignIn).because(reason);
        audit::record(&mut self.app.db.conn().await?, &entry).await?;
        Ok(())
    }

    /// Starts the session (or the wait for the second factor) and returns its cookies; none when the account changed
    /// while its password was checked.
    async fn admit(self, account: &Credentials, req: &Request) -> Result<Option<Vec<String>>> {
        let (origin, https) = (sessions::origin(req, self.app), is_https(req));
        let mut conn = self.app.db.conn().await?;
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        if users::locked_credentials(&mut tx, &account.account_id).await?.as_ref() != Some(account) {
            tx.rollback().await?;
            self.wrong().await?;
            return Ok(None);
        }
        throttle::succeed(&mut tx, &self.subjects, &self.own).await?;
        if let Some(hash) = &self.new_hash {
            users::renew_hash(&mut tx, &account.account_id, hash).await?;
        }
        let cookies = if account.has_two_factor {
            let mut cookies = sessions::end_all_shown(&mut tx, self.app, req).await?;
            cookies.push(sessions::start(&mut tx, self.app, &account.account_id, true, (&origin, https)).await?);
            audit::record(&mut tx, &Entry::by(&self.actor, Action::SignInHalf)).await?;
            cookies
        } else {
            let who = (account.account_id.as_str(), account.name.as_str(), account.role);
            admit_proven(&mut tx, self.app, req, (who, self.browser)).await?
        };
        tx.commit().await?;
        Ok(Some(cookies))
    }
}

/// What somebody is told who tried too often; written down once a minute.
pub(super) async fn too_many(conn: &mut Conn, actor: &Actor, action: Action, seconds: u64) -> Result<Error> {
    let entry = Entry::by(actor, action)
        .on(Object::new("sign_in", "too_many", ""))
        .because("too_many");
    audit::record_seldom(conn, &entry).await?;
    let text = Text::new("sign_in.too_many").with("seconds", seconds);
    Ok(Error::Wait(text, seconds))
}

/// The cookie of a browser that knows an account.
pub(super) fn browser_cookie(req: &Request) -> Option<String> {
    sessions::cookie_value(req, BROWSER_COOKIE)
}

/// Signs somebody in who has just proven who they are; returns the cookies. `browser` is the cookie of one that may know
/// other accounts already.
pub(super) async fn admit_proven(
    tx: &mut Transaction<'_>,
    app: &App,
    req: &Request,
    ((account_id, name, role), browser): ((&str, &str, Role), Option<String>),
) -> Result<Vec<String>> {
    let (origin, https) = (sessions::origin(req, app), is_https(req));
    let mut cookies = sessions::end_all_shown(tx, app, req).await?;
    cookies.push(sessions::start(tx, app, account_id, false, (&origin, https)).await?);
    let browser = match browser {
        Some(browser) => browser,
        None => secret::random()?,
    };
    users::signed_in(tx, account_id).await?;
    users::remember_browser(tx, &secret::hash(&browser), account_id).await?;
    cookies.push(sessions::cookie(
        app,
        BROWSER_COOKIE,
        &browser,
        Some(BROWSER_SECONDS),
        https,
    ));
    let actor = Actor {
        account_id: account_id.to_owned(),
        name: name.to_owned(),
        role: role.code().to_owned(),
        address: origin.address,
        install_id: origin.install_id,
        ..Actor::default()
    };
    audit::record(tx, &Entry::by(&actor, Action::SignIn)).await?;
    Ok(cookies)
}
