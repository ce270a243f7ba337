//! Secrets in the settings file: shown as dots, and left as they are where the dots come back untouched. What may be a secret
//! is shown as one; what comes back is filled in only where exactly that secret was.

use super::secrets::{Secret, Twins, Until, in_address, is_secret, secrets};
use super::source::{Problem, single_scalars};
use crate::i18n::Text;

/// Stands for a secret. Dots of this kind are a plain value in YAML, asterisks would not be.
pub const DOTS: &str = "••••••";

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

pub(super) fn is_dots(written: &str) -> bool {
    let quoted = ['"', '\'']
        .iter()
        .find_map(|quote| written.strip_prefix(*quote)?.strip_suffix(*quote));
    quoted.unwrap_or(written) == DOTS
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
    // Dots that are no secret's any more would be saved in its place.
    for scalar in single_scalars(&text).unwrap_or_default() {
        if problems.is_empty() && scalar.value.contains(DOTS) {
            problems.push(unknown_dots(&text, scalar.range.start, &scalar.key));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    const SHAPES: [&str; 6] = [
        FILE,
        "user-pwd: |\n  s3cret\n  s3cret2\na: &x [1, {token: y}]\nb: *x\n",
        "m: &m {user-pwd: s3cret}\nb: {<<: *m}\n--- \nuser-pwd: 's3cret '' x' # ••••••\n",
        "jpom:\n  db:\n    user-pwd: ••••••\n    url: mysql://u:••••••@h?password=••••••\n",
        "user-pwd: \"s3cret\n  s3cret2\"\n# url: x://a:b@c, token=1\n",
        "\u{feff}jpom:\r\n\tdb: [\r\n  user-pwd: s3cret\r\n",
    ];
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
    fn neither_a_tag_nor_a_second_question_mark_shows_a_secret() {
        for yaml in [
            "!\nuser-pwd: s3cret\n",
            "jpom: !x\n  db: !!map {user-pwd: !!str s3cret}\n",
            "tokens: !x [!!str s3cret, !y {a: s3cret}]\n",
            "? [a]\n: {user-pwd: s3cret}\n",
            "~: {user-pwd: s3cret}\n",
            "url: mysql://u@h??x=ü&password=s3cret\n",
            "url: mysql://u@h??password=s3cre•\n",
        ] {
            let shown = masked(yaml);
            assert!(!shown.contains("s3cre") && !shown.contains("cret"), "{shown}");
            assert_eq!(unmasked(&shown, yaml).unwrap(), yaml);
        }
        assert!(masked("url: x://h??password=s3cret\n").ends_with(&format!("{DOTS}\n")));
    }

    #[test]
    fn in_a_file_of_another_format_secrets_are_hidden() {
        for yaml in [
            "jpom.db.user-name=jpom\njpom.db.user-pwd=s3cret\n",
            "|\n  user-pwd: s3cret\n",
            "--- >\n  x\n  mysql://u:s3cret@h\n",
        ] {
            let shown = masked(yaml);
            assert!(!shown.contains("s3cret"), "{shown}");
            assert_eq!(unmasked(&shown, yaml).unwrap(), yaml);
        }
    }

    #[test]
    fn in_a_text_that_cannot_be_parsed_a_secret_of_several_lines_is_hidden_whole() {
        for value in [
            "|\n    s3cret\n\n    s3cret2",
            "\n    s3cret",
            "\n  - s3cret\n  - s3cret2",
            "\"x\ns3cret\n  s3cret2\"",
        ] {
            let yaml = format!("a\n  user-pwd: {value}\n  user-name: jpom\n");
            let shown = masked(&yaml);
            assert!(
                !shown.contains("s3cret") && shown.contains("user-name: jpom"),
                "{shown}"
            );
        }
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
        // The quote would go with them.
        assert_eq!(refused(&format!("#pwd: {DOTS}\"\n"), "#pwd: y\n"), Some(1));
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
            "url: mysql://u:s3cret\nto: mysql://u:s3cret/db\nat: mysql://u:s3/cret\n",
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

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_is_typed_dots_bring_nothing_into_sight(typed in odd::text(&SHAPES), former in odd::text(&SHAPES)) {
            for text in [&typed, &former] {
                let shown = masked(text);
                prop_assert!(shown.chars().count() <= text.chars().count() * DOTS.len());
                masked_typed(text, "NEW");
            }
            let Ok(text) = unmasked(&typed, &former) else { return Ok(()) };
            let seen = with_dots(&text, &secrets(&text, Twins::Shown), |_| DOTS);
            prop_assert_eq!(seen, with_dots(&typed, &secrets(&typed, Twins::Shown), |_| DOTS));
        }

        #[test]
        fn untouched_dots_give_the_same_text_back_or_are_refused(text in odd::text(&SHAPES)) {
            // A text that cannot be read is never saved.
            if text.contains('•') || single_scalars(&text).is_err() {
                return Ok(());
            }
            if let Ok(back) = unmasked(&masked(&text), &text) {
                prop_assert_eq!(back, text);
            }
        }

        #[test]
        fn the_secret_of_a_known_key_is_never_shown(
            secret in "[A-Za-z0-9]{8,20}",
            left in odd::junk(),
            right in odd::junk(),
            before in odd::junk(),
            shape in 0..6_usize,
        ) {
            let value = crate::i18n::detail(format_args!("{left}{secret}{right}"));
            if !value.contains(&secret) {
                return Ok(());
            }
            if before.contains(&secret) || value.contains('\u{feff}') {
                return Ok(());
            }
            let line = match shape {
                0 => format!("user-pwd: '{}'", value.replace('\'', "''")),
                1 => format!("user-pwd: {}", serde_json::Value::from(value)),
                2 => format!("jpom: {{db: {{user-pwd: {}}}}}", serde_json::Value::from(value)),
                3 => format!("url: mysql://u:{secret}@h/db?x=1"),
                4 => format!("# user-pwd: {secret}"),
                _ => format!("user-pwd: |\n  {secret}\n  {secret}x"),
            };
            // What stands before it may be anything, as a comment, so the file stays one that can be read; or as it is.
            for above in [format!("# {}\n", crate::i18n::detail(&before)), format!("{before}\n")] {
                let shown = masked(&format!("{above}{line}\n"));
                prop_assert!(!shown.contains(&secret), "{}", shown);
            }
        }
    }
}
