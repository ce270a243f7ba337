//! The columns of the CSV: the fields of the forms, and by which words they are known.

use crate::assets::credentials::secrets;
use crate::assets::kind::{Kind, Settings};
use crate::i18n::{Lang, Text};

/// What goes out, in order. The words are those of the forms.
pub const OUT: [&str; 20] = [
    "kind",
    "name",
    "group",
    "agent",
    "address",
    "verify",
    "host",
    "port",
    "login",
    "key_file",
    "tls",
    "cpu_limit",
    "memory_limit",
    "disk_limit",
    "user",
    "credential",
    "interval_s",
    "timeout_s",
    "retries",
    "paused",
];

/// Those that a line must have.
pub const NEEDED: [&str; 2] = ["kind", "name"];

/// A column, as people call it; also a field of the forms.
pub fn label(column: &str) -> Text {
    Text::new(match column {
        "kind" => "assets.kind",
        "name" => "assets.name",
        "group" | "group_id" => "assets.group",
        "agent" => "machine.agent",
        "address" => "assets.address",
        "verify" => "assets.verify",
        "host" => "ssh.host",
        "port" => "ssh.port",
        "login" => "ssh.login",
        "key_file" => "ssh.key_path",
        "tls" => "docker.tls",
        "cpu_limit" => "assets.cpu_limit",
        "memory_limit" => "assets.memory_limit",
        "disk_limit" => "assets.disk_limit",
        "user" => "credentials.user",
        "interval_s" => "assets.interval",
        "timeout_s" => "assets.timeout",
        "retries" => "assets.retries",
        "paused" => "assets.paused",
        "password" => "credentials.password",
        "private_key" => "credentials.private_key",
        "passphrase" => "credentials.passphrase",
        "certificate" => "credentials.certificate",
        "authority" => "credentials.authority",
        _ => "credentials.credential",
    })
}

/// All that may come in: secrets are taken and never given.
fn all() -> impl Iterator<Item = &'static str> {
    OUT.into_iter().chain(secrets())
}

/// The column that a word of the head means: its own, or its name in either language.
pub fn known(head: &str) -> Option<&'static str> {
    let head = head.trim().to_lowercase();
    let is_name = |column: &str| {
        let label = label(column);
        Lang::ALL.iter().any(|lang| label.say(*lang).to_lowercase() == head)
    };
    all().find(|column| *column == head || is_name(column))
}

pub fn is_secret(column: &str) -> bool {
    secrets().any(|secret| secret == column)
}

/// Whether an asset of that kind has it.
pub fn is_of(kind: Kind, column: &str) -> bool {
    let own = |kind| Settings::usual(kind).fields();
    let has = |kind| own(kind).iter().any(|(field, _)| *field == column);
    has(kind) || !Kind::ALL.into_iter().any(has)
}

/// The words that a column takes, where it takes only some.
fn words(column: &str) -> &'static [&'static str] {
    match column {
        "agent" => &["node_exporter", "jpom"],
        "login" => &["password", "key", "key_file", "banner"],
        "verify" | "tls" | "paused" => &["yes", "no"],
        _ => &[],
    }
}

/// A cell in the words of the forms.
///
/// # Errors
/// Which words the column takes. What was in the cell is not repeated: in a shifted line it may be a password.
pub fn plain(column: &str, cell: &str) -> Result<String, Text> {
    let words = words(column);
    let cell = cell.trim();
    if words.is_empty() {
        return Ok(cell.to_owned());
    }
    let word = match cell.to_lowercase().as_str() {
        "是" | "true" | "1" | "y" => "yes".to_owned(),
        "否" | "false" | "0" | "n" => "no".to_owned(),
        word => word.to_owned(),
    };
    match words.contains(&word.as_str()) {
        true => Ok(word),
        false => Err(Text::new("transfer.wrong_word").with("words", words.join(", "))),
    }
}

/// A kind by its word, or its name in either language.
pub fn kind(cell: &str) -> Option<Kind> {
    let cell = cell.trim().to_lowercase();
    let is_name = |kind: &Kind| {
        Lang::ALL
            .iter()
            .any(|lang| kind.name().say(*lang).to_lowercase() == cell)
    };
    Kind::ALL.into_iter().find(|kind| kind.code() == cell || is_name(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{Form, Mistakes};

    #[test]
    fn every_column_is_known_by_its_word_and_its_names_and_by_no_others() {
        for column in all() {
            assert_eq!(known(column), Some(column));
            for lang in Lang::ALL {
                assert_eq!(known(&label(column).say(lang)), Some(column), "{lang:?}");
            }
        }
        assert_eq!(known("colour"), None);
    }

    #[test]
    fn every_field_of_every_kind_has_a_column() {
        for kind in Kind::ALL {
            for (field, _) in Settings::usual(kind).fields() {
                assert!(OUT.contains(&field), "{field}");
            }
        }
        assert!(is_of(Kind::Ssh, "host") && !is_of(Kind::Docker, "host") && is_of(Kind::Docker, "name"));
    }

    #[test]
    fn the_words_of_a_column_are_those_of_its_form() {
        for kind in Kind::ALL {
            let columns = Settings::usual(kind).fields();
            for (column, word) in columns
                .iter()
                .flat_map(|(column, _)| words(column).iter().map(move |word| (*column, *word)))
            {
                let form = Form::of([
                    (column, word),
                    ("key_file", "/k"),
                    ("host", "h"),
                    ("address", "http://h:1"),
                ]);
                let typed = Settings::typed(kind, &form, &mut Mistakes::default());
                assert!(
                    column == "key_file" || typed.fields().contains(&(column, word.to_owned())),
                    "{column} {word}"
                );
            }
        }
    }
}
