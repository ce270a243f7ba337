//! The watch over the assets of the groups that this server owns: claims what is due, looks, and writes down what it found.

mod found;
mod loss;
pub mod queries;
mod trials;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::{Conn, Transaction, TxOpts};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::credentials;
use super::facts::Facts;
use super::kind::Settings;
use super::outcome::{Outcome, Reason, Report, detail};
use super::state::State;
use super::target::{Secret, Target};
use crate::app::App;
use crate::clusters::check;
use crate::error::{Error, Result, chain};
use crate::notify::{self, Event, Message};
use loss::Loss;
use queries::{Claimed, Found, Turned};

/// How often a server looks what is due.
pub const PERIOD: Duration = Duration::from_millis(500);
/// Checks at the same time of assets that answer, and of those that did not answer in time: these wait in a queue of their
/// own, so that thousands of them delay nobody else.
const MOST_RUNNING: [usize; 2] = [400, 200];
/// Checks at the same time at one host.
const MOST_PER_HOST: usize = 4;
/// Assets claimed, and results written, by one statement.
const PIECE: usize = 500;
/// Trials taken by one step.
const MOST_TRIALS: usize = 20;
/// A server that looked away for so long has to watch anew before it believes that others are gone.
const LOOKED_AWAY: Duration = Duration::from_secs(10);

/// A check that ended.
#[derive(Debug)]
struct Done {
    claimed: Claimed,
    report: Report,
    began: Instant,
}

/// Keeps the checks under way between two steps.
#[derive(Debug)]
pub struct Monitor {
    sender: mpsc::UnboundedSender<Done>,
    state: tokio::sync::Mutex<Running>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

#[derive(Debug)]
struct Running {
    receiver: mpsc::UnboundedReceiver<Done>,
    /// Results that could not be written yet.
    waiting: Vec<Found>,
    checks: [JoinSet<()>; 2],
    loss: Loss,
    /// Since when this server has looked at the roll without a gap, and when last.
    looking: Option<(Instant, Instant)>,
    /// When the database was away last.
    away: Option<Instant>,
}

impl Default for Monitor {
    fn default() -> Monitor {
        let (sender, receiver) = mpsc::unbounded_channel();
        Monitor {
            sender,
            hosts: Mutex::default(),
            state: tokio::sync::Mutex::new(Running {
                receiver,
                waiting: Vec::new(),
                checks: [JoinSet::new(), JoinSet::new()],
                loss: Loss::default(),
                looking: None,
                away: None,
            }),
        }
    }
}

impl Monitor {
    /// One step: writes down what has ended, then claims what is due and starts looking at it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer; results are kept for the next step.
    pub async fn tick(&self, app: &App) -> Result<()> {
        let mut running = self.state.lock().await;
        // A step that hung was cut off, and nobody has said so.
        if running.looking.is_some_and(|(_, last)| last.elapsed() > LOOKED_AWAY) {
            running.looking = None;
            running.doubt();
        }
        let step = async {
            let mut conn = app.db.conn().await?;
            running.record(app, &mut conn).await?;
            self.claim(app, &mut running, &mut conn).await
        };
        let done = step.await;
        if done.is_err() {
            running.looking = None;
            running.doubt();
        }
        done
    }

    /// Waits until every check under way has ended, and writes down what they found. For tests and for a check on demand.
    ///
    /// # Errors
    /// As for [`Monitor::tick`].
    pub async fn settle(&self, app: &App) -> Result<()> {
        let mut running = self.state.lock().await;
        for checks in &mut running.checks {
            while checks.join_next().await.is_some() {}
        }
        let mut conn = app.db.conn().await?;
        running.record(app, &mut conn).await
    }

