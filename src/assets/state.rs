//! The state of an asset: what the last check left, and what is shown in view of who watches.

use super::outcome::{Outcome, Reason};
use crate::i18n::Text;

/// What the checks left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Down,
    /// The peer shows another key than it was first known by.
    Changed,
    Degraded,
    /// Whoever watches could not tell: its own network was out.
    Unknown,
    /// Not checked yet.
    New,
    Up,
}

impl State {
    /// The worst first.
    pub const ALL: [State; 6] = [
        State::Changed,
        State::Down,
        State::Degraded,
        State::Unknown,
        State::New,
        State::Up,
    ];

    pub fn of(outcome: &Outcome) -> State {
        match outcome {
            Outcome::Up => State::Up,
            Outcome::Degraded(_) => State::Degraded,
            Outcome::Down(Reason::KeyChanged { .. }) => State::Changed,
            Outcome::Down(_) => State::Down,
        }
    }

    /// The word in the database and in addresses.
    pub fn code(self) -> &'static str {
        match self {
            State::Down => "down",
            State::Changed => "changed",
            State::Degraded => "degraded",
            State::Unknown => "unknown",
            State::New => "new",
            State::Up => "up",
        }
    }

    /// Whether it answered when one last could tell.
    pub fn answered(self) -> bool {
        matches!(self, State::Up | State::Degraded | State::Unknown)
    }

    pub fn parse(code: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.code() == code)
    }

    pub fn name(self) -> Text {
        Text::new(match self {
            State::Down => "assets.down",
            State::Changed => "assets.changed",
            State::Degraded => "assets.degraded",
            State::Unknown => "assets.unknown",
            State::New => "assets.new",
            State::Up => "assets.up",
        })
    }

    pub fn colour(self) -> &'static str {
        match self {
            State::Down => "red",
            State::Changed => "purple",
            State::Degraded => "yellow",
            State::Unknown => "secondary",
            State::New => "azure",
            State::Up => "green",
        }
    }
}

crate::db::word!(State);
