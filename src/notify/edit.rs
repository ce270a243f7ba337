//! A new channel, and changing one.

use askama::Template;
use mysql_async::{Conn, Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Request, Response, handler};
use url::form_urlencoded;

use super::channel::{Kind, Secret, object};
use super::queries::{self, Row};
use super::typed::Typed;
use super::{known_id, missing, sealing};
use crate::app::App;
use crate::error::{Error, Result};
use crate::groups::{self, Group};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry, Secret as Hidden};
use crate::web::{Form, Hx, Mistakes, filters};

pub fn routes() -> Vec<Address> {
    vec![
        get("/notices/new", Access::SystemAdmin, new),
        post("/notices", Access::SystemAdmin, create),
        get("/notices/:channel_id/edit", Access::SystemAdmin, edit),
        post("/notices/:channel_id", Access::SystemAdmin, update),
    ]
}

#[derive(Template)]
#[template(path = "notify/edit.html", blocks = ["form"])]
struct Edit {
    /// What is saved; none for a new one.
    saved: Option<Row>,
    typed: Typed,
    groups: Vec<Group>,
    /// Somebody else saved since the form was shown.
    is_late: bool,
    row_version: u32,
    mistakes: Mistakes,
}

impl Edit {
    async fn load(conn: &mut Conn, saved: Option<Row>, kind: Kind) -> Result<Edit> {
        Ok(Edit {
            typed: saved.as_ref().map_or_else(|| Typed::blank(kind), Typed::of),
            groups: groups::queries::all(conn).await?,
            is_late: false,
            row_version: saved.as_ref().map_or(0, |row| row.row_version),
            saved,
            mistakes: Mistakes::default(),
        })
    }

    /// Takes in what was typed.
    fn fill(&mut self, form: &Form) {
        let described = &self.typed.described;
        self.typed = Typed::read(form, described.kind, &described.settings.topics);
        self.row_version = form.text("row_version").parse().unwrap_or(u32::MAX);
        self.typed.check(self.saved.as_ref(), &mut self.mistakes);
    }

    fn is_mail(&self) -> bool {
        self.typed.described.kind == Kind::Mail
    }

    /// As much of the address as may be seen, when one is kept.
    fn kept_url(&self) -> Option<&str> {
        let saved = self.saved.as_ref().filter(|row| row.secret.is_some())?;
        Some(&saved.target)
    }

    fn has_key(&self) -> bool {
        self.saved.as_ref().is_some_and(Row::has_key)
    }

    fn is_group(&self, group_id: &u32) -> bool {
        self.typed.described.group_id == Some(*group_id)
    }

    fn path(&self) -> String {
        match &self.saved {
            Some(saved) => saved.path(),
            None => "/notices".to_owned(),
        }
    }

    fn title(&self) -> Text {
        Text::new(match (&self.saved, self.is_mail()) {
            (Some(_), _) => "notify.edit",
            (None, true) => "notify.add_mail",
            (None, false) => "notify.add_webhook",
        })
    }

    /// What the person can mend stands beside its field.
    fn note(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Conflict(text) => self.mistakes.note("name", text),
            Error::NotFound(text) => self.mistakes.note("group_id", text),
            Error::Invalid(text) => self.mistakes.note("secret", text),
            other => return Err(other),
        }
        Ok(())
    }
}

/// `GET /notices/new`
#[handler]
async fn new(hx: Hx, app: Data<&App>, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default().as_bytes();
    let kind = form_urlencoded::parse(query).find(|(key, _)| key == "kind");
    let kind = kind.map_or(Kind::Webhook, |(_, kind)| Kind::parse(&kind));
    let page = Edit::load(&mut app.db.conn().await?, None, kind).await?;
    hx.render(&page, &page.as_form())
}

