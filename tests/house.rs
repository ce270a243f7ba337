//! Rules of the house that the compiler does not know.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Yaml};

/// All files below a folder that end so, with their content.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let content = fs::read_to_string(&path).unwrap();
                found.push((path, content));
            }
        }
    }
    assert!(!found.is_empty(), "nothing found in {folder:?}");
    found
}

#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// What a file says outside its tests.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let order: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert!(order.len() > 10);
    let rank = |module: &str| order.iter().position(|known| *known == module);
    let mut offences = Vec::new();
    for (path, source) in files("src", ".rs") {
        let below = path
            .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
            .unwrap()
            .to_owned();
        let first = below
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .into_owned();
        let Some(own) = rank(first.trim_end_matches(".rs")) else {
            continue;
        };
        for rest in source.split("crate::").skip(1) {
            let used: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if rank(&used).is_some_and(|used| used > own) {
                offences.push(format!(
                    "{} uses {used}, which stands below it in lib.rs",
                    below.display()
                ));
            }
        }
    }
    none(&offences);
}

#[test]
fn templates_lie_in_folders_named_like_their_modules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let offences: Vec<String> = files("templates", ".html")
        .iter()
        .map(|(path, _)| {
            path.parent()
                .unwrap()
                .strip_prefix(root.join("templates"))
                .unwrap()
                .to_owned()
        })
        .filter(|folder| !root.join("src").join(folder).is_dir())
        .map(|folder| format!("templates/{} has no src/{0}", folder.display()))
        .collect();
    none(&offences);
}

/// Such a block compiles and, asked for alone, renders nothing.
#[test]
fn no_block_stands_inside_for_if_or_match() {
    let mut offences = Vec::new();
    for (path, source) in files("templates", ".html") {
        let mut open: Vec<String> = Vec::new();
        for tag in source.split("{%").skip(1).filter_map(|rest| rest.split("%}").next()) {
            let word = tag
                .trim_matches(['-', '+', '~', ' ', '\n'])
                .split_whitespace()
                .next()
                .unwrap_or_default();
            match word {
                "for" | "if" | "match" => open.push(word.to_owned()),
                "endfor" | "endif" | "endmatch" => drop(open.pop()),
                "block" if !open.is_empty() => offences.push(format!("{}: block inside {open:?}", path.display())),
                _ => {}
            }
        }
        assert!(open.is_empty(), "{}: {open:?} is not closed", path.display());
    }
    none(&offences);
}

#[test]
fn files_stay_readable() {
    let too_long = |folder: &str, ending: &str, most: usize| -> Vec<String> {
        files(folder, ending)
            .into_iter()
            .map(|(path, source)| (path, without_tests(&source).lines().count()))
            .filter(|(_, lines)| *lines > most)
            .map(|(path, lines)| format!("{} has {lines} lines; split it by meaning at {most}", path.display()))
            .collect()
    };
    none(
        &[
            too_long("src", ".rs", 400),
            too_long("tests", ".rs", 500),
            too_long("templates", ".html", 150),
        ]
        .concat(),
    );
}

#[test]
fn migrations_are_numbered_without_gaps_and_listed() {
    let mut names: Vec<String> = files("migrations", ".sql")
        .iter()
        .map(|(path, _)| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let listed: Vec<&str> = muster::db::migrations::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed);
    for (number, name) in (1..).zip(&names) {
        assert!(
            name.starts_with(&format!("{number:04}_")),
            "{name} should be number {number}"
        );
    }
}

/// An older server that is still running inserts without the new column.
#[test]
fn a_column_added_later_has_a_default() {
    let mut offences = Vec::new();
    for (path, source) in files("migrations", ".sql") {
        for line in source.lines().filter(|line| line.contains("add column")) {
            if line.contains("not null") && !line.contains("default") {
                offences.push(format!("{}: {line}", path.display()));
            }
        }
    }
    none(&offences);
}

/// What answers a GET is named like a question; whoever adds a name here has looked that it changes nothing.
#[test]
fn state_never_changes_by_get() {
    let questions = [
        "ask", "download", "edit", "health", "identity", "index", "metrics", "new", "other", "panel", "profile",
        "ready", "sample", "show", "watch",
    ];
    let (mut offences, mut seen) = (Vec::new(), 0);
    for (path, source) in files("src", ".rs") {
        let folded = source
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace("get( ", "get(");
        for arguments in folded.split(" get(\"/").skip(1) {
            let handler = arguments.split(", ").nth(2).unwrap_or_default();
            let name = handler.split([')', '.', ',']).next().unwrap_or_default();
            let name = name.rsplit("::").next().unwrap_or_default();
            seen += 1;
            if !questions.contains(&name) {
                offences.push(format!(
                    "{}: get(\"/{}",
                    path.display(),
                    arguments.chars().take(60).collect::<String>()
                ));
            }
        }
    }
    assert!(seen > 15, "the addresses are written in another way now");
    none(&offences);
}

/// The strict content security policy would silently switch these off.
#[test]
fn templates_carry_no_inline_style_or_script() {
    let mut offences = Vec::new();
    for (path, source) in files("templates", ".html") {
        for forbidden in [
            " style=",
            "<style",
            "<script>",
            " onclick=",
            " onsubmit=",
            " onchange=",
            "javascript:",
            "hx-on",
            "hx-vals=\"js",
        ] {
            if source.contains(forbidden) {
                offences.push(format!("{}: {forbidden}", path.display()));
            }
        }
    }
    none(&offences);
}

