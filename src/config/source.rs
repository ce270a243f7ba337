//! Where a setting comes from: flag, environment or YAML file, each remembered for the message when it is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use saphyr::{MarkedYamlOwned, ScalarStyle, ScanError, YamlDataOwned, YamlLoader};
use saphyr_parser::{Marker, Parser};

use super::{Flags, Setting, absolute, depth, secrets};
use crate::error::{Error, Result};
use crate::i18n::Text;

const DATABASE: &str = "jpom.db.url";

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// By its name.
    Flag(&'static str),
    /// By its name.
    Environment(String),
    File {
        path: PathBuf,
        line: usize,
    },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => f.write_str(name),
            Origin::Environment(name) => f.write_str(name),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("-"),
        }
    }
}

/// What is wrong with the settings, and in which line of the file, if it is there.
#[derive(Debug, Clone)]
pub struct Problem {
    pub line: Option<usize>,
    pub text: Text,
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error::Invalid(problem.text)
    }
}

/// A value and the place it was found in.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub key: String,
    pub value: String,
    pub place: Origin,
}

impl Found {
    /// The refusal: key, value, place and, under `allowed`, what would be right.
    pub fn wrong(&self, allowed: &'static str) -> Problem {
        // In the address of a database that is wrong, a password may stand anywhere.
        let may_hold = self.key == DATABASE || self.value.contains(['@', '?']);
        let secret = secrets::is_secret(&self.key) || may_hold;
        let text = Text::new("config.wrong")
            .with("key", &self.key)
            .with("value", if secret { "***" } else { &self.value })
            .with("place", &self.place)
            .with_text("allowed", Text::new(allowed));
        Problem {
            line: self.line(),
            text,
        }
    }

    /// Its line in the file.
    pub fn line(&self) -> Option<usize> {
        match self.place {
            Origin::File { line, .. } => Some(line),
            _ => None,
        }
    }
}

/// Flags, environment and file with their weights.
#[derive(Clone)]
pub(super) struct Source {
    flags: Vec<Found>,
    env: BTreeMap<String, String>,
    file: Vec<Found>,
    /// Turns the order round, to judge what the file says even where it does not count.
    pub file_first: bool,
}

