//! One address, two answers: the whole page for a browser, one block of it for htmx.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use askama::Template;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{FromRequest, Request, RequestBody, Response};
use twox_hash::XxHash3_64;

use super::guard::cookie_path;
use super::layout::{Layout, LayoutValue, Reader, SAID_COOKIE};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Lang;

/// Below this compressing saves less than its own header.
const LEAST_COMPRESSED: usize = 600;
/// Of one answer of the database.
const MOST_BLOCKS: usize = 4;
/// How long the last answer was, and the most that is made room for.
static USUAL_LENGTH: AtomicUsize = AtomicUsize::new(8 * 1024);
const LONGEST_KEPT: usize = 256 * 1024;

/// Who asks: htmx for a block, or a browser for a page; and in which language, theme and place.
#[derive(Debug, Clone)]
pub struct Hx {
    pub layout: Arc<Layout>,
    wants_block: bool,
    takes_gzip: bool,
    known: Option<String>,
}

impl Hx {
    /// As the outermost layer found it, with who reads once that is known.
    pub fn of(req: &Request) -> Hx {
        let Some(found) = req.data::<Hx>() else {
            return Hx::find(req);
        };
        let Some(reader) = req.data::<Reader>() else {
            return found.clone();
        };
        let layout = Layout {
            reader: reader.clone(),
            cluster_name: req.data::<App>().map(|app| app.name()).unwrap_or_default(),
            ..(*found.layout).clone()
        };
        Hx {
            layout: Arc::new(layout),
            ..found.clone()
        }
    }

    fn find(req: &Request) -> Hx {
        let headers = req.headers();
        Hx {
            layout: Arc::new(Layout::of(req)),
            wants_block: wants_block(req),
            takes_gzip: takes_gzip(headers),
            known: headers
                .get(header::IF_NONE_MATCH)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        }
    }

    pub fn wants_block(&self) -> bool {
        self.wants_block
    }

    /// The page or its block, whichever was asked for; 304 when the reader has it already.
    ///
    /// # Errors
    /// [`Error::Internal`] when the template fails.
    pub fn render(&self, page: &impl Template, block: &impl Template) -> Result<Response> {
        self.answer(StatusCode::OK, page, block)
    }

    /// A piece of a page on its own, in the reader's language.
    ///
    /// # Errors
    /// [`Error::Internal`] when the template fails.
    pub fn piece(&self, piece: &impl Template) -> Result<String> {
        Ok(piece.render_with_values(&LayoutValue(self.layout.clone()))?)
    }

    /// On to another page of ours, behind the base path: a redirect that a browser follows with GET. htmx would follow it
    /// within its fragment, so it is told to load the page.
    pub fn see_other(&self, path: &str) -> Response {
        let address = format!("{}{path}", self.layout.base);
        let answer = Response::builder().header(header::VARY, "HX-Request");
        match self.wants_block {
            true => answer.header("HX-Redirect", address).finish(),
            false => answer
                .status(StatusCode::SEE_OTHER)
                .header(header::LOCATION, address)
                .finish(),
        }
    }

    /// [`Hx::see_other`] after a change; the page it leads to says so, once.
    pub fn done(&self, path: &str, said: &str) -> Response {
        let mut answer = self.see_other(path);
        self.set_said(&mut answer, said, 60);
        answer
    }

    /// [`Hx::done`] to many at once: to how many, and how many were left as they were.
    pub fn done_to(&self, path: &str, said: &str, (done, left): (usize, usize)) -> Response {
        self.done(path, &format!("{said}:{done}:{left}"))
    }

