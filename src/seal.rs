//! Secrets at rest: sealed with XChaCha20-Poly1305 under a master key that is never in the database.
//!
//! The key is made when the first secret is kept. From then on every server of the database needs it: as the file
//! `master.key` of its data directory, or in the environment. The database knows which key is in use by its fingerprint.

use std::fmt;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Transaction};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::write_private;

const FILE: &str = "master.key";
const FORMAT: u8 = 1;
const FINGERPRINT: usize = 8;
const NONCE: usize = 24;

/// One master key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// Never prints the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.fingerprint()).finish()
    }
}

impl Key {
    /// 64 hex digits.
    pub fn parse(text: &str) -> Option<Key> {
        let text = text.trim();
        let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
        }
        digits.then_some(Key(bytes))
    }

    /// # Errors
    /// [`Error::Internal`] when the system has no randomness to give.
    pub fn random() -> Result<Key> {
        Ok(Key(random()?))
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Names the key and tells nothing of it.
    pub fn fingerprint(&self) -> String {
        hex(&self.mark())
    }

    fn mark(&self) -> [u8; FINGERPRINT] {
        let mut mark = [0; FINGERPRINT];
        let hash = Sha256::digest([b"muster master key".as_slice(), &self.0].concat());
        mark.copy_from_slice(&hash[..FINGERPRINT]);
        mark
    }
}

/// Where a secret stands; what is sealed for one place cannot be opened at another.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub table: &'a str,
    pub row: &'a str,
    pub column: &'a str,
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        format!("{}/{}/{}", self.table, self.row, self.column).into_bytes()
    }
}

/// The keys this server has.
#[derive(Debug)]
pub struct Seal {
    path: PathBuf,
    given: Option<Key>,
    ring: RwLock<Vec<Key>>,
}

impl Seal {
    /// Reads the keys; none is fine as long as the database has no secrets.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the file cannot be read or holds something else.
    pub fn open(data: &Path, given: Option<&str>) -> Result<Seal> {
        let seal = Seal {
            path: data.join(FILE),
            given: given.and_then(Key::parse),
            ring: RwLock::default(),
        };
        seal.reload()?;
        Ok(seal)
    }

    /// Where the keys are, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn fingerprints(&self) -> Vec<String> {
        self.keys().iter().map(Key::fingerprint).collect()
    }

    /// The key that was added last.
    pub fn newest(&self) -> Option<Key> {
        self.keys().pop()
    }

    fn keys(&self) -> Vec<Key> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again: a key may have been added on another server and copied here.
    ///
    /// # Errors
    /// As for [`Seal::open`].
    pub fn reload(&self) -> Result<()> {
        // A copied file may have come with the rights of the copier.
        let _ = std::fs::set_permissions(&self.path, Permissions::from_mode(0o600));
        let mut keys: Vec<Key> = self.given.iter().cloned().collect();
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => {
                let text = Text::new("seal.unreadable").with("path", self.path.display());
                return Err(Error::Invalid(text.with("cause", cause)));
            }
        };
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let broken = || {
                Error::Invalid(
                    Text::new("seal.broken")
                        .with("path", self.path.display())
                        .with("line", number),
                )
            };
            keys.push(Key::parse(line).ok_or_else(broken)?);
        }
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The key of that fingerprint; the file is read again if need be, since a new key may have been copied into it.
    fn key(&self, fingerprint: &str) -> Result<Key> {
        let find = || self.keys().into_iter().find(|key| key.fingerprint() == fingerprint);
        if let Some(key) = find() {
            return Ok(key);
        }
        self.reload()?;
        find().ok_or_else(|| self.missing(fingerprint))
    }

    fn missing(&self, fingerprint: &str) -> Error {
        Error::Invalid(
            Text::new("seal.missing")
                .with("fingerprint", fingerprint)
                .with("path", self.path.display()),
        )
    }

    /// Adds a key to the file.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the file cannot be written.
    pub fn add(&self, key: &Key) -> Result<()> {
        let known = match std::fs::read_to_string(&self.path) {
            Ok(known) => known,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => {
                let text = Text::new("seal.unreadable").with("path", self.path.display());
                return Err(Error::Invalid(text.with("cause", cause)));
            }
        };
        let known = known.trim_end();
        let lines = match known.is_empty() {
            true => format!("{}\n", key.hex()),
            false => format!("{known}\n{}\n", key.hex()),
        };
        write_private(&self.path, &lines)?;
        self.reload()
    }

    /// Whether this server has the key that the database is sealed with. Called before a server works.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the remedy when it has not.
    pub async fn check(&self, conn: &mut Conn) -> Result<()> {
        match in_use(conn).await? {
            Some(fingerprint) => self.key(&fingerprint).map(drop),
            None => Ok(()),
        }
    }

    /// The key to seal with: the one in use, or, for the first secret of a database, one made now, if no other server
    /// runs that would then lack it. Its row stays locked until the transaction ends, so that a change of the key waits
    /// for whoever still seals with the old one. Take it before any row with a secret, as everybody does.
    ///
    /// # Errors
    /// [`Error::Invalid`] when this server lacks the key, [`Error::Conflict`] when there is none and others run.
    pub async fn sealing_key(&self, tx: &mut Transaction<'_>, is_alone: bool) -> Result<Key> {
        let sql = "select fingerprint from seal_key where slot = 1 for update";
        if let Some(fingerprint) = tx.query_first::<String, _>(sql).await? {
            return self.key(&fingerprint);
        }
        let known = self.newest();
        let key = match &known {
            Some(key) => key.clone(),
            None if is_alone => Key::random()?,
            None => return Err(Error::Conflict(Text::new("seal.not_alone"))),
        };
        // Of two servers that do this at once the second waits here and then finds the first one's key.
        let first = "insert into seal_key (slot, fingerprint) values (1, ?) \
                     on duplicate key update fingerprint = fingerprint";
        tx.exec_drop(first, (key.fingerprint(),)).await?;
        if tx.affected_rows() == 1 && known.is_none() {
            self.add(&key)?;
        }
        match tx.query_first::<String, _>(sql).await? {
            Some(fingerprint) => self.key(&fingerprint),
            None => Err(Error::Internal("the fingerprint of the key was not kept".into())),
        }
    }

    /// # Errors
    /// [`Error::Invalid`] when this server lacks the key; [`Error::Internal`] when the sealed bytes are not what was
    /// sealed for that place.
    pub fn open_sealed(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>> {
        let damaged =
            || Error::Internal(format!("the sealed {} of a row of {} is damaged", place.column, place.table).into());
        let (head, rest) = sealed.split_at_checked(1 + FINGERPRINT).ok_or_else(damaged)?;
        let (nonce, text) = rest.split_at_checked(NONCE).ok_or_else(damaged)?;
        if head[0] != FORMAT {
            return Err(damaged());
        }
        let key = self.key(&hex(&head[1..]))?;
        let nonce = XNonce::try_from(nonce).map_err(|_| damaged())?;
        let payload = Payload {
            msg: text,
            aad: &place.bytes(),
        };
        XChaCha20Poly1305::new(&key.0.into())
            .decrypt(&nonce, payload)
            .map_err(|_| damaged())
    }
}

