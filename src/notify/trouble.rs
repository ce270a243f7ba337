//! Why a message could not be sent. Kept as JSON, said in the reader's language.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use url::{Url, form_urlencoded};

use super::channel::{Secret, Settings};
use crate::i18n::Text;

/// A channel that failed is left alone for so long.
const REST: Duration = Duration::from_secs(5);
/// So many letters of a secret are not there by chance.
const SURE: usize = 8;
const HIDDEN: &str = "•••";
/// Nobody who wants to be left alone is for longer.
pub const LONGEST_REST: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Trouble {
    NoSuchName {
        name: String,
    },
    /// The address leads to where no receiver can be.
    Forbidden,
    Unreachable {
        detail: String,
    },
    TimedOut {
        seconds: u64,
    },
    Tls {
        detail: String,
    },
    /// The mail server offers no STARTTLS, and nothing goes to it in the open.
    NoStartTls,
    /// An HTTP status.
    Status {
        status: u16,
    },
    /// The receiver has had enough for so long.
    TooMany {
        seconds: u64,
    },
    /// The receiver understood, and would not.
    Refused {
        detail: String,
    },
    /// What must be known to send is not there: it was lost with its key.
    NoSecret,
    /// This server cannot open the secret.
    NoKey,
    /// The settings cannot be used.
    Settings {
        detail: String,
    },
    /// Nobody could send it for a day.
    TooLate,
}

