//! Takes up the settings file: what the page saved, and what somebody changed by hand.

use std::sync::{Mutex, PoisonError};

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
}

impl Watcher {
    /// Takes up a text that two looks found the same, or says why not; the settings stay as they are then.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        let read = read(app).await;
        let fingerprint = match &read {
            Ok(Some(text)) => file::fingerprint(text),
            Ok(None) => "gone".to_owned(),
            Err(problem) => format!("unreadable: {}", app.say(&problem.text)),
        };
        let is_settled = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *seen, fingerprint.clone()) == fingerprint
        };
        let mut latest = app.settings.lock().await;
        if !is_settled || latest.fingerprint == fingerprint {
            return Ok(());
        }
        let judged = match read {
            Ok(Some(text)) => app.config.reader.judge(&text).and_then(with_files),
            Ok(None) => Err(vec![gone(app)]),
            Err(problem) => Err(vec![problem]),
        };
        match judged {
            Ok(config) => {
                let changes = changes(&latest.settings, &config.settings);
                if !changes.is_empty() {
                    let entry = entry(app, &Actor::server(app), &changes).change("how", "", "by_hand");
                    audit::record(&mut app.db.conn().await?, &entry).await?;
                }
                take_up(app, &mut latest, config, &changes);
            }
            Err(problems) => {
                refuse(app, &problems).await?;
                latest.fingerprint = fingerprint;
            }
        }
        Ok(())
    }
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

fn with_files(config: Config) -> std::result::Result<Config, Vec<Problem>> {
    match config.tls.as_ref().map(crate::tls::Files::check) {
        Some(Err(error)) => Err(vec![Problem {
            line: None,
            text: error.text(),
        }]),
        _ => Ok(config),
    }
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
    changes.iter().fold(entry, |entry, change| match change.is_secret {
        true => entry.change(change.key, "", Secret),
        false => entry.change(change.key, &change.before, &change.after),
    })
}

async fn refuse(app: &App, problems: &[Problem]) -> Result<()> {
    let reasons: Vec<String> = problems.iter().map(|problem| app.say(&problem.text)).collect();
    let reasons = reasons.join(" ");
    let text = Text::new("settings.log_refused").with("reasons", &reasons);
    tracing::error!("{}", app.say(&text));
    let mut conn = app.db.conn().await?;
    let entry = entry(app, &Actor::server(app), &[]).change("how", "", "by_hand");
    audit::record(&mut conn, &entry.because(&reasons)).await?;
    Ok(())
}
