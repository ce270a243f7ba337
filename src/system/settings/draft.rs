//! What somebody wants the settings file to be, and what stands against it.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};
use tokio::time::timeout;

use crate::app::App;
use crate::config::{CLUSTER_ID, HEART_SECOND};
use crate::config::{Config, Database, Origin, Problem, change, cluster_mistake, mask};
use crate::i18n::Text;
use crate::web::{Form, Mistakes};

/// The longest text that is taken, in bytes: five times Jpom's.
const LONGEST: usize = 64 * 1024;
/// How long reading the files of certificates may take.
const FILES: Duration = Duration::from_secs(3);

/// A text that may be saved.
pub(super) struct Draft {
    pub text: String,
    pub config: Config,
}

impl Draft {
    /// A text with its secrets, as the small form makes it.
    ///
    /// # Errors
    /// As [`Draft::of`].
    pub async fn whole(app: &App, text: String) -> Result<Draft, Vec<Problem>> {
        let config = with_files(app.config.reader.judge_all(&text)?).await?;
        Ok(Draft { text, config })
    }

    /// Puts back the secrets of `former` where they were left alone, and checks every setting.
    ///
    /// # Errors
    /// All that is wrong, with the lines.
    pub async fn of(app: &App, typed: &str, former: &str) -> Result<Draft, Vec<Problem>> {
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
        if !former.is_empty() && former.matches('\n').count() == former.matches("\r\n").count() && former.contains('\n')
        {
            text = text.replace('\n', "\r\n");
        }
        if former.starts_with('\u{feff}') && !text.starts_with('\u{feff}') {
            text.insert(0, '\u{feff}');
        }
        let config = with_files(app.config.reader.judge_all(&text)?).await?;
        if sends_password_elsewhere(app, &typed, former, &config) {
            let text = Text::new("settings.password_again");
            return Err(vec![Problem { line: None, text }]);
        }
        Ok(Draft { text, config })
    }
}

/// The settings if the files they name can be used; read where a disk that hangs holds up nobody, and not for long.
pub(super) async fn with_files(config: Config) -> Result<Config, Vec<Problem>> {
    let Some(files) = config.tls.clone() else {
        return Ok(config);
    };
    let checking = timeout(FILES, tokio::task::spawn_blocking(move || files.check()));
    let text = match checking.await {
        Ok(Ok(Ok(()))) => return Ok(config),
        Ok(Ok(Err(error))) => error.text(),
        Ok(Err(_)) | Err(_) => Text::new("settings.files_hang"),
    };
    Err(vec![Problem { line: None, text }])
}

/// Whether the database's password, which the person does not show to know, would go to another place than the text it
/// comes from has it go to, or less safely.
fn sends_password_elsewhere(app: &App, typed: &str, former: &str, config: &Config) -> bool {
    let before = app.config.reader.judge(former).ok().and_then(|config| config.database);
    let Some(after) = config.database.as_ref().filter(|after| !after.password.is_empty()) else {
        return false;
    };
    let place = |database: &Database| {
        let Database {
            host,
            port,
            others,
            socket,
            ..
        } = database;
        (
            host.clone(),
            *port,
            others.clone(),
            socket.clone(),
            database.tls,
            database.authority.clone(),
        )
    };
    let is_from_outside = config.settings.iter().any(|setting| {
        setting.key == "jpom.db.user-pwd" && !matches!(setting.origin, Origin::File { .. } | Origin::Default)
    });
    let is_kept = mask::keeps(typed, "jpom.db.") || is_from_outside;
    is_kept && before.as_ref().map(place) != Some(place(after))
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
///
/// Both texts with dots already.
pub(super) fn diff(old: &str, new: &str) -> Vec<Vec<DiffLine>> {
    let diff = TextDiff::from_lines(old, new);
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
