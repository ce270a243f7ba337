//! Calls the roll: registers this server's row, beats, and steps back when the row belongs to somebody else.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mysql_async::{Conn, TxOpts};
use tokio::sync::watch;
use tokio::time::{Instant as Tick, sleep_until, timeout};

use super::portrait::SelfPortrait;
use super::queries;
use super::rival::{record_changed_cluster_id, tell_changed_cluster_id, tell_removed};
use super::roll::{self, Holder};
use crate::app::{App, Standing};
use crate::config::Cluster;
use crate::db::migrations;
use crate::error::{Error, Result, chain};
use crate::groups::queries as groups;
use crate::i18n::Text;
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::workspaces::queries as workspaces;

/// Pause after a first failure: a new connection may do where the old one was dead. While the database has not answered
/// since the start, it doubles up to [`MOST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MOST_BACKOFF: Duration = Duration::from_secs(15);
/// After more beats that failed the next one comes this soon, however long the interval is.
const RETRY: Duration = Duration::from_secs(5);
/// How long the last word may take when the server stops.
const LAST_WORD: Duration = Duration::from_millis(1500);

/// One server's heart: a connection of its own, and what it believes about its row.
#[derive(Debug)]
pub struct Heart {
    pub(super) app: App,
    conn: Option<Conn>,
    /// Of the database, which the connection leads to.
    node: usize,
    pub(super) stage: Stage,
    /// How long the last beat that landed took, in milliseconds.
    took_ms: f64,
    /// What our row says of us: cluster id and interval.
    written: Cluster,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The schema is not known to be ours yet.
    Opening,
    Registering,
    /// `seq` is the number of our last beat; `unsure` beats may have landed without our hearing of it.
    Beating {
        seq: Option<u64>,
        unsure: u64,
    },
    /// Another process holds our install id; what it looked like at the last look.
    Waiting {
        seen: Box<Holder>,
    },
    Removed,
}

impl Heart {
    pub fn new(app: App) -> Heart {
        let written = app.cluster.borrow().clone();
        Heart {
            app,
            conn: None,
            node: 0,
            stage: Stage::Opening,
            took_ms: 0.0,
            written,
        }
    }

