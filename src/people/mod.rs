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

use crate::db::shared::Shared;
use access::Address;

pub use role::Role;
pub use sessions::Viewer;

/// What the parts of this feature share within one server.
#[derive(Debug, Default)]
pub struct People {
    /// Who is asking, by what they show; many requests of one browser cost the database one read.
    lookups: Shared<String, sessions::Found>,
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
