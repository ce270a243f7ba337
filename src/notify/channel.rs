//! A way to tell somebody: what its settings are, and what of it is secret.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::topic::Topics;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::audit::Object;
use crate::seal::{self, Key, Place, Seal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Webhook,
    Mail,
}

impl Kind {
    /// The word in the database and in addresses.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Webhook => "webhook",
            Kind::Mail => "mail",
        }
    }

    /// What is not e-mail is a webhook.
    pub fn parse(code: &str) -> Kind {
        match code {
            "mail" => Kind::Mail,
            _ => Kind::Webhook,
        }
    }
}

/// How a webhook wants to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Json,
    DingTalk,
    WeCom,
    Feishu,
    Slack,
}

impl Format {
    pub const ALL: [Format; 5] = [
        Format::Json,
        Format::DingTalk,
        Format::WeCom,
        Format::Feishu,
        Format::Slack,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::DingTalk => "ding_talk",
            Format::WeCom => "we_com",
            Format::Feishu => "feishu",
            Format::Slack => "slack",
        }
    }

    pub fn parse(code: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.code() == code)
    }

    pub fn name(self) -> Text {
        Text::new(match self {
            Format::Json => "notify.format_json",
            Format::DingTalk => "notify.format_ding_talk",
            Format::WeCom => "notify.format_we_com",
            Format::Feishu => "notify.format_feishu",
            Format::Slack => "notify.format_slack",
        })
    }

    /// Whether a key makes a difference to it; the others have all they need in their address.
    pub fn is_signed(self) -> bool {
        matches!(self, Format::Json | Format::DingTalk | Format::Feishu)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// For a relay on this machine or in a network that one trusts.
    None,
    /// Plain until the server has agreed to TLS, which it must.
    #[default]
    StartTls,
    Tls,
}

impl Encryption {
    pub const ALL: [Encryption; 3] = [Encryption::StartTls, Encryption::Tls, Encryption::None];

    pub fn code(self) -> &'static str {
        match self {
            Encryption::None => "none",
            Encryption::StartTls => "start_tls",
            Encryption::Tls => "tls",
        }
    }

    pub fn parse(code: &str) -> Option<Encryption> {
        Encryption::ALL.into_iter().find(|one| one.code() == code)
    }

    pub fn name(self) -> Text {
        Text::new(match self {
            Encryption::None => "notify.encryption_none",
            Encryption::StartTls => "notify.encryption_start_tls",
            Encryption::Tls => "notify.encryption_tls",
        })
    }
}

/// What a kind has no use for is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub format: Format,
    /// The server that takes mail.
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub user: String,
    pub from: String,
    /// PEM: whom to trust besides the system's authorities.
    pub authority: String,
    /// A key or password is among the secrets.
    pub has_key: bool,
    /// What it is told of; SQL looks at it, too.
    pub topics: Topics,
}

impl Settings {
    /// For the trail, where nothing of it may be secret.
    pub fn told(&self, kind: Kind) -> String {
        match kind {
            Kind::Webhook => self.format.code().to_owned(),
            Kind::Mail => {
                let (encryption, authority) = (self.encryption.code(), self.authority.len());
                let place = format!("{}:{} {encryption}", self.host, self.port);
                format!("{place} {} {} {authority}", self.user, self.from)
            }
        }
    }

    /// Whether a password meant for one may go to the other as well.
    pub fn is_same_door(&self, other: &Settings) -> bool {
        let door = |settings: &Settings| (settings.port, settings.encryption);
        door(self) == door(other)
            && self.host == other.host
            && self.user == other.user
            && self.authority == other.authority
    }
}

/// What gives access.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    /// Of a webhook: whoever knows it can write there.
    pub url: String,
    /// What a webhook's messages are signed with, or the mail server's password.
    pub key: String,
}

/// Never prints a secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Secret {
    /// Sealed for one channel.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has no randomness to give.
    pub fn sealed(&self, key: &Key, channel_id: u32) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(self).map_err(|cause| Error::Internal(cause.into()))?;
        seal::seal(key, place(&channel_id.to_string()), &plain)
    }

    /// # Errors
    /// Those of [`Seal::open_sealed`].
    pub fn open(seal: &Seal, channel_id: u32, sealed: &[u8]) -> Result<Secret> {
        let plain = seal.open_sealed(place(&channel_id.to_string()), sealed)?;
        // The cause could quote what it failed on.
        serde_json::from_slice(&plain).map_err(|_| Error::Internal("a channel's secret is no JSON".into()))
    }
}

fn place(channel_id: &str) -> Place<'_> {
    Place {
        table: "notice_channel",
        row: channel_id,
        column: "secret",
    }
}

/// A channel in the trail.
pub fn object(channel_id: u32, name: &str) -> Object {
    Object::new("notice_channel", &channel_id.to_string(), name)
}
