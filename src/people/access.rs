//! Who may use which address: each says so where it is made, and nothing is reached around it.

use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response};

use super::audit::{self, Action, Entry, Object};
use super::role::Role;
use super::sessions::beside::{beside, known_refresh};
use super::sessions::{self, Proof, Unknown, Viewer};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::web::form::{LONGEST, LONGEST_SIGNED_IN};
use crate::web::guard::{bearer, is_same_origin};
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
    /// Its fragments do not depend on who asks.
    is_same_for_all: bool,
    /// Not for tokens: what a leaked one must not be able to do.
    pub is_in_person: bool,
    /// Also while this server may not work.
    is_always: bool,
    /// A form that another cluster's page sends; it proves itself by what is in it.
    pub is_from_elsewhere: bool,
    /// A file may come with its form.
    takes_file: bool,
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
        is_same_for_all: false,
        is_in_person: false,
        is_always: false,
        is_from_elsewhere: false,
        takes_file: false,
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
    /// The handler as it is, counted and with its errors as pages, but open to all: for measuring what the rest costs.
    pub fn unguarded(self) -> BoxEndpoint<'static, Response> {
        let path = self.path;
        let shown = self.endpoint.around(page::errors);
        shown.around(move |next, req| observe::request(path, next, req)).boxed()
    }

    /// Says that its fragments are the same for everybody who may see them, so that they can be read while it is found
    /// out who asks.
    #[must_use]
    pub fn same_for_all(mut self) -> Address {
        self.is_same_for_all = true;
        self
    }

    /// Says that a token will not do: somebody must be signed in.
    #[must_use]
    pub fn in_person(mut self) -> Address {
        self.is_in_person = true;
        self
    }

    /// Says that it also works while this server may not.
    #[must_use]
    pub fn always(mut self) -> Address {
        self.is_always = true;
        self
    }

    /// Says that its form comes from a page of another origin, so that neither the origin nor a form token can be asked for:
    /// what it may do must hang on a secret of its own.
    #[must_use]
    pub fn from_elsewhere(mut self) -> Address {
        self.is_from_elsewhere = true;
        self
    }

    /// Says that a file may come with its form, which takes longer.
    #[must_use]
    pub fn with_file(mut self) -> Address {
        self.takes_file = true;
        self
    }

    /// The handler behind everything a request to it passes through.
    pub fn mounted(self) -> BoxEndpoint<'static, Response> {
        let (access, path, is_same_for_all) = (self.access, self.path, self.is_same_for_all);
        let door = Door {
            access,
            is_in_person: self.is_in_person,
            is_from_elsewhere: self.is_from_elsewhere,
            takes_file: self.takes_file,
        };
        let limit = if self.takes_file { page::LONGEST } else { page::LIMIT };
        let handler = Arc::new(match access {
            Access::Anyone => return self.unguarded(),
            Access::Guest => self.endpoint,
            _ if self.is_always => self.endpoint,
            _ => self.endpoint.around(page::paused).boxed(),
        });
        let guarded = handler.clone().around(move |next, req| guard(door, next, req));
        let shown = guarded
            .around(page::starting)
            .around(move |next, req| page::errors_within(limit, next, req));
        let asked = shown.around(sessions::identify).boxed();
        let whole = match access.least().filter(|_| is_same_for_all) {
            None => asked,
            Some(least) => Either {
                least,
                quick: handler.around(page::starting).around(page::errors).boxed(),
                asked,
            }
            .boxed(),
        };
        whole.around(move |next, req| observe::request(path, next, req)).boxed()
    }
}

/// One address, two ways to it.
struct Either {
    least: Role,
    quick: BoxEndpoint<'static, Response>,
    asked: BoxEndpoint<'static, Response>,
}

impl Endpoint for Either {
    type Output = Response;

    async fn call(&self, req: Request) -> poem::Result<Response> {
        match known_refresh(&req, self.least) {
            Some(shown) => beside((self.least, shown), &self.quick, req).await,
            None => self.asked.call(req).await,
        }
    }
}

