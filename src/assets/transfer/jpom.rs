//! The CSV that Jpom writes of its SSH hosts, in our columns.

use super::columns;
use crate::assets::kind::Kind;

/// Jpom's own columns; of `charset` there is nothing here to be said.
const COLUMNS: [&str; 10] = [
    "name",
    "groupname",
    "host",
    "port",
    "user",
    "password",
    "charset",
    "connecttype",
    "privatekey",
    "timeout",
];

/// The column of Jpom that a word of the head means.
pub fn known(head: &str) -> Option<&'static str> {
    let head = head.trim().to_lowercase();
    COLUMNS.into_iter().find(|column| *column == head)
}

/// Whether a head is Jpom's.
pub fn is_head(words: &[&str]) -> bool {
    let has = |wanted| words.iter().any(|word| known(word) == Some(wanted));
    let is_ours = words.iter().any(|word| columns::known(word) == Some("kind"));
    has("connecttype") && has("host") && has("name") && !is_ours
}

/// A line in our columns.
pub fn translated(cells: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let of = |column: &str| {
        cells
            .iter()
            .find(|(known, _)| *known == column)
            .map(|(_, cell)| cell.trim())
    };
    let is_key = of("connecttype").is_some_and(|cell| cell.eq_ignore_ascii_case("PUBKEY"));
    let path = of("privatekey")
        .and_then(|cell| cell.strip_prefix("file:"))
        .map(str::to_owned);
    let mut own = vec![("kind", Kind::Ssh.code().to_owned())];
    for (column, cell) in cells {
        let column = match column {
            "groupname" => "group",
            "password" if is_key => "passphrase",
            "timeout" => "timeout_s",
            "connecttype" => "login",
            "privatekey" if path.is_some() => "key_file",
            "privatekey" if is_key => "private_key",
            // What is not used for the login is not taken over.
            "charset" | "privatekey" => continue,
            column => column,
        };
        let cell = match (column, cell.trim().to_uppercase().as_str()) {
            ("login", "PASS") => "password".to_owned(),
            ("login", "PUBKEY") if path.is_some() => "key_file".to_owned(),
            ("login", "PUBKEY") => "key".to_owned(),
            ("timeout_s", "0") => String::new(),
            ("key_file", _) => path.clone().unwrap_or_default(),
            _ => cell,
        };
        own.push((column, cell));
    }
    own
}
