//! Every case, by name.

mod contention;
mod database;
mod galera;
mod identity;
mod people;
mod processes;
mod upgrade;

use std::pin::Pin;

use crate::previous;

/// What is wrong after it; nothing when all held.
pub(crate) type Found = Pin<Box<dyn Future<Output = Vec<String>> + Send>>;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it belongs to the shorter selection, which every test run makes.
    pub(crate) is_short: bool,
    /// Whether it says how long something takes, so that nothing else may run beside it.
    pub(crate) is_alone: bool,
    /// Brings what it needs before any case runs, or says why it cannot be run here.
    pub(crate) needs: fn() -> Result<(), String>,
    pub(crate) run: fn() -> Found,
}

/// One line of the table.
macro_rules! case {
    ($module:ident::$name:ident) => {
        case!($module::$name, false)
    };
    ($module:ident::$name:ident, $is_short:expr) => {
        case!($module::$name, $is_short, || Ok(()))
    };
    ($module:ident::$name:ident, $is_short:expr, $needs:expr) => {
        Case {
            name: stringify!($name),
            is_short: $is_short,
            is_alone: stringify!($module) == "galera",
            needs: $needs,
            run: || Box::pin($module::$name()),
        }
    };
}

pub(crate) fn all() -> Vec<Case> {
    vec![
        case!(processes::killed, true),
        case!(processes::ended),
        case!(processes::frozen_for_half_the_limit),
        case!(processes::frozen_for_the_limit),
        case!(processes::frozen_for_twice_the_limit, true),
        case!(processes::frozen_for_four_limits),
        case!(processes::clocks_an_hour_apart),
        case!(processes::disk_full),
        case!(processes::slow_clients),
        case!(database::partitioned, true),
        case!(database::refused),
        case!(database::slow),
        case!(database::half_open, true),
        case!(database::killed_and_started_again),
        case!(database::without_a_free_connection),
        case!(database::read_only),
        case!(database::row_locked),
        case!(database::clock_set),
        case!(galera::nodes_killed),
        case!(galera::node_frozen),
        case!(galera::each_at_its_own_node),
        case!(identity::copied_and_started_twice),
        case!(identity::old_rows_restored),
        case!(identity::row_deleted),
        case!(identity::five_first_starts_with_a_killed_migration),
        case!(upgrade::two_versions_side_by_side, false, || previous::program()
            .map(drop)),
        case!(contention::deadlocks),
        case!(contention::edits_that_wait),
        case!(people::deletion_against_a_reviving_beat),
        case!(people::two_admins_at_one_row),
    ]
}
