//! What a check means for the asset's row.

use std::time::{Duration, Instant};

use super::lanes::SLOW;
use super::queries::{About, Claimed, Found, Turn};
use crate::assets::facts::Facts;
use crate::assets::outcome::{Outcome, Reason, Report};
use crate::assets::state::State;

/// Latencies that are kept for the chart.
const KEPT: usize = 60;

impl Found {
    /// In a mass loss nothing that answered before counts as down.
    pub fn of(claimed: Claimed, report: &Report, (at, took): (Instant, Duration), is_lost: bool) -> Found {
        let fails = matches!(report.outcome, Outcome::Down(_));
        let misses = if fails { claimed.misses.saturating_add(1) } else { 0 };
        let (outcome, cpu_over) = judged(&claimed, &report.outcome);
        let turn = turn(&claimed, (outcome, report.pin.as_ref()), misses, is_lost);
        let is_open = !matches!(claimed.state, State::Down | State::Changed);
        let will_retry = fails && is_open && misses <= claimed.retries;
        Found {
            id: claimed.asset_id,
            at,
            latency: report.latency.map(micros),
            latencies: latencies(&claimed.latencies, report.latency),
            misses,
            slow: u8::from(took >= SLOW),
            retry: u8::from(will_retry),
            facts: facts(&Facts {
                cpu_over,
                ..report.facts.clone()
            }),
            turn,
            about: About {
                name: claimed.name,
                group_id: claimed.group_id,
                group: claimed.group_name,
            },
            claim: claimed.claim,
        }
    }
}

fn micros(latency: Duration) -> u64 {
    latency.as_micros().min(u128::from(u32::MAX)) as u64
}

/// The last ones with this one behind.
fn latencies(known: &str, latency: Option<Duration>) -> String {
    let Some(latency) = latency else {
        return known.to_owned();
    };
    let mut all: Vec<&str> = known.split(',').filter(|one| !one.is_empty()).collect();
    let newest = micros(latency).min(99_999_999).to_string();
    all.push(&newest);
    all.split_off(all.len().saturating_sub(KEPT)).join(",")
}

/// As JSON; empty when nothing was learned, so that the former ones stay.
fn facts(facts: &Facts) -> String {
    match *facts == Facts::default() {
        true => String::new(),
        false => serde_json::to_string(facts).unwrap_or_default(),
    }
}

/// What a check says in view of those before it, and how many in a row found the CPU at its limit. A busy moment is no news:
/// as with what fails, it counts once as many further checks as there are retries say the same.
fn judged<'a>(claimed: &Claimed, outcome: &'a Outcome) -> (&'a Outcome, Option<u32>) {
    if !matches!(outcome, Outcome::Degraded(Reason::Cpu { .. })) {
        return (outcome, None);
    }
    let known = claimed.facts.as_deref().unwrap_or_default();
    let known: Facts = serde_json::from_str(known).unwrap_or_default();
    let over = known.cpu_over.unwrap_or_default().saturating_add(1);
    let is_known = claimed.state == State::Degraded;
    match is_known || over > claimed.retries {
        true => (outcome, Some(over)),
        false => (&Outcome::Up, Some(over)),
    }
}

/// Another state, another reason or another pin than is written; none while there is nothing new to say.
fn turn(claimed: &Claimed, (outcome, shown): (&Outcome, Option<&String>), misses: u32, is_lost: bool) -> Option<Turn> {
    let fails = matches!(outcome, Outcome::Down(_));
    let mut state = State::of(outcome);
    let mut reason = match outcome {
        Outcome::Up => String::new(),
        Outcome::Degraded(reason) | Outcome::Down(reason) => serde_json::to_string(reason).unwrap_or_default(),
    };
    let may_wait = fails && state == State::Down && claimed.state != State::Down;
    if may_wait && is_lost && claimed.state != State::New {
        state = State::Unknown;
        reason = serde_json::to_string(&Reason::MassLoss).unwrap_or_default();
    } else if may_wait && misses <= claimed.retries {
        return None;
    }
    let changes_key = state == State::Changed;
    let (pin, offered) = match (shown, changes_key) {
        (Some(shown), true) => (String::new(), shown.clone()),
        (Some(shown), false) if claimed.pin.is_empty() => (shown.clone(), String::new()),
        _ => (String::new(), String::new()),
    };
    let is_same = reason == claimed.reason || is_alike(outcome, &claimed.reason);
    let is_new = state != claimed.state || !is_same || !pin.is_empty();
    is_new.then(|| Turn {
        id: claimed.asset_id,
        state: state.code(),
        reason,
        pin,
        offered,
    })
}

/// Whether it says the same but for a number that is another at each look: the row that everybody reads is not written for
/// that.
fn is_alike(outcome: &Outcome, known: &str) -> bool {
    match (outcome, serde_json::from_str(known)) {
        (Outcome::Degraded(reason), Ok(known)) => reason.is_alike(&known),
        _ => false,
    }
}
