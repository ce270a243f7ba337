//! The private key to log in with: from the credential, or from a file on this server.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use russh::keys::ssh_key::Kdf as OpenSshKdf;
use russh::keys::{PrivateKey, decode_secret_key};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::super::outcome::{Reason, detail};
use super::super::target::Secret;

/// Longest text of a key, in bytes; one of RSA with 8192 bits has 7 KiB.
const LONGEST: u64 = 16 * 1024;
/// Bits of RSA: signing with more takes seconds.
const MOST_BITS: u32 = 8192;
/// What opening a key may cost. `ssh-keygen` takes 16 or 24 rounds of bcrypt, OpenSSL 2048 of PBKDF2 or 16 MiB.
const MOST_BCRYPT: u32 = 512;
const MOST_PBKDF2: u32 = 2_000_000;
const MOST_SCRYPT: u64 = 64 * 1024 * 1024;

/// Keys that stay open in memory, where the key to everything sealed is as well.
const MOST_OPENED: usize = 1000;
/// By the hash of what opened them.
static OPENED: LazyLock<Mutex<HashMap<[u8; 32], Arc<PrivateKey>>>> = LazyLock::new(Mutex::default);

/// # Errors
/// [`Reason::BadKey`] when it is none or the passphrase does not open it.
pub async fn of_credential(secret: &Secret) -> Result<Arc<PrivateKey>, Reason> {
    read(secret.private_key.clone(), secret.passphrase.clone()).await
}

/// # Errors
/// [`Reason::NoFile`]; as for [`of_credential`].
pub async fn of_file(path: &str, secret: &Secret) -> Result<Arc<PrivateKey>, Reason> {
    let text = file(path).await.map_err(|cause| Reason::NoFile {
        path: detail(path),
        detail: detail(cause),
    })?;
    read(text, secret.passphrase.clone()).await
}

async fn file(path: &str) -> Result<String, Error> {
    // Where this server was started should not matter.
    if !Path::new(path).is_absolute() {
        return Err(Error::new(ErrorKind::InvalidInput, "not an absolute path"));
    }
    // A pipe would wait for somebody to write into it.
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    let mut file = tokio::fs::File::open(path).await?.take(LONGEST + 1);
    file.read_to_end(&mut bytes).await?;
    // What is no text is no key either, and says so below.
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// Opening a key may take a good part of a second, as is its purpose: one with a passphrase is opened once and not at each
/// check.
async fn read(text: String, passphrase: String) -> Result<Arc<PrivateKey>, Reason> {
    if passphrase.is_empty() {
        return open(text, passphrase).await;
    }
    let mark: [u8; 32] = Sha256::digest(format!("{}\n{text}{passphrase}", text.len())).into();
    let known = || OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = known().get(&mark) {
        return Ok(key.clone());
    }
    let key = open(text, passphrase).await?;
    let mut opened = known();
    if opened.len() >= MOST_OPENED {
        opened.clear();
    }
    opened.insert(mark, key.clone());
    Ok(key)
}

async fn open(text: String, passphrase: String) -> Result<Arc<PrivateKey>, Reason> {
    let reading = tokio::task::spawn_blocking(move || decode(&text, &passphrase));
    // What a failure of the decoder says may hold a part of the key.
    let key = reading.await.unwrap_or(Err("it cannot be decoded"));
    key.map(Arc::new).map_err(|said| Reason::BadKey {
        detail: said.to_owned(),
    })
}

fn decode(text: &str, passphrase: &str) -> Result<PrivateKey, &'static str> {
    if text.len() as u64 > LONGEST {
        return Err("too long");
    }
    let (label, text) = tidy(text).ok_or("no private key in OpenSSH or PEM form")?;
    let key = match label.as_str() {
        "OPENSSH PRIVATE KEY" => openssh(&text, passphrase)?,
        "ENCRYPTED PRIVATE KEY" => {
            judge_cost(&text)?;
            opened(&text, passphrase)?
        }
        _ if text.contains("ENCRYPTED") => opened(&text, passphrase)?,
        // Of a credential with a passphrase that this key has no use for.
        _ => decode_secret_key(&text, None).map_err(|_| "damaged, or of a kind that is not known")?,
    };
    match key.public_key().key_data().rsa().map(|rsa| rsa.key_size()) {
        Some(bits) if bits > MOST_BITS => Err("too many bits"),
        _ => Ok(key),
    }
}

/// What it is, and the same with lines as the tools write them: pasted ones end in all kinds of ways.
fn tidy(text: &str) -> Option<(String, String)> {
    let (label, rest) = text.trim().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let width = if label.starts_with("OPENSSH") { 70 } else { 64 };
    let (headers, code): (Vec<&str>, Vec<&str>) = body.lines().map(str::trim).partition(|line| line.contains(':'));
    let code: String = code.concat().split_whitespace().collect();
    let mut tidied = format!("-----BEGIN {label}-----\n");
    for header in &headers {
        tidied += &format!("{header}\n");
    }
    tidied += if headers.is_empty() { "" } else { "\n" };
    for line in code.as_bytes().chunks(width) {
        tidied += &String::from_utf8_lossy(line);
        tidied.push('\n');
    }
    tidied += &format!("-----END {label}-----\n");
    Some((label.to_owned(), tidied))
}

fn openssh(text: &str, passphrase: &str) -> Result<PrivateKey, &'static str> {
    let key = PrivateKey::from_openssh(text).map_err(|_| "damaged")?;
    match key.kdf() {
        _ if !key.is_encrypted() => Ok(key),
        _ if passphrase.is_empty() => Err(NEEDS_PASSPHRASE),
        OpenSshKdf::Bcrypt { rounds, .. } if *rounds > MOST_BCRYPT => Err(TOO_COSTLY),
        _ => key.decrypt(passphrase).map_err(|_| WRONG_PASSPHRASE),
    }
}

