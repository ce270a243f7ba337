//! How old what a reader is shown may be: what others write is seen soon, and one's own at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response};

use super::guard::bearer;
use super::{Hx, hx};
use crate::app::App;
use crate::db::shared::Shared;

/// What is kept of a page and its fragment: by who sees the same, which of both it is, and the query of its address.
pub type Lists<V> = Shared<(String, bool, String), V>;

/// The key of what this request asks for; `who` names those who see the same.
pub fn asked(req: &Request, who: &str) -> (String, bool, String) {
    let query = req.uri().query().unwrap_or_default();
    (who.to_owned(), !hx::wants_block(req), query.to_owned())
}

/// How long an answer is good for those who have not just written something.
const KEPT: Duration = Duration::from_millis(500);
/// Tells any server that the browser has just written something, here or at another one of the same host.
pub const WROTE_COOKIE: &str = "muster_wrote";
/// Longer than [`KEPT`] by more than an answer and the next request are under way.
const WROTE_SECONDS: u32 = 2;

/// What this request is shown must have been read after this instant. Programs see everything that was written before.
pub fn since(req: &Request) -> Instant {
    let now = Instant::now();
    let has_written = req.data::<Hx>().is_none_or(|hx| hx.layout.has_written);
    match req.data::<App>() {
        Some(app) if req.method().is_safe() && !has_written && bearer(req).is_none() => {
            let kept = now.checked_sub(KEPT).unwrap_or(now);
            app.written().map_or(kept, |written| written.max(kept))
        }
        _ => now,
    }
}

/// Notes that somebody wrote something, when it is done or given up; not what was refused at the door.
struct Writing<'a> {
    app: &'a App,
    is_refused: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.is_refused {
            self.app.note_written();
        }
    }
}

/// Whether nothing can have been written: strangers get such answers as often as they ask.
fn is_refused(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY)
}

/// Lets whoever changes something see it at once, wherever they look next.
pub async fn writes<E: Endpoint>(next: Arc<E>, req: Request) -> poem::Result<Response> {
    let app = match req.data::<App>() {
        Some(app) if !req.method().is_safe() => app.clone(),
        _ => return Ok(next.get_response(req).await),
    };
    let is_program = bearer(&req).is_some();
    let mut writing = Writing {
        app: &app,
        is_refused: false,
    };
    let mut answer = next.get_response(req).await;
    writing.is_refused = is_refused(answer.status());
    if !is_program && !writing.is_refused {
        // Also for servers behind other paths of this host.
        let cookie = format!("{WROTE_COOKIE}=1; Path=/; Max-Age={WROTE_SECONDS}; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    Ok(answer)
}
