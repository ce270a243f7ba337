//! Places for checks at the same time, so that those that hang delay nobody else.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Checks that have begun within the last [`SLOW`], of assets that usually answer within it.
const FAST: usize = 400;
/// Checks of assets whose last one took longer.
const PATIENT: usize = 200;
/// Checks in all: what takes long for the first time gives its place to others, and goes on beside them.
const OPEN: usize = 2_000;
/// What takes longer waits in a lane of its own from the next time on.
pub const SLOW: Duration = Duration::from_secs(1);
/// Checks at one host, of each lane.
const AT_HOST: [usize; 2] = [4, 2];

#[derive(Debug)]
pub struct Lanes {
    lanes: [Arc<Semaphore>; 2],
    open: Arc<Semaphore>,
    hosts: [Mutex<HashMap<String, Arc<Semaphore>>>; 2],
}

impl Default for Lanes {
    fn default() -> Lanes {
        let places = |count| Arc::new(Semaphore::new(count));
        // Half of the files stay for browsers and the database.
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        Lanes {
            lanes: [places(FAST), places(PATIENT)],
            open: places(OPEN.min(usize::try_from(files).unwrap_or(OPEN))),
            hosts: Default::default(),
        }
    }
}

impl Lanes {
    pub fn free(&self, is_slow: bool) -> usize {
        let lane = self.lanes[usize::from(is_slow)].available_permits();
        lane.min(self.open.available_permits())
    }

    /// A place, if one is free.
    pub fn take(&self, is_slow: bool) -> Option<Place> {
        let lane = self.lanes[usize::from(is_slow)].clone().try_acquire_owned().ok()?;
        let _open = self.open.clone().try_acquire_owned().ok()?;
        let lane = Some(lane);
        Some(Place { lane, is_slow, _open })
    }

    /// The places at the host of an address.
    pub fn at_host(&self, address: &str, is_slow: bool) -> Arc<Semaphore> {
        let lane = usize::from(is_slow);
        let mut hosts = self.hosts[lane].lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(host_of(address));
        host.or_insert_with(|| Arc::new(Semaphore::new(AT_HOST[lane]))).clone()
    }

    /// Forgets the hosts where nothing is looked at.
    pub fn tidy(&self) {
        for hosts in &self.hosts {
            let mut hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
    }
}

/// The host of an address, to be gentle to it; a socket is a host of its own.
fn host_of(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split('/').next().filter(|host| !host.is_empty()).unwrap_or(rest);
    host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned()
}

/// The right to one check; given back when it ends.
#[derive(Debug)]
pub struct Place {
    lane: Option<OwnedSemaphorePermit>,
    is_slow: bool,
    _open: OwnedSemaphorePermit,
}

impl Place {
    /// Does the work; what takes long is still done, and no longer in the way of others.
    pub async fn run<F: Future>(mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        if self.is_slow {
            return work.await;
        }
        match timeout(SLOW, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                self.lane = None;
                work.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart() {
        for (address, host) in [
            ("http://web:9100/metrics", "web"),
            ("db:22", "db"),
            ("https://[::1]:2376", "[::1]"),
            ("ssh://root@db:22", "root@db"),
            ("unix:///run/a.sock", "/run/a.sock"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }

    #[tokio::test]
    async fn what_takes_long_gives_its_place_to_others() {
        let lanes = Lanes::default();
        let place = lanes.take(false).unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let check = tokio::spawn(place.run(ended));
        let open = lanes.open.available_permits();
        assert_eq!(lanes.lanes[0].available_permits(), FAST - 1);
        let began = std::time::Instant::now();
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        while lanes.lanes[0].available_permits() < FAST {
            assert!(began.elapsed() < 10 * SLOW, "it keeps its place");
            beat.tick().await;
        }
        assert!(began.elapsed() >= SLOW);
        end.send(()).unwrap();
        check.await.unwrap().unwrap();
        assert_eq!(lanes.open.available_permits(), open + 1);
    }
}
