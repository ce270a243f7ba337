//! The console, tested as a whole: real database, real pages, ticks called by hand, rows aged instead of waiting.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod audit;
mod balanced;
mod check;
mod clusters;
mod commands;
mod conflict;
mod database;
mod door;
mod edit;
mod groups;
mod handovers;
mod home;
mod identity;
mod jumps;
mod liveness;
mod log;
mod nginx;
mod page;
mod processes;
mod removal;
mod requirements;
mod rights;
mod second_factor;
mod settings;
mod settings_secrets;
mod sign_in;
mod succession;
mod support;
mod throttle;
mod tls;
mod users;
mod web;
mod workspaces;