/// Seals for one place, with a nonce of its own.
///
/// # Errors
/// [`Error::Internal`] when the system has no randomness to give.
pub fn seal(key: &Key, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>> {
    let nonce: [u8; NONCE] = random()?;
    let payload = Payload {
        msg: plain,
        aad: &place.bytes(),
    };
    let text = XChaCha20Poly1305::new(&key.0.into())
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|cause| Error::Internal(cause.to_string().into()))?;
    Ok([&[FORMAT], key.mark().as_slice(), &nonce, &text].concat())
}

/// The fingerprint of the key that the database is sealed with, if it has secrets.
pub async fn in_use(conn: &mut Conn) -> mysql_async::Result<Option<String>> {
    conn.query_first("select fingerprint from seal_key where slot = 1")
        .await
}

/// The database has no secrets any more.
pub async fn forget_key(tx: &mut Transaction<'_>) -> mysql_async::Result<()> {
    tx.query_drop("delete from seal_key").await
}

/// From now on the database is sealed with this key.
pub async fn use_key(tx: &mut Transaction<'_>, key: &Key) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update seal_key set fingerprint = ?, changed_at = utc_timestamp(6) where slot = 1",
        (key.fingerprint(),),
    )
    .await
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| Error::Internal(cause.to_string().into()))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place {
        table: "account",
        row: "1",
        column: "totp_secret",
    };

    #[test]
    fn what_is_sealed_opens_only_at_its_place_and_unharmed() {
        let data = tempfile::tempdir().unwrap();
        let seal_box = Seal::open(data.path(), None).unwrap();
        let key = Key::random().unwrap();
        seal_box.add(&key).unwrap();
        let sealed = seal(&key, PLACE, b"secret").unwrap();
        assert_eq!(seal_box.open_sealed(PLACE, &sealed).unwrap(), b"secret");
        assert_ne!(
            seal(&key, PLACE, b"secret").unwrap(),
            sealed,
            "each has a nonce of its own"
        );
        assert!(seal_box.open_sealed(Place { row: "2", ..PLACE }, &sealed).is_err());
        for place in 0..sealed.len() {
            let mut harmed = sealed.clone();
            harmed[place] ^= 1;
            assert!(seal_box.open_sealed(PLACE, &harmed).is_err(), "byte {place}");
            assert!(seal_box.open_sealed(PLACE, &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_key_copied_into_the_file_is_found_without_a_restart_and_no_key_is_ever_printed() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (
            Seal::open(here.path(), None).unwrap(),
            Seal::open(there.path(), None).unwrap(),
        );
        let key = Key::random().unwrap();
        one.add(&key).unwrap();
        let sealed = seal(&key, PLACE, b"secret").unwrap();
        let error = two.open_sealed(PLACE, &sealed).unwrap_err();
        let said = error.text().say(crate::i18n::Lang::En);
        assert!(
            said.contains(&key.fingerprint()) && said.contains("master.key"),
            "{said}"
        );
        std::fs::copy(one.path(), two.path()).unwrap();
        assert_eq!(two.open_sealed(PLACE, &sealed).unwrap(), b"secret");
        assert!(!format!("{one:?}{key:?}").contains(&key.hex()));
    }

    #[test]
    fn a_broken_key_file_is_refused_with_its_line() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(FILE), "# ours\nnot a key\n").unwrap();
        let said = Seal::open(data.path(), None)
            .unwrap_err()
            .text()
            .say(crate::i18n::Lang::En);
        assert!(said.contains("line 2") && !said.contains("not a key"), "{said}");
    }
}
