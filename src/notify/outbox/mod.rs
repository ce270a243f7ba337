//! Messages on their way: written in the transaction of what they tell of, sent by whichever server claims them.

pub mod queries;

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::channel::{Kind, Secret, Settings};
use super::message::{Body, Event, Message, Outgoing};
use super::trouble::Trouble;
use super::{mail, webhook};
use crate::app::App;
use crate::clusters::check;
use crate::error::{Error, Result};
use queries::{Claimed, LEASE};

/// Messages that one server sends at once.
const MOST: usize = 32;

/// Writes one row for each channel that is to be told, in the transaction of what happened. That something is down is told
/// once until it is up again, that it is degraded once until it is either; and that it is over is told to those who were
/// told that it began. What nobody has begun to send is withdrawn when something else is true.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn post(conn: &mut impl Queryable, app: &App, message: &Message<'_>) -> Result<()> {
    let body = Body::of(app, message);
    queries::withdraw(conn, message).await?;
    match message.event {
        Event::Down => queries::post_down(conn, message, &body).await?,
        Event::Degraded => {
            queries::post_eased(conn, message, &body.eased()).await?;
            queries::post_degraded(conn, message, &body).await?;
        }
        Event::Up => queries::post_up(conn, message, &body).await?,
        Event::Test => return Err(Error::Internal("a test is of one channel".into())),
    }
    Ok(())
}

/// What one server is sending.
#[derive(Debug)]
pub struct Outbox {
    free: Arc<Semaphore>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            free: Arc::new(Semaphore::new(MOST)),
        }
    }
}

impl Outbox {
    /// Begins to send what is due, as far as there is room, and waits for none of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        let mut conn = app.db.conn().await?;
        queries::give_up(&mut conn).await?;
        let room = self.free.available_permits();
        if room == 0 {
            return Ok(());
        }
        let begun = Instant::now();
        let boot_id = app.install.boot_id();
        for claimed in queries::claim(&mut conn, &boot_id, room).await? {
            let Ok(permit) = self.free.clone().acquire_owned().await else {
                return Ok(());
            };
            let (app, boot_id) = (app.clone(), boot_id.clone());
            tokio::spawn(async move {
                if let Err(error) = deliver(&app, &claimed, (&boot_id, begun)).await {
                    // The lease ends, and it is sent again.
                    tracing::warn!(notice = claimed.notice_id, "notices: {}", crate::error::chain(&error));
                }
                drop(permit);
            });
        }
        Ok(())
    }

    /// Waits until nothing is being sent.
    pub async fn settled(&self) {
        let _ = self.free.acquire_many(MOST as u32).await;
    }
}

/// Sends one and writes down what came of it. Whoever was stopped for so long that others may hold it sends nothing.
async fn deliver(app: &App, claimed: &Claimed, (boot_id, begun): (&str, Instant)) -> Result<()> {
    let address = console_of(app, claimed).await?;
    let limit = match Kind::parse(&claimed.kind) {
        Kind::Webhook => webhook::LIMIT,
        Kind::Mail => mail::LIMIT,
    };
    let end = Instant::now() + limit;
    if end + Duration::from_secs(5) > begun + LEASE {
        return Ok(());
    }
    let sent = match timeout_at(end, send(app, claimed, address)).await {
        Ok(sent) => sent,
        Err(_) => Err(Trouble::TimedOut {
            seconds: limit.as_secs(),
        }),
    };
    let mut conn = app.db.conn().await?;
    let Err(trouble) = sent else {
        return Ok(queries::succeed(&mut conn, claimed, boot_id).await?);
    };
    if claimed.tries == 1 {
        tracing::warn!(
            channel = claimed.channel,
            "notice not sent: {}",
            app.say(&trouble.text())
        );
    }
    queries::fail(&mut conn, (claimed, boot_id), pause(claimed.tries), &trouble).await?;
    Ok(())
}

/// The address of the console of the cluster that found out, as it is now.
async fn console_of(app: &App, claimed: &Claimed) -> Result<String> {
    let mut conn = app.db.conn().await?;
    let cluster = check::queries::of_cluster(&mut conn, &Body::parse(&claimed.body).install_id).await?;
    Ok(cluster.map(|cluster| cluster.address).unwrap_or_default())
}

async fn send(app: &App, claimed: &Claimed, address: String) -> Result<(), Trouble> {
    let outgoing = Outgoing {
        notice_id: claimed.notice_id,
        subject: claimed.subject.clone(),
        event: Event::parse(&claimed.event).unwrap_or(Event::Test),
        body: Body::parse(&claimed.body),
        address,
        now: claimed.now,
    };
    let settings: Settings = serde_json::from_str(&claimed.settings).unwrap_or_default();
    let secret = match &claimed.secret {
        Some(sealed) => Secret::open(&app.seal, claimed.channel_id, sealed).map_err(|_| Trouble::NoKey)?,
        None => Secret::default(),
    };
    if settings.has_key && secret.key.is_empty() {
        return Err(Trouble::NoSecret);
    }
    let sent = match Kind::parse(&claimed.kind) {
        Kind::Webhook => webhook::send(app, (&settings, &secret), &outgoing).await,
        Kind::Mail => mail::send(app, (&settings, &secret), &claimed.target, &outgoing).await,
    };
    sent.map_err(|trouble| trouble.without((&settings, &secret)))
}

/// Until the next try.
fn pause(tries: u32) -> Duration {
    Duration::from_secs(match tries {
        0 | 1 => 5,
        2 => 30,
        3 => 120,
        4 => 600,
        _ => 3600,
    })
}
