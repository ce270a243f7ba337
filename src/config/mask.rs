//! Secrets in the settings file: shown as dots, and left as they are where the dots come back untouched. What may be a secret
//! is shown as one; what comes back is filled in only where exactly that secret was.

use std::ops::Range;

use url::Url;

use super::source::{Problem, single_scalars};
use crate::i18n::Text;

/// Stands for a secret. Dots of this kind are a plain value in YAML, asterisks would not be.
pub const DOTS: &str = "••••••";

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

/// A value as people may see it.
pub fn value(key: &str, value: &str) -> String {
    if is_secret(key) && !value.is_empty() {
        return DOTS.to_owned();
    }
    let mut shown = value.to_owned();
    for (_, range) in in_address(value, Until::End).into_iter().rev() {
        shown.replace_range(range, DOTS);
    }
    shown
}

/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Secret {
    /// Its key, and for one inside an address what stands before it; for one in a comment the whole line with dots.
    label: String,
    range: Range<usize>,
}

/// The text with dots for its secrets.
pub fn masked(yaml: &str) -> String {
    with_dots(yaml, &secrets(yaml, Twins::Hidden), |_| DOTS)
}

/// A text that somebody typed, with `news` for the secrets in it and dots where they were left: whether what was typed is
/// the same as before is not told.
pub fn masked_typed(typed: &str, news: &str) -> String {
    with_dots(typed, &secrets(typed, Twins::Shown), |written| {
        if is_dots(written) { DOTS } else { news }
    })
}

fn with_dots<'a>(yaml: &str, secrets: &[Secret], stands_for: impl Fn(&str) -> &'a str) -> String {
    let mut shown = yaml.to_owned();
    for secret in secrets.iter().rev() {
        let stands = stands_for(&yaml[secret.range.clone()]);
        shown.replace_range(secret.range.clone(), stands);
    }
    shown
}

fn is_dots(written: &str) -> bool {
    written.trim_matches(['"', '\'']) == DOTS
}

/// Puts the secrets of `former` back where the dots were left as they were.
///
/// # Errors
/// Dots that stand for nothing that is known, each with its line.
pub fn unmasked(typed: &str, former: &str) -> Result<String, Vec<Problem>> {
    let (found, known) = (secrets(typed, Twins::Shown), secrets(former, Twins::Hidden));
    let mut text = typed.to_owned();
    let mut problems = Vec::new();
    for (at, secret) in found.iter().enumerate().rev() {
        let written = &typed[secret.range.clone()];
        if !written.contains(DOTS) {
            continue;
        }
        match counterpart(at, &found, &known).filter(|_| is_dots(written)) {
            Some(before) => text.replace_range(secret.range.clone(), &former[before.range.clone()]),
            None => problems.push(unknown_dots(typed, secret.range.start, &secret.label)),
        }
    }
    // An alias would bring the secret of its anchor to a place where it can be read.
    for scalar in single_scalars(typed).unwrap_or_default() {
        if scalar.value.contains(DOTS) && !typed[scalar.range.clone()].contains(DOTS) {
            problems.push(unknown_dots(typed, scalar.range.start, &scalar.key));
        }
    }
    problems.sort_by_key(|problem| problem.line);
    // Whatever shape a text has: filling secrets in must not make anything else readable. What was typed is not compared
    // with secrets, so the answer tells nothing of them.
    let shown = |text: &str| with_dots(text, &secrets(text, Twins::Shown), |_| DOTS);
    let (wanted, got) = (shown(typed), shown(&text));
    if problems.is_empty() && wanted != got {
        problems.push(Problem {
            line: None,
            text: Text::new("config.unknown_dots").with("key", DOTS),
        });
    }
    match problems.is_empty() {
        true => Ok(text),
        false => Err(problems),
    }
}

fn unknown_dots(typed: &str, at: usize, label: &str) -> Problem {
    Problem {
        line: Some(typed[..at].matches('\n').count() + 1),
        text: Text::new("config.unknown_dots").with("key", label),
    }
}

/// The keys below a section whose secrets were typed anew.
pub fn is_retyped(typed: &str, key: &str) -> bool {
    let inside = |secret: &Secret| secret.label == key || secret.label.starts_with(&format!("{key} "));
    secrets(typed, Twins::Shown)
        .iter()
        .any(|secret| inside(secret) && !is_dots(&typed[secret.range.clone()]))
}

