//! Pages and fragments: the frame around them, errors as pages, headers, forms, static files.

pub mod files;
pub mod cell;
pub mod connections;
pub mod form;
pub mod fresh;
pub mod guard;
pub mod hx;
pub mod layout;
pub mod observe;
pub mod page;
pub mod slice;

pub use form::{Form, Mistakes};
pub use hx::Hx;
pub use layout::filters;
