//! SSH hosts: logged into with a password or a key, or only greeted.

pub mod banner;
mod disks;
mod fields;
pub mod gather;
pub mod key;
pub mod seen;
pub mod session;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::facts::{Facts, Limits};
use super::outcome::{Reason, Report};
use super::target::Target;
pub use fields::typed;
use seen::Seen;

/// How to get in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    #[default]
    Password,
    /// The key of the credential.
    Key,
    /// A key file on the server that watches.
    KeyFile,
    /// Not at all: only the banner is read.
    Banner,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub login: Login,
    /// For [`Login::KeyFile`]: a whole path.
    pub key_file: String,
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            host: String::new(),
            port: 22,
            login: Login::default(),
            key_file: String::new(),
            limits: Limits::default(),
        }
    }
}

/// One look at an SSH host.
pub async fn check(settings: &Settings, target: &Target) -> Report {
    let mut seen = Seen::default();
    let looked = timeout(target.timeout, look(settings, target, &mut seen)).await;
    let looked = looked.unwrap_or_else(|_| Err(seen.timed_out(target.timeout)));
    seen.report(looked, settings.limits, &target.pin)
}

async fn look(settings: &Settings, target: &Target, seen: &mut Seen) -> Result<Facts, Reason> {
    if settings.login == Login::Banner {
        banner::look(settings, target.reach, seen).await?;
        return Ok(Facts::default());
    }
    let session = session::open(settings, target, seen).await?;
    let facts = gather::facts(&session, target.last_ticks).await;
    session.close().await;
    facts
}
