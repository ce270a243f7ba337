//! 用户资料 and 安全管理: what each person does about their own account.

pub mod second_factor;
mod tokens;

use askama::Template;
use chrono::NaiveDateTime;
use mysql_async::TxOpts;
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::access::{Access, Address, get, post};
use super::audit::{self, Action, Entry, Object, Secret};
use super::known_id;
use super::password::{self, Checked};
use super::sessions::{Viewer, queries as sessions};
use super::sign_in::throttle::{self, Subject};
use super::sign_in::too_many;
use super::users::display_name_mistake;
use super::users::queries::{self as users, Account};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::web::{Form, Hx, Mistakes, filters};
use sessions::Row;

pub fn routes() -> Vec<Address> {
    let own = vec![
        get("/profile", Access::Signed, profile),
        post("/profile", Access::Signed, update_profile),
        get("/security", Access::Signed, index),
        post("/security/password", Access::Signed, update_password).in_person(),
        post("/security/sessions/removal", Access::Signed, end_others).in_person(),
        post("/security/sessions/:session_id/removal", Access::Signed, end_one).in_person(),
    ];
    [own, tokens::routes(), second_factor::routes()]
        .into_iter()
        .flatten()
        .collect()
}

#[derive(Template)]
#[template(path = "people/profile.html", blocks = ["form"])]
struct Profile {
    account: Account,
    mistakes: Mistakes,
    is_saved: bool,
}

/// `GET /profile`
#[handler]
async fn profile(hx: Hx, viewer: Viewer, app: Data<&App>) -> Result<Response> {
    let page = Profile {
        account: own(&app, &viewer).await?,
        mistakes: Mistakes::default(),
        is_saved: false,
    };
    hx.render(&page, &page.as_form())
}

/// `POST /profile`
#[handler]
async fn update_profile(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut page = Profile {
        account: own(&app, &viewer).await?,
        mistakes: Mistakes::default(),
        is_saved: true,
    };
    let before = std::mem::replace(&mut page.account.display_name, form.text("display_name").to_owned());
    if let Some(mistake) = display_name_mistake(&page.account.display_name) {
        page.mistakes.note("display_name", mistake);
        page.is_saved = false;
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
    }
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let (row, name) = (
        (page.account.account_id.as_str(), page.account.row_version),
        &page.account.display_name,
    );
    if !users::update(&mut tx, row, name, page.account.role, &viewer.name).await? {
        return Err(Error::Conflict(Text::new("users.meanwhile")));
    }
    let entry = Entry::by(&viewer.actor(&app), Action::AccountUpdate)
        .on(of(&viewer))
        .change("display_name", before, name);
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.done("/profile", "said.saved"))
}

async fn own(app: &App, viewer: &Viewer) -> Result<Account> {
    let mut conn = app.db.conn().await?;
    users::by_id(&mut conn, &viewer.account_id).await?.ok_or(Error::SignIn)
}

fn of(viewer: &Viewer) -> Object {
    Object::new("account", &viewer.account_id, &viewer.name)
}

#[derive(Template)]
#[template(path = "people/security.html", blocks = ["parts"])]
struct Security {
    account: Account,
    sessions: Vec<Row>,
    own_session: String,
    mistakes: Mistakes,
    /// Said after a change.
    done: Option<Text>,
}

impl Security {
    async fn of(app: &App, viewer: &Viewer) -> Result<Security> {
        let mut conn = app.db.conn().await?;
        let account = users::by_id(&mut conn, &viewer.account_id).await?;
        Ok(Security {
            account: account.ok_or(Error::SignIn)?,
            sessions: sessions::of_account(&mut conn, &viewer.account_id).await?,
            own_session: viewer.session_id().to_owned(),
            mistakes: Mistakes::default(),
            done: None,
        })
    }

    fn answer(&self, hx: &Hx) -> Result<Response> {
        let status = match self.mistakes.is_empty() {
            true => StatusCode::OK,
            false => StatusCode::UNPROCESSABLE_ENTITY,
        };
        hx.answer(status, self, &self.as_parts())
    }

    fn factor_action(&self) -> &'static str {
        match self.account.has_two_factor {
            true => "/security/second-factor/removal",
            false => "/security/second-factor",
        }
    }
}

/// `GET /security`
#[handler]
async fn index(hx: Hx, viewer: Viewer, app: Data<&App>) -> Result<Response> {
    Security::of(&app, &viewer).await?.answer(&hx)
}

