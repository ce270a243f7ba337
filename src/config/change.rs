//! Changes one value in the text of a settings file; every other character stays.

use std::path::Path;

use super::source::{Scalar, scalars};
use crate::i18n::Text;

/// The text with `key` set to a plain `value` of letters and digits: in place, by taking the `#` off a line that shows the
/// default, or by a new line where it belongs.
///
/// # Errors
/// What to do by hand when the text cannot be changed safely.
pub fn set(yaml: &str, key: &str, value: &str) -> Result<String, Text> {
    let by_hand = || Text::new("config.by_hand").with("key", key);
    let before = scalars(yaml, Path::new("")).map_err(|problem| problem.text)?;
    let changed = match before.iter().rfind(|scalar| scalar.key == key) {
        Some(found) => replaced(yaml, found, value),
        None => {
            let in_place = filled(yaml, key, value).or_else(|| uncommented(yaml, key, value));
            in_place.unwrap_or_else(|| inserted(yaml, key, value))
        }
    };
    // Whatever shape the text has: it counts only if exactly this one value changed.
    let after = scalars(&changed, Path::new("")).map_err(|_| by_hand())?;
    let others = |list: &[Scalar]| -> Vec<(String, String)> {
        let others = list.iter().filter(|scalar| scalar.key != key);
        others
            .map(|scalar| (scalar.key.clone(), scalar.value.clone()))
            .collect()
    };
    let now = after
        .iter()
        .rfind(|scalar| scalar.key == key)
        .map(|scalar| scalar.value.as_str());
    match now == Some(value) && others(&before) == others(&after) {
        true => Ok(changed),
        false => Err(by_hand()),
    }
}

/// [`set`], for a key that has no value yet; the text as it is for one that has.
///
/// # Errors
/// As [`set`].
pub fn add(yaml: &str, key: &str, value: &str) -> Result<String, Text> {
    let known = scalars(yaml, Path::new("")).map_err(|problem| problem.text)?;
    match known.iter().any(|scalar| scalar.key == key) {
        true => Ok(yaml.to_owned()),
        false => set(yaml, key, value),
    }
}

fn replaced(yaml: &str, found: &Scalar, value: &str) -> String {
    let mut changed = yaml.to_owned();
    changed.replace_range(found.range.clone(), value);
    changed
}

/// A key that stands there without a value gets one.
fn filled(yaml: &str, key: &str, value: &str) -> Option<String> {
    let (section, name) = key.rsplit_once('.')?;
    let (_, inside) = body_of(yaml, section)?;
    let mut at = inside.start;
    for line in yaml[inside].split_inclusive('\n') {
        let rest = line
            .trim_start()
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(':'));
        if let Some(rest) = rest.filter(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#')) {
            let colon = at + line.len() - rest.len();
            return Some(format!("{} {value}{}", &yaml[..colon], &yaml[colon..]));
        }
        at += line.len();
    }
    None
}

/// The file of a new server shows each default behind `#`, in its section.
fn uncommented(yaml: &str, key: &str, value: &str) -> Option<String> {
    let (section, name) = key.rsplit_once('.')?;
    let (_, inside) = body_of(yaml, section)?;
    let mut at = inside.start;
    for line in yaml[inside].split_inclusive('\n') {
        let bare = line.trim_start();
        let shown = bare
            .strip_prefix('#')
            .map(str::trim_start)
            .and_then(|bare| bare.strip_prefix(name));
        if shown.is_some_and(|rest| rest.trim_start().starts_with(':')) {
            let indent = &line[..line.len() - bare.len()];
            let end = &line[line.trim_end().len()..];
            return Some(format!(
                "{}{indent}{name}: {value}{end}{}",
                &yaml[..at],
                &yaml[at + line.len()..]
            ));
        }
        at += line.len();
    }
    None
}

/// Below the deepest section of the key that is there, with the sections that are missing.
fn inserted(yaml: &str, key: &str, value: &str) -> String {
    let parts: Vec<&str> = key.split('.').collect();
    let known = (1..parts.len())
        .rev()
        .find_map(|depth| Some((depth, body_of(yaml, &parts[..depth].join("."))?)));
    let (depth, at, mut indent) = match known {
        Some((depth, (indent, inside))) => (depth, inside.start, indent),
        None => (0, yaml.len(), 0),
    };
    let mut lines = String::new();
    if !yaml[..at].is_empty() && !yaml[..at].ends_with('\n') {
        lines.push('\n');
    }
    for (number, part) in parts.iter().enumerate().skip(depth) {
        let is_last = number + 1 == parts.len();
        let rest = if is_last { format!(" {value}") } else { String::new() };
        lines.push_str(&format!("{:indent$}{part}:{rest}\n", ""));
        indent += 2;
    }
    format!("{}{lines}{}", &yaml[..at], &yaml[at..])
}

