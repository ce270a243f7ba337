//! How old what a reader is shown may be: what others write is seen soon, and one's own at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::http::{HeaderValue, header};
use poem::{Endpoint, Request, Response};

use super::guard::{bearer, cookie_path};
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
const KEPT: Duration = Duration::from_millis(250);
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

/// [`since`] for a question that whole pages always ask anew, and refreshes of their parts do not.
pub fn since_of_refresh(req: &Request) -> Instant {
    if hx::wants_block(req) {
        since(req)
    } else {
        Instant::now()
    }
}

/// Notes that somebody wrote something, when it is done or given up.
struct Writing<'a>(&'a App);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.note_written();
    }
}

/// Lets whoever changes something see it at once, wherever they look next.
pub async fn writes<E: Endpoint>(next: Arc<E>, req: Request) -> poem::Result<Response> {
    let app = match req.data::<App>() {
        Some(app) if !req.method().is_safe() => app.clone(),
        _ => return Ok(next.get_response(req).await),
    };
    let is_program = bearer(&req).is_some();
    let writing = Writing(&app);
    let mut answer = next.get_response(req).await;
    drop(writing);
    if !is_program {
        let path = cookie_path(&app.config.base_path);
        let cookie = format!("{WROTE_COOKIE}=1; Path={path}; Max-Age={WROTE_SECONDS}; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    Ok(answer)
}