/// `POST /security/password`: the new one ends every other session.
#[handler]
async fn update_password(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let (typed, again) = (form.exact("password"), form.exact("again"));
    let mut mistakes = Mistakes::default();
    if let Some(weakness) = password::weakness(typed, &viewer.name) {
        mistakes.note("password", weakness);
    } else if typed != again {
        mistakes.note("again", Text::new("password.differs"));
    }
    if !is_own_password(&app, &viewer, form.exact("current"), Action::PasswordChange).await? {
        mistakes.note("current", Text::new("security.wrong_password"));
    }
    if mistakes.is_empty() {
        let hash = password::hash(typed).await?;
        let mut conn = app.db.conn().await?;
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        users::set_password(&mut tx, &viewer.account_id, &hash, &viewer.name).await?;
        sessions::end_others(&mut tx, &viewer.account_id, viewer.session_id()).await?;
        let entry = Entry::by(&viewer.actor(&app), Action::PasswordChange)
            .on(of(&viewer))
            .change("password", Secret, Secret);
        audit::record(&mut tx, &entry).await?;
        tx.commit().await?;
    }
    let mut page = Security::of(&app, &viewer).await?;
    page.done = mistakes.is_empty().then(|| Text::new("security.password_changed"));
    page.mistakes = mistakes;
    page.answer(&hx)
}

/// Asked again before what a person who found an open browser should not be able to do. Counted like a sign-in.
async fn is_own_password(app: &App, viewer: &Viewer, typed: &str, action: Action) -> Result<bool> {
    let subject = [Subject::step("again", &viewer.account_id, viewer.session_id())];
    let mut conn = app.db.conn().await?;
    if let Some(seconds) = throttle::claim(&mut conn, &subject).await? {
        return Err(too_many(&mut conn, &viewer.actor(app), action, seconds).await?);
    }
    let known = users::credentials_by_id(&mut conn, &viewer.account_id).await?;
    // Others may need the connection while this one waits for its turn to hash.
    drop(conn);
    let hash = known.as_ref().map(|account| account.password_hash.as_str());
    let right = password::check(typed, hash).await? != Checked::Wrong;
    let mut conn = app.db.conn().await?;
    if right {
        throttle::succeed(&mut conn, &subject, &subject[0]).await?;
    } else {
        let entry = Entry::by(&viewer.actor(app), action).on(of(viewer));
        audit::record(&mut conn, &entry.because("wrong")).await?;
    }
    Ok(right)
}

/// `POST /security/sessions/{session_id}/removal`
#[handler]
async fn end_one(hx: Hx, viewer: Viewer, app: Data<&App>, Path(session_id): Path<String>) -> Result<Response> {
    let session_id = known_id(&session_id, "security.session_missing")?;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    if sessions::end_one(&mut tx, &viewer.account_id, session_id).await? {
        audit::record(
            &mut tx,
            &Entry::by(&viewer.actor(&app), Action::SessionEnd).on(of(&viewer)),
        )
        .await?;
    }
    tx.commit().await?;
    Ok(hx.done("/security", "said.ended"))
}

/// `POST /security/sessions/removal`: signs out everywhere but here.
#[handler]
async fn end_others(hx: Hx, viewer: Viewer, app: Data<&App>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let ended = sessions::end_others(&mut tx, &viewer.account_id, viewer.session_id()).await?;
    let entry = Entry::by(&viewer.actor(&app), Action::SessionEnd)
        .on(of(&viewer))
        .change("sessions", ended, 0);
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.done("/security", "said.ended"))
}

/// What the page asks of a session.
impl Row {
    pub fn created(&self) -> Option<NaiveDateTime> {
        Some(self.created_at)
    }

    pub fn seen(&self) -> Option<NaiveDateTime> {
        Some(self.seen_at)
    }

    /// Browser and system, as far as the header tells; the whole header is in the tooltip.
    pub fn browser(&self) -> String {
        let known = |names: &[(&'static str, &'static str)]| {
            names
                .iter()
                .find(|(mark, _)| self.agent.contains(mark))
                .map(|(_, name)| *name)
        };
        let browser = known(&[
            ("Edg/", "Edge"),
            ("OPR/", "Opera"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ]);
        let system = known(&[
            ("Windows", "Windows"),
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("iPad", "iPad"),
            ("Mac OS", "macOS"),
            ("Linux", "Linux"),
        ]);
        match (browser, system) {
            (Some(browser), Some(system)) => format!("{browser}, {system}"),
            (Some(name), None) | (None, Some(name)) => name.to_owned(),
            (None, None) => self.agent.chars().take(40).collect(),
        }
    }
}