impl Source {
    pub fn new(flags: &Flags, env: impl IntoIterator<Item = (String, String)>) -> Source {
        let flag = |key: &str, name: &'static str, value: &Option<String>| {
            value.clone().map(|value| Found {
                key: key.to_owned(),
                value,
                place: Origin::Flag(name),
            })
        };
        let flags = [
            flag("server.address", "--address", &flags.address),
            flag("server.port", "--port", &flags.port),
            flag(DATABASE, "--to", &flags.database),
        ];
        Source {
            flags: flags.into_iter().flatten().collect(),
            env: env.into_iter().collect(),
            file: Vec::new(),
            file_first: false,
        }
    }

    /// The value of a key; an empty one counts as not set.
    pub fn get(&self, key: &str) -> Option<Found> {
        let flag = self.flags.iter().find(|found| found.key == key).cloned();
        let file = || self.file.iter().rfind(|found| found.key == key).cloned();
        match self.file_first {
            true => file().or(flag).or_else(|| self.in_environment(key)),
            false => flag.or_else(|| self.in_environment(key)).or_else(file),
        }
    }

    /// `JPOM_CLUSTER_HEART_SECOND`, Spring's `JPOM_CLUSTER_HEARTSECOND`, or the key itself as in Docker's env files.
    pub fn in_environment(&self, key: &str) -> Option<Found> {
        let upper = key.to_ascii_uppercase().replace('.', "_");
        let names = [upper.replace('-', "_"), upper.replace('-', ""), key.to_owned()];
        names.into_iter().find_map(|name| {
            let value = self.env.get(&name)?.trim().to_owned();
            (!value.is_empty()).then(|| Found {
                key: key.to_owned(),
                value,
                place: Origin::Environment(name),
            })
        })
    }

    /// `--data`, else `jpom.path` with `data` below it (as Jpom lays it out), else `data` where the server was started.
    pub fn data_directory(&self, flags: &Flags) -> std::result::Result<PathBuf, Problem> {
        match (&flags.data, self.get("jpom.path")) {
            (Some(data), _) => absolute(data),
            (None, Some(found)) => absolute(&Path::new(&found.value).join("data")),
            (None, None) => absolute(Path::new("data")),
        }
    }

    /// Takes in the text of the settings file.
    pub fn add_text(&mut self, path: &Path, yaml: &str) -> std::result::Result<(), Problem> {
        self.file = scalars(yaml, path)?
            .into_iter()
            .map(|scalar| Found {
                key: scalar.key,
                value: scalar.value,
                place: Origin::File {
                    path: path.to_owned(),
                    line: scalar.line,
                },
            })
            .collect();
        Ok(())
    }

    /// Refuses values where only keys can stand (`jpom.cluster: EAST`), since the keys meant would have their defaults.
    pub fn sections_with_values(&self, known: &[&str]) -> Vec<Problem> {
        let below = |section: &str| {
            let inside = |key: &&&str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
            known.iter().find(inside)
        };
        let wrong = self.file.iter().filter_map(|found| Some((found, below(&found.key)?)));
        let problem = |(found, example): (&Found, &&str)| Problem {
            line: found.line(),
            text: Text::new("config.section")
                .with("key", &found.key)
                .with("place", &found.place)
                .with("example", example),
        };
        wrong.map(problem).collect()
    }

    /// Every known key with its value and where that comes from.
    pub fn settings(&self, known: &[(&'static str, &'static str)]) -> Vec<Setting> {
        let setting = |(key, unset): &(&'static str, &'static str)| {
            let (value, origin) = match self.get(key) {
                Some(found) => (found.value, found.place),
                None => ((*unset).to_owned(), Origin::Default),
            };
            let in_file = self.file.iter().rfind(|found| found.key == *key);
            Setting {
                key,
                value,
                origin,
                in_file: in_file.map(|found| found.value.clone()),
            }
        };
        known.iter().map(setting).collect()
    }

    /// One line for all keys nobody reads, so that a Jpom file does not drown the log.
    pub fn warnings(&self, known: &[&str]) -> Vec<Text> {
        let unknown: Vec<String> = self
            .file
            .iter()
            .filter(|found| !known.contains(&found.key.as_str()))
            .map(|found| format!("{} ({})", found.key, found.place))
            .collect();
        let mut warnings = Vec::new();
        if !unknown.is_empty() {
            warnings.push(Text::new("config.unknown").with("keys", unknown.join(", ")));
        }
        for (at, found) in self.file.iter().enumerate() {
            if self.file[..at].iter().any(|before| before.key == found.key) {
                let twice = Text::new("config.twice").with("key", &found.key);
                warnings.push(twice.with("place", &found.place));
            }
        }
        warnings
    }
}

/// The settings file as text; one that is not there is only wrong when somebody named it.
pub(super) fn read_file(path: &Path, named: bool) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(yaml) => Ok(Some(yaml)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !named => Ok(None),
        Err(cause) => Err(Error::Invalid(
            Text::new("config.unreadable")
                .with("path", path.display())
                .with("cause", cause),
        )),
    }
}

/// A value of a YAML text as written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    /// With dots: `a.b: 1` and `a: {b: 1}` are the same, as in Spring.
    pub key: String,
    pub value: String,
    /// From 1.
    pub line: usize,
    /// Where it stands in the text, with its quotes; in bytes.
    pub range: Range<usize>,
}

/// Every value of a YAML text, in order. Scalars stay as written: a cluster id `007` must not become the number 7. The entries
/// of a plain list are one value, joined by commas.
pub(super) fn scalars(yaml: &str, path: &Path) -> std::result::Result<Vec<Scalar>, Problem> {
    read_scalars(yaml, path, Lists::Joined)
}

/// [`scalars`], with each entry of a list as a value of its own.
pub(super) fn single_scalars(yaml: &str) -> std::result::Result<Vec<Scalar>, Problem> {
    read_scalars(yaml, Path::new(""), Lists::Apart)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    Joined,
    Apart,
}

