//! What was learned of an SSH host so far; a check that fails later still tells it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::super::facts::{Facts, Limits};
use super::super::outcome::{Outcome, Reason, Report};

#[derive(Debug, Default)]
pub struct Seen {
    /// Until the host said its version.
    pub latency: Option<Duration>,
    /// `OpenSSH_9.2p1`; empty before the host said it.
    pub software: String,
    /// The first line that was no version, in one line without control characters.
    pub heard: String,
    /// The host's key as OpenSSH writes its fingerprint, once the host has proven that it has it.
    pub key: Arc<OnceLock<String>>,
}

impl Seen {
    /// Why there is no answer in time: something that talks, and not SSH, is no silent host.
    pub fn timed_out(&self, timeout: Duration) -> Reason {
        match self.software.is_empty() && !self.heard.is_empty() {
            true => Reason::Unexpected {
                detail: self.heard.clone(),
            },
            false => Reason::TimedOut {
                seconds: timeout.as_secs_f64().ceil() as u64,
            },
        }
    }

    /// `pinned` is what the host was known by before this check.
    pub fn report(self, looked: Result<Facts, Reason>, limits: Limits, pinned: &str) -> Report {
        let mut report = match looked {
            Ok(facts) => Report::of(facts, limits, self.latency.unwrap_or_default()),
            Err(reason) => Report::down(reason),
        };
        if let Outcome::Down(reason @ (Reason::NoFacts { .. } | Reason::TooLong)) = &report.outcome
            && self.key.get().is_some()
        {
            // The host answers and let us in.
            report.outcome = Outcome::Degraded(reason.clone());
        }
        report.latency = self.latency;
        report.facts.software = self.software;
        report.pin = self.key.get().filter(|shown| *shown != pinned).cloned();
        report
    }
}
