//! Whether so much fails at once that it is rather our own network than theirs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::assets::state::State;

/// How far back one looks for the beginning of a loss: shorter than the tries that go before something counts as down.
const WINDOW: Duration = Duration::from_secs(8);
/// So many must have been looked at before anything is said of all; a few assets are looked back to further.
const LEAST: usize = 4;
/// With fewer looks than this lately, a failure says nothing of all, and others are looked at now.
pub const ENOUGH: usize = 8;
/// Longest that a look tells anything.
const MEMORY: Duration = Duration::from_secs(200);
/// After this long it is believed.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
struct Look {
    /// When it was looked at last.
    at: Instant,
    /// Since when it fails; what is tried again soon does not count more often than what is not.
    failed_at: Option<Instant>,
}

impl Look {
    fn turned_at(&self) -> Instant {
        self.failed_at.unwrap_or(self.at)
    }
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
        let counts = !fails || was.answered();
        if !counts {
            self.looks.remove(&asset_id);
            return;
        }
        let before = self.looks.get(&asset_id).and_then(|look| look.failed_at);
        let failed_at = fails.then(|| before.unwrap_or(now));
        self.looks.insert(asset_id, Look { at: now, failed_at });
    }

    /// Whether too little was looked at lately to say whose fault a failure is.
    pub fn knows_little(&self, now: Instant) -> bool {
        let is_recent = |look: &&Look| now.saturating_duration_since(look.at) < WINDOW;
        self.since.is_none() && self.looks.values().filter(is_recent).count() < ENOUGH
    }

    /// Whether more than half of what was looked at lately fails, and not for so long that it must be true.
    pub fn is_on(&mut self, now: Instant) -> bool {
        let age = |at: Instant| now.saturating_duration_since(at);
        self.looks.retain(|_, look| age(look.at) < MEMORY);
        let mut looks: Vec<Look> = self.looks.values().copied().collect();
        match self.since {
            // Only the latest tell that it begins.
            None => {
                looks.sort_unstable_by_key(|look| age(look.turned_at()));
                let recent = looks.iter().take_while(|look| age(look.turned_at()) < WINDOW).count();
                looks.truncate(recent.max(LEAST));
            }
            // Whether it lasts is told by what was looked at since: what is still to be looked at knows nothing of it.
            Some(since) => looks.retain(|look| look.at + WINDOW >= since),
        }
        let lost = looks.iter().filter(|look| look.failed_at.is_some()).count();
        let is_much = looks.len() >= LEAST && lost * 2 > looks.len();
        self.since = is_much.then(|| self.since.unwrap_or(now));
        self.since.is_some_and(|since| age(since) < LONGEST)
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
    fn with_few_looks_or_old_ones_one_knows_little() {
        let (loss, now) = after(1, ENOUGH - 1, State::Up);
        assert!(!loss.knows_little(now));
        assert!(loss.knows_little(now + WINDOW));
        let (loss, now) = after(1, ENOUGH - 2, State::Up);
        assert!(loss.knows_little(now));
    }

    #[test]
    fn what_never_answered_is_no_loss() {
        for was in [State::New, State::Down] {
            let (mut loss, now) = after(10, 0, was);
            assert!(!loss.is_on(now));
        }
    }

    /// Each of a thousand is looked at every thirty seconds; at once all fail.
    #[test]
    fn a_loss_is_seen_before_the_first_of_many_has_failed_three_times() {
        let (mut loss, begin) = (Loss::default(), Instant::now());
        let at = |second: u64| begin + Duration::from_secs(second);
        for second in 0..30 {
            for id in (0..1000).filter(|id| id % 30 == second as u32) {
                loss.note(id, State::Up, false, at(second));
            }
        }
        assert!(!loss.is_on(at(30)));
        // The first one's third look is ten seconds after its first.
        for second in 30..40 {
            for id in (0..1000).filter(|id| id % 30 == second as u32 - 30) {
                loss.note(id, State::Up, true, at(second));
            }
        }
        assert!(loss.is_on(at(39)));
    }

    /// As above, and then: until the last of them has failed it is one loss, and not one that comes and goes.
    #[test]
    fn a_loss_that_reaches_one_after_the_other_lasts() {
        let (mut loss, begin) = (Loss::default(), Instant::now());
        let mut seen = Vec::new();
        for half in 0..150_u32 {
            let now = begin + Duration::from_millis(500) * half;
            for id in (0..1000).filter(|id| id % 60 == half % 60) {
                loss.note(id, State::Up, half >= 60, now);
            }
            seen.push(loss.is_on(now));
        }
        assert!(seen[..60].iter().all(|is_on| !is_on));
        assert!(seen[79..].iter().all(|is_on| *is_on), "{seen:?}");
    }

    /// Six of twenty are really down and tried again every five seconds; the others are looked at every thirty.
    #[test]
    fn what_is_tried_again_and_again_does_not_look_like_more() {
        let (mut loss, begin) = (Loss::default(), Instant::now());
        let mut seen = false;
        for second in 0..90_u64 {
            let now = begin + Duration::from_secs(second);
            for id in 0..20_u32 {
                let is_its_turn = u64::from(id) * 3 % 30 == second % 30;
                let fails = id % 3 == 0 && id < 18;
                let is_tried_again = fails && second > 30 + u64::from(id) * 3 && second % 5 == u64::from(id) * 3 % 5;
                if is_its_turn || is_tried_again {
                    loss.note(id, State::Up, fails && second >= 30, now);
                }
            }
            seen |= loss.is_on(now);
        }
        assert!(!seen);
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
