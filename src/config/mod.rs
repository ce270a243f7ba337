//! Every setting with its key, its default and what is allowed; nothing else reads the file or the environment.

pub mod change;
mod database;
mod depth;
pub mod file;
pub mod mask;
mod secrets;
mod source;
mod values;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::tls::Files;

pub use database::{Database, Tls};
use source::Source;
pub use source::{Origin, Problem};

/// The file a new data directory gets: every setting with its default, commented out. Named `.txt` here because every
/// `.yml` below `src` is taken for texts.
pub const DEFAULT_FILE: &str = include_str!("application.yml.txt");
pub const FILE_NAME: &str = "application.yml";

/// The keys this program reads, each with its default as the file would have it. `jpom.db.mode` is Jpom's and follows from
/// `jpom.db.url` here.
const KEYS: [(&str, &str); 16] = [
    (CLUSTER_ID, "DEFAULT"),
    (HEART_SECOND, "30"),
    ("jpom.cluster.check-private", "true"),
    ("jpom.db.mode", ""),
    ("jpom.db.url", ""),
    ("jpom.db.user-name", ""),
    ("jpom.db.user-pwd", ""),
    ("jpom.audit.keep-days", "365"),
    ("jpom.system.lang", "zh_cn"),
    ("jpom.path", ""),
    ("server.port", "2122"),
    ("server.address", "0.0.0.0"),
    ("server.servlet.context-path", "/"),
    ("server.ssl.certificate", ""),
    ("server.ssl.certificate-private-key", ""),
    ("server.trusted-proxies", ""),
];
/// The two that change while a server runs.
pub const CLUSTER_ID: &str = "jpom.cluster.id";
pub const HEART_SECOND: &str = "jpom.cluster.heart-second";

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
    /// Of `muster db move`.
    pub database: Option<String>,
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

/// What can change while a server runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `jpom.cluster.id`, upper-cased; must differ between the servers of one database.
    pub id: String,
    /// `jpom.cluster.heart-second`: seconds between two beats, at least 5.
    pub heart_seconds: u32,
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(mask::DOTS)
    }
}

/// One key with its value and where that comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    pub key: &'static str,
    /// Never for people: see [`Setting::shown`].
    value: String,
    pub origin: Origin,
    /// What the file says, whether it counts or not.
    in_file: Option<String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={} ({})", self.key, self.shown(), self.origin)
    }
}

impl Setting {
    /// The value as people may see it.
    pub fn shown(&self) -> String {
        mask::value(self.key, &self.value)
    }

    pub fn is_secret(&self) -> bool {
        secrets::is_secret(self.key)
    }

    /// Whether it changes while the server runs.
    pub fn is_at_once(&self) -> bool {
        [CLUSTER_ID, HEART_SECOND].contains(&self.key)
    }

    /// Whether the other one has the same value, wherever it comes from.
    pub fn is_same(&self, other: &Setting) -> bool {
        self.value == other.value
    }

    /// Whether the file says the same, where that counts or not.
    pub fn is_same_in_file(&self, other: &Setting) -> bool {
        self.in_file == other.in_file
    }

    /// The file has a value, which does not count.
    pub fn is_overridden(&self) -> bool {
        self.in_file.is_some() && !matches!(self.origin, Origin::File { .. })
    }

    /// A flag or the environment decides.
    pub fn is_from_outside(&self) -> bool {
        matches!(self.origin, Origin::Flag(_) | Origin::Environment(_))
    }

    /// What the file says, as people may see it.
    pub fn shown_in_file(&self) -> String {
        let value = self.in_file.as_deref().unwrap_or_default();
        mask::value(self.key, value)
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    /// Where the settings come from.
    pub reader: Reader,
    /// The settings file this configuration was read from (it may not exist yet).
    pub file: PathBuf,
    /// The data directory, absolute.
    pub data: PathBuf,
    /// `jpom.cluster.*` as they were at the start; the `App` has what they are now.
    pub cluster: Cluster,
    /// `jpom.cluster.check-private`: whether addresses of private networks may be checked.
    pub check_private: bool,
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
    pub master_key: Option<Hidden>,
    /// `jpom.audit.keep-days`: how long the audit trail is kept; 0 for ever.
    pub audit_days: u32,
    /// Every key with its value.
    pub settings: Vec<Setting>,
    /// Tells the text of the file from others.
    pub fingerprint: String,
    /// What was accepted but deserves a word in the log.
    pub warnings: Vec<Text>,
}

impl Config {
    /// Reads flags, environment and file, in this order of weight.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the keys, the values, the places they were found in and what is allowed.
    pub fn load(flags: &Flags) -> Result<Config> {
        Config::read(flags, source::environment())
    }

