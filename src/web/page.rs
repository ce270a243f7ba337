//! Errors become pages here, and nowhere else; slow databases become errors.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use askama::Template;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response};

use url::form_urlencoded;

use super::guard::bearer;
use super::{Hx, filters};
use crate::app::{App, Standing};
use crate::error::{Error, Result, chain};
use crate::i18n::Text;

/// How long any answer may take before the reader is told that the database does not answer.
pub const LIMIT: Duration = Duration::from_secs(8);
/// How long it may take where a file comes first.
pub const LONGEST: Duration = Duration::from_secs(70);
/// When a page that could not be shown tries again by itself.
const RETRY_SECONDS: u32 = 5;

#[derive(Template)]
#[template(path = "web/error.html", blocks = ["flash"])]
struct ErrorPage {
    title: Text,
    text: Text,
    /// Seconds until the page loads itself again.
    retry: Option<u32>,
    /// The page a form was sent from.
    back: String,
}

#[derive(Template)]
#[template(path = "web/standing.html", blocks = ["flash"])]
struct StandingPage {
    standing: Standing,
    /// Our own data directory.
    own_path: String,
}

impl StandingPage {
    fn removed(&self) -> Option<Text> {
        match &self.standing {
            Standing::Removed { by, at: Some(_) } => Some(Text::new("standing.removed_by").with("by", by)),
            Standing::Removed { .. } => Some(Text::new("standing.row_gone")),
            _ => None,
        }
    }

    fn removed_at(&self) -> Option<chrono::NaiveDateTime> {
        match &self.standing {
            Standing::Removed { at, .. } => *at,
            _ => None,
        }
    }

    /// Host and data directory of the other process.
    fn other(&self) -> Option<(&str, &str)> {
        match &self.standing {
            Standing::Duplicate { host, path } => Some((host, path)),
            _ => None,
        }
    }

    fn own_host(&self) -> String {
        gethostname::gethostname().to_string_lossy().into_owned()
    }
}

/// Turns every error of the handlers below into a page or fragment, and logs those that are not the reader's doing.
pub async fn errors<E: Endpoint>(next: Arc<E>, req: Request) -> poem::Result<Response> {
    errors_within(LIMIT, next, req).await
}

/// [`errors`] with a limit of its own.
pub async fn errors_within<E: Endpoint>(limit: Duration, next: Arc<E>, mut req: Request) -> poem::Result<Response> {
    let hx = Hx::of(&req);
    if req.data::<Hx>().is_none() {
        req.extensions_mut().insert(hx.clone());
    }
    let is_get = matches!(*req.method(), Method::GET | Method::HEAD);
    let is_program = bearer(&req).is_some();
    let app = req.data::<App>().cloned();
    let result = match tokio::time::timeout(limit, next.call(req)).await {
        Ok(result) => result.map(IntoResponse::into_response),
        Err(_) => Err(Error::timed_out("no answer from the database within 8 s").into()),
    };
    if let (Some(app), Err(error)) = (app, &result) {
        log_once(&app, &hx.layout.here, error);
    }
    match result {
        Ok(answer) => Ok(answer),
        Err(error) if is_program => Ok(error_page(&hx, &error, is_get)?),
        Err(error) => Ok(refusal(&hx, &error, is_get)?),
    }
}

/// What a person's browser gets in place of what it asked for.
///
/// # Errors
/// [`Error::Internal`] when the template fails.
pub fn refusal(hx: &Hx, error: &poem::Error, is_get: bool) -> Result<Response> {
    match error.downcast_ref::<Error>() {
        Some(Error::SignIn) => Ok(elsewhere(hx, &sign_in(hx, is_get))),
        Some(Error::SetUp) => Ok(elsewhere(hx, "/setup")),
        _ => error_page(hx, error, is_get),
    }
}

/// The sign-in page, with where to return to: the page that was asked for, or the one a form was sent from. Whoever shows
/// a session that is good no more is told so.
fn sign_in(hx: &Hx, is_get: bool) -> String {
    let is_page = is_get && !hx.wants_block();
    let back = if is_page { &hx.layout.here } else { &hx.layout.from };
    let mut query = form_urlencoded::Serializer::new(String::new());
    if hx.layout.shows_session {
        query.append_pair("ended", "1");
    }
    if !back.is_empty() && back != "/" {
        query.append_pair("back", back);
    }
    match query.finish() {
        none if none.is_empty() => "/sign-in".to_owned(),
        query => format!("/sign-in?{query}"),
    }
}

/// Sends the reader to another page of ours; htmx would follow a redirect within its fragment.
fn elsewhere(hx: &Hx, path: &str) -> Response {
    let address = format!("{}{path}", hx.layout.base);
    let answer = Response::builder().header(header::VARY, "HX-Request, Cookie");
    match hx.wants_block() {
        true => answer
            .status(StatusCode::UNAUTHORIZED)
            .header("HX-Redirect", address)
            .finish(),
        false => answer
            .status(StatusCode::SEE_OTHER)
            .header(header::LOCATION, address)
            .finish(),
    }
}

