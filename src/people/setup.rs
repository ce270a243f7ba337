//! 初始化: the first super admin, made by whoever can read this server's log or data directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use askama::Template;
use mysql_async::TxOpts;
use poem::http::StatusCode;
use poem::web::Data;
use poem::{Request, Response, handler};
use uuid::Uuid;

use super::access::{Access, Address, get, post};
use super::audit::{self, Action, Actor, Entry, Object};
use super::users::name_mistake;
use super::users::queries::{self as users, New};
use super::{People, Role, password, secret, sessions, sign_in};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install;
use crate::web::{Form, Hx, Mistakes, filters};

const FILE: &str = "setup-token";

pub fn routes() -> Vec<Address> {
    vec![get("/setup", Access::Guest, new), post("/setup", Access::Guest, create)]
}

#[derive(Template)]
#[template(path = "people/setup.html", blocks = ["form"])]
struct Setup {
    path: String,
    name: String,
    token: String,
    mistakes: Mistakes,
}

/// What one server has done about the one-time token.
#[derive(Debug, Default)]
pub struct Announcer {
    /// The token stands in this process's log.
    has_told: AtomicBool,
    /// There is somebody; nothing is left to do.
    is_over: AtomicBool,
}

impl Announcer {
    /// Makes and tells the token while there is no account; takes it away afterwards. One step of a loop.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut conn = app.db.conn().await?;
        let path = file(app);
        if users::anybody(&mut conn).await? {
            // Left over, here or because the set-up happened on another server.
            let _ = std::fs::remove_file(&path);
            self.is_over.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        if !known.is_empty() && self.has_told.load(Ordering::Relaxed) {
            return Ok(());
        }
        let token = match known.is_empty() {
            true => secret::readable::<20>()?,
            // Told again after a restart: the log may be another one.
            false => known,
        };
        install::write_private(&path, &token)?;
        self.has_told.store(true, Ordering::Relaxed);
        let text = Text::new("setup.token").with("token", &token);
        tracing::warn!("{}", app.say(&text.with("path", path.display())));
        Ok(())
    }
}

fn file(app: &App) -> PathBuf {
    app.install.data.join(FILE)
}

/// `GET /setup`
#[handler]
fn new(hx: Hx, app: Data<&App>, people: Data<&Arc<People>>) -> Result<Response> {
    if people.anybody.load(Ordering::Relaxed) {
        return Ok(hx.see_other("/sign-in"));
    }
    let page = Setup {
        path: file(&app).display().to_string(),
        name: "admin".to_owned(),
        token: String::new(),
        mistakes: Mistakes::default(),
    };
    hx.render(&page, &page.as_form())
}

/// `POST /setup`
#[handler]
async fn create(hx: Hx, app: Data<&App>, people: Data<&Arc<People>>, form: Form, req: &Request) -> Result<Response> {
    if people.anybody.load(Ordering::Relaxed) {
        return Err(Error::Conflict(Text::new("setup.done")));
    }
    let page = Setup::judged(&app, &form);
    if !page.mistakes.is_empty() {
        let mut conn = app.db.conn().await?;
        let entry = Entry::by(&sessions::stranger(req, &app), Action::SetUp).on(Object::new("sign_in", "set_up", ""));
        audit::record_seldom(&mut conn, &entry.refused()).await?;
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
    }
    let cookies = first(&app, req, form.text("name"), form.exact("password")).await?;
    people.anybody.store(true, Ordering::Relaxed);
    let _ = std::fs::remove_file(file(&app));
    Ok(sign_in::with_cookies(hx.see_other("/"), &cookies))
}

impl Setup {
    /// The form with what is wrong with it.
    fn judged(app: &App, form: &Form) -> Setup {
        let (name, typed) = (form.text("name"), form.exact("password"));
        let mut mistakes = Mistakes::default();
        // Guessing 100 bits needs no throttle.
        let token = std::fs::read_to_string(file(app)).unwrap_or_default();
        if token.is_empty() || secret::hash(form.text("token")) != secret::hash(token.trim()) {
            mistakes.note("token", Text::new("setup.wrong_token"));
        }
        if let Some(mistake) = name_mistake(name) {
            mistakes.note("name", mistake);
        }
        if let Some(weakness) = password::weakness(typed, name) {
            mistakes.note("password", weakness);
        } else if typed != form.exact("again") {
            mistakes.note("again", Text::new("password.differs"));
        }
        Setup {
            path: file(app).display().to_string(),
            name: name.to_owned(),
            token: form.text("token").to_owned(),
            mistakes,
        }
    }
}

/// The first account, signed in.
async fn first(app: &App, req: &Request, name: &str, typed: &str) -> Result<Vec<String>> {
    let (account_id, hash) = (Uuid::new_v4().simple().to_string(), password::hash(typed).await?);
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let account = New {
        account_id: &account_id,
        name,
        display_name: "",
        role: Role::SuperAdmin,
        password_hash: &hash,
        by: name,
        is_first: true,
    };
    users::insert(&mut tx, &account).await.map_err(|error| {
        let taken = ["account_first_one", "account_name"];
        let key = taken
            .into_iter()
            .find(|key| Error::is_duplicate(&error, key))
            .unwrap_or_default();
        Error::on_duplicate(error, key, || Text::new("setup.done"))
    })?;
    let actor = Actor {
        account_id: account_id.clone(),
        name: name.to_owned(),
        role: Role::SuperAdmin.code().to_owned(),
        ..sessions::stranger(req, app)
    };
    let entry = Entry::by(&actor, Action::SetUp).on(Object::new("account", &account_id, name));
    audit::record(&mut tx, &entry).await?;
    let cookies = sign_in::admit_proven(&mut tx, app, req, ((&account_id, name, Role::SuperAdmin), None)).await?;
    tx.commit().await?;
    Ok(cookies)
}