    async fn claim(&self, app: &App, running: &mut Running, conn: &mut Conn) -> Result<()> {
        if app.fenced(Instant::now()).is_some() {
            return Ok(());
        }
        let groups = running.owned(app, conn).await?;
        self.take_trials(app, running, conn, &groups).await?;
        for lane in [0, 1] {
            while running.checks[lane].try_join_next().is_some() {}
            let free = MOST_RUNNING[lane].saturating_sub(running.checks[lane].len()).min(PIECE);
            let ids = queries::due(conn, &groups, lane == 1, free).await?;
            if ids.is_empty() {
                continue;
            }
            let claim = Uuid::new_v4().simple().to_string();
            for claimed in queries::claim(conn, &ids, &claim).await? {
                let check = self.check(app, claimed);
                running.checks[lane].spawn(check);
            }
        }
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, host| Arc::strong_count(host) > 1);
        Ok(())
    }

    /// Somebody waits for these, so they go first; they count as checks.
    async fn take_trials(&self, app: &App, running: &mut Running, conn: &mut Conn, groups: &[u32]) -> Result<()> {
        while running.checks[0].try_join_next().is_some() {}
        let free = MOST_RUNNING[0].saturating_sub(running.checks[0].len()).min(MOST_TRIALS);
        let claim = Uuid::new_v4().simple().to_string();
        let keys = (claim.as_str(), app.install.id.as_str());
        for taken in crate::assets::trials::queries::take(conn, groups, keys, free).await? {
            let (app, host) = (app.clone(), self.host(&taken.address));
            running.checks[0].spawn(async move {
                let _place = host.acquire().await;
                trials::make(&app, taken).await;
            });
        }
        Ok(())
    }

    /// The places at the host of an address.
    fn host(&self, address: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(host_of(address));
        host.or_insert_with(|| Arc::new(Semaphore::new(MOST_PER_HOST))).clone()
    }

    /// One check, on its own.
    fn check(&self, app: &App, claimed: Claimed) -> impl Future<Output = ()> + use<> {
        let (app, sender) = (app.clone(), self.sender.clone());
        let host = self.host(&claimed.address);
        let patience = Duration::from_secs(u64::from(claimed.timeout_s));
        async move {
            // Hundreds at one host that hangs must not take the places of all others: these come again when due.
            let Ok(_place) = timeout(patience, host.acquire()).await else {
                return;
            };
            let began = Instant::now();
            let report = look(&app, prepare(&app, &claimed)).await;
            let done = Done { claimed, report, began };
            // Only a server that stops has nobody who listens.
            let _ = sender.send(done);
        }
    }
}

/// The host of an address, to be gentle to it.
fn host_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned()
}

async fn look(app: &App, prepared: Result<(Settings, Target)>) -> Report {
    match prepared {
        Ok((settings, target)) => settings.check(&target).await,
        // Said in its words: it tells which key is missing, and nothing secret.
        Err(Error::Invalid(text)) => Report::down(Reason::Internal {
            detail: detail(app.say(&text)),
        }),
        Err(error) => Report::down(Reason::Internal { detail: detail(error) }),
    }
}

fn prepare(app: &App, claimed: &Claimed) -> Result<(Settings, Target)> {
    let secret = match claimed.credential_id.as_deref().zip(claimed.sealed.as_deref()) {
        Some((credential_id, sealed)) => credentials::open(&app.seal, credential_id, sealed)?,
        None => Secret::default(),
    };
    let target = Target {
        secret,
        reach: check::reach(app),
        timeout: Duration::from_secs(u64::from(claimed.timeout_s)),
        pin: claimed.pin.clone(),
        last_ticks: last_ticks(claimed),
    };
    Ok((Settings::read(claimed.kind, &claimed.settings)?, target))
}

fn last_ticks(claimed: &Claimed) -> Option<[f64; 2]> {
    let facts: Facts = serde_json::from_str(claimed.facts.as_deref()?).ok()?;
    facts.cpu_ticks
}

