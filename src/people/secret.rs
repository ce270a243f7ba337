//! Random secrets for cookies, tokens and codes, and the hashes of them that the database keeps.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// 256 random bits as 64 hex digits.
///
/// # Errors
/// [`Error::Internal`] when the system has no randomness to give.
pub fn random() -> Result<String> {
    Ok(hex(&bytes::<32>()?))
}

/// Random bytes of the system.
///
/// # Errors
/// [`Error::Internal`] when the system has no randomness to give.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| Error::Internal(cause.to_string().into()))?;
    Ok(bytes)
}

/// Letters and digits that are not mistaken for each other, in groups of four: about five bits each.
///
/// # Errors
/// [`Error::Internal`] when the system has no randomness to give.
pub fn readable<const N: usize>() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::new();
    for (place, byte) in bytes::<N>()?.into_iter().enumerate() {
        if place > 0 && place % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(text)
}

/// SHA-256 in hex. Right for secrets of full entropy; passwords go through [`super::password`].
pub fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// A value that proves knowledge of `secret` for one purpose and tells nothing of it.
pub fn derived(purpose: &str, secret: &str) -> String {
    hash(&format!("muster {purpose}:{secret}"))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_hashes_are_known() {
        let (one, two) = (random().unwrap(), random().unwrap());
        assert!(one != two && one.len() == 64);
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash(""), empty);
        assert_ne!(derived("a", "x"), derived("b", "x"));
    }

    #[test]
    fn what_people_type_off_has_no_lookalikes() {
        let text = readable::<16>().unwrap();
        assert_eq!(text.len(), 19);
        assert!(!text.contains(['l', 'o', '0', '1']), "{text}");
    }
}
