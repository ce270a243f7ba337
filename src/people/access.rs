//! Who may use which address: each says so where it is made, and nothing is reached around it.

use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response};

use super::audit::{self, Action, Entry, Object};
use super::role::Role;
use super::sessions::{self, Proof, Unknown, Viewer};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::web::layout::Reader;
use crate::web::{Form, observe, page};

/// The least somebody must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Programs and browsers alike, before anybody is asked for; answers without the database.
    Anyone,
    /// A page for people who are not signed in.
    Guest,
    /// Whoever is signed in.
    Signed,
    SystemAdmin,
    SuperAdmin,
}

impl Access {
    fn least(self) -> Option<Role> {
        match self {
            Access::Anyone | Access::Guest => None,
            Access::Signed => Some(Role::Member),
            Access::SystemAdmin => Some(Role::SystemAdmin),
            Access::SuperAdmin => Some(Role::SuperAdmin),
        }
    }
}

/// One address of the site.
pub struct Address {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    endpoint: BoxEndpoint<'static, Response>,
}

pub fn get<E>(path: &'static str, access: Access, endpoint: E) -> Address
where
    E: IntoEndpoint,
    E::Endpoint: 'static,
{
    Address {
        method: Method::GET,
        path,
        access,
        endpoint: endpoint.into_endpoint().map_to_response().boxed(),
    }
}

pub fn post<E>(path: &'static str, access: Access, endpoint: E) -> Address
where
    E: IntoEndpoint,
    E::Endpoint: 'static,
{
    Address {
        method: Method::POST,
        ..get(path, access, endpoint)
    }
}

impl Address {
    /// The handler behind everything a request to it passes through, the last line first.
    pub fn mounted(self) -> BoxEndpoint<'static, Response> {
        let (access, path) = (self.access, self.path);
        let asked = match access {
            Access::Anyone => self.endpoint.around(page::errors).boxed(),
            _ => {
                let guarded = match access {
                    Access::Guest => self.endpoint,
                    _ => self.endpoint.around(page::paused).boxed(),
                };
                let guarded = guarded.around(move |next, req| guard(access, next, req));
                let shown = guarded.around(page::starting).around(page::errors);
                shown.around(sessions::identify).boxed()
            }
        };
        asked.around(move |next, req| observe::request(path, next, req)).boxed()
    }
}

/// Lets through who may, and of changes only those that a page of ours sent.
async fn guard<E: Endpoint>(access: Access, next: Arc<E>, mut req: Request) -> poem::Result<Response> {
    if let Some(Unknown(cause)) = req.data::<Unknown>() {
        return Err(Error::Unavailable(cause.clone().into()).into());
    }
    let viewer = req.data::<Viewer>().cloned();
    if let Some(least) = access.least() {
        let viewer = viewer.as_ref().ok_or_else(|| sessions::nobody(&req))?;
        if viewer.role < least {
            refuse(&req, viewer).await?;
            return Err(Error::Forbidden(Text::new("error.role").with_text("role", least.name())).into());
        }
    }
    if !req.method().is_safe() {
        let form = Form::read(req.take_body()).await?;
        let by_token = matches!(
            &viewer,
            Some(Viewer {
                proof: Proof::Token,
                ..
            })
        );
        if !by_token && !comes_from_our_page(&req, &form) {
            return Err(Error::Forbidden(Text::new("error.csrf")).into());
        }
        req.extensions_mut().insert(form);
    }
    next.call(req).await.map(IntoResponse::into_response)
}

/// The token of the reader's own pages, in the form or, from htmx, in a header.
fn comes_from_our_page(req: &Request, form: &Form) -> bool {
    let Some(reader) = req.data::<Reader>() else {
        return false;
    };
    let shown = req.header("X-CSRF-Token").unwrap_or_else(|| form.exact("csrf"));
    // Hashes are compared, so the time this takes tells nothing of the token.
    !reader.csrf.is_empty() && super::secret::hash(shown) == super::secret::hash(&reader.csrf)
}

async fn refuse(req: &Request, viewer: &Viewer) -> Result<()> {
    let Some(app) = req.data::<App>() else {
        return Ok(());
    };
    let path = req.uri().path().chars().take(200).collect::<String>();
    let object = Object::new("address", "", &format!("{} {path}", req.method()));
    let entry = Entry::by(&viewer.actor(app), Action::Refused).on(object).refused();
    audit::record(&mut app.db.conn().await?, &entry).await?;
    Ok(())
}
