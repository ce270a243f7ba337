//! What handlers and loops may need: the settings, the install, the database, and how this server stands.

use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use chrono::NaiveDateTime;
use tokio::sync::watch;

use crate::config::{Cluster, Config, Setting};
use crate::db::Db;
use crate::error::Result;
use crate::i18n::Text;
use crate::install::Install;
use crate::log::Store;
use crate::metrics::Metrics;
use crate::seal::Seal;

/// Offline after this many intervals without a beat; see `liveness` for the rule as SQL.
pub const OFFLINE_INTERVALS: u32 = 3;

/// Cheap to clone; all clones are the same server.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    pub config: Config,
    pub install: Arc<Install>,
    pub db: Db,
    pub log: Arc<Store>,
    pub seal: Seal,
    pub metrics: Metrics,
    pub standing: watch::Sender<Standing>,
    /// Cluster id and interval as they are now; the heart and the pages follow.
    pub cluster: watch::Sender<Cluster>,
    /// The settings file as last taken up; held while it is changed.
    pub settings: tokio::sync::Mutex<Latest>,
    name: RwLock<String>,
    last_beat: RwLock<Option<Beat>>,
    /// When somebody's change through this server was done last.
    written: RwLock<Option<Instant>>,
    /// Whether the last page that asked the database got no answer.
    pub unanswered: AtomicBool,
    /// So many assets fail at once that it may be our own network.
    pub mass_loss: AtomicBool,
    /// The database is sealed with a master key that this server does not have.
    pub lacks_key: AtomicBool,
}

/// A beat that landed.
#[derive(Debug, Clone, Copy)]
struct Beat {
    sent: Instant,
    interval_s: u32,
}

/// The settings file as this server last took it up.
#[derive(Debug)]
pub struct Latest {
    /// Tells that text from others.
    pub fingerprint: String,
    pub settings: Vec<Setting>,
}

/// Whether this server may work, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The database has not answered yet; with the reason of the last try.
    Starting(Option<String>),
    /// Registered and beating.
    Working,
    /// Somebody deleted this cluster. It does nothing until a person decides.
    Removed { by: String, at: Option<NaiveDateTime> },
    /// Another live process has our install id.
    Duplicate { host: String, path: String },
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// # Errors
    /// [`crate::error::Error::Invalid`] when the file of the master key is broken.
    pub fn new(config: Config, install: impl Into<Arc<Install>>, db: Db, log: Arc<Store>) -> Result<App> {
        Ok(App(Arc::new(Inner {
            metrics: Metrics::new()?,
            seal: Seal::open(&config.data, config.master_key.as_ref().map(|key| key.0.as_str()))?,
            standing: watch::Sender::new(Standing::Starting(None)),
            name: RwLock::new(config.cluster.id.clone()),
            cluster: watch::Sender::new(config.cluster.clone()),
            settings: tokio::sync::Mutex::new(Latest {
                fingerprint: config.fingerprint.clone(),
                settings: config.settings.clone(),
            }),
            last_beat: RwLock::new(None),
            written: RwLock::new(None),
            unanswered: AtomicBool::new(false),
            mass_loss: AtomicBool::new(false),
            lacks_key: AtomicBool::new(false),
            config,
            install: install.into(),
            db,
            log,
        })))
    }

    /// Says a message of the log in the language of the settings.
    pub fn say(&self, text: &Text) -> String {
        text.say(self.config.lang)
    }

    /// This cluster's name as last read from the database.
    pub fn name(&self) -> String {
        read(&self.name)
    }

    pub fn set_name(&self, name: String) {
        write(&self.name, name);
    }

    /// `jpom.cluster.id` as it is now.
    pub fn cluster_id(&self) -> String {
        self.cluster.borrow().id.clone()
    }

    /// `jpom.cluster.heart-second` as it is now.
    pub fn heart_seconds(&self) -> u32 {
        self.cluster.borrow().heart_seconds
    }

    /// Remembers when the last beat that landed was sent (not when its answer came), and the interval it wrote.
    pub fn beat_landed(&self, sent: Instant, interval_s: u32) {
        write(&self.last_beat, Some(Beat { sent, interval_s }));
    }

    /// When somebody's change through this server was done last.
    pub fn written(&self) -> Option<Instant> {
        read(&self.written)
    }

    pub fn note_written(&self) {
        write(&self.written, Some(Instant::now()));
    }

    /// For how long no beat has landed, if that is so long that others may soon take over: the offline limit less one
    /// interval. Measured with the monotonic clock of this machine.
    pub fn fenced(&self, now: Instant) -> Option<Duration> {
        let last = read(&self.last_beat)?;
        let silent = now.saturating_duration_since(last.sent);
        // A longer interval counts once the others can read it.
        let interval_s = last.interval_s.min(self.heart_seconds());
        let limit = Duration::from_secs(u64::from(interval_s * (OFFLINE_INTERVALS - 1)));
        (silent > limit).then_some(silent)
    }
}

/// A panic while writing one of these whole values cannot leave it half written, so a poisoned lock is read on.
fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

fn write<T>(lock: &RwLock<T>, value: T) {
    *lock.write().unwrap_or_else(std::sync::PoisonError::into_inner) = value;
}
