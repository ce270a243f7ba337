//! What a person typed into a form: read once, within limits of size and time; and what is wrong with it.

use std::time::Duration;

use poem::{Body, FromRequest, Request, RequestBody};
use tokio::time::timeout;
use url::form_urlencoded;

use crate::error::{Error, Result};
use crate::i18n::Text;

/// The longest form of somebody who is not signed in has a few fields of some hundred characters.
pub const LONGEST: usize = 64 * 1024;
/// The settings file may be sixty thousand bytes long, and each may take three here, or nine for a character.
pub const LONGEST_SIGNED_IN: usize = 1024 * 1024;
/// A client that sends its form slower than this is no browser.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fields of a form, in order.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// # Errors
    /// [`Error::Invalid`] for a body that is too long or does not come.
    pub async fn read(body: Body, longest: usize) -> Result<Form> {
        let wrong = || Error::Invalid(Text::new("error.form"));
        let bytes = timeout(PATIENCE, body.into_bytes_limit(longest)).await;
        let bytes = bytes.map_err(|_| wrong())?.map_err(|_| wrong())?;
        Ok(Form(form_urlencoded::parse(&bytes).into_owned().collect()))
    }

    /// A field without the spaces around it; empty when it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// Everything that was sent under a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter().filter(move |(known, _)| known == name);
        fields.map(|(_, value)| value.as_str())
    }

    /// A field as it was typed, for passwords.
    pub fn exact(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(known, _)| known == name);
        field.map_or("", |(_, value)| value.as_str())
    }
}

/// Read by the guard, which needs it first.
impl<'a> FromRequest<'a> for Form {
    async fn from_request(req: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(req.data::<Form>().cloned().unwrap_or_default())
    }
}

/// What is wrong with which field.
#[derive(Debug, Clone, Default)]
pub struct Mistakes(Vec<(&'static str, Text)>);

impl Mistakes {
    pub fn note(&mut self, field: &'static str, text: Text) {
        self.0.push((field, text));
    }

    pub fn of(&self, field: &str) -> Option<&Text> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, text)| text)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is wrong with a text of one line, if anything: too long, or with characters that nobody sees and that turn round
/// what stands beside them (Unicode's bidirectional controls) or stand for nothing.
pub fn line_mistake(text: &str, most: usize) -> Option<Text> {
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if text.chars().any(hidden) {
        return Some(Text::new("form.control"));
    }
    (text.chars().count() > most).then(|| Text::new("form.long").with("most", most))
}
