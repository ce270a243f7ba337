//! What each setting may be.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use ipnet::IpNet;

use super::absolute;
use super::source::{Found, Problem, Source};
use crate::i18n::{Lang, Text};
use crate::tls::Files;

/// Beats are counted in whole seconds; below this a beat costs more than it tells.
const LEAST_HEART_SECONDS: u32 = 5;
const MOST_HEART_SECONDS: u32 = 86_400;

type Result<T> = std::result::Result<T, Problem>;

/// Letters and digits, 1–19, upper-cased in ASCII whatever the locale. What Jpom let pass although its help
/// forbids it (`_`, length 20) is kept with a warning.
pub(super) fn cluster_id(found: Option<Found>, warnings: &mut Vec<Text>) -> Result<String> {
    let Some(found) = found else {
        return Ok("DEFAULT".to_owned());
    };
    let id = found.value.to_ascii_uppercase();
    let known = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !known || !(1..=20).contains(&id.len()) {
        return Err(found.wrong("config.allowed.cluster_id"));
    }
    if id.contains('_') || id.len() == 20 {
        warnings.push(
            Text::new("config.cluster_id_lenient")
                .with("value", &id)
                .with("place", &found.place),
        );
    }
    Ok(id)
}

pub(super) fn heart_seconds(found: Option<Found>, warnings: &mut Vec<Text>) -> Result<u32> {
    let Some(found) = found else {
        return Ok(30);
    };
    match found.value.parse::<u32>() {
        Ok(given) if (1..LEAST_HEART_SECONDS).contains(&given) => {
            warnings.push(
                Text::new("config.heart_floor")
                    .with("value", given)
                    .with("place", &found.place),
            );
            Ok(LEAST_HEART_SECONDS)
        }
        Ok(given) if (LEAST_HEART_SECONDS..=MOST_HEART_SECONDS).contains(&given) => Ok(given),
        _ => Err(found.wrong("config.allowed.heart")),
    }
}

pub(super) fn base_path(found: Option<Found>) -> Result<String> {
    let Some(found) = found else {
        return Ok(String::new());
    };
    let path = found.value.trim_end_matches('/');
    let plain = |segment: &str| {
        !segment.is_empty()
            && segment != ".."
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    match path.strip_prefix('/') {
        Some(rest) if rest.split('/').all(plain) => Ok(path.to_owned()),
        None if path.is_empty() => Ok(String::new()),
        _ => Err(found.wrong("config.allowed.base_path")),
    }
}

/// Both files or neither.
pub(super) fn tls(source: &Source) -> Result<Option<Files>> {
    let path = |key: &str| source.get(key);
    match (
        path("server.ssl.certificate"),
        path("server.ssl.certificate-private-key"),
    ) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Files {
            certificate: absolute(Path::new(&certificate.value))?,
            key: absolute(Path::new(&key.value))?,
        })),
        (Some(found), None) | (None, Some(found)) => Err(found.wrong("config.allowed.ssl")),
    }
}

pub(super) fn trusted_proxies(found: Option<Found>) -> Result<Vec<IpNet>> {
    let Some(found) = found else {
        return Ok(Vec::new());
    };
    let net = |word: &str| {
        word.parse::<IpNet>()
            .ok()
            .or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from))
    };
    found
        .value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(|word| net(word).ok_or_else(|| found.wrong("config.allowed.proxies")))
        .collect()
}

/// `true` or `false`, as YAML 1.1 also writes them.
pub(super) fn switch(found: Option<Found>, unset: bool) -> Result<bool> {
    let Some(found) = found else {
        return Ok(unset);
    };
    match found.value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(found.wrong("config.allowed.switch")),
    }
}

pub(super) fn lang(found: Option<Found>) -> Result<Lang> {
    let Some(found) = found else {
        return Ok(Lang::default());
    };
    Lang::parse(&found.value).ok_or_else(|| found.wrong("config.allowed.lang"))
}

/// 32 bytes as hex digits.
pub(super) fn master_key(found: Option<Found>) -> Result<Option<String>> {
    match found {
        Some(found) if found.value.len() != 64 || !found.value.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Err(found.wrong("config.allowed.key"))
        }
        found => Ok(found.map(|found| found.value)),
    }
}

/// A value that parses, or the default.
pub(super) fn parsed<T: FromStr>(found: Option<Found>, unset: T, allowed: &'static str) -> Result<T> {
    match found {
        Some(found) => found.value.parse().map_err(|_| found.wrong(allowed)),
        None => Ok(unset),
    }
}

pub(super) fn address(found: Option<Found>) -> Result<Option<IpAddr>> {
    let address = |found: Found| found.value.parse().map_err(|_| found.wrong("config.allowed.address"));
    found.map(address).transpose()
}
