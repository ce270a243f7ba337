//! Pages and fragments: one template answers both, errors become pages in one place, each answer is safe to show.

pub mod files;
pub mod guard;
pub mod hx;
pub mod layout;
pub mod observe;
pub mod page;

pub use hx::Hx;
pub use layout::filters;
