//! For how long one server has seen the database: whoever was away itself must not say that others are gone.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A longer gap between two looks counts as having been away.
const LONGEST_GAP: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
pub struct Sight(Mutex<Option<Watch>>);

#[derive(Debug, Clone, Copy)]
struct Watch {
    since: Instant,
    last: Instant,
}

impl Sight {
    /// Notes a look at the database; for how long it has been looked at without a gap.
    pub fn looked(&self, now: Instant) -> Duration {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = watch.filter(|watch| now.saturating_duration_since(watch.last) < LONGEST_GAP);
        let since = kept.map_or(now, |watch| watch.since);
        *watch = Some(Watch { since, last: now });
        now.saturating_duration_since(since)
    }

    /// For tests: as if it had looked for that long.
    pub fn has_looked_for(&self, length: Duration) {
        let now = Instant::now();
        if let Some(since) = now.checked_sub(length) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch { since, last: now });
        }
    }
}