/// What is asked at an address.
#[derive(Debug, Clone, Copy)]
struct Door {
    access: Access,
    is_in_person: bool,
    is_from_elsewhere: bool,
    takes_file: bool,
}

/// Lets through who may, and of changes only those that a page of ours sent.
async fn guard<E: Endpoint>(door: Door, next: Arc<E>, mut req: Request) -> poem::Result<Response> {
    if let Some(Unknown(cause)) = req.data::<Unknown>() {
        return Err(Error::Unavailable(cause.clone().into()).into());
    }
    let viewer = req.data::<Viewer>().cloned();
    if let Err(refusal) = judge(door, viewer.as_ref(), &req) {
        // Whoever has not signed in yet, or has nobody to sign in as, was refused nothing.
        if matches!(refusal, Error::Forbidden(_)) || bearer(&req).is_some() {
            record_refusal(&req, viewer.as_ref()).await?;
        }
        return Err(refusal.into());
    }
    if !req.method().is_safe() {
        let form = read(door, viewer.is_some(), &mut req).await?;
        let by_token = matches!(
            &viewer,
            Some(Viewer {
                proof: Proof::Token(_),
                ..
            })
        );
        if !by_token && !door.is_from_elsewhere && !comes_from_our_page(&req, &form) {
            record_refusal(&req, viewer.as_ref()).await?;
            return Err(Error::Forbidden(Text::new("error.csrf")).into());
        }
        req.extensions_mut().insert(form);
    }
    next.call(req).await.map(IntoResponse::into_response)
}

/// The form, within the limits of whoever sends it and where.
async fn read(door: Door, is_signed_in: bool, req: &mut Request) -> Result<Form> {
    let body = req.take_body();
    match req.content_type() {
        Some(kind) if door.takes_file && kind.starts_with("multipart/") => Form::read_with_file(kind, body).await,
        _ if is_signed_in => Form::read(body, LONGEST_SIGNED_IN).await,
        _ => Form::read(body, LONGEST).await,
    }
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

/// Everything that can be said before the body is read.
fn judge(door: Door, viewer: Option<&Viewer>, req: &Request) -> Result<()> {
    if let Some(least) = door.access.least() {
        let viewer = viewer.ok_or_else(|| sessions::nobody(req))?;
        if viewer.role < least {
            return Err(Error::Forbidden(
                Text::new("error.role").with_text("role", least.name()),
            ));
        }
        if door.is_in_person && matches!(viewer.proof, Proof::Token(_)) {
            return Err(Error::Forbidden(Text::new("error.in_person")));
        }
    }
    // No address of ours has an escape in it, and no id a letter that its column cannot hold.
    if req.uri().path().contains('%') {
        return Err(Error::NotFound(Text::new("error.not_found")));
    }
    match req.method().is_safe() || door.is_from_elsewhere || is_same_origin(req) {
        true => Ok(()),
        false => Err(Error::Forbidden(Text::new("error.origin"))),
    }
}

/// Of people each time; of strangers seldom, since they can make it happen at will.
async fn record_refusal(req: &Request, viewer: Option<&Viewer>) -> Result<()> {
    let Some(app) = req.data::<App>() else {
        return Ok(());
    };
    let path = req.uri().path().chars().take(200).collect::<String>();
    let object = Object::new("address", "", &format!("{} {path}", req.method()));
    let mut conn = app.db.conn().await?;
    match viewer {
        Some(viewer) => {
            let entry = Entry::by(&viewer.actor(app), Action::Refused).on(object).refused();
            audit::record(&mut conn, &entry).await?;
        }
        None => {
            let entry = Entry::by(&sessions::stranger(req, app), Action::Refused).on(object);
            audit::record_seldom(&mut conn, &entry.refused()).await?;
        }
    }
    Ok(())
}
