//! Every loop and its period. The heart is not among them: it beats on its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::App;
use crate::assets::monitor::{self, Monitor};
use crate::assets::queries as assets;
use crate::assets::trials::queries as trials;
use crate::clusters::check;
use crate::clusters::conflict::Watch;
use crate::clusters::roll;
use crate::clusters::transitions::Observer;
use crate::db::nodes;
use crate::error::{Error, Result};
use crate::people::setup::Announcer;
use crate::people::{audit, password, sessions, sign_in, users};
use crate::periodic::{self, When};
use crate::system::settings::watch::Watcher;
use crate::{handovers, jumps, notify};

/// Who waits for the set-up token sees it in the log within this.
const SETUP: Duration = Duration::from_secs(2);
/// A change of a cluster's state stands in the audit trail this much later at most.
const TRANSITIONS: Duration = Duration::from_secs(5);
/// A second server with the same cluster id stands in the log this much later at most.
const CONFLICTS: Duration = Duration::from_secs(5);
/// How soon a server notices that an address is due: its own is after half a minute or once it is another.
const ADDRESSES: Duration = Duration::from_secs(5);
/// How often the settings file is looked at; it counts once two looks found the same.
const SETTINGS: Duration = Duration::from_secs(1);
/// A key copied to this server is known to the others this much later at most.
const KEYS: Duration = Duration::from_secs(10);
/// Changes of assets' states are kept a little longer than the bar of thirty days shows.
const HISTORY_DAYS: u32 = 35;
/// A message that is due is on its way this much later at most.
const NOTICES: Duration = Duration::from_secs(2);
/// A server that lives tells of clusters and groups that nobody answers for this much later at most.
const OUTAGES: Duration = Duration::from_secs(5);
/// What is past its time is only in the way.
const SWEEP: Duration = Duration::from_secs(600);

/// Starts them all; they end when `stop` turns true.
pub fn start(app: &App, stop: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn_blocking(password::prepare);
    let named = |name| (app.clone(), name, When::Working);
    let (announcer, observer) = (Arc::new(Announcer::default()), Arc::new(Observer::default()));
    tasks.spawn(periodic::run(named("set-up token"), SETUP, stop.clone(), move |app| {
        let announcer = announcer.clone();
        async move { announcer.tick(&app).await }
    }));
    tasks.spawn(periodic::run(named("sweep"), SWEEP, stop.clone(), |app| async move {
        sweep(&app).await
    }));
    tasks.spawn(periodic::run(
        named("master key"),
        KEYS,
        stop.clone(),
        |app| async move { keys(&app).await },
    ));
    tasks.spawn(periodic::run(
        named("address checks"),
        ADDRESSES,
        stop.clone(),
        |app| async move { check::tick(&app).await },
    ));
    tell(&mut tasks, app, stop);
    if app.db.nodes().are_several() {
        let always = (app.clone(), "nodes of the database", When::Always);
        tasks.spawn(periodic::run(always, nodes::PERIOD, stop.clone(), |app| async move {
            app.db.nodes().look().await
        }));
    }
    let watcher = Arc::new(Watcher::default());
    tasks.spawn(periodic::run(
        (app.clone(), "settings", When::Always),
        SETTINGS,
        stop.clone(),
        move |app| {
            let watcher = watcher.clone();
            async move { watcher.tick(&app).await }
        },
    ));
    let watch = Arc::new(Watch::default());
    tasks.spawn(periodic::run(named("conflicts"), CONFLICTS, stop.clone(), move |app| {
        let watch = watch.clone();
        async move { watch.tick(&app).await }
    }));
    tasks.spawn(periodic::run(named("states"), TRANSITIONS, stop.clone(), move |app| {
        let observer = observer.clone();
        async move { observer.tick(&app).await }
    }));
    let monitor = Arc::new(Monitor::default());
    tasks.spawn(periodic::run(
        named("assets"),
        monitor::PACE,
        stop.clone(),
        move |app| {
            let monitor = monitor.clone();
            async move { monitor.tick(&app).await }
        },
    ));
    tasks
}

/// Finding out what is to be told of clusters and groups, and sending all messages.
fn tell(tasks: &mut JoinSet<()>, app: &App, stop: &watch::Receiver<bool>) {
    let named = |name| (app.clone(), name, When::Working);
    let lookout = Arc::new(notify::Lookout::default());
    tasks.spawn(periodic::run(named("outages"), OUTAGES, stop.clone(), move |app| {
        let lookout = lookout.clone();
        async move { lookout.tick(&app).await }
    }));
    let outbox = Arc::new(notify::Outbox::default());
    tasks.spawn(periodic::run(named("notices"), NOTICES, stop.clone(), move |app| {
        let outbox = outbox.clone();
        async move { outbox.tick(&app).await }
    }));
}

/// Says on the roll which master keys this server has, and on its own pages when it lacks the one in use.
///
/// # Errors
/// [`crate::error::Error::Invalid`] with the remedy when it lacks the one in use.
pub async fn keys(app: &App) -> Result<()> {
    app.seal.reload()?;
    let known = match app.seal.fingerprints().join(" ") {
        none if none.is_empty() => "-".to_owned(),
        known => known,
    };
    let mut conn = app.db.conn().await?;
    roll::tell_keys(&mut conn, &app.install.id, &known).await?;
    let fits = app.seal.check(&mut conn).await;
    app.lacks_key
        .store(matches!(fits, Err(Error::Invalid(_))), Ordering::Relaxed);
    fits
}

/// Drops what is past its time, in small pieces until nothing is left or the step's time is over.
///
/// # Errors
/// [`crate::error::Error::Unavailable`] while the database does not answer.
pub async fn sweep(app: &App) -> Result<()> {
    let mut conn = app.db.conn().await?;
    loop {
        let mut dropped = sessions::queries::sweep(&mut conn).await?;
        dropped += users::queries::sweep_browsers(&mut conn).await?;
        dropped += sign_in::throttle::sweep(&mut conn).await?;
        dropped += jumps::queries::sweep(&mut conn).await?;
        dropped += assets::sweep(&mut conn, HISTORY_DAYS).await?;
        dropped += trials::sweep(&mut conn).await?;
        dropped += notify::sweep(&mut conn).await?;
        if app.config.audit_days > 0 {
            dropped += audit::sweep(&mut conn, app.config.audit_days).await?;
            dropped += handovers::queries::sweep(&mut conn, app.config.audit_days).await?;
        }
        if dropped == 0 {
            return Ok(());
        }
    }
}
