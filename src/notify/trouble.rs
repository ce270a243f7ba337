//! Why a message could not be sent. Kept as JSON, said in the reader's language.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::channel::{Secret, Settings};
use crate::i18n::Text;

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
            Trouble::Refused { detail } => Text::new("notify.refused").with("detail", detail),
            Trouble::NoSecret => Text::new("notify.no_secret"),
            Trouble::NoKey => Text::new("notify.no_key"),
            Trouble::Settings { detail } => Text::new("notify.settings_wrong").with("detail", detail),
            Trouble::TooLate => Text::new("notify.too_late"),
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
        let url = url::Url::parse(&secret.url).ok();
        let path = url.as_ref().map_or("", url::Url::path);
        let query = url.as_ref().and_then(url::Url::query).unwrap_or_default();
        let value = query.rsplit('=').next().unwrap_or_default();
        // As mail servers are told who we are.
        let login = STANDARD.encode(format!("\0{}\0{}", settings.user, secret.key));
        let encoded = STANDARD.encode(&secret.key);
        for part in [&*secret.url, &*secret.key, path, query, value, &login, &encoded] {
            // The end of it may be cut off.
            let start: String = part.chars().take(16).collect();
            if start.len() > 1 && detail.contains(&start) {
                *detail = "•••".to_owned();
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::detail;

    #[test]
    fn what_a_receiver_sends_back_of_a_secret_is_not_kept() {
        let settings = Settings {
            user: "ann".to_owned(),
            ..Settings::default()
        };
        let secret = Secret {
            url: "https://a.example/hook/token-in-the-path?access_token=token-in-the-query".to_owned(),
            key: "password".to_owned(),
        };
        let long = format!("{} /hook/token-in-the-path", "x".repeat(180));
        for said in [
            "bad password",
            "no /hook/token-in-the-path here",
            "access_token=token-in-the-query",
            "unknown token-in-the-query",
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