/// Every key with its text in each language, from all text files.
fn texts() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for (path, source) in files("src", "texts.yml") {
        let documents = Yaml::load_from_str(&source).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (key, languages) in documents[0].as_mapping().unwrap() {
            let key = key.as_str().unwrap().to_owned();
            if key == "_version" {
                continue;
            }
            let said = languages
                .as_mapping()
                .unwrap_or_else(|| panic!("{}: {key}", path.display()));
            let said = said
                .iter()
                .map(|(lang, text)| (lang.as_str().unwrap().to_owned(), text.as_str().unwrap().to_owned()));
            assert!(
                texts.insert(key.clone(), said.collect()).is_none(),
                "{key} stands twice"
            );
        }
    }
    texts
}

#[test]
fn every_text_exists_in_both_languages_with_the_same_values() {
    let names = |text: &str| -> BTreeSet<String> {
        text.split("%{")
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap().to_owned())
            .collect()
    };
    let mut offences = Vec::new();
    for (key, said) in texts() {
        match (said.get("zh-CN"), said.get("en")) {
            (Some(zh), Some(en)) if names(zh) == names(en) && !zh.trim().is_empty() && !en.trim().is_empty() => {}
            _ => offences.push(format!("{key}: {said:?}")),
        }
    }
    none(&offences);
}

/// Without quotes the program would take such a word for a truth value, and the page would show the key.
#[test]
fn no_text_is_a_truth_value() {
    let mut offences = Vec::new();
    for (path, source) in files("src", "texts.yml") {
        for line in source.lines() {
            let said = line.trim().split_once(": ").map_or("", |(_, said)| said).to_lowercase();
            if ["yes", "no", "on", "off", "true", "false", "y", "n", "null", "~"].contains(&said.as_str()) {
                offences.push(format!("{}: {line}", path.display()));
            }
        }
    }
    none(&offences);
}

/// Words in quotes that look like keys: `clusters.title`, `config.allowed.port`.
fn keys_in(source: &str) -> BTreeSet<String> {
    let is_key = |word: &str| {
        let parts: Vec<&str> = word.split('.').collect();
        parts.len() >= 2
            && parts.iter().all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            })
    };
    source
        .split('"')
        .filter(|word| is_key(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_key_used_has_a_text_and_every_text_is_used() {
    let texts = texts();
    let families: BTreeSet<&str> = texts.keys().filter_map(|key| key.split('.').next()).collect();
    let mut used = BTreeSet::new();
    for (path, source) in [files("src", ".rs"), files("templates", ".html")].concat() {
        for key in keys_in(without_tests(&source)) {
            let family = key.split('.').next().unwrap_or_default();
            let file_name = [".html", ".css", ".js", ".svg"]
                .iter()
                .any(|ending| key.ends_with(ending))
                || ["db.sock", "db.pid", "error.log", "error.log.1"].contains(&key.as_str());
            if families.contains(family) && !file_name && !key.starts_with("jpom.") && !key.starts_with("server.") {
                assert!(texts.contains_key(&key), "{}: {key} has no text", path.display());
                used.insert(key);
            }
        }
    }
    let unused: Vec<String> = texts.keys().filter(|key| !used.contains(*key)).cloned().collect();
    none(&unused);
}

/// A letter outside tags and expressions is a text that only one reader understands.
#[test]
fn templates_carry_no_bare_text() {
    let mut offences = Vec::new();
    for (path, source) in files("templates", ".html") {
        let plain = without(&without(&without(&source, "{#", "#}"), "{%", "%}"), "{{", "}}");
        for attribute in ["title", "placeholder", "aria-label", "alt", "data-label"] {
            for rest in plain.split(&format!(" {attribute}=\"")).skip(1) {
                let value = rest.split('"').next().unwrap_or_default();
                if value.chars().any(char::is_alphabetic) {
                    offences.push(format!("{}: {attribute}={value:?}", path.display()));
                }
            }
        }
        let text = without(&without(&plain, "<!--", "-->"), "<", ">");
        for word in text.split_whitespace() {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric());
            if word.chars().any(char::is_alphabetic) && word != "Muster" && !word.starts_with('&') && word != "nbsp" {
                offences.push(format!("{}: {word:?}", path.display()));
            }
        }
    }
    none(&offences);
}

/// The source with everything between the marks replaced by nothing.
fn without(source: &str, from: &str, to: &str) -> String {
    let mut rest = source;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(from) {
        kept.push_str(before);
        rest = after.split_once(to).map_or("", |(_, after)| after);
    }
    kept + rest
}

#[test]
fn the_tests_that_the_requirements_name_exist() {
    let tests: String = [files("tests", ".rs"), files("src", ".rs")]
        .concat()
        .into_iter()
        .map(|(_, source)| source)
        .collect();
    let table = std::fs::read_to_string("docs/requirements.md").unwrap();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| R") || line.starts_with("| W"));
    let (mut named, mut offences) = (0, Vec::new());
    for row in rows {
        let shown_by = row.rsplit("| ").next().unwrap_or_default();
        for name in shown_by
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| !name.contains('/'))
        {
            named += 1;
            if !tests.contains(&format!("fn {name}()")) {
                offences.push(format!("docs/requirements.md names {name}, which is no test"));
            }
        }
    }
    assert!(named > 50, "the table is written in another way now");
    none(&offences);
}

#[test]
fn no_text_ends_where_yaml_sees_a_comment() {
    for (path, source) in files("src", "texts.yml") {
        for line in source.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let value = line.split_once(": ").map_or("", |(_, value)| value);
            let is_quoted = value.starts_with(['\'', '"']);
            assert!(is_quoted || !value.contains(" #"), "{path:?}: {line}");
        }
    }
}
