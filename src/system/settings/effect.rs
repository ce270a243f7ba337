//! What settings do: now, after a restart, or not at all.

use crate::app::App;
use crate::config::{CLUSTER_ID, HEART_SECOND, Origin, Setting, mask};
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
pub(super) fn in_force(app: &App, saved: &[Setting]) -> Vec<InForce> {
    let rows = app.config.settings.iter().map(|running| {
        let saved = saved.iter().find(|one| one.key == running.key);
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
            is_overridden: saved.unwrap_or(running).is_overridden(),
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
pub(super) struct Change {
    pub key: &'static str,
    pub before: String,
    pub after: String,
    pub is_at_once: bool,
    /// A flag or the environment goes before the file.
    pub overridden_by: Option<Text>,
}

impl Change {
    /// A secret in it is another, although it reads the same.
    pub fn has_new_secret(&self) -> bool {
        self.after.contains(mask::DOTS)
    }
}

/// What `after` changes of `before`, including what a flag or the environment keeps from counting.
pub(super) fn changes(before: &[Setting], after: &[Setting]) -> Vec<Change> {
    compare(before, after, |old, new| !new.is_same(old) || !new.is_same_in_file(old))
}

/// [`changes`], as a person may see them who typed the new text: of a secret only that it was typed, so that nobody learns
/// whether a guess is right.
pub(super) fn typed_changes(before: &[Setting], after: &[Setting], typed: &str) -> Vec<Change> {
    compare(before, after, |old, new| {
        let is_shown_otherwise = old.shown() != new.shown() || old.shown_in_file() != new.shown_in_file();
        is_shown_otherwise || mask::is_retyped(typed, new.key)
    })
}

fn compare(before: &[Setting], after: &[Setting], differ: impl Fn(&Setting, &Setting) -> bool) -> Vec<Change> {
    let pairs = before
        .iter()
        .filter_map(|old| Some((old, after.iter().find(|new| new.key == old.key)?)));
    let change = |(old, new): (&Setting, &Setting)| {
        let shown = |setting: &Setting| match new.is_from_outside() {
            true => setting.shown_in_file(),
            false => setting.shown(),
        };
        differ(old, new).then(|| Change {
            key: new.key,
            before: shown(old),
            after: shown(new),
            is_at_once: new.is_at_once(),
            overridden_by: new.is_from_outside().then(|| origin(&new.origin)),
        })
    };
    pairs.filter_map(change).collect()
}
