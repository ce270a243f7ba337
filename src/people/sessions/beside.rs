//! A refresh of a list is read while it is found out who asks, and shown only to somebody who may see it: waiting for the
//! one and then for the other would cost each refresh the sum of both. Only a browser that was let in a moment ago is
//! served so; a stranger makes nobody read anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use poem::endpoint::BoxEndpoint;
use poem::{Endpoint, Request, Response};
use tokio::time::timeout;

use super::look::{LOOK, look};
use super::queries::Holder;
use super::shown::Shown;
use crate::app::App;
use crate::error::Error;
use crate::people::People;
use crate::people::role::Role;
use crate::web::fresh::since;
use crate::web::hx::wants_block;
use crate::web::{Hx, page};

/// How long ago a browser may have been let in.
const MOMENT: Duration = Duration::from_secs(60);
/// Browsers that are remembered; beyond that all are forgotten, which costs each of them one slower refresh.
const MOST: usize = 4096;

/// The sessions that were good a moment ago, and since before when.
#[derive(Debug, Default)]
pub struct Recent(Mutex<HashMap<String, (Holder, Instant)>>);

impl Recent {
    /// Of a read that began after `asked`.
    pub(super) fn note(&self, holder: &Holder, asked: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(holder.token_hash.clone(), (holder.clone(), asked));
    }

    /// Whoever was let in by a read that began after an instant.
    pub(super) fn since(&self, token_hash: &str, since: Instant) -> Option<Holder> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (holder, asked) = known.get(token_hash)?;
        (*asked > since).then(|| holder.clone())
    }

    /// A hint for what to read early, never a reason to show it.
    fn role_of(&self, token_hash: &str) -> Option<Role> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (holder, asked) = known.get(token_hash)?;
        (asked.elapsed() < MOMENT).then_some(holder.role)
    }
}

/// What a refresh shows of somebody who was let in a moment ago; none for any other request.
pub fn known_refresh(req: &Request, least: Role) -> Option<Shown> {
    if !req.method().is_safe() || !wants_block(req) {
        return None;
    }
    let (app, people) = (req.data::<App>()?, req.data::<Arc<People>>()?);
    let shown = Shown::of(req, app);
    let own = shown.sessions.first().filter(|_| shown.token.is_none())?;
    let role = people.recent.role_of(&own.hash)?;
    (role >= least).then_some(shown)
}

/// Answers with `next` if whoever asks turns out to be somebody who may see it.
///
/// # Errors
/// None of its own: what goes wrong is an answer.
pub async fn beside(
    (least, shown): (Role, Shown),
    next: &BoxEndpoint<'static, Response>,
    req: Request,
) -> poem::Result<Response> {
    let (Some(app), Some(people)) = (req.data::<App>().cloned(), req.data::<Arc<People>>().cloned()) else {
        return Ok(next.get_response(req).await);
    };
    let (hx, allowed) = (Hx::of(&req), since(&req));
    let both = async {
        tokio::join!(
            timeout(LOOK, look(&app, &people, &shown, allowed)),
            next.get_response(req)
        )
    };
    let (found, answer) = tokio::select! {
        both = both => both,
        error = app.db.nodes().left() => return Ok(page::refusal(&hx, &error.into(), true)?),
    };
    let refusal = match found {
        Ok(Ok(found)) => {
            let may = found
                .holders
                .iter()
                .any(|holder| !holder.pending && holder.role >= least);
            // Somebody else than a moment ago goes through the door like everybody.
            if may { None } else { Some(Error::SignIn) }
        }
        Ok(Err(error)) => Some(error),
        Err(_) => Some(Error::timed_out("no answer within 5 s")),
    };
    match refusal {
        None => Ok(answer),
        Some(error) => Ok(page::refusal(&hx, &error.into(), true)?),
    }
}
