//! What a person typed into a form: read once, within limits of size and time; and what is wrong with it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hyper::body::Bytes;
use multer::Multipart;
use poem::{Body, FromRequest, Request, RequestBody};
use tokio::time::timeout;
use url::form_urlencoded;

use crate::error::{Error, Result};
use crate::i18n::Text;

/// The longest form of somebody who is not signed in has a few fields of some hundred characters.
pub const LONGEST: usize = 64 * 1024;
/// The settings file may be sixty thousand bytes long, and each may take three here, or nine for a character.
pub const LONGEST_SIGNED_IN: usize = 1024 * 1024;
/// A file that comes with a form.
pub const LONGEST_FILE: usize = 4 * 1024 * 1024;
/// With the other fields of that form, and what stands between them.
const LONGEST_WITH_FILE: usize = LONGEST_FILE + 64 * 1024;
/// So much of what is too long is still read: a browser shows no answer before it has sent everything.
const LONGEST_LOST: usize = 8 * LONGEST_FILE;
/// How long a form with a file may take to come.
const FILE_PATIENCE: Duration = Duration::from_secs(30);
/// A client that sends its form slower than this is no browser.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fields of a form, in order, and the file that came with it.
#[derive(Debug, Clone, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    file: Bytes,
}

impl Form {
    /// # Errors
    /// [`Error::Invalid`] for a body that is too long or does not come.
    pub async fn read(body: Body, longest: usize) -> Result<Form> {
        let wrong = || Error::Invalid(Text::new("error.form"));
        let bytes = timeout(PATIENCE, body.into_bytes_limit(longest)).await;
        let bytes = bytes.map_err(|_| wrong())?.map_err(|_| wrong())?;
        Ok(Form::of(form_urlencoded::parse(&bytes)))
    }

    /// A form with a file (`multipart/form-data`). All of it is kept in memory, so only who may send one should come here.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is too long, does not come or is no such form.
    pub async fn read_with_file(content_type: &str, body: Body) -> Result<Form> {
        let wrong = |_| Error::Invalid(Text::new("error.form"));
        let boundary = multer::parse_boundary(content_type).map_err(wrong)?;
        let bytes = timeout(FILE_PATIENCE, whole(body)).await;
        let bytes = bytes.map_err(|_| Error::Invalid(Text::new("error.form")))??;
        let mut parts = Multipart::new(stream::iter([Ok::<_, Infallible>(bytes)]), boundary);
        let mut form = Form::default();
        while let Some(part) = parts.next_field().await.map_err(wrong)? {
            let (name, is_file) = (part.name().unwrap_or_default().to_owned(), part.file_name().is_some());
            let bytes = part.bytes().await.map_err(wrong)?;
            match is_file {
                true => form.file = bytes,
                false => form.fields.push((name, String::from_utf8_lossy(&bytes).into_owned())),
            }
        }
        Ok(form)
    }

    /// The file that came with it; empty when none did.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// Fields that nobody sent: those of what is saved, or of a line of a file.
    pub fn of(fields: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Form {
        let fields = fields.into_iter();
        Form {
            fields: fields.map(|(name, value)| (name.into(), value.into())).collect(),
            file: Bytes::new(),
        }
    }

    /// A field without the spaces around it; empty when it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// A field with an id in it: empty when it was not sent, and for what no column of ids can hold an id that nothing has.
    pub fn id(&self, name: &str) -> &str {
        known_id(self.text(name))
    }

    /// Puts a value in place of whatever was sent under a name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    /// Everything that was sent under a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().filter(move |(known, _)| known == name);
        fields.map(|(_, value)| value.as_str())
    }

    /// [`Form::id`], of everything that was sent under a name.
    pub fn ids<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).map(known_id)
    }

    /// A field as it was typed, for passwords.
    pub fn exact(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map_or("", |(_, value)| value.as_str())
    }
}

/// What no column of ids can hold is an id that nothing has.
fn known_id(id: &str) -> &str {
    let is_plain = id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { id } else { "?" }
}

