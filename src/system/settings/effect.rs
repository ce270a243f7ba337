//! What settings do: now, after a restart, or not at all.

use crate::app::App;
use crate::config::{CLUSTER_ID, HEART_SECOND, Origin, Setting};
use crate::i18n::Text;

/// One key as the page shows it.
#[derive(Debug)]
pub(super) struct InForce {
    pub key: &'static str,
    /// As it counts now.
    pub value: String,
    pub origin: Text,
    pub is_at_once: bool,
    /// Counts after a restart.
    pub pending: Option<String>,
    /// The file has a value that does not count.
    pub is_overridden: bool,
}

/// Every key: what this process runs with, beside what the file says now.
pub(super) fn in_force(app: &App, saved: Option<&[Setting]>) -> Vec<InForce> {
    let rows = app.config.settings.iter().map(|running| {
        let saved = saved.and_then(|saved| saved.iter().find(|one| one.key == running.key));
        let is_at_once = running.is_at_once();
        let told = if is_at_once { saved.unwrap_or(running) } else { running };
        let pending = saved.filter(|saved| !is_at_once && !saved.is_same(running));
        InForce {
            key: running.key,
            value: now(app, running),
            origin: origin(&told.origin),
            is_at_once,
            pending: pending.map(|saved| {
                if saved.is_secret() {
                    String::new()
                } else {
                    saved.shown()
                }
            }),
            is_overridden: saved.unwrap_or(running).is_overridden,
        }
    });
    rows.collect()
}

fn now(app: &App, running: &Setting) -> String {
    match running.key {
        CLUSTER_ID => app.cluster_id(),
        HEART_SECOND => app.heart_seconds().to_string(),
        _ => running.shown(),
    }
}

pub(super) fn origin(origin: &Origin) -> Text {
    match origin {
        Origin::Flag(name) => Text::new("settings.from_flag").with("name", name),
        Origin::Environment(name) => Text::new("settings.from_env").with("name", name),
        Origin::File { line, .. } => Text::new("settings.from_file").with("line", line),
        Origin::Default => Text::new("settings.from_default"),
    }
}

/// One setting that a new text changes.
#[derive(Debug)]
pub struct Change {
    pub key: &'static str,
    pub before: String,
    pub after: String,
    pub is_secret: bool,
    pub is_at_once: bool,
    /// A flag or the environment goes before the file.
    pub overridden_by: Option<Text>,
}

/// What `after` changes of `before`, including what a flag or the environment keeps from counting.
pub fn changes(before: &[Setting], after: &[Setting]) -> Vec<Change> {
    let pairs = before
        .iter()
        .filter_map(|old| Some((old, after.iter().find(|new| new.key == old.key)?)));
    let change = |(old, new): (&Setting, &Setting)| {
        let is_newly_overridden = new.is_overridden && !old.is_overridden;
        (!new.is_same(old) || is_newly_overridden).then(|| Change {
            key: new.key,
            before: old.shown(),
            after: new.shown(),
            is_secret: new.is_secret(),
            is_at_once: new.is_at_once(),
            overridden_by: new.is_overridden.then(|| origin(&new.origin)),
        })
    };
    pairs.filter_map(change).collect()
}
