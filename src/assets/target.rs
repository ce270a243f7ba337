//! What a check is given besides the settings of its kind: who to be, how far it may reach, and how long it may take.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outcome::{Reason, Report};
use crate::clusters::address::Reach;

/// What a check knows besides the settings of its kind.
#[derive(Debug, Clone)]
pub struct Target {
    pub secret: Secret,
    pub reach: Reach,
    /// For the whole check, connecting included.
    pub timeout: Duration,
    /// What the peer showed when it was first used, where a kind pins it; empty before.
    pub pin: String,
    /// What the last check knew as [`Facts::cpu_ticks`](super::facts::Facts::cpu_ticks).
    pub last_ticks: Option<[f64; 2]>,
}

impl Target {
    /// What a look finds, or that it took too long.
    pub async fn within_time(&self, look: impl Future<Output = Result<Report, Reason>>) -> Report {
        match tokio::time::timeout(self.timeout, look).await {
            Ok(Ok(report)) => report,
            Ok(Err(reason)) => Report::down(reason),
            Err(_) => Report::down(Reason::TimedOut {
                seconds: self.timeout.as_secs_f64().ceil() as u64,
            }),
        }
    }
}

/// Who to be at an asset. What a kind has no use for is empty.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secret {
    pub user: String,
    pub password: String,
    /// OpenSSH or PEM.
    pub private_key: String,
    pub passphrase: String,
    /// PEM: the client's own, to be shown with `private_key`.
    pub certificate: String,
    /// PEM: whom to trust instead of the system's authorities.
    pub authority: String,
}

/// Never prints a secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
