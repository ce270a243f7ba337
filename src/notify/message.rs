//! What is told: kept without a language, and said in one when it is sent.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::i18n::{Lang, Text, detail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Down,
    Up,
    Test,
}

impl Event {
    const ALL: [Event; 3] = [Event::Down, Event::Up, Event::Test];

    pub fn code(self) -> &'static str {
        match self {
            Event::Down => "down",
            Event::Up => "up",
            Event::Test => "test",
        }
    }

    pub fn parse(code: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.code() == code)
    }
}

/// Something went down or came up again.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Which thing, always the same for it: `asset/17`. At most 100 letters, digits and signs of ASCII.
    pub subject: &'a str,
    pub event: Event,
    pub name: &'a str,
    pub group_id: u32,
    pub group: &'a str,
    pub state: Text,
    pub reason: Option<Text>,
    /// UTC.
    pub since: NaiveDateTime,
    /// Its page, without host and base path: `/assets/17`.
    pub path: &'a str,
    /// How long the message is kept back; when the thing comes up again meanwhile, nobody is told of either. Zero for at
    /// once.
    pub held: Duration,
}

/// A text in both languages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Both {
    #[serde(rename = "zh-CN")]
    zh: String,
    en: String,
}

impl Both {
    fn of(text: &Text) -> Both {
        Both {
            zh: text.say(Lang::ZhCn),
            en: text.say(Lang::En),
        }
    }

    fn say(&self, lang: Lang) -> &str {
        match lang {
            Lang::ZhCn => &self.zh,
            Lang::En => &self.en,
        }
    }
}

/// The values of a message as the database keeps them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Body {
    pub name: String,
    group: String,
    state: Both,
    reason: Option<Both>,
    /// Seconds since 1970.
    since: Option<i64>,
    /// The cluster that found out, by its name.
    cluster: String,
    /// And by its id, for the address that its console has when the message is sent.
    pub install_id: String,
    path: String,
}

impl Body {
    pub fn of(app: &App, message: &Message<'_>) -> Body {
        Body {
            name: message.name.to_owned(),
            group: message.group.to_owned(),
            state: Both::of(&message.state),
            reason: message.reason.as_ref().map(Both::of),
            since: Some(message.since.and_utc().timestamp()),
            cluster: app.name(),
            install_id: app.install.id.clone(),
            path: message.path.to_owned(),
        }
    }

    /// Of a test of a channel.
    pub fn test(app: &App, name: &str, path: &str) -> Body {
        Body {
            name: name.to_owned(),
            state: Both::of(&Text::new("notify.test_state")),
            cluster: app.name(),
            install_id: app.install.id.clone(),
            path: path.to_owned(),
            ..Body::default()
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn parse(json: &str) -> Body {
        serde_json::from_str(json).unwrap_or_default()
    }

    fn since(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.since?, 0)
    }

    /// Where a person can see more; empty when the cluster has no address.
    fn link(&self, address: &str) -> String {
        match address {
            "" => String::new(),
            address => format!("{address}{}", self.path),
        }
    }
}

/// A message that is being sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub notice_id: u64,
    pub subject: String,
    pub event: Event,
    pub body: Body,
    /// Address of the console of the cluster that found out; empty when it has none.
    pub address: String,
    /// Seconds since 1970, by the database's clock.
    pub now: u64,
}

/// What a webhook of the format `json` is sent, the only place that says so. New fields may come; these stay.
///
/// `event`: `down`, `up` or `test`. `id`: the same when a message is sent again. `subject`: the same for one thing, always.
/// `state`, `reason`: objects with `zh-CN` and `en`; `reason` is null when there is none. `since`: RFC 3339, null for a
/// test. `cluster`: the one that found out. `link`: a page of its console, empty without an address.
///
/// The header `Muster-Timestamp` has the time of this try in seconds since 1970. With a key there is also
/// `Muster-Signature`: `v1=` and the HMAC-SHA256 of timestamp, a dot and the body, in hex.
#[derive(Debug, Serialize)]
struct Document<'a> {
    product: &'static str,
    id: u64,
    event: &'static str,
    subject: &'a str,
    name: &'a str,
    group: &'a str,
    state: &'a Both,
    reason: &'a Option<Both>,
    since: Option<String>,
    cluster: &'a str,
    link: String,
}

impl Outgoing {
    /// The document for programs.
    pub fn document(&self) -> String {
        let since = self.body.since().map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        let document = Document {
            product: "Muster",
            id: self.notice_id,
            event: self.event.code(),
            subject: &self.subject,
            name: &self.body.name,
            group: &self.body.group,
            state: &self.body.state,
            reason: &self.body.reason,
            since,
            cluster: &self.body.cluster,
            link: self.body.link(&self.address),
        };
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// One line for people.
    pub fn title(&self, lang: Lang) -> String {
        let text = Text::new(match self.event {
            Event::Down => "notify.title_down",
            Event::Up => "notify.title_up",
            Event::Test => "notify.title_test",
        });
        detail(text.with("name", &self.body.name).say(lang))
    }

    /// Everything for people, a line each; what is not known is left out.
    pub fn lines(&self, lang: Lang) -> String {
        let body = &self.body;
        let local = |at: DateTime<Utc>| at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string();
        let since = body.since().map(local);
        let reason = body.reason.as_ref().map_or("", |reason| reason.say(lang));
        let link = body.link(&self.address);
        let lines = [
            ("notify.line_group", body.group.as_str()),
            ("notify.line_state", body.state.say(lang)),
            ("notify.line_reason", reason),
            ("notify.line_since", since.as_deref().unwrap_or_default()),
            ("notify.line_cluster", body.cluster.as_str()),
            ("notify.line_link", link.as_str()),
        ];
        let told = lines.into_iter().filter(|(_, value)| !value.is_empty());
        let told = told.map(|(key, value)| Text::new(key).with("value", value).say(lang));
        std::iter::once(self.title(lang))
            .chain(told)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
