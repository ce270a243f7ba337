//! What is told: kept without a language, and said in one when it is sent.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use super::topic::Topic;
use crate::app::App;
use crate::i18n::{Lang, Text, detail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Down,
    /// Not down, and something about it needs attention.
    Degraded,
    Up,
    /// It is not watched any more: to those who were told that it was not up, the end of that.
    Removed,
    Test,
}

impl Event {
    /// Those that the database tells apart.
    const ALL: [Event; 4] = [Event::Down, Event::Degraded, Event::Up, Event::Test];

    pub fn code(self) -> &'static str {
        match self {
            Event::Down => "down",
            Event::Degraded => "degraded",
            Event::Up | Event::Removed => "up",
            Event::Test => "test",
        }
    }

    pub fn parse(code: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.code() == code)
    }
}

/// Something went down, came up again, or is degraded.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Which thing, always the same for it: `asset/17`. At most 100 letters, digits and signs of ASCII.
    pub subject: &'a str,
    pub event: Event,
    /// Channels that want to hear of it are told that it begins.
    pub topic: Topic,
    pub name: &'a str,
    /// None for what is of no group: told to channels that are for all.
    pub group_id: Option<u32>,
    /// Channels that are for all are told of it by another message.
    pub is_folded: bool,
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
    /// The code of a [`Topic`]; empty in what older versions wrote.
    topic: String,
    /// It was down, and is degraded now.
    eased: bool,
    /// It is not watched any more.
    removed: bool,
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
            topic: message.topic.code().to_owned(),
            eased: false,
            removed: message.event == Event::Removed,
            group: message.group.to_owned(),
            state: Both::of(&message.state),
            reason: message.reason.as_ref().map(Both::of),
            since: Some(message.since.and_utc().timestamp()),
            cluster: app.name(),
            install_id: app.install.id.clone(),
            path: message.path.to_owned(),
        }
    }

    /// The same, of something that was down until now.
    pub fn eased(&self) -> Body {
        Body {
            eased: true,
            ..self.clone()
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

    fn topic(&self) -> Topic {
        Topic::parse(&self.topic).unwrap_or(Topic::Asset)
    }

    /// One line for people.
    pub fn title(&self, event: Event) -> Text {
        let text = Text::new(match (event, self.topic()) {
            (Event::Test, _) => "notify.title_test",
            _ if self.eased => "notify.title_eased",
            _ if self.removed => "notify.title_removed",
            (Event::Degraded, _) => "notify.title_degraded",
            (Event::Down, Topic::HostKey) => "notify.title_host_key",
            (Event::Down, Topic::Cluster) => "notify.title_cluster",
            (Event::Up, Topic::Cluster) => "notify.title_cluster_up",
            // Of many at once, in none of them.
            (Event::Down, Topic::Group) if self.group.is_empty() => "notify.title_groups",
            (Event::Up, Topic::Group) if self.group.is_empty() => "notify.title_groups_up",
            (Event::Down, Topic::Group) => "notify.title_group",
            (Event::Up, Topic::Group) => "notify.title_group_up",
            (Event::Down, _) => "notify.title_down",
            (Event::Up | Event::Removed, _) => "notify.title_up",
        });
        text.with("name", &self.name)
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
/// `event`: `down`, `degraded`, `up` or `test`; `up` also for what was down and is degraded now, or was removed. `topic`: what it is about,
/// `asset`, `degraded`, `host_key`, `cluster` or `group`, empty for a test. `id`: the same when a message is sent again.
/// `subject`: the same for one thing, always. `state`, `reason`: objects with `zh-CN` and `en`; `reason` is null when there is none. `since`: RFC 3339, null for a
/// test. `cluster`: the one that found out. `link`: a page of its console, empty without an address.
///
/// The header `Muster-Timestamp` has the time of this try in seconds since 1970. With a key there is also
/// `Muster-Signature`: `v1=` and the HMAC-SHA256 of timestamp, a dot and the body, in hex.
#[derive(Debug, Serialize)]
struct Document<'a> {
    product: &'static str,
    id: u64,
    event: &'static str,
    topic: &'a str,
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
            event: match self.body.eased {
                true => Event::Up.code(),
                false => self.event.code(),
            },
            topic: &self.body.topic,
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
        detail(self.body.title(self.event).say(lang))
    }

    /// Everything for people, a line each; what is not known is left out.
    pub fn lines(&self, lang: Lang) -> String {
        let body = &self.body;
        let local = |at: DateTime<Utc>| at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string();
        let since = body.since().map(local);
        let reason = body.reason.as_ref().map_or("", |reason| reason.say(lang));
        let link = body.link(&self.address);
        // Of a cluster or a group nobody who tells of it is the one who watches it, and a group is named above.
        let (group, found_by) = match body.topic() {
            Topic::Cluster | Topic::Group => ("", "notify.line_found"),
            Topic::Asset | Topic::Degraded | Topic::HostKey => (body.group.as_str(), "notify.line_cluster"),
        };
        let lines = [
            ("notify.line_group", group),
            ("notify.line_state", body.state.say(lang)),
            ("notify.line_reason", reason),
            ("notify.line_since", since.as_deref().unwrap_or_default()),
            (found_by, body.cluster.as_str()),
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
