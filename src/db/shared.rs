//! Identical reads share one answer, which is never older than whoever asks allows.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Answers that are kept; beyond that those that nobody waits for are forgotten, and old ones as soon as another comes.
const MOST: usize = 64;
const YOUNG: Duration = Duration::from_secs(1);
/// Whoever has waited for so long for others' reads begins none of their own.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whoever asks while the same read is under way waits for it or, if it began too early for them, for the next one, which
/// all who wait share. A read that began just when somebody asks may have missed what they wrote, so it does for nobody.
#[derive(Debug)]
pub struct Shared<K: Eq + Hash, V> {
    lanes: Mutex<HashMap<K, Arc<Lane<V>>>>,
}

/// The reads of one key, one after another.
#[derive(Debug)]
struct Lane<V> {
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<Last<V>>>,
}

/// The last read that ended.
#[derive(Debug)]
struct Last<V> {
    began: Instant,
    answer: Answer<V>,
}

type Answer<V> = std::result::Result<Arc<V>, Arc<Error>>;

impl<K: Eq + Hash, V> Shared<K, V> {
    pub fn new() -> Shared<K, V> {
        Shared {
            lanes: Mutex::default(),
        }
    }

    /// The answer to a read that began after `since`, an instant that has passed; for what was written before this call to
    /// be seen, that of the call itself. If the asker who performs it goes away, another one does.
    ///
    /// # Errors
    /// Those of `ask`, to all who waited for it; they are not kept. [`Error::Unavailable`] after 3 s of others' reads.
    pub async fn read<F>(&self, key: K, since: Instant, ask: impl FnOnce() -> F) -> Result<Arc<V>>
    where
        F: Future<Output = Result<V>>,
    {
        let asked = Instant::now();
        let lane = self.lane(key);
        if let Some(answer) = lane.told((since, asked)) {
            return answer;
        }
        let _turn = lane.turn.lock().await;
        if let Some(answer) = lane.told((since, asked)) {
            return answer;
        }
        // It would be given up before it could answer, and the next one's after it.
        if asked.elapsed() > PATIENCE {
            return Err(Error::timed_out("no turn to read within 3 s"));
        }
        let began = Instant::now();
        let answer = ask().await.map(Arc::new).map_err(Arc::new);
        let told = answer.clone();
        *lock(&lane.last) = Some(Last { began, answer });
        handed_on(told)
    }

    fn lane(&self, key: K) -> Arc<Lane<V>> {
        let mut lanes = lock(&self.lanes);
        if !lanes.contains_key(&key) {
            let is_full = lanes.len() >= MOST;
            // Whoever is in a lane holds it too; new ones come only under this lock.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !is_full && lane.is_young());
        }
        lanes.entry(key).or_default().clone()
    }
}

impl<K: Eq + Hash, V> Default for Shared<K, V> {
    fn default() -> Shared<K, V> {
        Shared::new()
    }
}

impl<V> Default for Lane<V> {
    fn default() -> Lane<V> {
        Lane {
            turn: tokio::sync::Mutex::default(),
            last: Mutex::default(),
        }
    }
}

impl<V> Lane<V> {
    fn is_young(&self) -> bool {
        let last = lock(&self.last);
        last.as_ref().is_some_and(|last| last.began.elapsed() < YOUNG)
    }

    fn told(&self, (since, asked): (Instant, Instant)) -> Option<Result<Arc<V>>> {
        let last = lock(&self.last);
        let last = last.as_ref()?;
        let is_good = last.began > if last.answer.is_ok() { since } else { asked };
        is_good.then(|| handed_on(last.answer.clone()))
    }
}

fn handed_on<V>(answer: Answer<V>) -> Result<Arc<V>> {
    answer.map_err(|error| match *error {
        Error::Unavailable(_) => Error::Unavailable(error.into()),
        _ => Error::Internal(error.into()),
    })
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
        self.shared.read((), Instant::now(), || ask(all())).await
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
            self.read_since(Instant::now()).await
        }

        async fn read_since(&self, since: Instant) -> Result<u32> {
            let ask = || async {
                self.reads.fetch_add(1, Ordering::SeqCst);
                let seen = self.number.load(Ordering::SeqCst);
                self.going.as_ref().unwrap().acquire().await.unwrap().forget();
                match seen {
                    u32::MAX => Err(Error::timed_out("never")),
                    seen => Ok(seen),
                }
            };
            self.shared.read("key", since, ask).await.map(|answer| *answer)
        }

        fn let_go(&self, reads: usize) {
            self.going.as_ref().unwrap().add_permits(reads);
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
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_whoever_allows_its_age() {
        let table = Table::held();
        let before = Instant::now();
        table.let_go(1);
        assert_eq!(table.read().await.unwrap(), 0);
        table.number.store(1, Ordering::SeqCst);
        assert_eq!(table.read_since(before).await.unwrap(), 0, "kept");
        table.let_go(1);
        assert_eq!(table.read().await.unwrap(), 1, "not for somebody who may have written");
        assert_eq!(table.read_since(before).await.unwrap(), 1);
        assert_eq!(table.reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_read_under_way_does_for_whoever_allows_its_age_and_errors_are_not_kept() {
        let table = Table::held();
        let before = Instant::now();
        table.number.store(u32::MAX, Ordering::SeqCst);
        let first = start(&table).await;
        let second = table.clone();
        let second = tokio::spawn(async move { second.read_since(before).await });
        tokio::task::yield_now().await;
        table.let_go(2);
        assert!(first.await.unwrap().is_err());
        assert!(second.await.unwrap().is_err(), "one that began after the question");
        table.number.store(3, Ordering::SeqCst);
        table.let_go(1);
        assert_eq!(table.read_since(before).await.unwrap(), 3);
        assert_eq!(table.reads.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn no_more_answers_are_kept_than_there_is_room_for() {
        let shared = Shared::new();
        for key in 0..1000 {
            let ask = || async { Ok(key) };
            assert_eq!(*shared.read(key, Instant::now(), ask).await.unwrap(), key);
            assert!(lock(&shared.lanes).len() <= MOST);
        }
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
