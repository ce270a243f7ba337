//! What may be a secret in the settings file, and where it stands: by its key, inside of addresses, in comments, and in texts
//! that cannot be parsed.

use std::ops::Range;

use url::Url;

use super::mask::{DOTS, is_dots};
use super::source::single_scalars;

/// What makes a name one of a secret, wherever it stands in it.
const WORDS: [&str; 9] = [
    "pwd",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "apikey",
];

/// A value this long elsewhere tells what a secret is; a shorter one is there by chance.
const LEAST_TOLD: usize = 4;

/// So many addresses in one value or line are looked at, each to the end; whatever stands behind them is hidden.
const MOST_ADDRESSES: usize = 32;

/// Whether a key has a value that nobody should read: each of its words counts.
pub fn is_secret(key: &str) -> bool {
    key.split(['.', '[', ']', '{', '}', ',', ' ', '"', '\''])
        .any(is_secret_word)
}

fn is_secret_word(word: &str) -> bool {
    let word = word.to_lowercase();
    // The path of a file is none.
    let is_key = word.ends_with("key") && word != "key" && word != "certificate-private-key";
    WORDS.iter().any(|part| word.contains(part)) || is_key || word == "pass" || word == "auth"
}

/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Secret {
    /// Its key, and for one inside an address what stands before it; for one in a comment the whole line with dots.
    pub label: String,
    pub range: Range<usize>,
}

/// Whether a value that is also a secret's, under another key, is hidden as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Twins {
    /// For a text that is shown: it would tell what the secret is.
    Hidden,
    /// For a text that somebody typed: hiding it would tell that a guess is right.
    Shown,
}

/// In the order of the text, none inside another.
pub(super) fn secrets(yaml: &str, twins: Twins) -> Vec<Secret> {
    let parsed = single_scalars(yaml);
    let values = parsed.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for scalar in values {
        let written = &yaml[scalar.range.clone()];
        let start = scalar.range.start;
        let inside = in_address(written, Until::End);
        // What only shows once it is read, as an address with escapes, is hidden whole.
        let reads = in_address(&scalar.value, Until::End);
        let has_password = Url::parse(&scalar.value).is_ok_and(|url| url.password().is_some());
        let is_hidden = inside.len() != reads.len() || (has_password && reads.is_empty());
        if is_secret(&scalar.key) || is_hidden || is_dots(written) {
            found.push(Secret {
                label: scalar.key.clone(),
                range: scalar.range.clone(),
            });
            continue;
        }
        found.extend(inside.into_iter().map(|(name, range)| Secret {
            label: format!("{} {name}", scalar.key),
            range: start + range.start..start + range.end,
        }));
    }
    // The same value under another key, as an anchor's: it would show what the secret is.
    let hidden: Vec<&str> = values
        .iter()
        .filter(|scalar| is_secret(&scalar.key) && scalar.value.chars().count() >= LEAST_TOLD)
        .filter(|_| twins == Twins::Hidden)
        .map(|scalar| scalar.value.as_str())
        .collect();
    let same = values.iter().filter(|scalar| hidden.contains(&scalar.value.as_str()));
    found.extend(same.map(|scalar| Secret {
        label: scalar.key.clone(),
        range: scalar.range.clone(),
    }));
    let taken: Vec<&Range<usize>> = values.iter().map(|scalar| &scalar.range).collect();
    // What has no keys, as a file of another format, is read as one value, but tells no less.
    let is_yaml = parsed.is_ok() && !values.iter().any(|scalar| scalar.key.is_empty());
    let (mut at, mut above) = (0, None);
    for line in yaml.split_inclusive('\n') {
        let end = at + line.trim_end().len();
        let part = match is_yaml {
            true => comment(yaml, at..end, &taken),
            false => Some(at..end),
        };
        if let Some(part) = part {
            let text = &yaml[part.clone()];
            let inside = match !is_yaml && is_below(&mut above, text) {
                true => rest_of_value(text),
                false => in_line(text),
            };
            let mut label = text.to_owned();
            for range in inside.iter().rev() {
                label.replace_range(range.clone(), DOTS);
            }
            found.extend(inside.into_iter().map(|range| Secret {
                label: label.clone(),
                range: part.start + range.start..part.start + range.end,
            }));
        }
        at += line.len();
    }
    apart(found)
}

/// Whether a line of a text that cannot be parsed belongs to the value of a secret `above` it, by its indentation: it goes
/// on up to the next key that is indented no deeper. `above` becomes that of the next line.
fn is_below(above: &mut Option<usize>, line: &str) -> bool {
    let indent = line.len() - line.trim_start().len();
    let (name, rest) = line.split_once([':', '：']).unwrap_or((line, "-"));
    let is_key = rest.is_empty() || rest.starts_with(char::is_whitespace);
    if above.is_some_and(|above| !line.trim().is_empty() && (indent > above || !is_key)) {
        return true;
    }
    if !line.trim().is_empty() {
        *above = (is_key && is_secret(name.trim_matches(|c: char| c.is_whitespace() || "-?\"'".contains(c))))
            .then_some(indent);
    }
    false
}

