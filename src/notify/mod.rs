//! 通知: telling people by webhook and e-mail what is down, needs attention or is watched by nobody, and that it is over.

mod capped;
mod channel;
mod edit;
mod mail;
mod message;
mod outages;
mod outbox;
mod queries;
mod sealing;
mod topic;
mod trouble;
mod typed;
mod webhook;

use askama::Template;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};
use poem::web::{Data, Path};
use poem::{Response, handler};

use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{self, Access, Address, get};
use crate::people::audit::{self, Action, Entry};
use crate::web::{Hx, filters};
use channel::{Kind, Settings, object};
use message::Body;
pub use message::{Event, Message};
pub use outages::Lookout;
pub use outbox::{Outbox, channels_sql, next_sql, post, post_all};
use queries::{Described, Row};
pub use sealing::{forget_all, reseal};
pub use topic::Topic;
use topic::Topics;
use trouble::Trouble;

pub fn routes() -> Vec<Address> {
    let own = vec![
        get("/notices", Access::SystemAdmin, index),
        get("/notices/:channel_id", Access::SystemAdmin, show),
        access::post("/notices/:channel_id/test", Access::SystemAdmin, test),
        access::post("/notices/:channel_id/removal", Access::SystemAdmin, remove),
    ];
    own.into_iter().chain(edit::routes()).collect()
}

/// Whether there is anybody to be told of anything.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn has_channels(conn: &mut impl Queryable) -> Result<bool> {
    Ok(queries::any(conn).await?)
}

/// Drops what is past its time; returns how many rows.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn sweep(conn: &mut Conn) -> Result<u64> {
    Ok(outbox::queries::sweep(conn).await?)
}

fn missing() -> Error {
    Error::NotFound(Text::new("notify.missing"))
}

/// An id from an address.
fn known_id(id: &str) -> Result<u32> {
    id.parse().map_err(|_| missing())
}

impl Row {
    fn kind(&self) -> Kind {
        Kind::parse(&self.kind)
    }

    fn is_mail(&self) -> bool {
        self.kind() == Kind::Mail
    }

    fn settings(&self) -> Settings {
        serde_json::from_str(&self.settings).unwrap_or_default()
    }

    fn topics(&self) -> Topics {
        self.settings().topics
    }

    fn described(&self) -> Described {
        Described {
            name: self.name.clone(),
            kind: self.kind(),
            target: self.target.clone(),
            settings: self.settings(),
            group_id: self.group_id,
            is_on: self.is_on,
        }
    }

    /// A key or password is kept; one that was lost with the master key is not.
    fn has_key(&self) -> bool {
        self.secret.is_some() && self.settings().has_key
    }

    /// What it is, in words.
    fn kind_name(&self) -> Text {
        match self.kind() {
            Kind::Mail => Text::new("notify.mail"),
            Kind::Webhook => self.settings().format.name(),
        }
    }

    fn path(&self) -> String {
        format!("/notices/{}", self.channel_id)
    }

    fn told_trouble(&self) -> Option<Text> {
        let trouble = Trouble::parse(self.trouble.as_deref()?);
        trouble.map(|trouble| trouble.text())
    }
}

#[derive(Template)]
#[template(path = "notify/index.html", blocks = ["list"])]
struct Index {
    rows: Vec<Row>,
}

/// `GET /notices`
#[handler]
async fn index(hx: Hx, app: Data<&App>) -> Result<Response> {
    let rows = queries::all(&mut app.db.conn().await?).await?;
    let page = Index { rows };
    hx.render(&page, &page.as_list())
}

#[derive(Template)]
#[template(path = "notify/show.html", blocks = ["channel"])]
struct Show {
    row: Row,
    settings: Settings,
    notices: Vec<outbox::queries::Row>,
}

/// `GET /notices/{channel_id}`
#[handler]
async fn show(hx: Hx, app: Data<&App>, Path(channel_id): Path<String>) -> Result<Response> {
    let channel_id = known_id(&channel_id)?;
    let mut conn = app.db.conn().await?;
    let row = queries::by_id(&mut conn, channel_id).await?.ok_or_else(missing)?;
    let page = Show {
        settings: row.settings(),
        row,
        notices: outbox::queries::of(&mut conn, channel_id).await?,
    };
    hx.render(&page, &page.as_channel())
}

/// `POST /notices/{channel_id}/test`: what comes of it is shown on the channel's page, which asks again by itself.
#[handler]
async fn test(hx: Hx, viewer: Viewer, app: Data<&App>, Path(channel_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let row = queries::locked(&mut tx, known_id(&channel_id)?)
        .await?
        .ok_or_else(missing)?;
    let body = Body::test(&app, &row.name, &row.path());
    outbox::queries::post_test(&mut tx, row.channel_id, &body).await?;
    let entry = Entry::by(&viewer.actor(&app), Action::NoticeTest).on(object(row.channel_id, &row.name));
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.see_other(&row.path()))
}

/// `POST /notices/{channel_id}/removal`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, Path(channel_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let row = queries::locked(&mut tx, known_id(&channel_id)?)
        .await?
        .ok_or_else(missing)?;
    queries::remove(&mut tx, row.channel_id).await?;
    let entry = Entry::by(&viewer.actor(&app), Action::NoticeRemove)
        .on(object(row.channel_id, &row.name))
        .change("address", &row.target, "");
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.done("/notices", "said.removed"))
}