/// Whether dots stand for a secret below a section, as they do until somebody types over them.
pub fn keeps(typed: &str, section: &str) -> bool {
    let inside = |secret: &Secret| secret.label.starts_with(section) && typed[secret.range.clone()].contains(DOTS);
    secrets(typed, Twins::Shown).iter().any(inside)
}

/// The secret of `known` with the same label; of several with one label the one in the same place among them, if there are
/// as many as there were.
fn counterpart<'a>(at: usize, found: &[Secret], known: &'a [Secret]) -> Option<&'a Secret> {
    let label = &found[at].label;
    let same = |list: &'a [Secret]| list.iter().filter(|one| one.label == *label);
    let count = found.iter().filter(|one| one.label == *label).count();
    let place = found[..at].iter().filter(|one| one.label == *label).count();
    if same(known).count() != count {
        return None;
    }
    same(known).nth(place)
}

/// Whether a value that is also a secret's, under another key, is hidden as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Twins {
    /// For a text that is shown: it would tell what the secret is.
    Hidden,
    /// For a text that somebody typed: hiding it would tell that a guess is right.
    Shown,
}

/// In the order of the text, none inside another.
fn secrets(yaml: &str, twins: Twins) -> Vec<Secret> {
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
    let mut at = 0;
    for line in yaml.split_inclusive('\n') {
        let end = at + line.trim_end().len();
        let part = match parsed.is_ok() {
            true => comment(yaml, at..end, &taken),
            false => Some(at..end),
        };
        if let Some(part) = part {
            let text = &yaml[part.clone()];
            let inside = in_line(text);
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
enum Until {
    /// It is the whole value, but for a quote behind it.
    End,
    /// Somewhere in a line of prose: to be safe a password in it goes on to the last `@`, or to the end.
    Line,
}

/// The passwords inside of addresses, each with the name before it: `scheme://user:PASSWORD@host` and `?password=PASSWORD`.
fn in_address(text: &str, until: Until) -> Vec<(String, Range<usize>)> {
    let mut found: Vec<(String, Range<usize>)> = Vec::new();
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
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
            .is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let before = match authority.rsplit_once('@') {
            None if !has_port => address.rsplit_once('@'),
            before => before,
        };
        if let Some((user, _)) = before
            && let Some((name, password)) = user.split_once(':')
            && !password.is_empty()
        {
            let from = start + name.len() + 1;
            found.push((format!("{name}@"), from..from + password.len()));
        }
        let query = address.find('?').unwrap_or(address.len());
        let mut from = start + query + 1;
        for pair in address[query..].trim_start_matches('?').split(['&', ';']) {
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
    }

    #[test]
    fn dots_that_stand_for_nothing_are_refused_with_their_line() {
        let refused = |typed: &str, former: &str| unmasked(typed, former).unwrap_err()[0].line;
        assert_eq!(refused(&format!("a: 1\nb-token: {DOTS}\n"), "a: 1\n"), Some(2));
        assert_eq!(refused(&format!("pwd: {DOTS}x\n"), "pwd: y\n"), Some(1));
        // One of two is gone: it would be a guess which.
        let two = "#pwd: one\n#pwd: two\n";
        assert_eq!(refused(&format!("#pwd: {DOTS}\n"), two), Some(1));
        // What is no secret is not filled in, so nothing can be read by moving dots about.
        let moved = format!("jpom:\n  cluster:\n    id: {DOTS}\n");
        assert!(unmasked(&moved, "user-pwd: x\n").is_err());
    }

    #[test]
    fn what_is_typed_is_told_apart_from_what_was_left() {
        let typed = format!("pwd: a\ntoken: {DOTS}\n");
        assert_eq!(masked_typed(&typed, "NEW"), format!("pwd: NEW\ntoken: {DOTS}\n"));
        assert!(is_retyped(&typed, "pwd") && !is_retyped(&typed, "token"));
    }

    /// Texts with a secret in an unusual shape: none is shown, and untouched dots give the same text back.
    #[test]
    fn secrets_in_unusual_shapes_are_hidden_and_kept() {
        for yaml in [
            "user-pwd: |\n  s3cret\n  s3cret2\na: 1\n",
            "user-pwd: >-\n    s3cret\n\n    s3cret\n",
            "tokens: [s3cret, \"s3cret,x\"]\n",
            "tokens:\n  - s3cret # one\n  - s3cret\n",
            "secret: {value: s3cret}\n",
            "m: &m {user-pwd: s3cret}\nb: {<<: *m}\n",
            "user-pwd: 's3cret '' x'\n",
            "user-pwd: \"s3cret \\\" x\"\n",
            "user-pwd: \"s3cret\n  s3cret2\"\n",
            "user-pwd: s3cret\n  s3cret2\n",
            "--- \nuser-pwd: s3cret\n--- \nuser-pwd: s3cret2\n",
            "# {url: x, user-pwd: s3cret}\nx: 1 # a: 1, user-pwd: s3cret\n",
            "#user-pwd=s3cret\n#user-pwd=s3cret2\n",
            "url: \"mysql:\\/\\/u:s3cret@h\"\n",
            "url: mysql://u:s3/cret@h/db\n",
            "url: mysql://u:it's-s3cret@h/db\n",
            "url: mysql://u:pa s3cret@h/db\n",
            "url: mysql://u:pa\"s3cret@h/db\n",
            "url: mysql://h/db?password=ab's3cret\n",
            "# was mysql://u:it's s3cret@h/db\n#x: mysql://h/db?password=a s3cret\n",
            "url: mysql://h/db?password=http://aa:s3cret@c\n",
            "list: [a, # user-pwd: s3cret\n  b]\n",
            "api_key: s3cret\naccessKey: s3cret\napikey: s3cret\npass: s3cret\n",
            "\u{feff}user-pwd: s3cret\r\nb: ü\r\n",
            "\"user-pwd\": !!str s3cret\n",
        ] {
            let shown = masked(yaml);
            assert!(!shown.contains("s3"), "{yaml} shows {shown}");
            assert_eq!(unmasked(&shown, yaml).as_deref().ok(), Some(yaml), "{shown}");
        }
        for broken in [
            // Not parsed; and what an alias means is not filled in again.
            "a: &x s3cret\nuser-pwd: *x\n",
            "jpom: {db: {user-pwd: s3cret",
            "a: [\nuser-pwd: s3cret, b: s3cret\n",
        ] {
            assert!(!masked(broken).contains("s3cret"), "{}", masked(broken));
        }
    }

    /// Everything somebody could write to have a secret filled in where it can be read.
    #[test]
    fn dots_bring_no_secret_to_a_place_where_it_can_be_read() {
        let former =
            "jpom:\n  db:\n    url: mysql://u:in&url@db/x\n    user-pwd: \"Tr0ub,4dor&3\"\n# user-pwd: c0mment\n";
        let pieces = ["Tr0ub", "4dor", "in&", "c0mm"];
        for typed in [
            "# x://y?user-pwd=••••••\n",
            "jpom.db.url: mysql://real/db?a.user-pwd=••••••\n",
            "jpom.db: {user-pwd: ••••••, x: 1}\n",
            "#user-pwd: ••••••\n",
            "jpom:\n  cluster:\n    id: ••••••\n",
            "jpom:\n  db:\n    user-pwd: ••••••\n    note: ••••••\n",
            "jpom:\n  db:\n    user-pwd: &a ••••••\n    note: *a\n",
            "jpom.db.user-pwd: ••••••\nx: y\n",
            "jpom:\n  db:\n    user-pwd:\n      x: ••••••\n",
            "jpom:\n  db:\n    user-pwd: [••••••]\n",
            "jpom:\n  db:\n    user-pwd: >\n      ••••••\n",
            "jpom: {db: {url: x, user-pwd: ••••••}}\n",
            "jpom:\n  db:\n    user-pwd: &a ••••••\n  cluster:\n    id: *a\n",
        ] {
            let text = unmasked(typed, former).unwrap_or_default();
            let shown = masked(&text);
            for piece in pieces {
                assert!(!shown.contains(piece), "{typed} brought {shown}");
            }
        }
    }

    #[test]
    fn a_guess_at_a_secret_is_answered_alike_whether_it_is_right() {
        let former = "jpom:\n  db:\n    user-pwd: right-one\n";
        let answers = ["right-one", "wrong-one"].map(|guess| {
            let typed = format!("jpom:\n  db:\n    user-pwd: {DOTS}\nx: {guess}\ny: mysql://u:{guess}@h\n");
            let text = unmasked(&typed, former).map_err(|problems| format!("{problems:?}"));
            (
                text.map(|text| text.replace(guess, ""))
                    .map(|text| text.replace("right-one", "")),
                masked_typed(&typed, "NEW").replace(guess, ""),
            )
        });
        assert_eq!(answers[0], answers[1]);
    }
}