fn rest_of_value(line: &str) -> Vec<Range<usize>> {
    let start = line.len() - line.trim_start().len();
    std::iter::once(start..line.len()).collect()
}

/// In order, and those that overlap as one: an alias stands where its anchor does.
fn apart(mut found: Vec<Secret>) -> Vec<Secret> {
    found.sort_by_key(|secret| (secret.range.start, secret.range.end));
    let mut apart: Vec<Secret> = Vec::new();
    for secret in found {
        match apart.last_mut().filter(|last| secret.range.start < last.range.end) {
            Some(last) => last.range.end = last.range.end.max(secret.range.end),
            None => apart.push(secret),
        }
    }
    apart
}

/// The comment of a line of a text that could be parsed: what begins with `#` and lies in no value. A line of a value that
/// has several has none.
fn comment(yaml: &str, line: Range<usize>, taken: &[&Range<usize>]) -> Option<Range<usize>> {
    let is_inside = |at: usize| taken.iter().any(|range| range.start <= at && at < range.end);
    let marks = yaml[line.clone()].match_indices('#').map(|(at, _)| line.start + at);
    let begins = |at: usize| at == line.start || yaml[..at].ends_with([' ', '\t']) || yaml[..at].ends_with('\u{feff}');
    let start = marks.into_iter().find(|at| begins(*at) && !is_inside(*at))?;
    Some(start..line.end)
}

/// What may be a secret in a comment, or in a line of a text that cannot be parsed: everything behind a name of one and its
/// colon or equals sign, or the passwords of addresses.
fn in_line(text: &str) -> Vec<Range<usize>> {
    let mut from = 0;
    for (at, sign) in text.match_indices([':', '=', '：']) {
        let word = text[from..at].trim_end();
        let word = word
            .rsplit(|c: char| c.is_whitespace() || "{}[],#?&".contains(c))
            .next()
            .unwrap_or_default();
        let word = word.trim_matches(['"', '\'']);
        let value = text[at + sign.len()..].trim_start();
        if is_secret(word) && !value.is_empty() {
            return std::iter::once(text.len() - value.len()..text.len()).collect();
        }
        from = at + sign.len();
    }
    in_address(text, Until::Line)
        .into_iter()
        .map(|(_, range)| range)
        .collect()
}

/// How far an address goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It is the whole value, but for a quote behind it.
    End,
    /// Somewhere in a line of prose: to be safe a password in it goes on to the last `@`, or to the end.
    Line,
}

/// The passwords inside of addresses, each with the name before it: `scheme://user:PASSWORD@host` and `?password=PASSWORD`.
pub(super) fn in_address(text: &str, until: Until) -> Vec<(String, Range<usize>)> {
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    for (number, (at, _)) in text.match_indices("://").enumerate() {
        let start = at + 3;
        if number == MOST_ADDRESSES {
            found.push((String::new(), start..text.len()));
            break;
        }
        let address = &text[start..];
        if until == Until::Line {
            if let Some((user, _)) = address.rsplit_once('@')
                && let Some((name, password)) = user.split_once(':')
                && !password.is_empty()
            {
                let from = start + name.len() + 1;
                found.push((format!("{name}@"), from..from + password.len()));
            }
            if let Some(query) = address.find('?').filter(|query| is_secret(&address[*query..])) {
                found.push(("?".to_owned(), start + query + 1..text.len()));
            }
            continue;
        }
        let authority = &address[..address.find(['/', '?', '#']).unwrap_or(address.len())];
        // A password with a slash in it ends the host too early; a port has digits only.
        let has_port = authority
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.is_empty() || port.parse::<u16>().is_ok());
        let before = match authority.rsplit_once('@') {
            None if !has_port => address.rsplit_once('@'),
            before => before,
        };
        // With neither host nor port behind it, all of it may be who signs in.
        let whole = (!has_port && !authority.contains('[')).then_some((address, ""));
        if let Some((user, _)) = before.or(whole)
            && let Some((name, password)) = user.split_once(':')
            && !password.is_empty()
        {
            let from = start + name.len() + 1;
            found.push((format!("{name}@"), from..from + password.len()));
        }
        let query = address.find('?').unwrap_or(address.len());
        let mut from = start + query + 1;
        for pair in address.get(query + 1..).unwrap_or_default().split(['&', ';']) {
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
    found.sort_by_key(|(_, range)| range.start);
    let mut last = 0;
    found.retain(|(_, range)| {
        let is_apart = range.start >= last;
        last = last.max(range.end);
        is_apart
    });
    found
}
