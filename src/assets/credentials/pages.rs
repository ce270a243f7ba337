//! The pages of named credentials.

use askama::Template;
use mysql_async::{Conn, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::queries::{self, Row};
use super::{SECRETS, Typed, insert, sealing_key, update};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry, Object, Secret};
use crate::web::form::line_mistake;
use crate::web::{Form, Hx, Mistakes, filters};

const LONGEST_NAME: usize = 50;

pub fn routes() -> Vec<Address> {
    vec![
        get("/credentials", Access::SystemAdmin, index),
        post("/credentials", Access::SystemAdmin, create).in_person(),
        get("/credentials/new", Access::SystemAdmin, new),
        get("/credentials/:credential_id", Access::SystemAdmin, edit),
        post("/credentials/:credential_id", Access::SystemAdmin, change).in_person(),
        post("/credentials/:credential_id/removal", Access::SystemAdmin, remove).in_person(),
    ]
}

#[derive(Template)]
#[template(path = "assets/credentials/index.html", blocks = ["list"])]
struct Index {
    rows: Vec<Row>,
}

/// `GET /credentials`
#[handler]
async fn index(hx: Hx, app: Data<&App>) -> Result<Response> {
    let rows = queries::named(&mut app.db.conn().await?).await?;
    let page = Index { rows };
    hx.render(&page, &page.as_list())
}

#[derive(Template)]
#[template(path = "assets/credentials/edit.html", blocks = ["form"])]
struct Edit {
    saved: Option<Row>,
    form: Form,
    row_version: u32,
    is_late: bool,
    mistakes: Mistakes,
}

impl Edit {
    fn of(saved: Option<Row>) -> Edit {
        let fields = saved
            .iter()
            .flat_map(|row| [("name", &row.name), ("user", &row.user_name)]);
        Edit {
            form: Form::of(fields.map(|(field, value)| (field, value.as_str()))),
            row_version: saved.as_ref().map_or(0, |row| row.row_version),
            is_late: false,
            mistakes: Mistakes::default(),
            saved,
        }
    }

    async fn load(conn: &mut Conn, credential_id: &str) -> Result<Edit> {
        Ok(Edit::of(Some(
            queries::by_id(conn, credential_id).await?.ok_or_else(missing)?,
        )))
    }

    fn read(&mut self, form: &Form) -> Typed {
        self.form = form.clone();
        self.row_version = form.text("row_version").parse().unwrap_or(u32::MAX);
        let typed = Typed::of(form, &mut self.mistakes);
        let name = form.text("name");
        match name.is_empty() {
            true => self.mistakes.note("name", Text::new("credentials.name_missing")),
            false => {
                if let Some(mistake) = line_mistake(name, LONGEST_NAME) {
                    self.mistakes.note("name", mistake);
                }
            }
        }
        if self.saved.is_none() && typed.is_blank() {
            self.mistakes.note("password", Text::new("credentials.nothing"));
        }
        typed
    }

    fn secret_fields(&self) -> &'static [(&'static str, &'static str, bool)] {
        &SECRETS
    }

    fn has_own_secret(&self) -> bool {
        self.saved.is_some()
    }

    /// Said beside each secret that may be kept already.
    fn kept_hint(&self) -> &'static str {
        if self.has_own_secret() { "credentials.kept" } else { "" }
    }

    fn path(&self) -> String {
        match &self.saved {
            Some(saved) => format!("/credentials/{}", saved.credential_id),
            None => "/credentials".to_owned(),
        }
    }
}

fn missing() -> Error {
    Error::NotFound(Text::new("credentials.missing"))
}

/// `GET /credentials/new`
#[handler]
async fn new(hx: Hx) -> Result<Response> {
    let page = Edit::of(None);
    hx.render(&page, &page.as_form())
}

/// `POST /credentials`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut page = Edit::of(None);
    let typed = page.read(&form);
    if page.mistakes.is_empty() {
        let mut conn = app.db.conn().await?;
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        let key = sealing_key(&mut tx, &app).await?;
        let name = form.text("name");
        match insert(&mut tx, &key, (Some(name), &typed), &viewer.name).await {
            Ok(credential_id) => {
                let entry = Entry::by(&viewer.actor(&app), Action::CredentialCreate)
                    .on(Object::new("credential", &credential_id, name))
                    .change("name", "", name)
                    .change("user", "", typed.user());
                audit::record(&mut tx, &entry).await?;
                tx.commit().await?;
                return Ok(hx.done("/credentials", "said.added"));
            }
            Err(Error::Conflict(text)) => page.mistakes.note("name", text),
            Err(error) => return Err(error),
        }
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

/// `GET /credentials/{credential_id}`
#[handler]
async fn edit(hx: Hx, app: Data<&App>, Path(credential_id): Path<String>) -> Result<Response> {
    let page = Edit::load(&mut app.db.conn().await?, &credential_id).await?;
    hx.render(&page, &page.as_form())
}

/// `POST /credentials/{credential_id}`
#[handler]
async fn change(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form, Path(id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut page = Edit::load(&mut conn, &id).await?;
    let typed = page.read(&form);
    if page.mistakes.is_empty() {
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        let key = sealing_key(&mut tx, &app).await?;
        let (row, name) = ((id.as_str(), Some(page.row_version)), form.text("name"));
        match update(&mut tx, (&app.seal, &key), row, (Some(name), &typed), &viewer.name).await {
            Ok(true) => {
                audit::record(&mut tx, &page.entry(&viewer, &app, &typed)).await?;
                tx.commit().await?;
                return Ok(hx.done("/credentials", "said.saved"));
            }
            Ok(false) => page.is_late = true,
            Err(Error::Conflict(text)) => page.mistakes.note("name", text),
            Err(error) => return Err(error),
        }
        tx.rollback().await?;
        if page.is_late {
            page.saved = queries::by_id(&mut conn, &id).await?;
            page.row_version = page.saved.as_ref().ok_or_else(missing)?.row_version;
        }
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

impl Edit {
    fn entry(&self, viewer: &Viewer, app: &App, typed: &Typed) -> Entry {
        let (id, name, user) = self
            .saved
            .as_ref()
            .map_or(("", "", ""), |row| (&row.credential_id, &row.name, &row.user_name));
        let entry = Entry::by(&viewer.actor(app), Action::CredentialUpdate)
            .on(Object::new("credential", id, name))
            .change("name", name, self.form.text("name"))
            .change("user", user, typed.user());
        match typed.is_blank() && !typed.clears() {
            true => entry,
            false => entry.change("secrets", "", Secret),
        }
    }
}

/// `POST /credentials/{credential_id}/removal`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, Path(id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let row = queries::by_id(&mut tx, &id).await?.ok_or_else(missing)?;
    let in_use = || Error::Conflict(Text::new("credentials.in_use").with("name", &row.name));
    queries::remove(&mut tx, &id).await.map_err(|error| match &error {
        mysql_async::Error::Server(server) if server.code == 1451 => in_use(),
        _ => error.into(),
    })?;
    let entry = Entry::by(&viewer.actor(&app), Action::CredentialRemove);
    audit::record(&mut tx, &entry.on(Object::new("credential", &id, &row.name))).await?;
    tx.commit().await?;
    Ok(hx.done("/credentials", "said.removed"))
}