fn opened(text: &str, passphrase: &str) -> Result<PrivateKey, &'static str> {
    match passphrase {
        "" => Err(NEEDS_PASSPHRASE),
        _ => decode_secret_key(text, Some(passphrase)).map_err(|_| WRONG_PASSPHRASE),
    }
}

/// The key says how much work it is to open it, and whoever wrote it may have wished us ill.
fn judge_cost(text: &str) -> Result<(), &'static str> {
    let (_, document) = SecretDocument::from_pem(text).map_err(|_| "damaged")?;
    let key = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| "damaged")?;
    let bearable = match key.encryption_algorithm.pbes2().map(|way| &way.kdf) {
        Some(Kdf::Pbkdf2(way)) => way.iteration_count <= MOST_PBKDF2,
        Some(Kdf::Scrypt(way)) => {
            let memory = way.cost_parameter.saturating_mul(u64::from(way.block_size) * 128);
            memory.saturating_mul(way.parallelization.into()) <= MOST_SCRYPT
        }
        _ => false,
    };
    bearable.then_some(()).ok_or(TOO_COSTLY)
}

const NEEDS_PASSPHRASE: &str = "it needs a passphrase";
const WRONG_PASSPHRASE: &str = "the passphrase does not open it";
const TOO_COSTLY: &str = "opening it would take too long";

#[cfg(test)]
mod tests {
    use super::*;

    /// Made for this test, with the passphrase `x`; opening them takes what the names say.
    const SCRYPT_OF_16_MIB: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAiQTt4bWQVpYgICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBAAAPGbCSTxKYEz7mHfRVV4BEDQ95mE+azQ21I9
WFrYTj1I5Au86QSy4oSP8BVpfKwCVZahWann0x0bdtAcF7M90U8U4D/dBQoDi35M
VYVZyFJH
-----END ENCRYPTED PRIVATE KEY-----
";
    const PBKDF2_OF_3_000_000: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGcMFgGCSqGSIb3DQEFDTBLMCoGCSqGSIb3DQEFDDAdBAiT+qZsBZL9NwIDLcbA
MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBDNb4KL56wj7vTAst9icL3lBECs
hE/4zKONvRwWnDGzO8KO8ar4jfi/9Te2H87xBbq7rGkvfH9J+hs+3J1D+aGD7A/R
WLxtwB1S2mLCizScJyey
-----END ENCRYPTED PRIVATE KEY-----
";
    const BCRYPT_OF_600: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBMLtXioz
v8yLmUhJmfv626AAACWAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIErQ3XOeBzfIYnza
jiZbrvuK713ut48e1NBhxsSBKVqCAAAAkBlyg7mLyCxvJsyBJZJAZeUVwwjnuPUudG12Yv
E02L4QgbXYx+MQf+pNyGSPHkqqqkWTEfyIwxjWlTNW8CFMEVi/J0JYPBKWD6aYuyAnEAG7
L53rvkNZAytDmOfhdNXoQz63sbBj77TARIWWgEzA6wICos5Wq0k9DkFSj8hmWbLHH/6lqL
ZcXdtR8b9p4iz6jQ==
-----END OPENSSH PRIVATE KEY-----
";

    #[test]
    fn a_key_is_opened_however_it_was_pasted() {
        let crlf = SCRYPT_OF_16_MIB.replace('\n', "\r\n");
        let indented = SCRYPT_OF_16_MIB.replace('\n', "\n    ");
        let flat = SCRYPT_OF_16_MIB.replace('\n', " ");
        for text in [SCRYPT_OF_16_MIB, &crlf, &indented, &flat] {
            let key = decode(text, "x").unwrap_or_else(|said| panic!("{said}: {text}"));
            assert!(key.algorithm().as_str() == "ssh-ed25519");
        }
        assert_eq!(decode(SCRYPT_OF_16_MIB, "y").err(), Some(WRONG_PASSPHRASE));
        assert_eq!(decode(SCRYPT_OF_16_MIB, "").err(), Some(NEEDS_PASSPHRASE));
    }

    #[tokio::test]
    async fn a_key_is_opened_once_and_only_by_its_passphrase() {
        let read = |passphrase: &str| read(SCRYPT_OF_16_MIB.to_owned(), passphrase.to_owned());
        let first = read("x").await.unwrap();
        assert!(Arc::ptr_eq(&first, &read("x").await.unwrap()));
        assert!(read("y").await.is_err() && read("").await.is_err());
    }

    #[test]
    fn a_key_that_would_keep_us_busy_is_refused() {
        // 266 MiB.
        let scrypt = SCRYPT_OF_16_MIB.replace("AQgC", "AX8C");
        assert_ne!(scrypt, SCRYPT_OF_16_MIB);
        for text in [scrypt.as_str(), PBKDF2_OF_3_000_000, BCRYPT_OF_600] {
            assert_eq!(decode(text, "x").err(), Some(TOO_COSTLY), "{text}");
        }
        let long = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END ", "A".repeat(20_000));
        assert_eq!(decode(&long, "").err(), Some("too long"));
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_quoted() {
        for text in [
            "",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
            "PuTTY-User-Key-File-3: ssh-ed25519",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nc2VjcmV0\n-----END ",
            "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,\u{e4}\u{f6}\n\nc2VjcmV0\n-----END ",
            "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\u{e4}\u{f6}\n-----END ",
            "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----",
        ] {
            let said = decode(text, "x").expect_err(text);
            assert!(!said.contains("c2Vj") && !said.contains("secret"), "{said}");
        }
    }
}
