//! Whether so much fails at once that it is rather our own network than theirs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::assets::state::State;

/// How far back one looks.
const WINDOW: Duration = Duration::from_secs(20);
/// So many must have been looked at before anything is said of all.
const LEAST: usize = 4;
/// After this long it is believed.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    fails: bool,
}

/// What the last looks found at assets that had answered before.
#[derive(Debug, Default)]
pub struct Loss {
    looks: HashMap<u32, Look>,
    since: Option<Instant>,
}

impl Loss {
    /// Takes in one look. Only what had answered can be lost.
    pub fn note(&mut self, asset_id: u32, was: State, fails: bool, now: Instant) {
        let counts = !fails || matches!(was, State::Up | State::Degraded | State::Unknown);
        match counts {
            true => drop(self.looks.insert(asset_id, Look { at: now, fails })),
            false => drop(self.looks.remove(&asset_id)),
        }
    }

    /// Whether more than half of what was looked at lately fails, and not for so long that it must be true.
    pub fn is_on(&mut self, now: Instant) -> bool {
        self.looks
            .retain(|_, look| now.saturating_duration_since(look.at) < WINDOW * 10);
        let recent = |look: &&Look| now.saturating_duration_since(look.at) < WINDOW || self.since.is_some();
        let looks = self.looks.values().filter(recent).count();
        let lost = self.looks.values().filter(recent).filter(|look| look.fails).count();
        let is_much = looks >= LEAST && lost * 2 > looks;
        self.since = is_much.then(|| self.since.unwrap_or(now));
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) < LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(fails: usize, works: usize, was: State) -> (Loss, Instant) {
        let (mut loss, now) = (Loss::default(), Instant::now());
        for id in 0..fails + works {
            loss.note(id as u32, was, id < fails, now);
        }
        (loss, now)
    }

    #[test]
    fn more_than_half_at_once_is_a_loss_and_half_is_not() {
        let (mut loss, now) = after(3, 2, State::Up);
        assert!(loss.is_on(now));
        let (mut loss, now) = after(2, 2, State::Up);
        assert!(!loss.is_on(now));
        let (mut loss, now) = after(3, 0, State::Up);
        assert!(!loss.is_on(now), "three are too few to say anything of all");
    }

    #[test]
    fn what_never_answered_is_no_loss() {
        for was in [State::New, State::Down] {
            let (mut loss, now) = after(10, 0, was);
            assert!(!loss.is_on(now));
        }
    }

    #[test]
    fn it_ends_when_they_answer_again_and_is_believed_after_ten_minutes() {
        let (mut loss, now) = after(5, 0, State::Up);
        assert!(loss.is_on(now));
        for id in 0..5 {
            loss.note(id, State::Unknown, true, now + LONGEST);
        }
        assert!(!loss.is_on(now + LONGEST));
        let (mut loss, now) = after(5, 0, State::Up);
        assert!(loss.is_on(now));
        for id in 0..3 {
            loss.note(id, State::Unknown, false, now);
        }
        assert!(!loss.is_on(now));
    }
}
