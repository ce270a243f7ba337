//! The watch over the assets of the groups that this server owns: claims what is due, looks, and writes down what it found.

mod found;
mod lanes;
mod loss;
pub mod queries;
mod record;
mod trials;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::credentials;
use super::facts::Facts;
use super::kind::Settings;
use super::outcome::{Outcome, Reason, Report, detail};
use super::target::{Secret, Target};
use crate::app::App;
use crate::clusters::check;
use crate::error::{Error, Result};
use crate::periodic::Pace;
use lanes::{Lanes, Place};
use loss::Loss;
use queries::{Claimed, Found};
use record::{one_by_one, write};

/// How often a server looks what is due. Each of a step's parts has a limit of its own, [`PART`].
pub const PACE: Pace = Pace {
    period: Duration::from_millis(500),
    limit: Duration::from_secs(120),
};
/// Longest that one part of a step waits for the database: enough for a slow one, and for a dead connection not too much.
const PART: Duration = Duration::from_secs(15);
/// Assets claimed, and results written, by one statement.
const PIECE: usize = 500;
/// Between the beginnings of two checks: a page that is asked for meanwhile must not wait for hundreds of them.
const PAUSE: Duration = Duration::from_millis(2);
/// Trials taken by one step.
const MOST_TRIALS: usize = 20;
/// How often one looks for assets that are due later than their interval allows, as after the database's clock was set back.
const MENDS: Duration = Duration::from_secs(60);
/// Between two times that others are looked at because one fails.
const HASTENS: Duration = Duration::from_secs(5);
/// A server that looked away for so long has to watch anew before it believes that others are gone.
const LOOKED_AWAY: Duration = Duration::from_secs(10);

/// A check that ended.
#[derive(Debug)]
struct Done {
    claimed: Claimed,
    /// None when its host had no place for it.
    report: Option<Report>,
    began: Instant,
    took: Duration,
}

/// Keeps the checks under way between two steps.
#[derive(Debug)]
pub struct Monitor {
    sender: mpsc::UnboundedSender<Done>,
    state: tokio::sync::Mutex<Running>,
    lanes: Lanes,
}

#[derive(Debug)]
struct Running {
    receiver: mpsc::UnboundedReceiver<Done>,
    /// Of its own: pages must not keep the watch waiting.
    conn: Option<Conn>,
    /// Of the database, which the connection leads to.
    node: usize,
    /// Results that could not be written yet.
    waiting: Vec<Found>,
    /// How many of them are written at once: fewer while that takes too long.
    piece: usize,
    /// A step that was cut off has left this behind.
    is_writing: bool,
    checks: JoinSet<()>,
    loss: Loss,
    /// Since when this server has looked at the roll without a gap, and when last.
    looking: Option<(Instant, Instant)>,
    /// When the database was away last.
    away: Option<Instant>,
    mended: Option<Instant>,
    /// Something fails that had answered; until others have been looked at for it.
    has_failure: bool,
    hastened: Option<Instant>,
}

