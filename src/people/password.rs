//! Passwords: what is asked of them, and their hashes (argon2id, parameters in the hash).

use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::error::{Error, Result};
use crate::i18n::Text;

/// Eight characters are the least that NIST SP 800-63B allows; 128 bounds the work of hashing.
pub const LEAST: usize = 8;
pub const MOST: usize = 128;
/// Hashes at once: a flood of sign-ins waits here and leaves cores and memory (19 MiB each) to the rest.
const AT_ONCE: usize = 2;
/// Whoever would have to wait behind this many others is sent away for a moment.
const QUEUE: usize = 64;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));
static QUEUED: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(QUEUE)));

/// Checked in place of a hash that is not there, so that unknown names take as long as known ones.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now("nobody has this").unwrap_or_default());

/// Makes what stands in for a missing hash, so that the first unknown name after a start takes no longer than the others.
pub fn prepare() {
    LazyLock::force(&NOBODY);
}

/// What is wrong with a new password, if anything: its length, or the name in it.
pub fn weakness(password: &str, name: &str) -> Option<Text> {
    let length = password.chars().count();
    if !(LEAST..=MOST).contains(&length) {
        let text = Text::new("password.length").with("least", LEAST);
        return Some(text.with("most", MOST));
    }
    let (password, name) = (password.to_lowercase(), name.to_lowercase());
    (name.chars().count() >= 3 && password.contains(&name)).then(|| Text::new("password.name"))
}

/// # Errors
/// [`Error::Wait`] when too many others wait for theirs.
pub async fn hash(password: &str) -> Result<String> {
    let password = password.to_owned();
    off_the_async_threads(move || hash_now(&password)).await?
}

/// Whether the password fits the hash, and, if it does, a new hash when the parameters have been raised since. Takes as
/// long without a hash.
///
/// # Errors
/// [`Error::Wait`] when too many others wait for theirs.
pub async fn check(password: &str, known: Option<&str>) -> Result<Checked> {
    let password = password.to_owned();
    let known = known.filter(|hash| !hash.is_empty()).map(str::to_owned);
    off_the_async_threads(move || check_now(&password, known.as_deref())).await?
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    Wrong,
    Right { new_hash: Option<String> },
}

fn check_now(password: &str, known: Option<&str>) -> Result<Checked> {
    let hash =
        PasswordHash::new(known.unwrap_or(&NOBODY)).map_err(|cause| Error::Internal(cause.to_string().into()))?;
    let argon2 = Argon2::default();
    let fits = argon2.verify_password(password.as_bytes(), &hash).is_ok();
    if !fits || known.is_none() {
        return Ok(Checked::Wrong);
    }
    let fresh = PasswordHash::new(&NOBODY).map_err(|cause| Error::Internal(cause.to_string().into()))?;
    let is_current = (hash.algorithm, hash.version, &hash.params) == (fresh.algorithm, fresh.version, &fresh.params);
    let new_hash = if is_current { None } else { Some(hash_now(password)?) };
    Ok(Checked::Right { new_hash })
}

fn hash_now(password: &str) -> Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|cause| Error::Internal(cause.to_string().into()))
}

async fn off_the_async_threads<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let internal = |cause: &dyn std::fmt::Display| Error::Internal(cause.to_string().into());
    let busy = || Error::Wait(Text::new("password.busy"), 5);
    let _queued = QUEUED.try_acquire().map_err(|_| busy())?;
    let turn = TURNS.clone().acquire_owned().await.map_err(|cause| internal(&cause))?;
    let done = spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(|cause| internal(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_name_are_all_that_is_asked() {
        assert!(weakness("1234567", "root").is_some());
        assert!(weakness("12345678", "root").is_none());
        assert!(weakness("八个汉字也是密码", "root").is_none());
        assert!(weakness(&"x".repeat(129), "root").is_some());
        assert!(weakness("my-ADMIN-word", "admin").is_some());
        assert!(weakness("a long enough one", "a").is_none());
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_fits_only_its_password_and_is_renewed_when_parameters_rise() {
        let made = hash("correct horse").await.unwrap();
        assert!(made.starts_with("$argon2id$v=19$m="), "{made}");
        assert_eq!(check("wrong horse", Some(&made)).await.unwrap(), Checked::Wrong);
        assert_eq!(check("anything", None).await.unwrap(), Checked::Wrong);
        assert_eq!(check("nobody has this", None).await.unwrap(), Checked::Wrong);
        assert_eq!(
            check("correct horse", Some(&made)).await.unwrap(),
            Checked::Right { new_hash: None }
        );
        let params = argon2::Params::new(8 * 1024, 1, 1, None).unwrap();
        let weak = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password(b"correct horse")
            .unwrap()
            .to_string();
        let Checked::Right {
            new_hash: Some(renewed),
        } = check("correct horse", Some(&weak)).await.unwrap()
        else {
            panic!("an older hash is renewed");
        };
        assert!(renewed.contains("m=19456,t=2,p=1"), "{renewed}");
    }
}