/// The body of a form with a file.
async fn whole(body: Body) -> Result<Bytes> {
    let wrong = || Error::Invalid(Text::new("error.form"));
    let mut stream = pin!(body.into_bytes_stream());
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(bytes) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        let bytes = bytes.map_err(|_| wrong())?;
        length += bytes.len();
        if length <= LONGEST_WITH_FILE {
            kept.extend_from_slice(&bytes);
        } else if length > LONGEST_LOST {
            break;
        }
    }
    match length > LONGEST_WITH_FILE {
        true => Err(Error::Invalid(
            Text::new("error.file_long").with("most", LONGEST_FILE / 1024 / 1024),
        )),
        false => Ok(kept.into()),
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

    /// All of them, by the names of their fields.
    pub fn all(&self) -> &[(&'static str, Text)] {
        &self.0
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    const MULTIPART: &str = "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nkind,name\r\n--b\r\nContent-Disposition: \
        form-data; name=\"file\"; filename=\"a.csv\"\r\nContent-Type: text/csv\r\n\r\nssh,ü\r\n--b--\r\n";

    fn length(form: &Form) -> usize {
        let fields = form.fields.iter().map(|(name, value)| name.len() + value.len());
        form.file.len() + fields.sum::<usize>()
    }

    #[tokio::test]
    async fn a_form_with_a_file_is_read() {
        let form = Form::read_with_file("multipart/form-data; boundary=b", MULTIPART.into())
            .await
            .unwrap();
        assert_eq!((form.text("text"), form.file()), ("kind,name", "ssh,ü".as_bytes()));
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_is_sent_is_a_form_no_longer_than_it_and_its_ids_are_plain(
            body in odd::bytes(&["name=a+b&id=7&id=%00%E9%9B%86", "=&&a=%&%zz=%2"]),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let form = runtime.block_on(Form::read(body.clone().into(), LONGEST)).unwrap();
            // A byte that is no text is three as the sign for it.
            prop_assert!(length(&form) <= 3 * body.len());
            prop_assert!(form.id("id").bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(form.ids("id").all(|id| id.bytes().all(|byte| byte.is_ascii_graphic())));
            prop_assert_eq!(form.text("name"), form.exact("name").trim());
            let short = runtime.block_on(Form::read(body.clone().into(), 5));
            prop_assert_eq!(short.is_err(), body.len() > 5);
        }

        #[test]
        fn whatever_is_sent_with_a_file_is_no_longer_than_it(
            kind in odd::text(&["multipart/form-data; boundary=b", "multipart/form-data; boundary=\"b\"; charset=x"]),
            body in odd::bytes(&[MULTIPART]),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            if let Ok(form) = runtime.block_on(Form::read_with_file(&kind, body.clone().into())) {
                prop_assert!(length(&form) <= 3 * body.len());
            }
        }

        #[test]
        fn a_file_comes_as_it_was(file in odd::bytes(&["kind,name\r\nssh,a\r\n"])) {
            let body = [b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n", &file[..], b"\r\n--b--\r\n"].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let form = runtime.block_on(Form::read_with_file("multipart/form-data; boundary=b", body.into())).unwrap();
            prop_assert_eq!(form.file(), &file[..]);
        }

        #[test]
        fn what_a_browser_sends_is_read_as_it_was_typed(fields in proptest::collection::vec((odd::junk(), odd::junk()), 0..5)) {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
            let form = Form::of(form_urlencoded::parse(body.as_bytes()));
            prop_assert_eq!(form.fields, fields);
        }

        #[test]
        fn a_line_that_passes_shows_all_that_it_is(line in odd::text(&["Web 1", "a\u{202e}b"])) {
            if line_mistake(&line, 20).is_none() {
                prop_assert!(line.chars().count() <= 20);
                prop_assert_eq!(crate::i18n::detail(&line).chars().count(), line.trim().chars().count());
            }
        }
    }
}
