//! Where a setting comes from: flag, environment or YAML file, each remembered for the message when it is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use saphyr::{MarkedYamlOwned, ScalarStyle, ScanError, YamlDataOwned, YamlLoader};
use saphyr_parser::Parser;

use super::{Flags, absolute};
use crate::error::{Error, Result};
use crate::i18n::Text;

/// A value and the place it was found in, in words.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub key: String,
    pub value: String,
    pub place: String,
}

impl Found {
    /// The refusal: key, value, place and, under `allowed`, what would be right.
    pub fn wrong(&self, allowed: &'static str) -> Error {
        let secret =
            ["jpom.db.user-pwd", "muster.master-key"].contains(&self.key.as_str()) || self.value.contains(['@', '?']);
        Error::Invalid(
            Text::new("config.wrong")
                .with("key", &self.key)
                .with("value", if secret { "***" } else { &self.value })
                .with("place", &self.place)
                .with_text("allowed", Text::new(allowed)),
        )
    }
}

/// Flags, environment and file with their weights.
pub(super) struct Source {
    flags: Vec<Found>,
    env: BTreeMap<String, String>,
    file: Vec<Found>,
}

impl Source {
    pub fn new(flags: &Flags, env: impl IntoIterator<Item = (String, String)>) -> Source {
        let flag = |key: &str, name: &str, value: &Option<String>| {
            value.clone().map(|value| Found {
                key: key.to_owned(),
                value,
                place: name.to_owned(),
            })
        };
        let flags = [
            flag("server.address", "--address", &flags.address),
            flag("server.port", "--port", &flags.port),
        ];
        Source {
            flags: flags.into_iter().flatten().collect(),
            env: env.into_iter().collect(),
            file: Vec::new(),
        }
    }

    /// The value of a key; an empty one counts as not set.
    pub fn get(&self, key: &str) -> Option<Found> {
        let flag = self.flags.iter().find(|found| found.key == key).cloned();
        let file = || self.file.iter().rfind(|found| found.key == key).cloned();
        flag.or_else(|| self.in_environment(key)).or_else(file)
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
                place: name,
            })
        })
    }

    /// `--data`, else `jpom.path` with `data` below it (as Jpom lays it out), else `data` where the server was started.
    pub fn data_directory(&self, flags: &Flags) -> Result<PathBuf> {
        match (&flags.data, self.get("jpom.path")) {
            (Some(data), _) => absolute(data),
            (None, Some(found)) => absolute(&Path::new(&found.value).join("data")),
            (None, None) => absolute(Path::new("data")),
        }
    }

    /// Reads the YAML file; one that is not there is only wrong when somebody named it.
    pub fn add_file(&mut self, path: &Path, named: bool) -> Result<()> {
        let unreadable = |cause: &dyn std::fmt::Display| {
            Error::Invalid(
                Text::new("config.unreadable")
                    .with("path", path.display())
                    .with("cause", cause),
            )
        };
        let yaml = match std::fs::read_to_string(path) {
            Ok(yaml) => yaml,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !named => return Ok(()),
            Err(cause) => return Err(unreadable(&cause)),
        };
        let documents = documents(&yaml).map_err(|cause| {
            Error::Invalid(
                Text::new("config.yaml")
                    .with("path", path.display())
                    .with("line", cause.marker().line())
                    .with("column", cause.marker().col() + 1)
                    .with("cause", cause.info()),
            )
        })?;
        for document in &documents {
            flatten(document, "", &mut |key, node, line| {
                let place = format!("{}:{line}", path.display());
                if let Some(value) = scalar(node) {
                    self.file.push(Found { key, value, place });
                }
            });
        }
        Ok(())
    }

    /// Refuses a value where only keys can stand (`jpom.cluster: EAST`), since the keys meant would have their defaults.
    pub fn check_sections(&self, known: &[&str]) -> Result<()> {
        let below = |section: &str| {
            let inside = |key: &&&str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
            known.iter().find(inside)
        };
        let wrong = self.file.iter().find_map(|found| Some((found, below(&found.key)?)));
        match wrong {
            None => Ok(()),
            Some((found, example)) => Err(Error::Invalid(
                Text::new("config.section")
                    .with("key", &found.key)
                    .with("place", &found.place)
                    .with("example", example),
            )),
        }
    }

    /// One line for all keys nobody reads, so that a Jpom file does not drown the log.
    pub fn warnings(&self, known: &[&str]) -> Vec<Text> {
        let unknown: Vec<String> = self
            .file
            .iter()
            .filter(|found| !known.contains(&found.key.as_str()))
            .map(|found| format!("{} ({})", found.key, found.place))
            .collect();
        match unknown.as_slice() {
            [] => Vec::new(),
            keys => vec![Text::new("config.unknown").with("keys", keys.join(", "))],
        }
    }
}

/// Parses YAML and keeps scalars as written: a cluster id `007` must not become the number 7.
fn documents(yaml: &str) -> std::result::Result<Vec<MarkedYamlOwned>, ScanError> {
    let mut loader = YamlLoader::<MarkedYamlOwned>::default();
    loader.early_parse(false);
    Parser::new_from_str(yaml.strip_prefix('\u{feff}').unwrap_or(yaml)).load(&mut loader, true)?;
    match loader.error() {
        Some(error) => Err(error.clone()),
        None => Ok(loader.into_documents()),
    }
}

/// Calls `leaf` for every scalar and list with its dotted key (`a.b: 1` and `a: {b: 1}` are the same, as in Spring).
fn flatten(node: &MarkedYamlOwned, above: &str, leaf: &mut impl FnMut(String, &MarkedYamlOwned, usize)) {
    let YamlDataOwned::Mapping(entries) = &node.data else {
        if !above.is_empty() {
            leaf(above.to_owned(), node, node.span.start.line());
        }
        return;
    };
    for (key, value) in entries {
        let Some(name) = plain(key) else { continue };
        let path = if above.is_empty() {
            name
        } else {
            format!("{above}.{name}")
        };
        flatten(value, &path, leaf);
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