    fn set_said(&self, answer: &mut Response, said: &str, seconds: u32) {
        let path = cookie_path(&self.layout.base);
        let cookie = format!("{SAID_COOKIE}={said}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }

    /// [`Hx::answer`] for a page that no browser may keep, not even for its back button.
    ///
    /// # Errors
    /// [`Error::Internal`] when the template fails.
    pub fn secret(&self, status: StatusCode, page: &impl Template, block: &impl Template) -> Result<Response> {
        let mut answer = self.answer(status, page, block)?;
        let headers = answer.headers_mut();
        headers.remove(header::ETAG);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }

    /// [`Hx::render`] with a status; only a 200 can be answered by 304.
    ///
    /// # Errors
    /// [`Error::Internal`] when the template fails.
    pub fn answer(&self, status: StatusCode, page: &impl Template, block: &impl Template) -> Result<Response> {
        let text = match self.wants_block {
            true => Printed::new(block, &self.layout)?.tagged(),
            false => Printed::new(page, &self.layout)?,
        };
        self.give(status, &text)
    }

    /// [`Hx::answer`], with a block that is printed once for all who read it in the same language.
    ///
    /// # Errors
    /// [`Error::Internal`] when the template fails.
    pub fn answer_alike(
        &self,
        status: StatusCode,
        page: &impl Template,
        (block, blocks): (&impl Template, &Blocks),
    ) -> Result<Response> {
        match self.wants_block {
            true => self.give(status, &*blocks.print(block, &self.layout)?),
            false => self.answer(status, page, block),
        }
    }

    fn give(&self, status: StatusCode, text: &Printed) -> Result<Response> {
        let tag = text.tag.as_deref().filter(|_| status == StatusCode::OK);
        let unchanged = tag.is_some_and(|tag| self.known.as_deref().is_some_and(|known| matches(known, tag)));
        let mut answer = Response::builder()
            .header(
                header::VARY,
                "HX-Request, Muster-Server, Accept-Encoding, Accept-Language, Cookie",
            )
            // A page must not come back by the back button once its reader has signed out. Fragments are asked for again
            // and again, so they may be kept and compared.
            .header(
                header::CACHE_CONTROL,
                if self.wants_block {
                    "private, no-cache"
                } else {
                    "no-store"
                },
            );
        if let Some(tag) = tag {
            answer = answer.header(header::ETAG, tag);
        }
        if unchanged {
            return Ok(answer.status(StatusCode::NOT_MODIFIED).finish());
        }
        answer = answer.status(status).content_type("text/html; charset=utf-8");
        let mut answer = if self.takes_gzip && text.html.len() >= LEAST_COMPRESSED {
            answer.header(header::CONTENT_ENCODING, "gzip").body(text.compressed()?)
        } else {
            answer.body(text.html.clone())
        };
        if self.layout.said.is_some() && !self.wants_block {
            self.set_said(&mut answer, "", 0);
        }
        Ok(answer)
    }
}

/// A page or block as it is sent.
#[derive(Debug)]
struct Printed {
    html: Bytes,
    /// Of a block, which may be kept and compared; a page may not.
    tag: Option<String>,
    /// Once somebody wants it so.
    gzip: OnceLock<Bytes>,
}

impl Printed {
    fn new(template: &impl Template, layout: &Arc<Layout>) -> Result<Printed> {
        // As long as the one before: a long list would else be moved again and again while it grows.
        let mut html = String::with_capacity(USUAL_LENGTH.load(Ordering::Relaxed));
        template.render_into_with_values(&mut html, &LayoutValue(layout.clone()))?;
        USUAL_LENGTH.store((html.len() + 1024).min(LONGEST_KEPT), Ordering::Relaxed);
        Ok(Printed {
            tag: None,
            html: html.into(),
            gzip: OnceLock::new(),
        })
    }

    /// Without the room it was printed in.
    fn fitting(mut self) -> Printed {
        self.html = Bytes::copy_from_slice(&self.html);
        self
    }

    fn tagged(mut self) -> Printed {
        self.tag = Some(entity_tag(&self.html));
        self
    }

    fn compressed(&self) -> Result<Bytes> {
        if let Some(known) = self.gzip.get() {
            return Ok(known.clone());
        }
        let bytes = gzip(&self.html, Compression::fast()).map_err(|cause| Error::Internal(cause.into()))?;
        Ok(self.gzip.get_or_init(|| bytes.into()).clone())
    }
}

/// What one answer of the database looks like in a block that shows nothing of its reader but the language and whose page
/// it is part of.
#[derive(Debug, Default)]
pub struct Blocks(Mutex<HashMap<(Lang, String), Arc<Printed>>>);

impl Blocks {
    fn print(&self, block: &impl Template, layout: &Arc<Layout>) -> Result<Arc<Printed>> {
        let key = (layout.lang, layout.install_id.clone());
        let known = |blocks: &HashMap<_, Arc<Printed>>| blocks.get(&key).cloned();
        if let Some(printed) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(printed);
        }
        let printed = Arc::new(Printed::new(block, layout)?.tagged().fitting());
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whose page it is says the reader.
        if blocks.len() < MOST_BLOCKS {
            blocks.insert(key, printed.clone());
        }
        Ok(printed)
    }
}

/// Whether htmx asks for a part of the page it has.
pub fn wants_block(req: &Request) -> bool {
    let says = |name: &str| req.headers().get(name).is_some_and(|value| value == "true");
    says("HX-Request") && !says("HX-Boosted") && !says("HX-History-Restore-Request")
}

impl<'a> FromRequest<'a> for Hx {
    async fn from_request(req: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Hx::of(req))
    }
}

/// Weak, since the compressed and the plain answer share it; the same on all servers.
fn entity_tag(html: &[u8]) -> String {
    format!("W/\"{:016x}\"", XxHash3_64::oneshot(html))
}

fn matches(known: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known
        .split(',')
        .any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

/// Whether the client names gzip with a weight above zero (RFC 9110, 12.5.3).
pub(super) fn takes_gzip(headers: &HeaderMap<HeaderValue>) -> bool {
    let named = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    named.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
            && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
    })
}

pub(super) fn gzip(bytes: &[u8], level: Compression) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    encoder.write_all(bytes)?;
    encoder.finish()
}
