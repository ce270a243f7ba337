//! Testing a connection before it is saved: somebody asks, and the cluster that would watch it looks.

mod pages;
pub mod queries;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::outcome::{Outcome, Reason, Report};
use super::state::State;
use super::target::Secret;
use super::view;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::seal::{self, Key, Place, Seal};

pub use pages::routes;

/// What a trial found, as its row keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    /// Up, degraded, down or changed, by its code.
    state: String,
    reason: Option<Reason>,
    latency_us: Option<u32>,
    facts: Facts,
    /// What the host showed, where it was not known by it before.
    pin: Option<String>,
}

impl Told {
    pub fn of(report: Report) -> Told {
        let micros = |latency: std::time::Duration| u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        Told {
            state: State::of(&report.outcome).code().to_owned(),
            reason: match report.outcome {
                Outcome::Up => None,
                Outcome::Degraded(reason) | Outcome::Down(reason) => Some(reason),
            },
            latency_us: report.latency.map(micros),
            facts: report.facts,
            pin: report.pin,
        }
    }

    /// # Errors
    /// [`Error::Internal`] for what cannot be written as JSON; nothing here is such a thing.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|cause| Error::Internal(cause.into()))
    }

    fn state(&self) -> State {
        State::parse(&self.state).unwrap_or(State::Unknown)
    }

    /// In one sentence.
    fn verdict(&self) -> Text {
        let key = match self.state() {
            State::Up => "trials.works",
            State::Degraded => "trials.works_but",
            _ => "trials.fails",
        };
        let text = Text::new(key);
        match &self.reason {
            Some(reason) => text.with_text("why", reason.text()),
            None => text,
        }
    }

    /// How that looks.
    fn colour(&self) -> &'static str {
        match self.state() {
            State::Up => "notice-good",
            State::Degraded => "notice-warn",
            _ => "notice-bad",
        }
    }

    /// Latency and facts in a few words.
    fn brief(&self) -> Vec<Text> {
        let latency = |us| Text::new("trials.latency").with("latency", view::latency(Some(us)));
        let latency = self.latency_us.map(latency);
        latency.into_iter().chain(view::brief(&self.facts)).collect()
    }

    fn pin(&self) -> Option<&str> {
        self.pin.as_deref().filter(|pin| !pin.is_empty())
    }
}

fn place(trial_id: &str) -> Place<'_> {
    Place {
        table: "asset_trial",
        row: trial_id,
        column: "sealed",
    }
}

fn sealed(key: &Key, trial_id: &str, secret: &Secret) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(secret).map_err(|cause| Error::Internal(cause.into()))?;
    seal::seal(key, place(trial_id), &json)
}

/// # Errors
/// [`Error::Invalid`] when this server lacks the key.
pub fn open(seal: &Seal, trial_id: &str, sealed: &[u8]) -> Result<Secret> {
    let json = seal.open_sealed(place(trial_id), sealed)?;
    serde_json::from_slice(&json).map_err(|cause| Error::Internal(cause.into()))
}
