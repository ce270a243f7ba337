//! Takes up the settings file: what the page saved, and what somebody changed by hand.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::draft::with_files;
use super::effect::{Change, changes};
use crate::app::{App, Latest};
use crate::config::{Config, Problem, file};
use crate::error::Result;
use crate::i18n::Text;
use crate::people::audit::{self, Action, Actor, Entry, Object, Secret};

/// Looks at the file again and again.
#[derive(Debug, Default)]
pub struct Watcher {
    /// The text at the last look: an editor that writes in two steps must not be met between them.
    seen: Mutex<String>,
    /// Lines of the trail that could not be written yet.
    unsaid: Mutex<Vec<Entry>>,
}

impl Watcher {
    /// Takes up a text that two looks found the same, or says why not; the settings stay as they are then.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not take the trail's line; what was changed counts.
    pub async fn tick(&self, app: &App) -> Result<()> {
        self.look(app).await;
        self.say(app).await
    }

    async fn look(&self, app: &App) {
        // Held from before the file is read: what the page saves meanwhile is not met half way.
        let mut latest = app.settings.lock().await;
        let read = read(app).await;
        let fingerprint = match &read {
            Ok(Some(text)) => file::fingerprint(text),
            Ok(None) => "gone".to_owned(),
            Err(problem) => format!("unreadable: {}", app.say(&problem.text)),
        };
        let is_settled = std::mem::replace(&mut *lock(&self.seen), fingerprint.clone()) == fingerprint;
        if !is_settled || latest.fingerprint == fingerprint {
            return;
        }
        let judged = match read {
            Ok(Some(text)) => match app.config.reader.judge(&text) {
                Ok(config) => with_files(config).await,
                Err(problems) => Err(problems),
            },
            Ok(None) => Err(vec![gone(app)]),
            Err(problem) => Err(vec![problem]),
        };
        latest.fingerprint = fingerprint;
        let by_hand = |changes: &[Change]| entry(app, &Actor::server(app), changes).change("how", "", "by_hand");
        match judged {
            Ok(config) => {
                let changes = changes(&latest.settings, &config.settings);
                if !changes.is_empty() {
                    lock(&self.unsaid).push(by_hand(&changes));
                }
                take_up(app, &mut latest, config, &changes);
            }
            Err(problems) => {
                let reasons: Vec<String> = problems.iter().map(|problem| app.say(&problem.text)).collect();
                let reasons = reasons.join(" ");
                tracing::error!(
                    "{}",
                    app.say(&Text::new("settings.log_refused").with("reasons", &reasons))
                );
                lock(&self.unsaid).push(by_hand(&[]).because(&reasons));
            }
        }
    }

    async fn say(&self, app: &App) -> Result<()> {
        let unsaid = lock(&self.unsaid).clone();
        if unsaid.is_empty() {
            return Ok(());
        }
        let mut conn = app.db.conn().await?;
        for entry in &unsaid {
            audit::record(&mut conn, entry).await?;
            lock(&self.unsaid).remove(0);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file as it is now, read where a slow disk holds up nobody.
pub(super) async fn read(app: &App) -> std::result::Result<Option<String>, Problem> {
    let reader = app.config.reader.clone();
    let read = tokio::task::spawn_blocking(move || reader.file_text()).await;
    let read = read.unwrap_or_else(|cause| Err(crate::error::Error::Internal(cause.into())));
    read.map_err(|error| Problem {
        line: None,
        text: error.text(),
    })
}

pub(super) fn gone(app: &App) -> Problem {
    Problem {
        line: None,
        text: Text::new("settings.gone").with("path", app.config.file.display()),
    }
}

/// What can change while the server runs changes now; the rest is said to wait.
pub(super) fn take_up(app: &App, latest: &mut Latest, config: Config, changes: &[Change]) {
    for change in changes {
        let key = if change.overridden_by.is_some() {
            "settings.log_overridden"
        } else if change.is_at_once {
            "settings.log_at_once"
        } else {
            "settings.log_later"
        };
        let text = Text::new(key)
            .with("key", change.key)
            .with("before", &change.before)
            .with("after", &change.after);
        tracing::info!("{}", app.say(&text));
    }
    let Config {
        cluster,
        settings,
        fingerprint,
        ..
    } = config;
    *latest = Latest { fingerprint, settings };
    app.cluster.send_if_modified(|now| {
        let is_new = *now != cluster;
        *now = cluster;
        is_new
    });
}

/// The trail's line.
pub(super) fn entry(app: &App, actor: &Actor, changes: &[Change]) -> Entry {
    let object = Object::new("settings", &app.install.id, &app.config.file.display().to_string());
    let entry = Entry::by(actor, Action::SettingsUpdate).on(object);
    changes
        .iter()
        .fold(entry, |entry, change| match change.before == change.after {
            // Only what is hidden in it is another.
            true => entry.change(change.key, "", Secret),
            false => entry.change(change.key, &change.before, &change.after),
        })
}
