//! Identical reads share one answer, which is never older than the question.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::error::{Error, Result};

/// Whoever asks while the same read is under way waits for the next one: it starts after the question, so everybody
/// sees what was written before they asked, and all who wait share it.
#[derive(Debug)]
pub struct Shared<K: Eq + Hash + Clone, V> {
    lanes: Mutex<HashMap<K, Arc<Lane<V>>>>,
}

/// The reads of one key, one after another.
#[derive(Debug)]
struct Lane<V> {
    turn: tokio::sync::Mutex<()>,
    /// The read that has not started yet.
    next: Mutex<Arc<Answer<V>>>,
}

type Answer<V> = OnceCell<Result<Arc<V>, Arc<Error>>>;

impl<K: Eq + Hash + Clone, V> Shared<K, V> {
    pub fn new() -> Shared<K, V> {
        Shared {
            lanes: Mutex::default(),
        }
    }

    /// The answer to a read that started after this call. If the asker who performs it goes away, another one does.
    ///
    /// # Errors
    /// Those of `ask`, to all who share them.
    pub async fn read<F>(&self, key: K, ask: impl FnOnce() -> F) -> Result<Arc<V>>
    where
        F: Future<Output = Result<V>>,
    {
        let visit = self.enter(key);
        let answer = lock(&visit.lane.next).clone();
        let told = answer.get_or_init(|| async {
            let _turn = visit.lane.turn.lock().await;
            // Who comes from here on may have written what this read does not see.
            *lock(&visit.lane.next) = Arc::default();
            ask().await.map(Arc::new).map_err(Arc::new)
        });
        told.await.clone().map_err(|error| match *error {
            Error::Unavailable(_) => Error::Unavailable(error.into()),
            _ => Error::Internal(error.into()),
        })
    }

    fn enter(&self, key: K) -> Visit<'_, K, V> {
        let fresh = || {
            Arc::new(Lane {
                turn: tokio::sync::Mutex::default(),
                next: Mutex::default(),
            })
        };
        let lane = lock(&self.lanes).entry(key.clone()).or_insert_with(fresh).clone();
        Visit {
            shared: self,
            key,
            lane,
        }
    }
}

impl<K: Eq + Hash + Clone, V> Default for Shared<K, V> {
    fn default() -> Shared<K, V> {
        Shared::new()
    }
}

/// Somebody in a lane; the last one to leave, even by being dropped, takes it away.
struct Visit<'a, K: Eq + Hash + Clone, V> {
    shared: &'a Shared<K, V>,
    key: K,
    lane: Arc<Lane<V>>,
}

impl<K: Eq + Hash + Clone, V> Drop for Visit<'_, K, V> {
    fn drop(&mut self) {
        let mut lanes = lock(&self.shared.lanes);
        // One for the map, one for us; new ones come only under this lock.
        if Arc::strong_count(&self.lane) == 2 {
            lanes.remove(&self.key);
        }
    }
}

/// [`Shared`] for reads of many keys by one statement: all who ask meanwhile, for whatever keys, share the next read.
#[derive(Debug)]
pub struct Batch<K: Eq + Hash + Clone, V> {
    shared: Shared<(), V>,
    /// What is asked for, and by how many.
    asked: Mutex<HashMap<K, usize>>,
}

impl<K: Eq + Hash + Clone, V> Batch<K, V> {
    pub fn new() -> Batch<K, V> {
        Batch {
            shared: Shared::new(),
            asked: Mutex::default(),
        }
    }

    /// The answer to a read that started after this call and covers these keys; `ask` gets them among those of others.
    ///
    /// # Errors
    /// Those of `ask`, to all who share them.
    pub async fn read<F>(&self, keys: Vec<K>, ask: impl FnOnce(Vec<K>) -> F) -> Result<Arc<V>>
    where
        F: Future<Output = Result<V>>,
    {
        // Noted before the read is joined, so that the read, which starts later, finds them.
        let _asking = Asking::note(&self.asked, keys);
        let all = || lock(&self.asked).keys().cloned().collect();
        self.shared.read((), || ask(all())).await
    }
}

impl<K: Eq + Hash + Clone, V> Default for Batch<K, V> {
    fn default() -> Batch<K, V> {
        Batch::new()
    }
}

/// Keys somebody waits for, until they are answered or go away.
struct Asking<'a, K: Eq + Hash + Clone> {
    asked: &'a Mutex<HashMap<K, usize>>,
    keys: Vec<K>,
}

