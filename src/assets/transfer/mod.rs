//! Assets to and from CSV: all that a filter leaves goes out without secrets; what comes in is shown line by line first.

mod carry;
mod columns;
mod export;
pub mod file;
mod import;
mod jpom;
mod plan;
mod queries;
mod twins;

use crate::people::access::{Access, Address, get, post};

pub fn routes() -> Vec<Address> {
    vec![
        get("/assets/export", Access::SystemAdmin, export::download),
        get("/assets/import", Access::SystemAdmin, import::new),
        get("/assets/import/sample", Access::SystemAdmin, export::sample),
        post("/assets/import", Access::SystemAdmin, import::create).with_file(),
    ]
}