/// The lines below `section:` in block style, with the indentation of its entries: up to the next line that is indented no
/// deeper, without comments and blank lines between.
fn body_of(yaml: &str, section: &str) -> Option<(usize, std::ops::Range<usize>)> {
    let indent_of = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let is_entry = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    // What the sections above the current line are called, each with its indentation.
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    let mut found: Option<(usize, usize, Option<usize>)> = None;
    for line in yaml.split_inclusive('\n') {
        let (start, indent) = (at, indent_of(line));
        at += line.len();
        if !is_entry(line) {
            continue;
        }
        if let Some((own, from, entries)) = &mut found {
            if indent <= *own {
                return Some((entries.unwrap_or(*own + 2), *from..start));
            }
            entries.get_or_insert(indent);
            continue;
        }
        above.retain(|(known, _)| *known < indent);
        let (name, rest) = line.trim().split_once(':').unwrap_or((line.trim(), "-"));
        above.push((indent, name));
        let path = above.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(".");
        let is_open = rest.trim().is_empty() || rest.trim_start().starts_with('#');
        if path == section && is_open {
            found = Some((indent, at, None));
        }
    }
    found.map(|(own, from, entries)| (entries.unwrap_or(own + 2), from..yaml.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::DEFAULT_FILE;
    use super::*;
    use crate::odd;

    const KEY: &str = "jpom.cluster.id";

    #[track_caller]
    fn becomes(before: &str, after: &str) {
        assert_eq!(set(before, KEY, "EAST").unwrap(), after);
    }

    #[test]
    fn a_value_that_is_there_is_changed_in_place() {
        becomes(
            "# first\njpom:\n  cluster:\n    id: WEST # keep\n    heart-second: 30\n",
            "# first\njpom:\n  cluster:\n    id: EAST # keep\n    heart-second: 30\n",
        );
        becomes("jpom.cluster.id: 'we st'\n", "jpom.cluster.id: EAST\n");
        becomes(
            "jpom: {cluster: {id: WEST, heart-second: 9}}\n",
            "jpom: {cluster: {id: EAST, heart-second: 9}}\n",
        );
        becomes(
            "# 集群\njpom:\n  cluster:\n    id: \"东\"\n",
            "# 集群\njpom:\n  cluster:\n    id: EAST\n",
        );
        becomes(
            "jpom:\r\n  cluster:\r\n    id: WEST\r\n",
            "jpom:\r\n  cluster:\r\n    id: EAST\r\n",
        );
    }

    #[test]
    fn a_default_behind_a_hash_loses_the_hash() {
        let changed = set(DEFAULT_FILE, KEY, "EAST").unwrap();
        assert_eq!(changed, DEFAULT_FILE.replace("    #id: DEFAULT", "    id: EAST"));
        let twice = set(&changed, "jpom.cluster.heart-second", "9").unwrap();
        assert_eq!(twice, changed.replace("    #heart-second: 30", "    heart-second: 9"));
    }

    #[test]
    fn a_missing_line_goes_where_it_belongs() {
        becomes(
            "jpom:\n  cluster:\n    id: # none\n",
            "jpom:\n  cluster:\n    id: EAST # none\n",
        );
        becomes("", "jpom:\n  cluster:\n    id: EAST\n");
        becomes("a: 1", "a: 1\njpom:\n  cluster:\n    id: EAST\n");
        becomes(
            "jpom:\n    db:\n        url: x\nb: 1\n",
            "jpom:\n    cluster:\n      id: EAST\n    db:\n        url: x\nb: 1\n",
        );
        becomes("jpom:\n  cluster:\nb: 1\n", "jpom:\n  cluster:\n    id: EAST\nb: 1\n");
        becomes(
            "jpom:\n  cluster:\n    heart-second: 9\n",
            "jpom:\n  cluster:\n    id: EAST\n    heart-second: 9\n",
        );
    }

    #[test]
    fn what_cannot_be_changed_safely_is_left_to_the_person() {
        for yaml in [
            "jpom: {db: {url: x}}\n",
            "jpom:\n  cluster: EAST\n",
            "jpom: &a\n  db: 1\nb: *a\n",
            "- a\n- b\n",
            "a: [\n",
        ] {
            assert!(set(yaml, KEY, "EAST").is_err(), "{yaml}");
        }
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_the_file_is_one_value_changes_and_no_other(
            yaml in odd::text(&[
                DEFAULT_FILE,
                "# first\njpom:\n  cluster:\n    id: WEST # keep\n    heart-second: 30\n",
                "jpom: {cluster: {id: \"W\", heart-second: 9}}\n",
                "jpom:\r\n  cluster:\r\n    id: |\r\n      x\r\nb: &a 1\nc: *a\n",
            ]),
        ) {
            let values = |yaml: &str| {
                let all = scalars(yaml, Path::new("")).unwrap();
                let others: Vec<_> = all.iter().filter(|one| one.key != KEY).map(|one| (one.key.clone(), one.value.clone())).collect();
                (others, all.iter().rfind(|one| one.key == KEY).map(|one| one.value.clone()))
            };
            if let Ok(changed) = set(&yaml, KEY, "EAST") {
                prop_assert_eq!(values(&changed), (values(&yaml).0, Some("EAST".to_owned())));
                prop_assert_eq!(set(&changed, KEY, "EAST").unwrap(), changed);
            }
        }
    }
}
