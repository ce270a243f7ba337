//! Messages on their way: written in the transaction of what they tell of, sent by whichever server claims them.
//!
//! What has ended is never told as if it began: what nobody has begun to send is withdrawn when something else is true, and of
//! a channel that is off also what was tried in vain. A channel that is off wants to hear of nothing that happens meanwhile: of
//! what ends then it keeps in mind that it is over, and is not told when it is on again. What waited and is still true is told
//! then.
//!
//! Of an asset that is removed nothing is told that was not; who was told that it is down is told that it is gone. Of one that
//! is paused what waits is told: it was so when somebody looked last, and its end is told when somebody looks again.

pub mod queries;
mod sending;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::channel::{Kind, Secret, Settings};
use super::message::{Body, Event, Message, Outgoing};
use super::trouble::Trouble;
use super::{mail, webhook};
use crate::app::App;
use crate::clusters::check;
use crate::error::{Error, Result};
use sending::{Claimed, LEASE};
pub use sending::{channels_sql, next_sql};

/// Messages that one server sends at once.
const MOST: usize = 32;
/// One step goes on for so long while something is being sent.
const STEP: Duration = Duration::from_secs(2);
/// How often one looks for what is too old, and for what is due later than it may, as after the database's clock was set back.
const MENDS: Duration = Duration::from_secs(60);
/// Until the next try, the last one again and again.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];

/// [`post_all`] of one.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn post(conn: &mut impl Queryable, app: &App, message: &Message<'_>) -> Result<()> {
    post_all(conn, app, std::slice::from_ref(message)).await
}

/// Writes one row for each channel that is to be told, in the transaction of what happened. That something is down is told
/// once until it is up again, that it is degraded once until it is either; and that it is over is told to those who were
/// told that it began. What nobody has begun to send is withdrawn when something else is true now. Each message is of another
/// subject.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn post_all(conn: &mut impl Queryable, app: &App, messages: &[Message<'_>]) -> Result<()> {
    if messages.iter().any(|message| message.event == Event::Test) {
        return Err(Error::Internal("a test is of one channel".into()));
    }
    let bodies: Vec<(&Message<'_>, Body)> = messages
        .iter()
        .map(|message| (message, Body::of(app, message)))
        .collect();
    match bodies.is_empty() {
        true => Ok(()),
        false => Ok(queries::post(conn, &bodies).await?),
    }
}

/// What one server is sending.
#[derive(Debug)]
pub struct Outbox {
    free: Arc<Semaphore>,
    /// Said when something was sent, or was not.
    ended: Arc<Notify>,
    mended: Mutex<Option<Instant>>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            free: Arc::new(Semaphore::new(MOST)),
            ended: Arc::default(),
            mended: Mutex::default(),
        }
    }
}

impl Outbox {
    /// Begins to send what is due, as far as there is room, and goes on at once with more when some of it has ended. What hangs
    /// is not waited for.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        let end = Instant::now() + STEP;
        self.mend(&mut app.db.conn().await?).await?;
        loop {
            // Asked before: what ends meanwhile may have been in the way of others, and says so.
            let was_idle = self.free.available_permits() == MOST;
            let begun = self.begin(app).await?;
            if was_idle && begun == 0 || Instant::now() >= end {
                return Ok(());
            }
            if timeout_at(end, self.ended.notified()).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Returns how many.
    async fn begin(&self, app: &App) -> Result<usize> {
        let room = self.free.available_permits();
        if room == 0 {
            return Ok(0);
        }
        let begun = Instant::now();
        let boot_id = app.install.boot_id();
        // Not held while something is waited for.
        let all = sending::claim(&mut app.db.conn().await?, &boot_id, room).await?;
        let count = all.len();
        for claimed in all {
            let Ok(permit) = self.free.clone().acquire_owned().await else {
                return Ok(0);
            };
            let (app, boot_id, ended) = (app.clone(), boot_id.clone(), self.ended.clone());
            tokio::spawn(async move {
                if let Err(error) = deliver(&app, &claimed, (&boot_id, begun)).await {
                    // The lease ends, and it is sent again.
                    tracing::warn!(notice = claimed.notice_id, "notices: {}", crate::error::chain(&error));
                }
                drop(permit);
                ended.notify_one();
            });
        }
        Ok(count)
    }

    async fn mend(&self, conn: &mut Conn) -> Result<()> {
        let last = |mended: &Mutex<Option<Instant>>| *mended.lock().unwrap_or_else(PoisonError::into_inner);
        if last(&self.mended).is_some_and(|mended| mended.elapsed() < MENDS) {
            return Ok(());
        }
        sending::give_up(conn).await?;
        sending::mend(conn, &PAUSES).await?;
        *self.mended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
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
        return Ok(sending::succeed(&mut conn, claimed, boot_id).await?);
    };
    if claimed.tries == 1 {
        tracing::warn!(
            channel = claimed.channel,
            "notice not sent: {}",
            app.say(&trouble.text())
        );
    }
    sending::fail(&mut conn, (claimed, boot_id), pause(claimed.tries), &trouble).await?;
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
    let nth = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES[nth.min(PAUSES.len() - 1)]
}
