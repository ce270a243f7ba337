//! The text that Prometheus's exporters answer with, as far as numbers are read from it.

use std::borrow::Cow;

/// One line of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    pub name: &'a str,
    pub value: f64,
    labels: &'a str,
}

/// Every line that can be read; comments and damaged ones are left out.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter_map(sample)
}

/// `name{label="value",…} 1.5e+09 1700000000000`; labels and time may be absent.
fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => inside.split_at(closing(inside)?),
        None => ("", rest),
    };
    // Rust reads the numbers of Go: exponents, `NaN`, `+Inf`.
    let value = rest.trim_start_matches('}').split_ascii_whitespace().next()?;
    let value = value.parse().ok()?;
    Some(Sample { name, value, labels })
}

/// Where the labels end: a brace in a value ends nothing.
fn closing(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

impl<'a> Sample<'a> {
    /// The value of a label; empty without it.
    pub fn label(&self, name: &str) -> Cow<'a, str> {
        let mut rest = self.labels;
        while let Some((key, after)) = rest.split_once('=') {
            let Some(after) = after.trim_start().strip_prefix('"') else {
                break;
            };
            let Some(end) = quote(after) else { break };
            let (value, after) = after.split_at(end);
            if key.trim_matches([',', ' ']) == name {
                return plain(value);
            }
            rest = &after[1..];
        }
        Cow::Borrowed("")
    }
}

/// Where a quoted value ends.
fn quote(value: &str) -> Option<usize> {
    let mut escaped = false;
    value.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Without the escapes for a backslash, a quote and the end of a line.
fn plain(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    fn one(line: &str) -> Sample<'_> {
        let mut all = samples(line);
        let found = all.next().unwrap();
        assert!(all.next().is_none());
        found
    }

    #[test]
    fn a_line_is_a_name_labels_and_a_number() {
        let plain = one("node_load1 0.25\r\n");
        assert_eq!((plain.name, plain.value), ("node_load1", 0.25));
        let timed = one("# HELP x y\n# TYPE x gauge\nx{a=\"1\", b = \"2\",bb=\"no\",} -1.5e+09 1700000000000\n");
        assert_eq!((timed.name, timed.value), ("x", -1.5e9));
        assert_eq!((timed.label("a"), timed.label("b")), ("1".into(), "2".into()));
        assert_eq!(timed.label("c"), "");
        assert!(one("x NaN").value.is_nan());
        assert_eq!(one("x{} +Inf").value, f64::INFINITY);
    }

    #[test]
    fn a_label_may_hold_anything() {
        let odd = one(r#"x{a="}{\"\\",mountpoint="C:\\a \"b\"\n,c=\"",c="d"} 7"#);
        assert_eq!(odd.label("a"), "}{\"\\");
        assert_eq!(odd.label("mountpoint"), "C:\\a \"b\"\n,c=\"");
        assert_eq!((odd.label("c"), odd.value), ("d".into(), 7.0));
    }

    #[test]
    fn damaged_lines_are_left_out() {
        for line in [
            "",
            " ",
            "x",
            "x{",
            "x{a",
            "x{a=",
            "x{a=\"",
            "x{a=\"}",
            "x{a=\"\\",
            "x{a=\"1\"}",
            "x{a=\"1\"} one",
            "{} 1",
            "{a=\"1\"} 1",
            "<html>",
            "#x 1",
            "\u{0}",
        ] {
            let found: Vec<_> = samples(line).collect();
            assert!(found.is_empty(), "{line:?} {found:?}");
        }
        assert_eq!(one("x{a=\"1} 2\ny 1").name, "y");
        assert_eq!(one("x{a} 1").label("a"), "");
    }

    const SAMPLES: [&str; 4] = [
        "# HELP x y\n# TYPE x gauge\nx{a=\"1\", b = \"2\",} -1.5e+09 1700000000000\n",
        "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1234.5\nnode_load1 0.25\r\n",
        "x{a=\"}{\\\"\\\\\",mountpoint=\"C:\\\\a\\n\"} NaN",
        "x{} +Inf\n#y 1",
    ];

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_is_answered_a_sample_is_a_name_and_a_number(answer in odd::text(&SAMPLES)) {
            for sample in samples(&answer) {
                prop_assert!(!sample.name.is_empty() && !sample.name.starts_with('#') && !sample.name.contains(['{', ' ']), "{:?}", sample);
                for label in ["", "a", "cpu", "mountpoint"] {
                    prop_assert!(sample.label(label).len() <= sample.labels.len());
                }
            }
        }

        #[test]
        fn what_an_exporter_writes_is_read(before in odd::junk(), value in odd::junk(), number in any::<f64>()) {
            let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let (left, right) = (escaped(&before), escaped(&value));
            let line = format!("x{{before=\"{left}\",label=\"{right}\"}} {number:e}");
            let sample = sample(&line).unwrap();
            prop_assert_eq!(sample.label("before"), before);
            prop_assert_eq!(sample.label("label"), value);
            prop_assert!(sample.value == number || number.is_nan());
        }
    }
}
