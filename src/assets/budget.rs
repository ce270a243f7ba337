//! How much of the answers of assets is kept in memory at the same time, by all checks together.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

/// Of each connection so many bytes are not counted. With as many as there may be at once these are 64 MiB.
const FREE: usize = 32 * 1024;
/// Bytes of all connections besides.
const MOST: usize = 64 * 1024 * 1024;

/// For all checks.
pub static ANSWERS: LazyLock<Arc<Budget>> = LazyLock::new(|| Arc::new(Budget::new(FREE, MOST)));

/// Nobody waits for it: when it is used up, the connection that has kept most for longest is given up. Good answers are short
/// and soon over, so it is hardly ever one of them.
#[derive(Debug)]
pub struct Budget {
    free: usize,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    next: u64,
    holders: HashMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    since: Instant,
    /// Of whoever reads, to be told that it is over.
    waker: Waker,
}

/// What one connection keeps; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    read: usize,
    id: Option<u64>,
}

impl Budget {
    fn new(free: usize, most: usize) -> Budget {
        Budget {
            free,
            most,
            state: Mutex::default(),
        }
    }

    pub fn share(self: &Arc<Budget>) -> Share {
        Share {
            budget: self.clone(),
            read: 0,
            id: None,
        }
    }
}

impl Share {
    /// Counts so many bytes more, or none after a wait. False when this connection is given up.
    pub fn takes(&mut self, bytes: usize, cx: &Context<'_>) -> bool {
        let before = self.read.max(self.budget.free);
        self.read += bytes;
        let Some(more) = self
            .read
            .checked_sub(before)
            .filter(|more| self.id.is_some() || *more > 0)
        else {
            return true;
        };
        let mut state = self.budget.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match self.id {
            Some(id) => id,
            None => state.enter(cx.waker()),
        };
        self.id = Some(id);
        let Some(holder) = state.holders.get_mut(&id) else {
            return false;
        };
        holder.bytes += more;
        holder.waker.clone_from(cx.waker());
        state.used += more;
        let mut given_up = Vec::new();
        while state.used > self.budget.most && state.holders.contains_key(&id) {
            given_up.extend(state.give_up_worst());
        }
        let stays = state.holders.contains_key(&id);
        drop(state);
        // Not while others are kept out: what is woken may end at once, and give back its share.
        given_up.into_iter().for_each(Waker::wake);
        stays
    }
}

impl State {
    fn enter(&mut self, waker: &Waker) -> u64 {
        self.next += 1;
        let holder = Holder {
            bytes: 0,
            since: Instant::now(),
            waker: waker.clone(),
        };
        self.holders.insert(self.next, holder);
        self.next
    }

    fn give_up_worst(&mut self) -> Option<Waker> {
        let weight = |holder: &Holder| holder.bytes as f64 * holder.since.elapsed().as_secs_f64();
        let weights = self.holders.iter().map(|(id, holder)| (*id, weight(holder)));
        let (id, _) = weights.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        self.leave(id)
    }

    fn leave(&mut self, id: u64) -> Option<Waker> {
        let holder = self.holders.remove(&id)?;
        self.used -= holder.bytes;
        Some(holder.waker)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let mut state = self.budget.state.lock().unwrap_or_else(PoisonError::into_inner);
            let waker = state.leave(id);
            drop(state);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(budget: &Budget) -> usize {
        budget.state.lock().unwrap().used
    }

    #[test]
    fn whoever_has_kept_most_for_longest_makes_room_and_nobody_waits() {
        let budget = Arc::new(Budget::new(10, 100));
        let cx = Context::from_waker(Waker::noop());
        let (mut first, mut second, mut third) = (budget.share(), budget.share(), budget.share());
        assert!(first.takes(10, &cx));
        assert_eq!(used(&budget), 0, "the first bytes of each are not counted");
        assert!(first.takes(60, &cx) && second.takes(30, &cx));
        assert_eq!(used(&budget), 80);
        assert!(third.takes(50, &cx));
        assert_eq!(used(&budget), 60, "the first one is given up");
        assert!(!first.takes(0, &cx) && !first.takes(5, &cx) && second.takes(0, &cx));
        assert_eq!(used(&budget), 60);
        drop((first, second));
        assert_eq!(used(&budget), 40);
        assert!(!third.takes(100, &cx), "more than there is for all");
        drop(third);
        assert_eq!(used(&budget), 0);
        assert!(budget.state.lock().unwrap().holders.is_empty());
    }
}
