//! Secrets in the settings file: shown as dots, and left as they are when the dots come back untouched.

use std::ops::Range;
use std::path::Path;

use super::source::{Problem, scalars};
use crate::i18n::Text;

/// Stands for a secret. Dots of this kind are a plain value in YAML, asterisks would not be.
pub const DOTS: &str = "••••••";

/// Whether a key, going by its last word, has a value that nobody should read.
pub fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let words = [
        "pwd",
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
    ];
    // The path of a file is none.
    let is_file = name == "certificate-private-key";
    words.iter().any(|word| name.contains(word)) || (name.ends_with("-key") && !is_file)
}

/// A value as people may see it.
pub fn value(key: &str, value: &str) -> String {
    if is_secret(key) && !value.is_empty() {
        return DOTS.to_owned();
    }
    let mut shown = value.to_owned();
    for (_, range) in in_address(value).into_iter().rev() {
        shown.replace_range(range, DOTS);
    }
    shown
}

/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Secret {
    /// Its key, or for one in a comment `#` and the name before its colon.
    label: String,
    range: Range<usize>,
}

impl Secret {
    /// The last word of the key, for finding what was moved into or out of a comment.
    fn name(&self) -> &str {
        let name = self.label.rsplit('.').next().unwrap_or_default();
        name.trim_start_matches('#')
    }
}

/// The text with dots for its secrets.
pub fn masked(yaml: &str) -> String {
    masked_beside(yaml, yaml, DOTS)
}

/// [`masked`], with `news` for the secrets that `former` does not have: for showing what would change.
pub fn masked_beside(yaml: &str, former: &str, news: &str) -> String {
    let (secrets, known) = (secrets(yaml), self::secrets(former));
    let mut shown = yaml.to_owned();
    for secret in secrets.iter().rev() {
        let is_known = find(secret, &known, &secrets)
            .is_some_and(|before| former[before.range.clone()] == yaml[secret.range.clone()]);
        shown.replace_range(secret.range.clone(), if is_known { DOTS } else { news });
    }
    shown
}

/// Puts the secrets of `former` back where the dots were left as they were.
///
/// # Errors
/// Dots that stand for nothing that is known, each with its line.
pub fn unmasked(typed: &str, former: &str) -> Result<String, Vec<Problem>> {
    let (secrets, known) = (secrets(typed), self::secrets(former));
    let mut text = typed.to_owned();
    let mut problems = Vec::new();
    for secret in secrets.iter().rev() {
        let written = &typed[secret.range.clone()];
        if !written.contains(DOTS) {
            continue;
        }
        let bare = written.trim_matches(['"', '\'']);
        match find(secret, &known, &secrets).filter(|_| bare == DOTS) {
            Some(before) => text.replace_range(secret.range.clone(), &former[before.range.clone()]),
            None => problems.push(Problem {
                line: Some(typed[..secret.range.start].matches('\n').count() + 1),
                text: Text::new("config.unknown_dots").with("key", &secret.label),
            }),
        }
    }
    problems.reverse();
    match problems.is_empty() {
        true => Ok(text),
        false => Err(problems),
    }
}

/// Whether dots stand for a secret below a section, as they do until somebody types over them.
pub fn keeps(typed: &str, section: &str) -> bool {
    let inside = |secret: &Secret| secret.label.starts_with(section) && typed[secret.range.clone()].contains(DOTS);
    secrets(typed).iter().any(inside)
}

/// The secret of `known` that `secret` stands for: the one with its label, or the only one with its name when it went
/// into a comment or came out of one. Never a guess among several.
fn find<'a>(secret: &Secret, known: &'a [Secret], typed: &[Secret]) -> Option<&'a Secret> {
    let only = |same: &dyn Fn(&Secret) -> bool| {
        let is_one = |list: &[Secret]| list.iter().filter(|one| same(one)).count() == 1;
        (is_one(known) && is_one(typed)).then(|| known.iter().find(|one| same(one)))?
    };
    only(&|one| one.label == secret.label).or_else(|| only(&|one| one.name() == secret.name()))
}

fn secrets(yaml: &str) -> Vec<Secret> {
    let values = scalars(yaml, Path::new("")).unwrap_or_default();
    let mut found = Vec::new();
    for scalar in &values {
        let written = &yaml[scalar.range.clone()];
        let start = scalar.range.start;
        if is_secret(&scalar.key) {
            found.push(Secret {
                label: scalar.key.clone(),
                range: scalar.range.clone(),
            });
            continue;
        }
        found.extend(in_address(written).into_iter().map(|(name, range)| Secret {
            label: format!("{} {name}", scalar.key),
            range: start + range.start..start + range.end,
        }));
    }
    let taken: Vec<Range<usize>> = values.into_iter().map(|scalar| scalar.range).collect();
    let mut at = 0;
    for line in yaml.split_inclusive('\n') {
        let comments = beside_values(line, at, &taken).into_iter().flat_map(|part| {
            let text = &yaml[part.clone()];
            let inside = in_line(text);
            inside.into_iter().map(move |(label, range)| Secret {
                label,
                range: part.start + range.start..part.start + range.end,
            })
        });
        found.extend(comments);
        at += line.len();
    }
    found.sort_by_key(|secret| secret.range.start);
    found
}

