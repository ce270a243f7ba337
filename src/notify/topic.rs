//! What a channel may be told of, and what it wants to be told of.

use serde::{Deserialize, Serialize};

use crate::i18n::Text;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// An asset is down.
    Asset,
    /// An asset answers, and something about it needs attention.
    Degraded,
    HostKey,
    /// A cluster does not answer.
    Cluster,
    /// Nobody watches a group that has assets.
    Group,
}

impl Topic {
    pub const ALL: [Topic; 5] = [
        Topic::Asset,
        Topic::Degraded,
        Topic::HostKey,
        Topic::Cluster,
        Topic::Group,
    ];

    /// The word in the database, in forms and in what programs are sent.
    pub fn code(self) -> &'static str {
        match self {
            Topic::Asset => "asset",
            Topic::Degraded => "degraded",
            Topic::HostKey => "host_key",
            Topic::Cluster => "cluster",
            Topic::Group => "group",
        }
    }

    pub fn parse(code: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.code() == code)
    }

    pub fn name(self) -> Text {
        Text::new(match self {
            Topic::Asset => "notify.topic_asset",
            Topic::Degraded => "notify.topic_degraded",
            Topic::HostKey => "notify.topic_host_key",
            Topic::Cluster => "notify.topic_cluster",
            Topic::Group => "notify.topic_group",
        })
    }

    /// What that is, for whoever has to choose.
    pub fn meaning(self) -> Text {
        Text::new(match self {
            Topic::Asset => "notify.topic_asset_means",
            Topic::Degraded => "notify.topic_degraded_means",
            Topic::HostKey => "notify.topic_host_key_means",
            Topic::Cluster => "notify.topic_cluster_means",
            Topic::Group => "notify.topic_group_means",
        })
    }

    /// Whether a channel is told of it that nobody has asked: a limit that is reached comes and goes.
    pub fn is_usual(self) -> bool {
        self != Topic::Degraded
    }
}

/// What one channel wants to be told of. Words that only a newer version knows are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Topics(Vec<Topic>);

impl Default for Topics {
    fn default() -> Topics {
        Topics(Topic::ALL.into_iter().filter(|topic| topic.is_usual()).collect())
    }
}

impl Topics {
    /// In their own order, each once.
    pub fn of<'a>(codes: impl Iterator<Item = &'a str>) -> Topics {
        let wanted: Vec<Topic> = codes.filter_map(Topic::parse).collect();
        Topics(Topic::ALL.into_iter().filter(|topic| wanted.contains(topic)).collect())
    }

    pub fn has(&self, topic: &Topic) -> bool {
        self.0.contains(topic)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn all(&self) -> &[Topic] {
        &self.0
    }

    /// For the trail.
    pub fn told(&self) -> String {
        Vec::from(self.clone()).join(", ")
    }
}

impl From<Vec<String>> for Topics {
    fn from(codes: Vec<String>) -> Topics {
        Topics::of(codes.iter().map(String::as_str))
    }
}

impl From<Topics> for Vec<String> {
    fn from(topics: Topics) -> Vec<String> {
        topics.0.into_iter().map(|topic| topic.code().to_owned()).collect()
    }
}
