//! Every setting with its key, its default and what is allowed; nothing else reads the file or the environment.

mod database;
mod source;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::tls::Files;

pub use database::{Database, Tls};
use source::{Found, Source};

/// The file a new data directory gets: every setting with its default, commented out. Named `.txt` here because every
/// `.yml` below `src` is taken for texts.
pub const DEFAULT_FILE: &str = include_str!("application.yml.txt");
pub const FILE_NAME: &str = "application.yml";

/// The keys this program reads. `jpom.db.mode` is Jpom's and follows from `jpom.db.url` here.
const KEYS: [&str; 15] = [
    "jpom.path",
    "jpom.audit.keep-days",
    "jpom.cluster.id",
    "jpom.cluster.heart-second",
    "jpom.db.mode",
    "jpom.db.url",
    "jpom.db.user-name",
    "jpom.db.user-pwd",
    "jpom.system.lang",
    "server.port",
    "server.address",
    "server.servlet.context-path",
    "server.ssl.certificate",
    "server.ssl.certificate-private-key",
    "server.trusted-proxies",
];

/// Beats are counted in whole seconds; below this a beat costs more than it tells.
const LEAST_HEART_SECONDS: u32 = 5;
const MOST_HEART_SECONDS: u32 = 86_400;

/// Where a server's settings and data lie; the same options for every command.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Settings file; <DATA>/application.yml if not given
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data directory with INSTALL.json; ./data if not given
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
}

/// What the command line says; it goes before the environment, the file and the defaults.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub address: Option<String>,
    pub port: Option<String>,
}

impl From<Place> for Flags {
    fn from(Place { config, data }: Place) -> Flags {
        Flags {
            config,
            data,
            ..Flags::default()
        }
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    /// The settings file this configuration was read from (it may not exist yet).
    pub file: PathBuf,
    /// The data directory, absolute.
    pub data: PathBuf,
    /// `jpom.cluster.id`, upper-cased; must differ between the servers of one database.
    pub cluster_id: String,
    /// `jpom.cluster.heart-second`: seconds between two beats, at least 5.
    pub heart_seconds: u32,
    /// `jpom.db.*`; none means the private MariaDB in the data directory.
    pub database: Option<Database>,
    /// `jpom.system.lang`: the language of the log, and of pages for readers who ask for none.
    pub lang: Lang,
    pub address: IpAddr,
    pub port: u16,
    /// `server.servlet.context-path` without a slash at its end; empty for none.
    pub base_path: String,
    /// `server.trusted-proxies`: whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `server.ssl.certificate` and `server.ssl.certificate-private-key`; none for plain HTTP.
    pub tls: Option<Files>,
    /// `MUSTER_MASTER_KEY`, from the environment only: it must not stand in a file that is shown.
    pub master_key: Option<String>,
    /// `jpom.audit.keep-days`: how long the audit trail is kept; 0 for ever.
    pub audit_days: u32,
    /// What was accepted but deserves a word in the log.
    pub warnings: Vec<Text>,
}

impl Config {
    /// Reads flags, environment and file, in this order of weight.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the key, the value, the place it was found in and what is allowed.
    pub fn load(flags: &Flags) -> Result<Config> {
        Config::read(flags, source::environment())
    }

    /// [`Config::load`] with the environment given as pairs.
    pub fn read(flags: &Flags, env: impl IntoIterator<Item = (String, String)>) -> Result<Config> {
        let mut source = Source::new(flags, env);
        let guess = source.data_directory(flags)?;
        let file = flags.config.clone().unwrap_or_else(|| guess.join(FILE_NAME));
        source.add_file(&file, flags.config.is_some())?;
        source.check_sections(&KEYS)?;
        let data = source.data_directory(flags)?;
        let mut warnings = source.warnings(&KEYS);
        Ok(Config {
            cluster_id: cluster_id(source.get("jpom.cluster.id"), &mut warnings)?,
            heart_seconds: heart_seconds(source.get("jpom.cluster.heart-second"), &mut warnings)?,
            database: database::read(&source)?,
            lang: match source.get("jpom.system.lang") {
                Some(found) => Lang::parse(&found.value).ok_or_else(|| found.wrong("config.allowed.lang"))?,
                None => Lang::default(),
            },
            address: match source.get("server.address") {
                Some(found) => found.value.parse().map_err(|_| found.wrong("config.allowed.address"))?,
                None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            },
            port: match source.get("server.port") {
                Some(found) => found.value.parse().map_err(|_| found.wrong("config.allowed.port"))?,
                None => 2122,
            },
            base_path: base_path(source.get("server.servlet.context-path"))?,
            trusted_proxies: trusted_proxies(source.get("server.trusted-proxies"))?,
            tls: tls(&source)?,
            master_key: match source.in_environment("muster.master-key") {
                Some(found) if found.value.len() != 64 || !found.value.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    return Err(found.wrong("config.allowed.key"));
                }
                found => found.map(|found| found.value),
            },
            audit_days: match source.get("jpom.audit.keep-days") {
                Some(found) => found.value.parse().map_err(|_| found.wrong("config.allowed.days"))?,
                None => 365,
            },
            file: absolute(&file)?,
            data,
            warnings,
        })
    }

    /// The language to refuse in when the settings themselves cannot be read.
    pub fn lang_of_terminal() -> Lang {
        let env: Vec<(String, String)> = source::environment().collect();
        ["JPOM_SYSTEM_LANG", "LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .filter_map(|name| env.iter().find(|(key, _)| key == name))
            .find_map(|(_, value)| Lang::parse(value.split('.').next().unwrap_or_default()))
            .unwrap_or_default()
    }
}

/// The path from the root, even for what does not exist yet.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|cause| {
        Error::Invalid(
            Text::new("config.path")
                .with("path", path.display())
                .with("cause", cause),
        )
    })
}

/// Letters and digits, 1–19, upper-cased in ASCII whatever the locale. What Jpom let pass although its help
/// forbids it (`_`, length 20) is kept with a warning.
fn cluster_id(found: Option<Found>, warnings: &mut Vec<Text>) -> Result<String> {
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

fn heart_seconds(found: Option<Found>, warnings: &mut Vec<Text>) -> Result<u32> {
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

fn base_path(found: Option<Found>) -> Result<String> {
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
fn tls(source: &Source) -> Result<Option<Files>> {
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

fn trusted_proxies(found: Option<Found>) -> Result<Vec<IpNet>> {
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

#[cfg(test)]
mod tests;