/// The parts of a line that belong to no value: comments, or all of it when the text cannot be parsed.
fn beside_values(line: &str, at: usize, taken: &[Range<usize>]) -> Option<Range<usize>> {
    let end = at + line.trim_end().len();
    let inside = taken.iter().filter(|range| range.start < end && range.end > at);
    let from = inside.map(|range| range.end).max().unwrap_or(at);
    (from < end).then_some(from..end)
}

/// `name: value` with a secret's name, or an address with a password, in a comment or in a text that cannot be parsed.
fn in_line(text: &str) -> Vec<(String, Range<usize>)> {
    let is_comment = text.trim_start().starts_with('#');
    let mark = if is_comment { "#" } else { "" };
    if let Some((before, after)) = text.split_once(':') {
        let name = before.trim().trim_start_matches('#').trim();
        let value = after.trim();
        if is_secret(name) && !value.is_empty() {
            let start = text.len() - after.trim_start().len();
            return vec![(format!("{mark}{name}"), start..start + value.len())];
        }
    }
    let found = in_address(text).into_iter();
    found.map(|(name, range)| (format!("{mark}{name}"), range)).collect()
}

/// The passwords inside of addresses, each with the name before it: `scheme://user:PASSWORD@host` and `?password=PASSWORD`.
fn in_address(text: &str) -> Vec<(String, Range<usize>)> {
    let mut found = Vec::new();
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let address = &text[start..];
        let address = &address[..address.find(ends).unwrap_or(address.len())];
        let authority = &address[..address.find(['/', '?', '#']).unwrap_or(address.len())];
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((name, password)) = user.split_once(':')
            && !password.is_empty()
        {
            let from = start + name.len() + 1;
            found.push((format!("{name}@"), from..from + password.len()));
        }
        let query = address.find('?').unwrap_or(address.len());
        let mut from = start + query + 1;
        for pair in address[query..].trim_start_matches('?').split('&') {
            if let Some((name, value)) = pair.split_once('=')
                && is_secret(name)
                && !value.is_empty()
            {
                let value_at = from + name.len() + 1;
                found.push((name.to_owned(), value_at..value_at + value.len()));
            }
            from += pair.len() + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# user-pwd: old one\njpom:\n  db:\n    url: mysql://jpom:in-url@db:3306/jpom?x=1&password=in-query # was mysql://a:in-comment@b/c\n    user-name: jpom\n    user-pwd: \"s3cret # ü\" # keep\n  list:\n    - name: a\n      token-key: in-list\n    - b\n";
    const SECRETS: [&str; 6] = ["old one", "in-url", "in-query", "in-comment", "s3cret", "in-list"];

    #[test]
    fn no_secret_is_shown_and_untouched_dots_give_the_same_text_back() {
        let shown = masked(FILE);
        for secret in SECRETS {
            assert!(
                FILE.contains(secret) && !shown.contains(secret),
                "{secret} is in {shown}"
            );
        }
        assert!(shown.contains("user-name: jpom") && shown.contains("# keep"), "{shown}");
        assert_eq!(unmasked(&shown, FILE).unwrap(), FILE);
    }

    #[test]
    fn a_text_that_cannot_be_parsed_is_masked_line_by_line() {
        let shown = masked("jpom:\n\tdb:\n\t  user-pwd: s3cret\n  url: [mysql://a:in-url@b/c\n");
        assert!(!shown.contains("s3cret") && !shown.contains("in-url"), "{shown}");
    }

    #[test]
    fn a_secret_that_is_typed_anew_or_moved_keeps_the_others() {
        let shown = masked(FILE);
        let typed = shown.replacen(&format!("user-pwd: {DOTS} # keep"), "user-pwd: new", 1);
        assert_eq!(
            unmasked(&typed, FILE).unwrap(),
            FILE.replace("\"s3cret # ü\" # keep", "new")
        );
        let base = "a:\n  user-pwd: x1\n";
        let commented = format!("a:\n  #user-pwd: {DOTS}\n");
        assert_eq!(unmasked(&commented, base).unwrap(), "a:\n  #user-pwd: x1\n");
    }

    #[test]
    fn dots_that_stand_for_nothing_are_refused_with_their_line() {
        let refused = |typed: &str, former: &str| unmasked(typed, former).unwrap_err()[0].line;
        assert_eq!(refused(&format!("a: 1\nb-token: {DOTS}\n"), "a: 1\n"), Some(2));
        assert_eq!(refused(&format!("pwd: {DOTS}x\n"), "pwd: y\n"), Some(1));
        // Two of one name: it would be a guess which one is meant.
        let two = "#pwd: one\n#pwd: two\n";
        assert_eq!(refused(&format!("#pwd: {DOTS}\n"), two), Some(1));
        // What is no secret is not filled in, so nothing can be read by moving dots about.
        let moved = format!("jpom:\n  cluster:\n    id: {DOTS}\n");
        assert_eq!(unmasked(&moved, "user-pwd: x\n").unwrap(), moved);
    }

    #[test]
    fn a_changed_secret_is_told_apart() {
        let shown = masked_beside("pwd: b\ntoken: c\n", "pwd: a\ntoken: c\n", "NEW");
        assert_eq!(shown, format!("pwd: NEW\ntoken: {DOTS}\n"));
    }
}
