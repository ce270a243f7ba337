//! What happened, in order: what the database and the pages said, what was looked at, and what was done to whom.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

/// One cluster as the database sees it at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) of: usize,
    /// Code of what people see.
    pub(crate) state: String,
    /// Whether the holder of the row lives.
    pub(crate) lives: bool,
    pub(crate) beats: u64,
    pub(crate) boot: String,
}

/// What is done to a server, and what that makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Turn {
    /// It answers, and nothing is in its way.
    Well,
    /// Its beats must land, but its pages may take long.
    Strained,
    /// It may beat or not: nothing is expected of it.
    Open,
    /// It cannot beat: frozen, or without its database.
    Cut,
    Killed,
    /// Ended as an operator does.
    Ended,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// The whole roll at one moment; who is missing has no row.
    Roll(Vec<Row>),
    /// What the page of one server says of the others.
    Page {
        by: usize,
        took: Duration,
        states: Vec<(usize, String)>,
    },
    /// A result that counted.
    Check {
        by: usize,
        asset: u32,
    },
    /// Somebody asked the peer behind an asset.
    Look {
        asset: u32,
    },
    Done {
        to: usize,
        turn: Turn,
    },
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    /// Since the beginning.
    pub(crate) at: Duration,
    pub(crate) said: Said,
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    began: Instant,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl History {
    pub(crate) fn new() -> History {
        History {
            began: Instant::now(),
            lines: Arc::default(),
        }
    }

    pub(crate) fn add(&self, said: Said) {
        let mut lines = self.lines.lock().unwrap();
        lines.push(Line {
            at: self.began.elapsed(),
            said,
        });
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }
}