impl Trouble {
    /// Reads what [`Trouble::json`] wrote.
    pub fn parse(json: &str) -> Option<Trouble> {
        serde_json::from_str(json).ok()
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The sentence for the person.
    pub fn text(&self) -> Text {
        match self {
            Trouble::NoSuchName { name } => Text::new("notify.no_such_name").with("name", name),
            Trouble::Forbidden => Text::new("notify.forbidden"),
            Trouble::Unreachable { detail } => Text::new("notify.unreachable").with("detail", detail),
            Trouble::TimedOut { seconds } => Text::new("notify.timed_out").with("seconds", seconds),
            Trouble::Tls { detail } => Text::new("notify.tls").with("detail", detail),
            Trouble::NoStartTls => Text::new("notify.no_start_tls"),
            Trouble::Status { status } => Text::new("notify.status").with("status", status),
            Trouble::TooMany { seconds } => Text::new("notify.too_many").with("seconds", seconds),
            Trouble::Refused { detail } => Text::new("notify.refused").with("detail", detail),
            Trouble::NoSecret => Text::new("notify.no_secret"),
            Trouble::NoKey => Text::new("notify.no_key"),
            Trouble::Settings { detail } => Text::new("notify.settings_wrong").with("detail", detail),
            Trouble::TooLate => Text::new("notify.too_late"),
        }
    }

    /// The receiver wants to be left alone for so many seconds, and is for as many as are fit.
    pub fn too_many(seconds: u64) -> Trouble {
        Trouble::TooMany {
            seconds: seconds.clamp(REST.as_secs(), LONGEST_REST.as_secs()),
        }
    }

    /// How long nothing is sent there.
    pub fn rest(&self) -> Duration {
        match self {
            Trouble::TooMany { seconds } => Duration::from_secs(*seconds),
            _ => REST,
        }
    }

    /// Without what the receiver may have sent back of a secret.
    #[must_use]
    pub fn without(mut self, (settings, secret): (&Settings, &Secret)) -> Trouble {
        let (Trouble::Unreachable { detail }
        | Trouble::Tls { detail }
        | Trouble::Refused { detail }
        | Trouble::Settings { detail }) = &mut self
        else {
            return self;
        };
        // As mail servers are told who we are.
        let login = STANDARD.encode(format!("\0{}\0{}", settings.user, secret.key));
        let encoded = STANDARD.encode(&secret.key);
        let mut parts = vec![secret.key.clone(), login, encoded];
        parts.extend(behind_the_origin(&secret.url));
        for part in parts {
            // The end of it may be cut off.
            let start: String = part.chars().take(SURE).collect();
            match start.chars().count() {
                0 | 1 => {}
                SURE if detail.contains(&start) => *detail = HIDDEN.to_owned(),
                // It may be a plain word, without which the rest still says something.
                _ => *detail = without_word(detail, &start),
            }
        }
        self
    }
}

fn without_word(text: &str, word: &str) -> String {
    let is_inner = |beside: Option<char>| beside.is_some_and(char::is_alphanumeric);
    let (mut told, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let is_word = !is_inner(before.chars().next_back().or_else(|| told.chars().next_back()))
            && !is_inner(after.chars().next());
        told.push_str(before);
        told.push_str(if is_word { HIDDEN } else { word });
        rest = after;
    }
    told + rest
}

/// All that a receiver could send back of an address besides where it is: each piece of its path, each name and value of its
/// query, as they are written and as they are meant.
fn behind_the_origin(address: &str) -> Vec<String> {
    let Ok(url) = Url::parse(address) else {
        return Vec::new();
    };
    let meant = |text: &str| {
        form_urlencoded::parse(text.replace('&', "%26").as_bytes())
            .into_owned()
            .next()
    };
    let mut written: Vec<&str> = url.path().split('/').collect();
    written.extend(url.query().into_iter().flat_map(|query| query.split(['&', '='])));
    let decoded = written.iter().filter_map(|part| meant(&part.replace('=', "%3D")));
    let decoded: Vec<String> = decoded.map(|(part, _)| part).collect();
    let whole = [url.path(), url.query().unwrap_or_default()];
    whole
        .into_iter()
        .chain(written)
        .map(str::to_owned)
        .chain(decoded)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::detail;

    #[test]
    fn a_short_piece_of_an_address_is_hidden_where_it_is_a_word() {
        for (said, told) in [
            ("no such hook", "no such •••"),
            ("a webhook, hooks", "a webhook, hooks"),
            ("hookhook/hook", "hookhook/•••"),
            ("hook", "•••"),
        ] {
            assert_eq!(without_word(said, "hook"), told);
        }
    }

    #[test]
    fn a_link_to_a_receivers_own_help_is_kept() {
        let secret = Secret {
            url: "https://a.example/hook/token-in-the-path".to_owned(),
            key: "password".to_owned(),
        };
        let said = "93000 wrong, more at https://open.example/errors";
        let refused = Trouble::Refused { detail: detail(said) };
        let told = refused.without((&Settings::default(), &secret)).text();
        assert!(told.say(crate::i18n::Lang::En).contains(said));
    }

    #[test]
    fn what_a_receiver_sends_back_of_a_secret_is_not_kept() {
        let settings = Settings {
            user: "ann".to_owned(),
            ..Settings::default()
        };
        let secret = Secret {
            url: "https://a.example/hook/token-in-the-path?access_token=token-in-the-query&tenant=some%2Bbody&k=k7"
                .to_owned(),
            key: "password".to_owned(),
        };
        let long = format!("{} /hook/token-in-the-path", "x".repeat(180));
        for said in [
            "bad password",
            "no /hook/token-in-the-path here",
            "access_token=token-in-the-query",
            "unknown token-in-the-query",
            "no bot token-in-the-path",
            "no bot token-in-the-pa",
            "no such tenant some+body of yours",
            "no such tenant some%2Bbody of yours",
            "key k7 is wrong",
            "xk7 is not k7: it is",
            "535 AGFubgBwYXNzd29yZA==",
            "535 cGFzc3dvcmQ=",
            &long,
        ] {
            let trouble = Trouble::Refused { detail: detail(said) };
            let told = trouble.without((&settings, &secret)).json();
            assert!(told.contains("•••"), "{told}");
        }
        let trouble = Trouble::Refused {
            detail: detail("550 no such\r\nuser"),
        };
        let told = trouble.without((&settings, &secret));
        assert_eq!(
            told,
            Trouble::parse(r#"{"code":"refused","detail":"550 no such  user"}"#).unwrap()
        );
    }
}