impl<'a, K: Eq + Hash + Clone> Asking<'a, K> {
    fn note(asked: &'a Mutex<HashMap<K, usize>>, keys: Vec<K>) -> Asking<'a, K> {
        let mut noted = lock(asked);
        for key in &keys {
            *noted.entry(key.clone()).or_default() += 1;
        }
        Asking { asked, keys }
    }
}

impl<K: Eq + Hash + Clone> Drop for Asking<'_, K> {
    fn drop(&mut self) {
        let mut noted = lock(self.asked);
        for key in &self.keys {
            if let Some(count) = noted.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    noted.remove(key);
                }
            }
        }
    }
}

/// Nothing that happens under these locks can leave a value half written, so a poisoned one is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// A table with one number, whose reads last until they are let go.
    #[derive(Default)]
    struct Table {
        shared: Shared<&'static str, u32>,
        number: AtomicU32,
        reads: AtomicU32,
        going: Option<Semaphore>,
    }

    impl Table {
        fn held() -> Arc<Table> {
            Arc::new(Table {
                going: Some(Semaphore::new(0)),
                ..Table::default()
            })
        }

        async fn read(&self) -> Result<u32> {
            let ask = || async {
                self.reads.fetch_add(1, Ordering::SeqCst);
                let seen = self.number.load(Ordering::SeqCst);
                self.going.as_ref().unwrap().acquire().await.unwrap().forget();
                match seen {
                    u32::MAX => Err(Error::timed_out("never")),
                    seen => Ok(seen),
                }
            };
            self.shared.read("key", ask).await.map(|answer| *answer)
        }

        fn let_go(&self, reads: usize) {
            self.going.as_ref().unwrap().add_permits(reads);
        }

        fn is_empty(&self) -> bool {
            lock(&self.shared.lanes).is_empty()
        }
    }

    /// Starts a read and lets it run until it waits.
    async fn start(table: &Arc<Table>) -> tokio::task::JoinHandle<Result<u32>> {
        let table = table.clone();
        let reading = tokio::spawn(async move { table.read().await });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        reading
    }

    #[tokio::test]
    async fn who_comes_later_shares_the_next_read_and_sees_every_earlier_write() {
        let table = Table::held();
        let first = start(&table).await;
        table.number.store(1, Ordering::SeqCst);
        let second = start(&table).await;
        table.number.store(2, Ordering::SeqCst);
        let third = start(&table).await;
        table.let_go(2);
        assert_eq!(first.await.unwrap().unwrap(), 0);
        assert_eq!(second.await.unwrap().unwrap(), 2);
        assert_eq!(third.await.unwrap().unwrap(), 2);
        assert_eq!(table.reads.load(Ordering::SeqCst), 2);
        assert!(table.is_empty());
    }

    #[tokio::test]
    async fn a_reader_who_goes_away_leaves_the_read_to_another() {
        let table = Table::held();
        let first = start(&table).await;
        let (second, third) = (start(&table).await, start(&table).await);
        first.abort();
        second.abort();
        table.number.store(1, Ordering::SeqCst);
        table.let_go(2);
        assert_eq!(third.await.unwrap().unwrap(), 1);
        assert!(table.is_empty());
    }

    #[tokio::test]
    async fn all_who_share_a_read_share_its_error() {
        let table = Table::held();
        let first = start(&table).await;
        table.number.store(u32::MAX, Ordering::SeqCst);
        let (second, third) = (start(&table).await, start(&table).await);
        table.let_go(2);
        assert!(first.await.unwrap().is_ok());
        assert!(matches!(second.await.unwrap(), Err(Error::Unavailable(_))));
        assert!(matches!(third.await.unwrap(), Err(Error::Unavailable(_))));
        assert_eq!(table.reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_batch_asks_once_for_all_keys_that_wait_and_forgets_them() {
        let batch: Arc<Batch<u32, Vec<u32>>> = Arc::new(Batch::new());
        let going = Arc::new(Semaphore::new(0));
        let start = |key: u32| {
            let (batch, going) = (batch.clone(), going.clone());
            tokio::spawn(async move {
                let ask = |mut keys: Vec<u32>| async move {
                    keys.sort_unstable();
                    going.acquire().await.unwrap().forget();
                    Ok(keys)
                };
                batch.read(vec![key], ask).await.unwrap()
            })
        };
        let mut reading = Vec::new();
        for key in 1..=4 {
            reading.push(start(key));
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        going.add_permits(2);
        let mut answers = Vec::new();
        for read in reading {
            answers.push(read.await.unwrap());
        }
        assert_eq!(*answers[0], [1]);
        assert!(
            answers[1..]
                .iter()
                .all(|answer| [2, 3, 4].iter().all(|key| answer.contains(key)))
        );
        assert!(Arc::ptr_eq(&answers[1], &answers[3]), "one read for all who waited");
        assert!(lock(&batch.asked).is_empty());
    }
}
