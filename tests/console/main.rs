//! The console, tested as a whole: real database, real pages, ticks called by hand, rows aged instead of waiting.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod agents;
mod assets;
mod assets_list;
mod assets_scale;
mod audit;
mod backup;
mod balanced;
mod batch;
mod check;
mod clusters;
mod commands;
mod conflict;
mod credentials;
mod database;
mod docker;
#[expect(dead_code, reason = "the faults use the rest")]
#[path = "../faults/door.rs"]
mod door;
mod edit;
mod groups;
mod handovers;
mod home;
mod hostile;
mod identity;
mod inputs;
mod jumps;
mod liveness;
mod log;
mod machine;
mod nginx;
mod notify;
mod notify_away;
mod notify_events;
mod notify_mail;
mod notify_pages;
mod page;
mod peers;
mod processes;
mod removal;
mod requirements;
mod rights;
mod second_factor;
mod settings;
mod settings_secrets;
mod sign_in;
mod ssh;
mod ssh_hostile;
mod ssh_server;
mod succession;
mod support;
mod throttle;
mod tls;
mod transfer;
mod trial;
mod twins;
mod users;
mod watch;
mod watch_faults;
mod watch_processes;
mod web;
mod workspaces;
