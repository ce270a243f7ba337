//! What somebody wants the settings file to be, and what stands against it.

use similar::{ChangeTag, TextDiff};

use crate::app::App;
use crate::config::{CLUSTER_ID, HEART_SECOND};
use crate::config::{Config, Database, Origin, Problem, change, cluster_mistake, mask};
use crate::error::Error;
use crate::i18n::Text;
use crate::web::{Form, Mistakes};

/// The longest text that is taken, in bytes: five times Jpom's.
const LONGEST: usize = 64 * 1024;

/// A text that may be saved.
#[derive(Debug)]
pub(super) struct Draft {
    pub text: String,
    pub config: Config,
}

impl Draft {
    /// Puts back the secrets of `former` where they were left alone, and checks every setting. `current` is what the file
    /// has now.
    ///
    /// # Errors
    /// All that is wrong, with the lines.
    pub fn of(app: &App, typed: &str, former: &str, current: &str) -> Result<Draft, Vec<Problem>> {
        if typed.len() > LONGEST {
            let text = Text::new("settings.too_long").with("most", LONGEST / 1024);
            return Err(vec![Problem { line: None, text }]);
        }
        // Browsers send every line end as two characters.
        let typed = typed.replace("\r\n", "\n");
        let mut text = mask::unmasked(&typed, former)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if former.contains("\r\n") {
            text = text.replace('\n', "\r\n");
        }
        if former.starts_with('\u{feff}') && !text.starts_with('\u{feff}') {
            text.insert(0, '\u{feff}');
        }
        let config = app.config.reader.judge_all(&text)?;
        if let Some(files) = &config.tls {
            files.check().map_err(|error| without_line(&error))?;
        }
        if sends_password_elsewhere(app, &typed, current, &config) {
            let text = Text::new("settings.password_again");
            return Err(vec![Problem { line: None, text }]);
        }
        Ok(Draft { text, config })
    }
}

fn without_line(error: &Error) -> Vec<Problem> {
    vec![Problem {
        line: None,
        text: error.text(),
    }]
}

/// Whether the database's password, which the person does not show to know, would go to another place than before.
fn sends_password_elsewhere(app: &App, typed: &str, current: &str, config: &Config) -> bool {
    let before = app.config.reader.judge(current).ok().and_then(|config| config.database);
    let before = before.or_else(|| app.config.database.clone());
    let (Some(before), Some(after)) = (before, config.database.as_ref()) else {
        return false;
    };
    let place = |database: &Database| (database.host.clone(), database.port, database.socket.clone());
    let from_outside = config.settings.iter().any(|setting| {
        setting.key == "jpom.db.user-pwd" && !matches!(setting.origin, Origin::File { .. } | Origin::Default)
    });
    let is_kept = mask::keeps(typed, "jpom.db.") || from_outside;
    place(&before) != place(after) && !after.password.is_empty() && is_kept
}

/// The text with the values of the small form, or what is wrong with them.
pub(super) fn with_cluster(current: &str, form: &Form, app: &App) -> Result<String, Mistakes> {
    let mut mistakes = Mistakes::default();
    let (id, heart) = (form.text("cluster_id").to_ascii_uppercase(), form.text("heart_second"));
    let [wrong_id, wrong_heart] = cluster_mistake(&id, heart);
    let mut text = current.to_owned();
    let now = app.cluster.borrow().clone();
    // A field that is not shown, or not changed, leaves the file alone.
    let wanted = [
        ("cluster_id", CLUSTER_ID, id.as_str(), now.id, wrong_id),
        (
            "heart_second",
            HEART_SECOND,
            heart,
            now.heart_seconds.to_string(),
            wrong_heart,
        ),
    ];
    for (field, key, value, now, wrong) in wanted {
        if form.all(field).next().is_none() || value == now {
            continue;
        }
        match wrong {
            Some(wrong) => mistakes.note(field, wrong),
            None => match change::set(&text, key, value) {
                Ok(changed) => text = changed,
                Err(wrong) => mistakes.note(field, wrong),
            },
        }
    }
    match mistakes.is_empty() {
        true => Ok(text),
        false => Err(mistakes),
    }
}

/// One line of what would change.
#[derive(Debug)]
pub(super) struct DiffLine {
    /// `+`, `-` or a space.
    pub sign: char,
    /// In the new text, or in the old one for a line that goes.
    pub number: usize,
    pub text: String,
}

/// The lines that would change, in groups with three lines around them; secrets as dots.
pub(super) fn diff(before: &str, after: &str, news: &str) -> Vec<Vec<DiffLine>> {
    let (old, new) = (mask::masked(before), mask::masked_beside(after, before, news));
    let diff = TextDiff::from_lines(old.as_str(), new.as_str());
    let groups = diff.grouped_ops(3).into_iter();
    let lines = groups.map(|group| {
        let changes = group.iter().flat_map(|op| diff.iter_changes(op));
        let line = |change: similar::Change<&str>| DiffLine {
            sign: match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            },
            number: change.new_index().or(change.old_index()).unwrap_or(0) + 1,
            text: change.value().trim_end_matches(['\r', '\n']).to_owned(),
        };
        changes.map(line).collect()
    });
    lines.collect()
}
