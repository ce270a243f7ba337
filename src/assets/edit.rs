//! A new asset, and changing one. Nothing is asked of the asset itself: whoever watches it finds out.

use askama::Template;
use mysql_async::{Conn, Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Request, Response, handler};
use url::form_urlencoded;

use super::credentials as vault;
use super::described::{Choices, Said, Saved};
use super::kind::{Kind, Settings};
use super::other_kind;
use super::queries::{self, Row};
use super::{known_id, missing};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit;
use crate::seal::Key;
use crate::web::{Form, Hx, Mistakes, filters};

pub fn routes() -> Vec<Address> {
    vec![
        get("/assets/new", Access::SystemAdmin, new),
        post("/assets", Access::SystemAdmin, create),
        post("/assets/drafts", Access::SystemAdmin, draft),
        get("/assets/:asset_id/edit", Access::SystemAdmin, edit),
        post("/assets/:asset_id", Access::SystemAdmin, update),
    ]
}

#[derive(Template)]
#[template(path = "assets/edit.html", blocks = ["form"])]
struct Edit {
    kind: Kind,
    /// What is saved; none for a new one.
    saved: Option<Saved>,
    /// What is typed, or would have been for what is saved.
    form: Form,
    choices: Choices,
    /// Somebody else saved since the form was shown.
    is_late: bool,
    row_version: u32,
    mistakes: Mistakes,
}

impl Edit {
    async fn load(conn: &mut Conn, viewer: &Viewer, kind: Kind, saved: Option<Row>) -> Result<Edit> {
        let row_version = saved.as_ref().map_or(0, |row| row.row_version);
        let saved = match saved {
            Some(row) => Some(Saved::of(conn, row).await?),
            None => None,
        };
        Ok(Edit {
            kind,
            form: Form::default(),
            choices: Choices::load(conn, viewer).await?,
            is_late: false,
            row_version,
            mistakes: Mistakes::default(),
            saved,
        })
    }

    /// The fields of a new asset: as usual, or like another one, whose own secrets stay with it.
    fn fill_new(&mut self, like: Option<&Row>, group_id: Option<u32>) -> Result<()> {
        self.form = self.choices.fields(self.kind, like)?;
        if let Some(group_id) = group_id {
            self.form.set("group_id", &group_id.to_string());
        }
        Ok(())
    }

    /// The fields of a new asset that was described as one of another kind so far.
    fn fill_typed(&mut self, typed: &Form) -> Result<()> {
        let usual = self.choices.fields(self.kind, None)?;
        self.form = other_kind::carried(&usual, typed, self.kind);
        if vault::secrets().any(|secret| !typed.exact(secret).is_empty()) {
            self.mistakes.note("password", Text::new("credentials.not_kept"));
        }
        Ok(())
    }

    /// What was typed for other kinds, for the way back.
    fn kept(&self) -> Vec<(&'static str, &str)> {
        match self.saved {
            Some(_) => Vec::new(),
            None => other_kind::kept(&self.form, self.kind),
        }
    }

    /// The fields of what is saved.
    fn fill_saved(&mut self) -> Result<()> {
        let row = self.saved.as_ref().map(|saved| &saved.row);
        self.form = self.choices.fields(self.kind, row)?;
        if let Some(saved) = &self.saved {
            self.form.set("user", &saved.user);
        }
        Ok(())
    }

    /// Reads what was typed; mistakes stand beside their fields.
    fn read(&mut self, form: &Form) -> Result<Said> {
        self.form = form.clone();
        self.row_version = form.text("row_version").parse().unwrap_or(u32::MAX);
        let said = self
            .choices
            .read(self.kind, form, self.saved.as_ref(), &mut self.mistakes)?;
        // Found out now rather than by the first check.
        let keeps_user = self.saved.as_ref().is_some_and(|saved| !saved.user.is_empty());
        let is_somebody = keeps_user || !said.typed.user().is_empty() || said.described.credential_id.is_some();
        if !is_somebody && Settings::read(self.kind, &said.described.settings)?.needs_user() {
            self.mistakes.note("user", Text::new("assets.user_missing"));
        }
        if !self.mistakes.is_empty() && !said.typed.is_blank() {
            self.mistakes.note("password", Text::new("credentials.type_again"));
        }
        Ok(said)
    }

    fn has_own_secret(&self) -> bool {
        self.saved.as_ref().is_some_and(|saved| saved.has_own_secret)
    }

    /// Those that this kind has a use for.
    fn secret_fields(&self) -> &'static [(&'static str, &'static str, bool)] {
        match self.kind {
            Kind::Ssh => &vault::SECRETS[..3],
            Kind::Machine | Kind::Docker => &vault::SECRETS,
        }
    }

    /// Said beside each secret that may be kept already.
    fn kept_hint(&self) -> &'static str {
        if self.has_own_secret() { "credentials.kept" } else { "" }
    }

    fn path(&self) -> String {
        match &self.saved {
            Some(saved) => format!("/assets/{}", saved.row.asset_id),
            None => "/assets".to_owned(),
        }
    }

    /// Whether something is wrong in the part that is usually folded.
    fn has_more_mistakes(&self) -> bool {
        let folded = [
            "interval_s",
            "timeout_s",
            "retries",
            "cpu_limit",
            "memory_limit",
            "disk_limit",
        ];
        folded.into_iter().any(|field| self.mistakes.of(field).is_some())
    }

    fn cancel(&self) -> String {
        match &self.saved {
            Some(_) => self.path(),
            None => format!("/assets?kind={}", self.kind.code()),
        }
    }

    fn is(&self, field: &str, value: &str) -> bool {
        self.form.text(field) == value
    }

    fn group_name(&self, group_id: &u32) -> &str {
        self.choices.group_name(*group_id)
    }

    /// What the person can mend stands beside its field.
    fn note(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Conflict(text) => self.mistakes.note("credential_id", text),
            other => return Err(other),
        }
        Ok(())
    }
}

