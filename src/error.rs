//! The one error type: each variant is named by what the person who meets it should do next.

use std::fmt;

use crate::i18n::Text;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub enum Error {
    /// Look elsewhere: the thing does not exist (404).
    NotFound(Text),
    /// Not from here: the request did not come from one of our own pages (403).
    Forbidden(Text),
    /// Sign in first (303 to the sign-in page; 401 for programs).
    SignIn,
    /// Set up first: there is nobody who could sign in (303 to the set-up page).
    SetUp,
    /// Wait this many seconds and try again (429).
    Wait(Text, u64),
    /// Correct what was given: a form, an address, a setting, a file (422; at start: refuse to start).
    Invalid(Text),
    /// Look again: somebody else was there first (409).
    Conflict(Text),
    /// Try again shortly: the database does not answer (503).
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// Call somebody: this is our own fault (500).
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An [`Error::Unavailable`] that says only which wait was given up.
    pub fn timed_out(what: &'static str) -> Error {
        Error::Unavailable(what.into())
    }

    /// [`Error::Conflict`] when a row of that unique key was there already; other errors stay what they are. Both engines
    /// end the message with the key's name, MySQL with the table's in front; what a person typed stands before it.
    pub fn on_duplicate(error: mysql_async::Error, key: &str, text: impl FnOnce() -> Text) -> Error {
        match Error::is_duplicate(&error, key) {
            true => Error::Conflict(text()),
            false => error.into(),
        }
    }

    /// Whether a row of that unique key was there already.
    pub fn is_duplicate(error: &mysql_async::Error, key: &str) -> bool {
        let ends = [format!("'{key}'"), format!(".{key}'")];
        matches!(error, mysql_async::Error::Server(server)
            if server.code == 1062 && ends.iter().any(|end| server.message.ends_with(end.as_str())))
    }

    /// Whether somebody else holds the same rows: a deadlock, or a wait for a lock that was given up.
    pub fn is_contention(&self) -> bool {
        let Error::Unavailable(cause) = self else {
            return false;
        };
        matches!(cause.downcast_ref(), Some(mysql_async::Error::Server(server)) if matches!(server.code, 1205 | 1213))
    }

    /// The sentence for the person; causes inside the program stay in the log.
    pub fn text(&self) -> Text {
        match self {
            Error::NotFound(text)
            | Error::Forbidden(text)
            | Error::Wait(text, _)
            | Error::Invalid(text)
            | Error::Conflict(text) => text.clone(),
            Error::SignIn => Text::new("error.sign_in"),
            Error::SetUp => Text::new("error.set_up"),
            contended if contended.is_contention() => Text::new("error.contended"),
            Error::Unavailable(_) => Text::new("error.unavailable"),
            Error::Internal(_) => Text::new("error.internal"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unavailable(_) => f.write_str("the database cannot be reached"),
            Error::Internal(_) => f.write_str("internal error"),
            other => f.write_str(&other.text().say(crate::i18n::Lang::En)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unavailable(cause) | Error::Internal(cause) => Some(cause.as_ref()),
            _ => None,
        }
    }
}

/// An error and its causes in one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Libraries like to repeat their cause in their own words.
        let said = cause.to_string();
        if !line.contains(&said) {
            line.push_str(": ");
            line.push_str(&said);
        }
        source = cause.source();
    }
    line
}

impl From<mysql_async::Error> for Error {
    fn from(error: mysql_async::Error) -> Error {
        match &error {
            mysql_async::Error::Io(_) | mysql_async::Error::Driver(_) => Error::Unavailable(error.into()),
            mysql_async::Error::Server(server) if gone_for_now(server.code) => Error::Unavailable(error.into()),
            _ => Error::Internal(error.into()),
        }
    }
}

/// Server errors that pass by themselves or once somebody has mended the database: too many connections, host blocked,
/// shutting down, killed, node not ready, lock wait, deadlock, statement too slow, idle too long, read-only; and, met by a
/// server that had already worked, a password, right, schema or table that has gone.
fn gone_for_now(code: u16) -> bool {
    matches!(
        code,
        1040 | 1044 | 1045 | 1047 | 1049 | 1053 | 1077 | 1129 | 1142 | 1146 | 1152 | 1158
            ..=1161 | 1203 | 1205 | 1213 | 1226 | 1290 | 1317 | 1698 | 1836 | 1927 | 1969 | 3024 | 3169 | 4031
    )
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Error {
        Error::Internal(error.into())
    }
}