impl Default for Monitor {
    fn default() -> Monitor {
        let (sender, receiver) = mpsc::unbounded_channel();
        Monitor {
            sender,
            lanes: Lanes::default(),
            state: tokio::sync::Mutex::new(Running {
                receiver,
                conn: None,
                node: 0,
                waiting: Vec::new(),
                piece: PIECE,
                is_writing: false,
                checks: JoinSet::new(),
                loss: Loss::default(),
                looking: None,
                away: None,
                mended: None,
                has_failure: false,
                hastened: None,
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
        if std::mem::take(&mut running.is_writing) {
            running.write_less();
        }
        // Others count as the owners by now: what was found before may not be said any more.
        if app.fenced(Instant::now()).is_some() {
            running.waiting.clear();
        }
        // A step that hung was cut off, and nobody has said so.
        if running.looking.is_some_and(|(_, last)| last.elapsed() > LOOKED_AWAY) {
            running.looking = None;
            running.doubt();
        }
        let done = match within(running.connected(app)).await {
            Ok(mut conn) => {
                let done = tokio::select! {
                    done = self.step(app, &mut running, &mut conn) => done,
                    error = app.db.nodes().left() => Err(error),
                };
                if !matches!(done, Err(Error::Unavailable(_))) {
                    running.conn = Some(conn);
                }
                done
            }
            Err(error) => Err(error),
        };
        if matches!(done, Err(Error::Unavailable(_))) {
            running.looking = None;
            running.doubt();
        }
        done
    }

    async fn step(&self, app: &App, running: &mut Running, conn: &mut Conn) -> Result<()> {
        running.record(app, conn).await?;
        match self.claim(app, running, conn).await {
            // Somebody edits these very assets: the next step takes them.
            Err(error) if error.is_contention() => Ok(()),
            done => done,
        }
    }

    /// Waits until every check under way has ended, and writes down what they found. For tests.
    ///
    /// # Errors
    /// As for [`Monitor::tick`].
    pub async fn settle(&self, app: &App) -> Result<()> {
        let mut running = self.state.lock().await;
        while running.checks.join_next().await.is_some() {}
        let mut conn = running.connected(app).await?;
        running.record(app, &mut conn).await
    }

    async fn claim(&self, app: &App, running: &mut Running, conn: &mut Conn) -> Result<()> {
        if app.fenced(Instant::now()).is_some() {
            return Ok(());
        }
        let groups = within(running.owned(app, conn)).await?;
        if running.mended.is_none_or(|mended| mended.elapsed() > MENDS) {
            within(queries::mend(conn, &groups)).await?;
            running.mended = Some(Instant::now());
        }
        within(running.look_around(conn, &groups)).await?;
        while running.checks.try_join_next().is_some() {}
        within(self.take_trials(app, running, conn, &groups)).await?;
        for is_slow in [false, true] {
            let free = self.lanes.free(is_slow).min(PIECE);
            let ids = within(queries::due(conn, &groups, is_slow, free)).await?;
            let claim = Uuid::new_v4().simple().to_string();
            let claimed = within(queries::claim(conn, &ids, &claim)).await?;
            let pause = PAUSE.min(PACE.period / claimed.len().max(1) as u32);
            for (number, claimed) in (0..).zip(claimed) {
                let Some(place) = self.lanes.take(is_slow) else { break };
                let check = self.check(app, claimed, (place, is_slow));
                running.checks.spawn(async move {
                    sleep(pause * number).await;
                    check.await;
                });
            }
        }
        self.lanes.tidy();
        Ok(())
    }

    /// Somebody waits for these, so they go first; they count as checks.
    async fn take_trials(&self, app: &App, running: &mut Running, conn: &mut Conn, groups: &[u32]) -> Result<()> {
        let free = self.lanes.free(false).min(MOST_TRIALS);
        let claim = Uuid::new_v4().simple().to_string();
        let keys = (claim.as_str(), app.install.id.as_str());
        for taken in crate::assets::trials::queries::take(conn, groups, keys, free).await? {
            let Some(place) = self.lanes.take(false) else { break };
            let (app, host) = (app.clone(), self.lanes.at_host(&taken.address, false));
            running.checks.spawn(place.run(async move {
                let _place = host.acquire().await;
                trials::make(&app, taken).await;
            }));
        }
        Ok(())
    }

    /// One check, on its own.
    fn check(&self, app: &App, claimed: Claimed, (place, is_slow): (Place, bool)) -> impl Future<Output = ()> + use<> {
        let (app, sender) = (app.clone(), self.sender.clone());
        let host = self.lanes.at_host(&claimed.address, is_slow);
        // With the wait it must be over before it is due again, since it would not count then.
        let patience = claimed
            .timeout_s
            .min(claimed.interval_s.saturating_sub(claimed.timeout_s));
        let patience = Duration::from_secs(u64::from(patience.max(1)));
        place.run(async move {
            let turn = timeout(patience, host.acquire()).await;
            let began = Instant::now();
            let report = match turn {
                Ok(_place) => Some(look(&app, prepare(&app, &claimed)).await),
                Err(_) => None,
            };
            let took = began.elapsed();
            let done = Done {
                claimed,
                report,
                began,
                took,
            };
            // Only a server that stops has nobody who listens.
            let _ = sender.send(done);
        })
    }
}

async fn within<T, E: Into<Error>>(part: impl Future<Output = std::result::Result<T, E>>) -> Result<T> {
    match timeout(PART, part).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Error::timed_out("not done in time")),
    }
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
    /// The connection of the last step, or a new one. Others' locks are not waited for for long.
    async fn connected(&mut self, app: &App) -> Result<Conn> {
        let former = self.conn.take();
        if let Some(conn) = former.filter(|_| self.node == app.db.nodes().current()) {
            return Ok(conn);
        }
        let mut conn = app.db.own_conn().await?;
        self.node = app.db.nodes().current();
        conn.query_drop("set session innodb_lock_wait_timeout = 1").await?;
        Ok(conn)
    }

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

    /// When something fails and little else was looked at lately, some others are looked at now: whether it is our own
    /// network must be known before the first of few counts as down.
    async fn look_around(&mut self, conn: &mut Conn, groups: &[u32]) -> Result<()> {
        let now = Instant::now();
        let is_soon = self
            .hastened
            .is_some_and(|at| now.saturating_duration_since(at) < HASTENS);
        if std::mem::take(&mut self.has_failure) && !is_soon && self.loss.knows_little(now) {
            queries::hasten(conn, groups, loss::ENOUGH).await?;
            self.hastened = Some(now);
        }
        Ok(())
    }

    async fn record(&mut self, app: &App, conn: &mut Conn) -> Result<()> {
        let now = Instant::now();
        let (mut ended, mut unseen) = (Vec::new(), Vec::new());
        while let Ok(done) = self.receiver.try_recv() {
            let Some(report) = done.report else {
                unseen.push((done.claimed.asset_id, done.claimed.claim));
                continue;
            };
            let fails = matches!(report.outcome, Outcome::Down(_));
            if fails && self.away.is_some_and(|away| done.began <= away) {
                continue;
            }
            self.has_failure |= fails && done.claimed.misses == 0 && done.claimed.state.answered();
            self.loss.note(done.claimed.asset_id, done.claimed.state, fails, now);
            ended.push((done.claimed, report, (done.began + done.took, done.took)));
        }
        let is_lost = self.loss.is_on(now);
        if app.mass_loss.swap(is_lost, Ordering::Relaxed) != is_lost {
            tracing::warn!(lost = is_lost, "more than half of the assets fail at once: {is_lost}");
        }
        let found = ended.into_iter();
        self.waiting
            .extend(found.map(|(claimed, report, time)| Found::of(claimed, &report, time, is_lost)));
        within(queries::put_back(conn, &unseen)).await?;
        while !self.waiting.is_empty() {
            let count = self.waiting.len().min(self.piece);
            let piece = &self.waiting[..count];
            self.is_writing = true;
            let done = within(write(app, conn, piece)).await;
            self.is_writing = false;
            match done {
                Ok(()) => self.piece = (self.piece * 2).min(PIECE),
                // Somebody edits some of these very assets: the others go first.
                Err(error) if error.is_contention() => {
                    self.waiting.rotate_left(count);
                    self.write_less();
                    return Ok(());
                }
                Err(error @ Error::Unavailable(_)) => {
                    self.write_less();
                    return Err(error);
                }
                Err(Error::Internal(cause)) => one_by_one(app, conn, piece, &Error::Internal(cause)).await?,
                Err(error) => return Err(error),
            }
            self.waiting.drain(..count);
        }
        Ok(())
    }

    fn write_less(&mut self) {
        self.piece = (self.piece / 2).max(1);
    }

    /// The database is away: what fails meanwhile says more of our own network than of the assets.
    fn doubt(&mut self) {
        self.away = Some(Instant::now());
        self.waiting.retain(|found| found.misses == 0);
    }
}
