//! 资产: machines, SSH and Docker hosts, each in one group and watched by the cluster that owns it.

mod batch;
mod budget;
pub mod cause;
pub mod credentials;
pub mod described;
pub mod dial;
mod edit;
pub mod facts;
pub mod http;
pub mod kind;
mod latency;
pub mod list;
pub mod monitor;
mod names;
mod other_kind;
pub mod outcome;
pub mod pages;
pub mod queries;
pub mod search;
pub mod state;
pub mod target;
pub mod told;
pub mod transfer;
pub mod trials;
mod trouble;
pub mod trust;
mod view;
mod words;

pub mod docker;
pub mod machine;
pub mod ssh;

use crate::error::Error;
use crate::i18n::Text;
use crate::people::access::Address;
use crate::people::audit::Object;
use queries::Row;

/// As long as the address of a cluster may be.
pub const LONGEST_ADDRESS: usize = 255;
const LONGEST_NAME: usize = 50;

pub fn routes() -> Vec<Address> {
    [
        pages::routes(),
        edit::routes(),
        batch::routes(),
        credentials::routes(),
        trials::routes(),
        transfer::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn missing() -> Error {
    Error::NotFound(Text::new("assets.missing"))
}

/// The number in an address; what is none leads to nothing.
fn known_id(text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| missing())
}

impl Row {
    fn object(&self) -> Object {
        Object::new("asset", &self.asset_id.to_string(), &self.name)
    }
}
