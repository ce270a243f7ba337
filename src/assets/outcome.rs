//! What came out of a check. That an asset is down is data and no error.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Limits};
use super::words;
use crate::i18n::Text;
pub use crate::i18n::detail;

/// What one check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub outcome: Outcome,
    /// From the first packet to the first useful answer; none when there was none.
    pub latency: Option<Duration>,
    pub facts: Facts,
    /// What the peer is to be known by from now on, when it was not pinned before.
    pub pin: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Up,
    /// It answers, and something about it needs attention.
    Degraded(Reason),
    Down(Reason),
}

/// Why an asset is not simply up. Kept as JSON, said in the reader's language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// The name has no address.
    NoSuchName {
        name: String,
    },
    /// The name or number leads to where no asset can be.
    Forbidden {
        address: String,
    },
    /// No kind of asset is asked at such an address.
    BadAddress {
        address: String,
    },
    /// Nobody listens at the port.
    Refused,
    /// No way there: no route, network or host down.
    Unreachable {
        detail: String,
    },
    /// No answer within the time limit.
    TimedOut {
        seconds: u64,
    },
    /// The connection was closed or reset before there was an answer.
    Closed,
    Tls {
        detail: String,
    },
    /// What answered is not what was expected.
    Unexpected {
        detail: String,
    },
    /// More than anybody needs to say was sent.
    TooLong,
    /// An HTTP status.
    Status {
        status: u16,
    },
    /// User, password, key or certificate were turned away.
    Denied {
        user: String,
    },
    /// The peer shows another key than it was first known by.
    KeyChanged {
        known: String,
        shown: String,
    },
    /// The key to sign in with cannot be used: damaged, or a wrong passphrase.
    BadKey {
        detail: String,
    },
    /// A file that this server needs for the check cannot be read.
    NoFile {
        path: String,
        detail: String,
    },
    /// The command did not say what it should.
    NoFacts {
        detail: String,
    },
    /// The agent on the machine says that it could not measure.
    Agent {
        detail: String,
    },
    /// The swarm that a Docker host belongs to does not work there.
    Swarm {
        detail: String,
    },
    Cpu {
        percent: u8,
        limit: u8,
    },
    Memory {
        percent: u8,
        limit: u8,
    },
    Disk {
        mount: String,
        percent: u8,
        limit: u8,
    },
    /// So much failed at once that it is rather the network of the server that watches.
    MassLoss,
    /// Our own fault.
    Internal {
        detail: String,
    },
}

impl Reason {
    /// Whether the same limit of the same thing is passed, by however much.
    pub fn is_alike(&self, other: &Reason) -> bool {
        match (self, other) {
            (Reason::Cpu { limit, .. }, Reason::Cpu { limit: known, .. })
            | (Reason::Memory { limit, .. }, Reason::Memory { limit: known, .. }) => limit == known,
            (
                Reason::Disk { mount, limit, .. },
                Reason::Disk {
                    mount: known_mount,
                    limit: known,
                    ..
                },
            ) => (mount, limit) == (known_mount, known),
            _ => self == other,
        }
    }

    /// Of an address as somebody typed it, without a password that may stand in it.
    pub fn bad_address(address: &str) -> Reason {
        Reason::BadAddress {
            address: detail(address.rsplit('@').next().unwrap_or_default()),
        }
    }

    /// The sentence for the person.
    pub fn text(&self) -> Text {
        match self {
            Reason::NoSuchName { name } => Text::new("reason.no_such_name").with("name", name),
            Reason::Forbidden { address } => Text::new("reason.forbidden").with("address", address),
            Reason::BadAddress { address } => Text::new("reason.bad_address").with("address", address),
            Reason::Refused => Text::new("reason.refused"),
            Reason::Unreachable { detail } => Text::new("reason.unreachable").with_text("detail", words::said(detail)),
            Reason::TimedOut { seconds } => Text::new("reason.timed_out").with("seconds", seconds),
            Reason::Closed => Text::new("reason.closed"),
            Reason::Tls { detail } => Text::new("reason.tls").with_text("detail", words::said(detail)),
            Reason::Unexpected { detail } => {
                Text::new("reason.unexpected").with_text("detail", words::of_answer(detail))
            }
            Reason::TooLong => Text::new("reason.too_long"),
            Reason::Status { status } => Text::new("reason.status").with("status", status),
            Reason::Denied { user } if user.is_empty() => Text::new("reason.denied_nobody"),
            Reason::Denied { user } => Text::new("reason.denied").with("user", user),
            Reason::KeyChanged { known, shown } => Text::new("reason.key_changed")
                .with("known", known)
                .with("shown", shown),
            Reason::BadKey { detail } => Text::new("reason.bad_key").with_text("detail", words::said(detail)),
            Reason::NoFile { path, detail } => {
                let text = Text::new("reason.no_file").with("path", path);
                text.with_text("detail", words::said(detail))
            }
            Reason::NoFacts { detail } => Text::new("reason.no_facts").with_text("detail", words::of_answer(detail)),
            Reason::Agent { detail } => Text::new("reason.agent").with("detail", detail),
            Reason::Swarm { detail } => Text::new("reason.swarm").with("detail", detail),
            Reason::Cpu { percent, limit } => Text::new("reason.cpu").with("percent", percent).with("limit", limit),
            Reason::Memory { percent, limit } => {
                Text::new("reason.memory").with("percent", percent).with("limit", limit)
            }
            Reason::Disk { mount, percent, limit } => {
                let text = Text::new("reason.disk").with("mount", mount);
                text.with("percent", percent).with("limit", limit)
            }
            Reason::MassLoss => Text::new("reason.mass_loss"),
            Reason::Internal { detail } => Text::new("reason.internal").with("detail", detail),
        }
    }
}

impl Report {
    pub fn down(reason: Reason) -> Report {
        Report {
            outcome: Outcome::Down(reason),
            latency: None,
            facts: Facts::default(),
            pin: None,
        }
    }

    /// Up, or degraded by the first limit that is reached.
    pub fn of(facts: Facts, limits: Limits, latency: Duration) -> Report {
        Report {
            outcome: facts.reached(limits).map_or(Outcome::Up, Outcome::Degraded),
            latency: Some(latency),
            facts,
            pin: None,
        }
    }
}

impl Facts {
    /// The gravest limit that is reached, if any: disk before memory before CPU.
    fn reached(&self, limits: Limits) -> Option<Reason> {
        let over =
            |percent: f64, limit: u8| (limit > 0 && percent >= f64::from(limit)).then_some(percent.round() as u8);
        let disk = self.disks.first().and_then(|disk| {
            let percent = over(disk.usage.percent(), limits.disk)?;
            let (mount, limit) = (disk.mount.clone(), limits.disk);
            Some(Reason::Disk { mount, percent, limit })
        });
        let memory = || {
            let percent = over(self.memory?.percent(), limits.memory)?;
            let limit = limits.memory;
            Some(Reason::Memory { percent, limit })
        };
        let cpu = || {
            let percent = over(self.cpu?, limits.cpu)?;
            let limit = limits.cpu;
            Some(Reason::Cpu { percent, limit })
        };
        disk.or_else(memory).or_else(cpu)
    }
}