/// What is our own fault each time; a database that does not answer once, since each open page asks every few seconds.
fn log_once(app: &App, path: &str, error: &poem::Error) {
    match error.downcast_ref::<Error>() {
        Some(contended) if contended.is_contention() => {
            tracing::warn!(path, "others held the same rows: {}", chain(contended));
        }
        Some(away @ Error::Unavailable(_)) if !app.unanswered.swap(true, Ordering::Relaxed) => {
            tracing::error!(path, "no answer from the database: {}", chain(away));
        }
        Some(fault @ Error::Internal(_)) => tracing::error!(path, "request failed: {}", chain(fault)),
        _ => {}
    }
}

fn error_page(hx: &Hx, error: &poem::Error, is_get: bool) -> Result<Response> {
    let (status, text) = match error.downcast_ref::<Error>() {
        Some(ours) => (status(ours), ours.text()),
        None => (error.status(), foreign(error.status())),
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return unavailable(hx, text, is_get);
    }
    let title = Text::new(match status {
        StatusCode::NOT_FOUND => "error.title_not_found",
        _ => "error.title",
    });
    let page = ErrorPage {
        title,
        text,
        retry: None,
        back: if is_get { String::new() } else { hx.layout.from.clone() },
    };
    let mut answer = flashed(hx.answer(status, &page, &page.as_flash())?, hx, false)?;
    match error.downcast_ref::<Error>() {
        Some(Error::Wait(_, seconds)) => {
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        Some(Error::SignIn | Error::SetUp) => {
            let challenge = HeaderValue::from_static("Bearer realm=\"muster\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        _ => {}
    }
    Ok(answer)
}

/// A fragment for htmx goes to the message area of the page, wherever the request came from.
fn flashed(mut answer: Response, hx: &Hx, away: bool) -> Result<Response> {
    let headers = answer.headers_mut();
    if hx.wants_block() {
        headers.insert("HX-Retarget", HeaderValue::from_static("#flash"));
        headers.insert("HX-Reswap", HeaderValue::from_static("outerHTML"));
    }
    if away {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    Ok(answer)
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::SignIn | Error::SetUp => StatusCode::UNAUTHORIZED,
        Error::Wait(..) => StatusCode::TOO_MANY_REQUESTS,
        Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Conflict(_) => StatusCode::CONFLICT,
        contended if contended.is_contention() => StatusCode::CONFLICT,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl poem::error::ResponseError for Error {
    fn status(&self) -> StatusCode {
        status(self)
    }
}

/// A sentence for what the web framework refused before a handler saw it.
fn foreign(status: StatusCode) -> Text {
    match status {
        StatusCode::NOT_FOUND => Text::new("error.not_found"),
        StatusCode::METHOD_NOT_ALLOWED => Text::new("error.method"),
        status if status.is_client_error() => Text::new("error.request").with("status", status.as_u16()),
        _ => Text::new("error.internal"),
    }
}

/// Until the database has answered once nobody can be known, and no page be shown.
pub async fn starting<E: Endpoint>(next: Arc<E>, req: Request) -> poem::Result<Response> {
    let standing = req.data::<App>().map(|app| app.standing.borrow().clone());
    match standing {
        // The loop that waits for the database logs why; each reader who waits with it need not.
        Some(Standing::Starting(_)) => Ok(unavailable(&Hx::of(&req), Text::new("error.starting"), true)?),
        _ => next.call(req).await.map(IntoResponse::into_response),
    }
}

/// While this server must not work, its pages say why instead, to people who may know.
pub async fn paused<E: Endpoint>(next: Arc<E>, req: Request) -> poem::Result<Response> {
    let Some(app) = req.data::<App>() else {
        return next.call(req).await.map(IntoResponse::into_response);
    };
    let standing = app.standing.borrow().clone();
    match standing {
        Standing::Working | Standing::Starting(_) => next.call(req).await.map(IntoResponse::into_response),
        Standing::Removed { .. } | Standing::Duplicate { .. } => {
            let hx = Hx::of(&req);
            let page = StandingPage {
                standing,
                own_path: app.install.data.display().to_string(),
            };
            let answer = hx.answer(StatusCode::SERVICE_UNAVAILABLE, &page, &page.as_flash())?;
            Ok(flashed(answer, &hx, true)?)
        }
    }
}

fn unavailable(hx: &Hx, text: Text, is_get: bool) -> Result<Response> {
    let retry = is_get.then_some(RETRY_SECONDS);
    let page = ErrorPage {
        title: Text::new("error.title_unavailable"),
        text,
        retry,
        back: String::new(),
    };
    flashed(
        hx.answer(StatusCode::SERVICE_UNAVAILABLE, &page, &page.as_flash())?,
        hx,
        true,
    )
}
