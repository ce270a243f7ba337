//! Looking up names, only some at the same time: the system answers on threads that files and passwords need as well.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Lookups of names that are answered soon, and of those that were not the last time: these wait for each other alone.
const PLACES: [usize; 2] = [32, 32];
const SOON: Duration = Duration::from_secs(1);
/// Names that are remembered as slow.
const MOST_SLOW: usize = 10_000;

/// All lookups for assets.
pub static NAMES: LazyLock<Names> = LazyLock::new(|| Names::new(PLACES, SOON));

#[derive(Debug)]
pub struct Names {
    places: [Arc<Semaphore>; 2],
    soon: Duration,
    slow: Arc<Mutex<HashSet<String>>>,
}

impl Names {
    fn new(places: [usize; 2], soon: Duration) -> Names {
        Names {
            places: places.map(|count| Arc::new(Semaphore::new(count))),
            soon,
            slow: Arc::default(),
        }
    }

    /// Does the lookup of a name on a thread of its own, once there is a place; none when it fell over. Whoever gives up
    /// waiting does not end it: it keeps its place until the system has answered.
    pub async fn look_up<T: Send + 'static>(
        &self,
        name: &str,
        lookup: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (mut is_slow, mut place) = (self.is_slow(name), None);
        while place.is_none() {
            place = self.places[usize::from(is_slow)].clone().acquire_owned().await.ok();
            // It may have been found out by another one while this one waited.
            let now = self.is_slow(name);
            place = place.filter(|_| now == is_slow);
            is_slow = now;
        }
        let (name, soon, slow) = (name.to_owned(), self.soon, self.slow.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let _place = place;
            let began = Instant::now();
            let found = lookup();
            let mut slow = slow.lock().unwrap_or_else(PoisonError::into_inner);
            match began.elapsed() > soon {
                true if slow.len() < MOST_SLOW => drop(slow.insert(name)),
                true => {}
                false => drop(slow.remove(&name)),
            }
            found
        });
        looking.await.ok()
    }

    fn is_slow(&self, name: &str) -> bool {
        let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn slow_names_keep_their_places_whoever_waits_and_the_next_time_no_other_names_waiting() {
        let names = Names::new([3, 1], SHORT);
        let (begun, mut ends) = (Arc::new(AtomicUsize::new(0)), Vec::new());
        for number in 0..5 {
            let (end, ended) = mpsc::channel::<()>();
            let begun = begun.clone();
            let lookup = move || {
                begun.fetch_add(1, Ordering::Relaxed);
                let _ = ended.recv();
            };
            let name = format!("slow{number}");
            let looked = names.look_up(&name, lookup);
            assert!(timeout(2 * SHORT, looked).await.is_err());
            ends.push(end);
        }
        assert_eq!(begun.load(Ordering::Relaxed), 3, "no more than there are places");
        assert!(timeout(SHORT, names.look_up("good", || 7)).await.is_err());
        drop(ends);
        assert_eq!(names.look_up("good", || 7).await, Some(7));
        // Each says so on its own thread, when it comes to run.
        let all_said = async {
            while !(names.is_slow("slow0") && names.is_slow("slow1") && names.is_slow("slow2")) {
                tokio::task::yield_now().await;
            }
        };
        timeout(100 * SHORT, all_said).await.unwrap();
        assert!(!names.is_slow("good"));

        let (end, ended) = mpsc::channel::<()>();
        let looked = names.look_up("slow0", move || ended.recv().is_ok());
        assert!(timeout(SHORT, looked).await.is_err());
        for name in ["slow1", "slow2"] {
            let looked = names.look_up(name, || ());
            assert!(timeout(SHORT, looked).await.is_err(), "slow ones wait for slow ones");
        }
        assert_eq!(names.look_up("good", || 8).await, Some(8), "and nobody else does");
        drop(end);
        assert_eq!(names.look_up("slow1", || 9).await, Some(9));
        assert!(!names.is_slow("slow1"), "it is no more");
    }

    #[tokio::test]
    async fn a_lookup_that_falls_over_gives_its_place_back() {
        let names = Names::new([1, 1], SHORT);
        assert_eq!(names.look_up("a", || panic!("on purpose")).await, None::<u8>);
        assert_eq!(names.look_up("a", || 1).await, Some(1));
    }
}