fn read_scalars(yaml: &str, path: &Path, lists: Lists) -> std::result::Result<Vec<Scalar>, Problem> {
    let mut found = Vec::new();
    let bare = yaml.strip_prefix('\u{feff}').unwrap_or(yaml);
    let offset = yaml.len() - bare.len();
    let documents = documents(bare).map_err(|cause| Problem {
        line: Some(cause.marker().line()),
        text: Text::new("config.yaml")
            .with("path", path.display())
            .with("line", cause.marker().line())
            .with("column", cause.marker().col() + 1)
            .with("cause", cause.info()),
    })?;
    // The parser counts characters.
    let bytes: Vec<usize> = bare.char_indices().map(|(at, _)| at).chain([bare.len()]).collect();
    let byte = |marker: &Marker| offset + bytes.get(marker.index()).copied().unwrap_or(bare.len());
    for document in &documents {
        flatten(document, ("", None), lists, &mut |key, name, node| {
            if let Some(value) = scalar(node) {
                let end = byte(&node.span.end);
                // A block of several lines begins with its sign, behind the colon.
                let start = match (name, &node.data) {
                    (Some(name), YamlDataOwned::Representation(_, ScalarStyle::Literal | ScalarStyle::Folded, _)) => {
                        let after = byte(&name.span.end);
                        let sign = yaml[after..end].find(['|', '>']).map_or(after, |at| after + at);
                        sign.min(byte(&node.span.start))
                    }
                    _ => byte(&node.span.start),
                };
                let end = start + written_length(&yaml[start..end.max(start)]);
                found.push(Scalar {
                    key,
                    value,
                    line: node.span.start.line(),
                    range: start..end,
                });
            }
        });
    }
    Ok(found)
}

/// The parser counts a comment behind a quoted value in.
fn written_length(written: &str) -> usize {
    let quote = match written.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => return written.trim_end().len(),
    };
    let mut chars = written.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        let is_doubled = quote == '\'' && c == quote && chars.peek().is_some_and(|(_, next)| *next == quote);
        if is_doubled || (quote == '"' && c == '\\') {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    written.len()
}

fn documents(yaml: &str) -> std::result::Result<Vec<MarkedYamlOwned>, ScanError> {
    depth::check(yaml)?;
    let mut loader = YamlLoader::<MarkedYamlOwned>::default();
    loader.early_parse(false);
    Parser::new_from_str(yaml).load(&mut loader, true)?;
    match loader.error() {
        Some(error) => Err(error.clone()),
        None => Ok(loader.into_documents()),
    }
}

/// Calls `leaf` for every value with its dotted key and the node of the key's last word.
fn flatten(
    node: &MarkedYamlOwned,
    (above, name): (&str, Option<&MarkedYamlOwned>),
    lists: Lists,
    leaf: &mut impl FnMut(String, Option<&MarkedYamlOwned>, &MarkedYamlOwned),
) {
    let is_apart = |items: &[MarkedYamlOwned]| lists == Lists::Apart || items.iter().any(|item| plain(item).is_none());
    let entries = match &node.data {
        // A tag changes nothing here.
        YamlDataOwned::Tagged(_, inner) => return flatten(inner, (above, name), lists, leaf),
        YamlDataOwned::Mapping(entries) => entries,
        YamlDataOwned::Sequence(items) if is_apart(items) => {
            for (at, item) in items.iter().enumerate() {
                flatten(item, (&format!("{above}[{at}]"), None), lists, leaf);
            }
            return;
        }
        // A text without any key has no settings, but may have secrets.
        _ if above.is_empty() && lists == Lists::Joined => return,
        _ => return leaf(above.to_owned(), name, node),
    };
    for (key, value) in entries {
        // A list as a key is no setting, but a secret may stand below it.
        let odd = || (lists == Lists::Apart).then(|| "?".to_owned());
        let Some(word) = plain(key).or_else(odd) else { continue };
        let path = if above.is_empty() {
            word
        } else {
            format!("{above}.{word}")
        };
        flatten(value, (&path, Some(key)), lists, leaf);
    }
}

/// The text of a scalar as written, or of a list joined by commas; none for an empty one.
fn scalar(node: &MarkedYamlOwned) -> Option<String> {
    if let YamlDataOwned::Sequence(items) = &node.data {
        return Some(items.iter().filter_map(plain).collect::<Vec<_>>().join(","));
    }
    plain(node)
}

fn plain(node: &MarkedYamlOwned) -> Option<String> {
    match &node.data {
        YamlDataOwned::Representation(text, style, _) => {
            let empty = text.is_empty() || (*style == ScalarStyle::Plain && matches!(text.as_str(), "~" | "null"));
            (!empty).then(|| text.trim().to_owned())
        }
        _ => None,
    }
}

/// The process environment; names or values that are not UTF-8 cannot be settings.
#[expect(clippy::disallowed_methods, reason = "config is the only reader of the environment")]
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