    /// Ticks until `stop` turns true, then says the last word.
    ///
    /// # Errors
    /// What no retry mends at the start: the database refuses us for good, or its schema is newer than we are.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut due = Tick::now();
        let mut failures: u32 = 0;
        let mut settings = self.app.cluster.subscribe();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep_until(due) => {}
                // Cluster id and interval take effect with a beat at once.
                Ok(()) = settings.changed() => due = Tick::now(),
            }
            let result = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                result = self.tick() => result,
            };
            match result {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(failures, "{}", self.app.say(&Text::new("heart.back")));
                    }
                    failures = 0;
                    due = self.next(due);
                }
                Err(error @ Error::Invalid(_)) if self.is_starting() => return Err(error),
                Err(error) => {
                    self.failed(&error, failures);
                    due = Tick::now() + self.pause(failures);
                    failures += 1;
                }
            }
        }
        self.last_word().await;
        Ok(())
    }

    /// One step: whatever the row and the stage ask for. Safe to repeat; takes at most half an interval, except for
    /// migrations.
    ///
    /// # Errors
    /// The database does not answer, or refuses; the next tick is the retry.
    pub async fn tick(&mut self) -> Result<()> {
        if matches!(self.stage, Stage::Opening) {
            migrations::run(&self.app.db).await?;
            self.app.seal.check(&mut self.app.db.own_conn().await?).await?;
            self.stage = Stage::Registering;
        }
        let limit = self.interval() / 2;
        let app = self.app.clone();
        let step = async {
            tokio::select! {
                done = self.step() => done,
                error = app.db.nodes().left() => Err(error),
            }
        };
        match timeout(limit, step).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.conn = None;
                Err(error)
            }
            Err(_) => {
                self.conn = None;
                Err(Error::timed_out("no answer within half an interval"))
            }
        }
    }

    async fn step(&mut self) -> Result<()> {
        // All servers use the same node, so that they see each other's writes at once.
        if self.conn.is_none() || self.node != self.app.db.nodes().current() {
            self.conn = Some(self.app.db.own_conn().await?);
            self.node = self.app.db.nodes().current();
        }
        // Somebody asked for it on our own pages.
        if matches!(self.stage, Stage::Removed) && self.is_starting() {
            self.stage = Stage::Registering;
        }
        if matches!(self.stage, Stage::Registering) {
            self.register().await?;
        }
        match &self.stage {
            Stage::Beating { .. } => self.beat().await,
            Stage::Waiting { .. } => self.look_at_other().await,
            Stage::Opening | Stage::Registering | Stage::Removed => Ok(()),
        }
    }

    pub(super) fn conn(&mut self) -> Result<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| Error::timed_out("no connection"))
    }

    /// Takes the row, or learns why not. One transaction with the row locked.
    async fn register(&mut self) -> Result<()> {
        let me = SelfPortrait::of(&self.app);
        self.written = Cluster {
            id: me.cluster_id.clone(),
            heart_seconds: me.interval_s,
        };
        let app = self.app.clone();
        let conn = self.conn()?;
        // Only a row that exists is locked: a lock on the gap where it will stand would make servers that start
        // together on an empty table wait for each other until one is turned away.
        let exists = roll::holder(conn, &me.install_id).await?.is_some();
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        let holder = if exists {
            roll::locked_holder(&mut tx, &me.install_id).await?
        } else {
            None
        };
        let next = match holder {
            None => {
                groups::lock_default(&mut tx).await?;
                roll::insert(&mut tx, &me, &me.first_name()).await?;
                let entry = Entry::by(&Actor::server(&app), Action::ClusterRegister);
                audit::record(
                    &mut tx,
                    &entry.on(Object::new("cluster", &me.install_id, &me.first_name())),
                )
                .await?;
                if groups::is_only_cluster(&mut tx, &me.install_id).await? {
                    groups::bind_all(&mut tx, &me.install_id).await?;
                    workspaces::bind_all(&mut tx, &me.install_id).await?;
                }
                Stage::Beating {
                    seq: Some(0),
                    unsure: 0,
                }
            }
            Some(holder) if holder.removed_at.is_some() => {
                tell_removed(&app, &holder);
                Stage::Removed
            }
            Some(holder) if holder.is_free_for(&me) && roll::adopt(&mut tx, &me, &holder).await? => {
                let ids = (holder.cluster_id.as_str(), me.cluster_id.as_str());
                record_changed_cluster_id(&mut tx, &app, &holder.name, ids).await?;
                tell_changed_cluster_id(&app, ids);
                Stage::Beating {
                    seq: Some(holder.beat_seq),
                    unsure: 0,
                }
            }
            Some(holder) => Stage::Waiting { seen: Box::new(holder) },
        };
        tx.commit().await?;
        self.stage = next;
        Ok(())
    }

    /// Called after a beat that landed: only then is the row surely ours.
    async fn works(&mut self) -> Result<()> {
        if *self.app.standing.borrow() == Standing::Working {
            return Ok(());
        }
        let install_id = self.app.install.id.clone();
        if let Some(name) = queries::name(self.conn()?, &install_id).await? {
            self.app.set_name(name);
        }
        self.app.install.note_boot();
        self.app.standing.send_replace(Standing::Working);
        tracing::info!(
            boot = self.app.install.boot_id(),
            "{}",
            self.app.say(&Text::new("heart.registered"))
        );
        Ok(())
    }

    async fn beat(&mut self) -> Result<()> {
        let app = self.app.clone();
        let wanted = app.cluster.borrow().clone();
        let (sent, took_ms) = (Instant::now(), self.took_ms);
        let boot_id = app.install.boot_id();
        // Until the answer is here, the beat may have landed or not.
        let Stage::Beating { seq: known, unsure } = &mut self.stage else {
            return Ok(());
        };
        let (known, beats) = (*known, *unsure + 1);
        *unsure = beats;
        // Whether this beat lands or not: others judge us by no more than the shorter.
        self.written.heart_seconds = self.written.heart_seconds.min(wanted.heart_seconds);
        let landed = roll::beat(self.conn()?, &app.install.id, &boot_id, wanted.heart_seconds, took_ms).await?;
        let Some(seq) = landed else {
            return self.lost_row().await;
        };
        self.took_ms = sent.elapsed().as_secs_f64() * 1000.0;
        app.metrics.beat_seconds.observe(sent.elapsed().as_secs_f64());
        app.beat_landed(sent, wanted.heart_seconds);
        self.written.heart_seconds = wanted.heart_seconds;
        app.unanswered.store(false, Ordering::Relaxed);
        self.stage = Stage::Beating {
            seq: Some(seq),
            unsure: 0,
        };
        if known.is_some_and(|known| seq > known + beats) {
            return self.share_no_boot_id(&boot_id, seq).await;
        }
        if wanted.id != self.written.id {
            self.change_cluster_id(&wanted.id).await;
        }
        self.works().await
    }

    /// Writes a cluster id that was changed in the settings, once the beat has landed: what goes wrong here must not keep
    /// the server from beating, and the next beat is the retry.
    async fn change_cluster_id(&mut self, new: &str) {
        let (app, old) = (self.app.clone(), self.written.id.clone());
        let boot_id = app.install.boot_id();
        let change = async {
            let mut tx = self.conn()?.start_transaction(TxOpts::default()).await?;
            if roll::set_cluster_id(&mut tx, (&app.install.id, &boot_id), new).await? {
                record_changed_cluster_id(&mut tx, &app, &app.name(), (&old, new)).await?;
            }
            tx.commit().await?;
            Ok::<(), Error>(())
        };
        match change.await {
            Ok(()) => {
                tell_changed_cluster_id(&app, (&old, new));
                new.clone_into(&mut self.written.id);
            }
            Err(error) => {
                tracing::warn!("{}", chain(&error));
                self.conn = None;
            }
        }
    }

    /// Marks the row stopped (or takes back the report of a duplicate), within 1.5 s.
    pub async fn last_word(&mut self) {
        if !matches!(self.stage, Stage::Beating { .. } | Stage::Waiting { .. }) {
            return;
        }
        let result = timeout(LAST_WORD, async {
            let (install_id, boot_id) = (self.app.install.id.clone(), self.app.install.boot_id());
            // A tick cut off by the stop may have left its connection in the middle of an answer.
            self.conn = Some(self.app.db.own_conn().await?);
            match self.stage {
                Stage::Beating { .. } => roll::stop(self.conn()?, &install_id, &boot_id).await?,
                Stage::Waiting { .. } => roll::withdraw_duplicate(self.conn()?, &install_id, &boot_id).await?,
                Stage::Opening | Stage::Registering | Stage::Removed => {}
            }
            Ok::<(), Error>(())
        });
        match result.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("{}: {}", self.app.say(&Text::new("heart.unsaid")), chain(&error)),
            Err(_) => tracing::warn!("{}", self.app.say(&Text::new("heart.unsaid"))),
        }
    }

    /// The shorter of what is wanted and what the others judge us by: a longer interval is written before we slow down, a
    /// shorter one counts before it is written.
    pub fn interval(&self) -> Duration {
        let seconds = self.app.heart_seconds().min(self.written.heart_seconds);
        Duration::from_secs(u64::from(seconds))
    }

    fn is_starting(&self) -> bool {
        matches!(*self.app.standing.borrow(), Standing::Starting(_))
    }

    /// Fixed rate; only the second beat is moved by up to a tenth, so that servers started together do not beat
    /// together. Beats missed meanwhile are not made up for.
    fn next(&self, last: Tick) -> Tick {
        let mut interval = match self.stage {
            Stage::Beating { .. } => self.interval(),
            Stage::Opening | Stage::Registering | Stage::Waiting { .. } | Stage::Removed => self.interval().min(RETRY),
        };
        if let Stage::Beating { seq: Some(seq), .. } = self.stage
            && seq <= 1
        {
            interval = jittered(interval, &self.app.install.boot_id());
        }
        let mut next = last + interval;
        while next <= Tick::now() {
            next += interval;
        }
        next
    }

    fn pause(&self, failures: u32) -> Duration {
        match self.is_starting() {
            true => FIRST_BACKOFF.saturating_mul(1 << failures.min(10)).min(MOST_BACKOFF),
            false if failures == 0 => FIRST_BACKOFF,
            false => self.interval().min(RETRY),
        }
    }

    /// Says once that it fails, and why; the end of the failure is said by [`Heart::run`].
    fn failed(&self, error: &Error, failures: u32) {
        self.app.metrics.beats_missed.inc();
        if self.is_starting() {
            self.app.standing.send_replace(Standing::Starting(Some(chain(error))));
        }
        if failures == 0 {
            let text = Text::new("heart.failed").with("place", &self.app.db.place);
            tracing::warn!("{}: {}", self.app.say(&text), chain(error));
        }
    }
}

/// Up to a tenth more or less, different for each start.
fn jittered(interval: Duration, boot_id: &str) -> Duration {
    let seed = boot_id
        .get(..4)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .unwrap_or(0x8000);
    interval.mul_f64(0.9 + 0.2 * f64::from(seed) / 65536.0)
}