impl Running {
    /// The groups that are ours, without those of which we only believe it and have not watched for long enough.
    async fn owned(&mut self, app: &App, conn: &mut Conn) -> Result<Vec<u32>> {
        let owned = queries::owned(conn, &app.install.id).await?;
        let now = Instant::now();
        let since = match self.looking {
            Some((since, last)) if now.saturating_duration_since(last) < LOOKED_AWAY => since,
            _ => now,
        };
        self.looking = Some((since, now));
        let watched = now.saturating_duration_since(since).as_secs();
        let sure = owned.into_iter().filter(|group| watched >= u64::from(group.doubt_s));
        Ok(sure.map(|group| group.group_id).collect())
    }

    async fn record(&mut self, app: &App, conn: &mut Conn) -> Result<()> {
        let now = Instant::now();
        let mut ended = Vec::new();
        while let Ok(done) = self.receiver.try_recv() {
            let fails = matches!(done.report.outcome, Outcome::Down(_));
            if fails && self.away.is_some_and(|away| done.began <= away) {
                continue;
            }
            self.loss.note(done.claimed.asset_id, done.claimed.state, fails, now);
            ended.push(done);
        }
        let is_lost = self.loss.is_on(now);
        if app.mass_loss.swap(is_lost, Ordering::Relaxed) != is_lost {
            tracing::warn!(lost = is_lost, "more than half of the assets fail at once: {is_lost}");
        }
        self.waiting.extend(
            ended
                .into_iter()
                .map(|done| Found::of(done.claimed, &done.report, is_lost)),
        );
        while !self.waiting.is_empty() {
            let piece = &self.waiting[..self.waiting.len().min(PIECE)];
            match write(app, conn, piece).await {
                Ok(()) => {}
                // Somebody edits these very assets: the next step writes them.
                Err(error) if error.is_contention() => return Ok(()),
                Err(Error::Internal(cause)) => one_by_one(app, conn, piece, &Error::Internal(cause)).await?,
                Err(error) => return Err(error),
            }
            self.waiting.drain(..piece.len());
        }
        Ok(())
    }

    /// The database is away: what fails meanwhile says more of our own network than of the assets.
    fn doubt(&mut self) {
        self.away = Some(Instant::now());
        self.waiting.retain(|found| found.misses == 0);
    }
}

/// What cannot be written must not keep the others from it.
async fn one_by_one(app: &App, conn: &mut Conn, found: &[Found], cause: &Error) -> Result<()> {
    tracing::warn!("results of assets, now one by one: {}", chain(cause));
    for one in found {
        match write(app, conn, std::slice::from_ref(one)).await {
            Ok(()) => {}
            Err(Error::Internal(cause)) => {
                tracing::warn!(
                    asset = one.id,
                    "a result is dropped: {}",
                    chain(&Error::Internal(cause))
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Results, changes of state and who is to be told of them: all or nothing.
async fn write(app: &App, conn: &mut Conn, found: &[Found]) -> Result<()> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let turned = queries::record(&mut tx, found, &app.install.id).await?;
    if !turned.is_empty() && notify::has_channels(&mut tx).await? {
        for turn in &turned {
            if let Some(one) = found.iter().find(|one| one.id == turn.asset_id) {
                tell(&mut tx, app, turn, one).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}

/// One message for an outage, one for its end.
async fn tell(tx: &mut Transaction<'_>, app: &App, turned: &Turned, found: &Found) -> Result<()> {
    let is_bad = |state| matches!(state, State::Down | State::Changed);
    let event = match (is_bad(turned.was), is_bad(turned.state), turned.state) {
        (false, true, _) => Event::Down,
        (_, false, State::Up | State::Degraded) => Event::Up,
        _ => return Ok(()),
    };
    let turn = found.turn.as_ref();
    let reason: Option<Reason> = turn.and_then(|turn| serde_json::from_str(&turn.reason).ok());
    let message = Message {
        subject: &format!("asset/{}", found.id),
        event,
        name: &found.about.name,
        group_id: found.about.group_id,
        group: &found.about.group,
        state: turned.state.name(),
        reason: reason.as_ref().map(Reason::text),
        since: turned.at,
        path: &format!("/assets/{}", found.id),
        held: Duration::ZERO,
    };
    notify::post(tx, app, &message).await
}