    /// [`Config::load`] with the environment given as pairs.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(flags: &Flags, env: impl IntoIterator<Item = (String, String)>) -> Result<Config> {
        let reader = Reader {
            source: Source::new(flags, env),
            flags: flags.clone(),
        };
        let yaml = reader.file_text()?;
        reader.judge(yaml.as_deref().unwrap_or_default()).map_err(said_together)
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

/// Flags and environment of this process, for reading the file again.
#[derive(Clone)]
pub struct Reader {
    flags: Flags,
    /// Without the file.
    source: Source,
}

/// The environment has secrets in it.
impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// The settings file.
    fn path(&self) -> Result<PathBuf, Problem> {
        match &self.flags.config {
            Some(file) => absolute(file),
            None => Ok(self.source.data_directory(&self.flags)?.join(FILE_NAME)),
        }
    }

    /// Its text; none while there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path and the reason.
    pub fn file_text(&self) -> Result<Option<String>> {
        source::read_file(&self.path()?, self.flags.config.is_some())
    }

    /// What the settings would be with this text in the file.
    ///
    /// # Errors
    /// All that is wrong, in the order of the keys.
    pub fn judge(&self, yaml: &str) -> Result<Config, Vec<Problem>> {
        self.assemble(self.source.clone(), yaml)
    }

    /// [`Reader::judge`], also of values that do not count because a flag or the environment goes first.
    ///
    /// # Errors
    /// As [`Reader::judge`].
    pub fn judge_all(&self, yaml: &str) -> Result<Config, Vec<Problem>> {
        let mut source = self.source.clone();
        source.file_first = true;
        self.assemble(source, yaml)?;
        self.judge(yaml)
    }

    fn assemble(&self, mut source: Source, yaml: &str) -> Result<Config, Vec<Problem>> {
        let file = self.path().map_err(|problem| vec![problem])?;
        source.add_text(&file, yaml).map_err(|problem| vec![problem])?;
        let names = KEYS.map(|(key, _)| key);
        let mut problems = source.sections_with_values(&names);
        let mut warnings = source.warnings(&names);
        let wrong = &mut problems;
        let config = Config {
            cluster: Cluster {
                id: or_note(values::cluster_id(source.get(CLUSTER_ID), &mut warnings), wrong),
                heart_seconds: or_note(values::heart_seconds(source.get(HEART_SECOND), &mut warnings), wrong),
            },
            check_private: or_note(values::switch(source.get("jpom.cluster.check-private"), true), wrong),
            database: or_note(database::read(&source), wrong),
            lang: or_note(values::lang(source.get("jpom.system.lang")), wrong),
            address: or_note(values::address(source.get("server.address")), wrong)
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port: or_note(
                values::parsed(source.get("server.port"), 2122, "config.allowed.port"),
                wrong,
            ),
            base_path: or_note(values::base_path(source.get("server.servlet.context-path")), wrong),
            trusted_proxies: or_note(values::trusted_proxies(source.get("server.trusted-proxies")), wrong),
            tls: or_note(values::tls(&source), wrong),
            master_key: or_note(values::master_key(source.in_environment("muster.master-key")), wrong).map(Hidden),
            audit_days: or_note(
                values::parsed(source.get("jpom.audit.keep-days"), 365, "config.allowed.days"),
                wrong,
            ),
            data: or_note(source.data_directory(&self.flags), wrong),
            settings: source.settings(&KEYS),
            fingerprint: file::fingerprint(yaml),
            reader: self.clone(),
            file,
            warnings,
        };
        match problems.is_empty() {
            true => Ok(config),
            false => Err(problems),
        }
    }
}

/// What is wrong with a value of one of the two keys that change while the server runs, if anything.
pub fn cluster_mistake(cluster_id: &str, heart_second: &str) -> [Option<Text>; 2] {
    let found = |key: &str, value: &str| {
        Some(source::Found {
            key: key.to_owned(),
            value: value.to_owned(),
            place: Origin::Default,
        })
    };
    let id = values::cluster_id(found(CLUSTER_ID, cluster_id), &mut Vec::new());
    let heart = values::heart_seconds(found(HEART_SECOND, heart_second), &mut Vec::new());
    [
        id.is_err().then(|| Text::new("config.allowed.cluster_id")),
        heart.is_err().then(|| Text::new("config.allowed.heart")),
    ]
}

/// The value, or a note of what is wrong with it.
fn or_note<T: Default>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> T {
    result.unwrap_or_else(|problem| {
        problems.push(problem);
        T::default()
    })
}

/// All problems in one refusal, a line each.
fn said_together(problems: Vec<Problem>) -> Error {
    let texts = problems.into_iter().map(|problem| problem.text);
    let joined = texts.reduce(|all, next| Text::new("config.also").with_text("first", all).with_text("next", next));
    Error::Invalid(joined.unwrap_or_else(|| Text::new("error.form")))
}

/// The path from the root, even for what does not exist yet.
fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|cause| Problem {
        line: None,
        text: Text::new("config.path")
            .with("path", path.display())
            .with("cause", cause),
    })
}

#[cfg(test)]
mod tests;
