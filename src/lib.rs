//! Muster keeps the roll of several server installs on one shared database.
//!
//! The modules stand in dependency order: each uses only those above it (`tests/house.rs` checks).

/// Texts in Chinese and English.
#[macro_use]
pub mod i18n;
/// The one error type, named by what the person should do next.
pub mod error;
/// TLS for browsers, from certificate files that may be renewed.
pub mod tls;
/// Every setting: key, default, what is allowed.
pub mod config;
/// The data directory: `INSTALL.json` and the lock.
pub mod install;
/// Secrets at rest, under a master key that is not in the database.
pub mod seal;
/// The shared database: pool, migrations, the private MariaDB.
pub mod db;
/// What `/metrics` tells about this process.
pub mod metrics;
/// The log: readable or JSON lines, each with the install id; on disk, and its last lines in memory.
pub mod log;
/// What handlers and loops may need.
pub mod app;
/// Pages and fragments, errors as pages, headers, static files.
pub mod web;
/// Loops: one step again and again, logged once when it fails.
pub mod periodic;
/// Whether a cluster lives: one rule, as SQL and in words.
pub mod liveness;
/// The people: who may come in, what they may do, and what they did.
pub mod people;
/// The groups of assets, and which clusters watch them.
pub mod groups;
/// Units of work, each bound to one cluster.
pub mod workspaces;
/// The clusters: who is here, alive, and where.
pub mod clusters;
/// Telling people by webhook and e-mail that something is down, or up again.
pub mod notify;
/// Machines, SSH and Docker hosts, each watched by the cluster that owns its group.
pub mod assets;
/// Giving everything of one cluster to another.
pub mod handovers;
/// From cluster to cluster with one sign-in.
pub mod jumps;
/// What this server says of itself: health, identity, metrics, preferences.
pub mod system;
/// Every address, by feature.
pub mod routes;
/// Every loop and its period.
pub mod tasks;
/// `muster identity`: this install's id, a new one, or that of a lost data directory.
pub mod identity;
/// `muster key`: the master key, and changing it.
pub mod key;
/// `muster db`: everything in one file, back from it, and to a shared database.
pub mod backup;
/// `muster serve`: one server from start to stop.
pub mod serve;
/// `muster demo`: two servers on one private database.
pub mod demo;
/// Input that nobody expects.
#[cfg(test)]
mod odd;

rust_i18n::i18n!("src", fallback = "en");

/// The macro reads the texts behind cargo's back; named here, a changed text builds anew.
const _: [&str; 14] = [
    include_str!("assets/texts.yml"),
    include_str!("backup/texts.yml"),
    include_str!("clusters/texts.yml"),
    include_str!("config/texts.yml"),
    include_str!("db/texts.yml"),
    include_str!("groups/texts.yml"),
    include_str!("handovers/texts.yml"),
    include_str!("jumps/texts.yml"),
    include_str!("liveness/texts.yml"),
    include_str!("notify/texts.yml"),
    include_str!("people/texts.yml"),
    include_str!("system/texts.yml"),
    include_str!("web/texts.yml"),
    include_str!("workspaces/texts.yml"),
];