/// `GET /assets/new`: of a kind, maybe like another one.
#[handler]
async fn new(hx: Hx, viewer: Viewer, app: Data<&App>, req: &Request) -> Result<Response> {
    let (mut kind, mut like, mut group_id) = (Kind::Machine, None, None);
    for (key, value) in form_urlencoded::parse(req.uri().query().unwrap_or_default().as_bytes()) {
        match key.as_ref() {
            "kind" => kind = Kind::parse(&value).unwrap_or(kind),
            "like" => like = value.parse().ok(),
            "group" => group_id = value.parse().ok(),
            _ => {}
        }
    }
    let mut conn = app.db.conn().await?;
    let like = match like {
        Some(asset_id) => Some(queries::by_id(&mut conn, asset_id).await?.ok_or_else(missing)?),
        None => None,
    };
    let kind = like.as_ref().map_or(kind, |row| row.kind);
    let mut page = Edit::load(&mut conn, &viewer, kind, None).await?;
    page.fill_new(like.as_ref(), group_id)?;
    hx.render(&page, &page.as_form())
}

/// `POST /assets/drafts`: the form of another kind, with what was typed. A POST, since passwords may be among it.
#[handler]
async fn draft(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let kind = Kind::parse(form.text("other")).ok_or_else(|| Error::Invalid(Text::new("error.form")))?;
    let mut conn = app.db.conn().await?;
    let mut page = Edit::load(&mut conn, &viewer, kind, None).await?;
    page.fill_typed(&form)?;
    hx.render(&page, &page.as_form())
}

/// `POST /assets`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let kind = Kind::parse(form.text("kind")).ok_or_else(|| Error::Invalid(Text::new("error.form")))?;
    let mut conn = app.db.conn().await?;
    let mut page = Edit::load(&mut conn, &viewer, kind, None).await?;
    let said = page.read(&form)?;
    if page.mistakes.is_empty() {
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        match insert(&mut tx, &app, &viewer, (&page, &said)).await {
            Ok(asset_id) => {
                tx.commit().await?;
                return Ok(hx.done(&format!("/assets/{asset_id}"), "said.added"));
            }
            Err(error) => page.note(error)?,
        }
        tx.rollback().await?;
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

async fn insert(tx: &mut Transaction<'_>, app: &App, viewer: &Viewer, (page, said): (&Edit, &Said)) -> Result<u32> {
    let key = key(tx, app, said, None).await?;
    let asset_id = said.insert(tx, key.as_ref(), &viewer.name).await?;
    let group = page.choices.group_name(said.described.group_id);
    audit::record(tx, &said.created(&viewer.actor(app), asset_id, group)).await?;
    Ok(asset_id)
}

async fn key(tx: &mut Transaction<'_>, app: &App, said: &Said, saved: Option<&Saved>) -> Result<Option<Key>> {
    match said.is_sealed(saved) {
        true => Ok(Some(vault::sealing_key(tx, app).await?)),
        false => Ok(None),
    }
}

/// `GET /assets/{asset_id}/edit`
#[handler]
async fn edit(hx: Hx, viewer: Viewer, app: Data<&App>, Path(asset_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let saved = queries::by_id(&mut conn, known_id(&asset_id)?)
        .await?
        .ok_or_else(missing)?;
    let mut page = Edit::load(&mut conn, &viewer, saved.kind, Some(saved)).await?;
    page.fill_saved()?;
    hx.render(&page, &page.as_form())
}

/// `POST /assets/{asset_id}`
#[handler]
async fn update(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form, Path(asset_id): Path<String>) -> Result<Response> {
    let asset_id = known_id(&asset_id)?;
    let mut conn = app.db.conn().await?;
    let saved = queries::by_id(&mut conn, asset_id).await?.ok_or_else(missing)?;
    let mut page = Edit::load(&mut conn, &viewer, saved.kind, Some(saved)).await?;
    let said = page.read(&form)?;
    if page.mistakes.is_empty() {
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        match save(&mut tx, &app, &viewer, (&page, &said)).await {
            Ok(true) => {
                tx.commit().await?;
                return Ok(hx.done(&format!("/assets/{asset_id}"), "said.saved"));
            }
            Ok(false) => page.is_late = true,
            Err(error) => page.note(error)?,
        }
        tx.rollback().await?;
        if page.is_late {
            let row = queries::by_id(&mut conn, asset_id).await?.ok_or_else(missing)?;
            page.row_version = row.row_version;
            page.saved = Some(Saved::of(&mut conn, row).await?);
        }
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

/// False when somebody else saved since the form was shown.
async fn save(tx: &mut Transaction<'_>, app: &App, viewer: &Viewer, (page, said): (&Edit, &Said)) -> Result<bool> {
    let Some(saved) = &page.saved else { return Ok(false) };
    let key = key(tx, app, said, Some(saved)).await?;
    let keys = (&app.seal, key.as_ref());
    if !said.save(tx, keys, (saved, page.row_version), &viewer.name).await? {
        return Ok(false);
    }
    let group = |group_id| page.choices.group_name(group_id);
    let groups = (group(saved.row.group_id), group(said.described.group_id));
    audit::record(tx, &said.changed(&viewer.actor(app), &saved.row, groups)).await?;
    Ok(true)
}
