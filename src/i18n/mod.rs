//! Texts in Chinese and English: a message stays a key with its values until the reader's language is known.

use std::borrow::Cow;
use std::fmt;

/// Longest part of a foreign text that is kept, in characters.
const LONGEST_DETAIL: usize = 200;

/// The languages a reader can have. Chinese comes first because most users read it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lang {
    #[default]
    ZhCn,
    En,
}

impl Lang {
    pub const ALL: [Lang; 2] = [Lang::ZhCn, Lang::En];

    /// The BCP 47 tag, as used in `<html lang>`, the cookie and the text files.
    pub fn code(self) -> &'static str {
        match self {
            Lang::ZhCn => "zh-CN",
            Lang::En => "en",
        }
    }

    /// Reads `zh-CN`, `en-GB`, and Jpom's own `zh_cn`, `en_us`, `zh_tw`.
    pub fn parse(tag: &str) -> Option<Lang> {
        let primary = tag.trim().split(['-', '_']).next()?.to_ascii_lowercase();
        match primary.as_str() {
            "zh" => Some(Lang::ZhCn),
            "en" => Some(Lang::En),
            _ => None,
        }
    }

    /// The best language of an `Accept-Language` header (RFC 9110, 12.5.4), if it names one of ours.
    pub fn from_accept(header: &str) -> Option<Lang> {
        let mut best: Option<(f32, Lang)> = None;
        for range in header.split(',') {
            let mut parts = range.split(';');
            let Some(lang) = parts.next().and_then(Lang::parse) else {
                continue;
            };
            let quality = parts
                .find_map(|part| part.trim().strip_prefix("q="))
                .map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
            if quality > 0.0 && best.is_none_or(|(known, _)| quality > known) {
                best = Some((quality, lang));
            }
        }
        best.map(|(_, lang)| lang)
    }
}

/// A message not yet in any language: the key of a text file and the values for its `%{names}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    key: &'static str,
    values: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Plain(String),
    Text(Text),
}

impl Text {
    pub fn new(key: &'static str) -> Text {
        Text {
            key,
            values: Vec::new(),
        }
    }

    /// Fills `%{name}`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Text {
        self.values.push((name, Value::Plain(value.to_string())));
        self
    }

    /// Fills `%{name}` with another message, which will be said in the same language.
    #[must_use]
    pub fn with_text(mut self, name: &'static str, value: Text) -> Text {
        self.values.push((name, Value::Text(value)));
        self
    }

    /// The message in the reader's language.
    pub fn say(&self, lang: Lang) -> String {
        let said = lookup(self.key, lang);
        if self.values.is_empty() {
            return said.into_owned();
        }
        let names: Vec<&str> = self.values.iter().map(|(name, _)| *name).collect();
        let values: Vec<String> = self.values.iter().map(|(_, value)| value.say(lang)).collect();
        rust_i18n::replace_patterns(&said, &names, &values)
    }
}

impl Value {
    fn say(&self, lang: Lang) -> String {
        match self {
            Value::Plain(value) => value.clone(),
            Value::Text(text) => text.say(lang),
        }
    }
}

/// The start of what somebody else said, in one line, without what controls a terminal or turns the writing round.
pub fn detail(text: impl fmt::Display) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text = text.to_string();
    let plain = text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c });
    plain.take(LONGEST_DETAIL).collect::<String>().trim().to_owned()
}

/// The text of one key; the key itself where there is none (`tests/house.rs` keeps that from happening).
pub fn lookup(key: &str, lang: Lang) -> Cow<'static, str> {
    match crate::_rust_i18n_try_translate(lang.code(), key) {
        Some(text) => text,
        None => Cow::Owned(key.to_owned()),
    }
}

/// What a template may print with `|t`: a key, or a message with values.
pub trait Say {
    fn said(&self, lang: Lang) -> Cow<'static, str>;
}

impl Say for str {
    fn said(&self, lang: Lang) -> Cow<'static, str> {
        lookup(self, lang)
    }
}

impl Say for Text {
    fn said(&self, lang: Lang) -> Cow<'static, str> {
        Cow::Owned(self.say(lang))
    }
}

impl<T: Say + ?Sized> Say for &T {
    fn said(&self, lang: Lang) -> Cow<'static, str> {
        (**self).said(lang)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    #[test]
    fn what_somebody_else_said_is_short_and_controls_nothing() {
        assert_eq!(detail(" a\nb\u{1b}[31m\u{202e}c "), "a b [31m c");
        assert_eq!(detail("中".repeat(300)).chars().count(), LONGEST_DETAIL);
    }

    #[test]
    fn the_language_with_the_highest_quality_wins() {
        assert_eq!(Lang::from_accept("fr, en;q=0.5, zh-CN;q=0.8"), Some(Lang::ZhCn));
        assert_eq!(Lang::from_accept("en-US,en;q=0.9,zh;q=0.8"), Some(Lang::En));
        assert_eq!(Lang::from_accept("zh;q=0, en;q=0.1"), Some(Lang::En));
        assert_eq!(Lang::from_accept("fr, de;q=0.5"), None);
        assert_eq!(Lang::from_accept(";;q=,,"), None);
    }

    #[test]
    fn jpoms_own_language_tags_are_understood() {
        assert_eq!(Lang::parse("zh_cn"), Some(Lang::ZhCn));
        assert_eq!(Lang::parse("en_us"), Some(Lang::En));
        assert_eq!(Lang::parse("klingon"), None);
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_is_said_its_detail_is_a_short_line_and_its_own_detail(
            said in odd::text(&["a\u{1b}[31m\r\nb\u{202e}c", "Connection refused (os error 111)"]),
        ) {
            let short = detail(&said);
            prop_assert!(short.chars().count() <= LONGEST_DETAIL && short.trim() == short);
            prop_assert!(!short.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{:?}", short);
            prop_assert_eq!(detail(&short), short);
        }

        #[test]
        fn whatever_a_browser_accepts_is_read_and_a_wish_for_all_is_heard(
            accept in odd::text(&["zh-CN,zh;q=0.9,en;q=0.8", "fr;q=1e309, en;q=NaN"]),
        ) {
            let before = Lang::from_accept(&accept);
            let after = Lang::from_accept(&format!("{accept},en;q=0"));
            prop_assert_eq!(before.is_some(), after.is_some());
        }

        #[test]
        fn what_is_filled_in_is_not_filled_in_again(value in odd::text(&["%{value}", "%{from}%{to}"])) {
            let text = Text::new("audit.plain").with("value", &value);
            for lang in Lang::ALL {
                prop_assert_eq!(text.say(lang), value.as_str());
            }
        }
    }
}