/// `POST /notices`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut page = Edit::load(&mut conn, None, Kind::parse(form.text("kind"))).await?;
    page.fill(&form);
    if page.mistakes.is_empty() {
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        match insert(&mut tx, &app, &viewer.actor(&app), &page.typed).await {
            Ok(channel_id) => {
                tx.commit().await?;
                return Ok(hx.done(&format!("/notices/{channel_id}"), "said.added"));
            }
            Err(error) => page.note(error)?,
        }
        tx.rollback().await?;
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

async fn insert(tx: &mut Transaction<'_>, app: &App, actor: &Actor, typed: &Typed) -> Result<u32> {
    let key = match typed.is_secret_typed() {
        true => Some(sealing::key(tx, app).await.map_err(of_key)?),
        false => None,
    };
    let group = group_of(tx, typed).await?;
    let described = &typed.described;
    let channel_id = queries::insert(tx, described, &actor.name).await.map_err(taken)?;
    let mut entry = Entry::by(actor, Action::NoticeCreate)
        .on(object(channel_id, &described.name))
        .change("name", "", &described.name)
        .change("address", "", &described.target)
        .change(described.kind.code(), "", described.settings.told(described.kind))
        .change("groups", "", group)
        .change("events", "", described.settings.topics.told());
    if let Some(key) = key {
        let sealed = typed.secret(Secret::default()).sealed(&key, channel_id)?;
        queries::set_secret(tx, channel_id, Some(&sealed)).await?;
        entry = entry.change("secrets", "", Hidden);
    }
    audit::record(tx, &entry).await?;
    Ok(channel_id)
}

/// The name of the group it is for; empty for all.
async fn group_of(tx: &mut Transaction<'_>, typed: &Typed) -> Result<String> {
    let Some(group_id) = typed.described.group_id else {
        return Ok(String::new());
    };
    let group = groups::queries::locked(tx, group_id).await?;
    let gone = || Error::NotFound(Text::new("notify.group_gone"));
    group.map(|group| group.name).ok_or_else(gone)
}

/// What is wrong with the key is not wrong with the name.
fn of_key(error: Error) -> Error {
    match error {
        Error::Conflict(text) => Error::Invalid(text),
        other => other,
    }
}

fn taken(error: mysql_async::Error) -> Error {
    Error::on_duplicate(error, "notice_channel_name", || Text::new("notify.name_taken"))
}

/// `GET /notices/{channel_id}/edit`
#[handler]
async fn edit(hx: Hx, app: Data<&App>, Path(channel_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let saved = queries::by_id(&mut conn, known_id(&channel_id)?)
        .await?
        .ok_or_else(missing)?;
    let kind = saved.kind();
    let page = Edit::load(&mut conn, Some(saved), kind).await?;
    hx.render(&page, &page.as_form())
}

/// `POST /notices/{channel_id}`
#[handler]
async fn update(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(channel_id): Path<String>,
) -> Result<Response> {
    let channel_id = known_id(&channel_id)?;
    let mut conn = app.db.conn().await?;
    let saved = queries::by_id(&mut conn, channel_id).await?.ok_or_else(missing)?;
    let kind = saved.kind();
    let mut page = Edit::load(&mut conn, Some(saved), kind).await?;
    page.fill(&form);
    if page.mistakes.is_empty() {
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        match save(&mut tx, &app, &viewer.actor(&app), (channel_id, &page)).await {
            Ok(true) => {
                tx.commit().await?;
                return Ok(hx.done(&format!("/notices/{channel_id}"), "said.saved"));
            }
            Ok(false) => page.is_late = true,
            Err(error) => page.note(error)?,
        }
        tx.rollback().await?;
        if page.is_late {
            let saved = queries::by_id(&mut conn, channel_id).await?.ok_or_else(missing)?;
            page.row_version = saved.row_version;
            page.saved = Some(saved);
        }
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

/// False when somebody else saved since the form was shown.
async fn save(tx: &mut Transaction<'_>, app: &App, actor: &Actor, (channel_id, page): (u32, &Edit)) -> Result<bool> {
    let typed = &page.typed;
    let drops = page.saved.as_ref().is_some_and(Row::has_key) && !typed.described.settings.has_key;
    let key = match typed.is_secret_typed() || drops {
        true => Some(sealing::key(tx, app).await.map_err(of_key)?),
        false => None,
    };
    let group = group_of(tx, typed).await?;
    let before = queries::locked(tx, channel_id).await?.ok_or_else(missing)?;
    let described = &typed.described;
    let row = (channel_id, page.row_version);
    if !queries::update(tx, row, described, &actor.name).await.map_err(taken)? {
        return Ok(false);
    }
    let kind = described.kind;
    let on = |is_on: bool| if is_on { "on" } else { "off" };
    let mut entry = Entry::by(actor, Action::NoticeUpdate)
        .on(object(channel_id, &before.name))
        .change("name", &before.name, &described.name)
        .change("address", &before.target, &described.target)
        .change(kind.code(), before.settings().told(kind), described.settings.told(kind))
        .change("groups", before.group.as_deref().unwrap_or_default(), group)
        .change(
            "events",
            before.settings().topics.told(),
            described.settings.topics.told(),
        )
        .change("state", on(before.is_on), on(described.is_on));
    if let Some(key) = key {
        let former = match &before.secret {
            Some(sealed) => Secret::open(&app.seal, channel_id, sealed)?,
            None => Secret::default(),
        };
        let secret = typed.secret(former);
        let sealed = match secret == Secret::default() {
            true => None,
            false => Some(secret.sealed(&key, channel_id)?),
        };
        queries::set_secret(tx, channel_id, sealed.as_deref()).await?;
        entry = entry.change("secrets", Hidden, Hidden);
    }
    audit::record(tx, &entry).await?;
    Ok(true)
}
