//! The people: who may come in, what they may do, and what they did.

pub mod access;
pub mod audit;
pub mod command;
pub mod password;
pub mod role;
pub mod secret;
pub mod security;
pub mod sessions;
pub mod setup;
pub mod sign_in;
pub mod users;

use std::sync::atomic::AtomicBool;

use crate::db::shared::Batch;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::is_install_id;
use access::Address;

pub use role::Role;
pub use sessions::Viewer;

/// What the parts of this feature share within one server.
#[derive(Debug, Default)]
pub struct People {
    /// Who is asking, by the hashes of what they show; many requests at once cost the database one read.
    lookups: Batch<String, Vec<sessions::queries::Holder>>,
    recent: sessions::beside::Recent,
    /// Whether an account was ever seen; before that every page leads to the set-up.
    anybody: AtomicBool,
}

pub fn routes() -> Vec<Address> {
    [
        setup::routes(),
        sign_in::routes(),
        users::routes(),
        security::routes(),
        audit::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An id from an address: 32 hex digits, or there is no such thing. The database itself would overlook spaces at its end.
fn known_id<'a>(id: &'a str, missing: &'static str) -> Result<&'a str> {
    match is_install_id(id) {
        true => Ok(id),
        false => Err(Error::NotFound(Text::new(missing))),
    }
}
