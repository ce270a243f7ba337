//! Whether a history keeps what must always hold.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::history::{Line, Row, Said, Turn};

/// Seconds between the beats of these servers; three of them without a beat are the limit.
pub(crate) const BEAT: u64 = 5;
pub(crate) const LIMIT: Duration = Duration::from_secs(3 * BEAT);
/// Seconds between two looks at an asset.
pub(crate) const INTERVAL: u64 = 5;
/// A server that can beat again has done so by then.
const RECOVERY: Duration = Duration::from_secs(12);
/// How late an observer may see what is true: its period, and a busy machine.
const SIGHT: Duration = Duration::from_millis(1500);
/// A look that was begun by an owner may be written down this long after it was one.
const LOOK: Duration = Duration::from_secs(8);
/// Longest without a look while one server is well: the limit, an interval, and some.
const UNSEEN: Duration = Duration::from_secs(3 * BEAT + INTERVAL + 6);
/// Two looks at one asset so close to each other are one too many.
const DOUBLE: Duration = Duration::from_millis(700);
/// A page of a server that is well and whose database is well.
const PAGE: Duration = Duration::from_secs(5);

/// What a case does that the rules would otherwise call wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowed {
    /// A boot id that was seen before comes back: an old dump was restored.
    pub(crate) old_boots: bool,
    /// Looks take three times as long to come.
    pub(crate) slow: bool,
    /// Nobody watches for a while, since the database is away.
    pub(crate) unseen: bool,
}

struct Judge<'a> {
    lines: &'a [Line],
    /// What was done to each server, and when.
    turns: HashMap<usize, Vec<(Duration, Turn)>>,
    wrong: Vec<String>,
}

/// What is wrong, in words; nothing when all holds.
pub(crate) fn judge(lines: &[Line], allowed: Allowed) -> Vec<String> {
    let mut turns: HashMap<usize, Vec<(Duration, Turn)>> = HashMap::new();
    for line in lines {
        if let Said::Done { to, turn } = line.said {
            turns.entry(to).or_default().push((line.at, turn));
        }
    }
    let mut judge = Judge {
        lines,
        turns,
        wrong: Vec::new(),
    };
    judge.states();
    judge.pages();
    judge.boots(allowed);
    judge.owners();
    judge.looks();
    if !allowed.unseen {
        judge.seen(allowed);
    }
    judge.wrong.truncate(20);
    judge.wrong
}

impl Judge<'_> {
    fn say(&mut self, at: Duration, what: String) {
        self.wrong.push(format!("{:.1} s: {what}", at.as_secs_f64()));
    }

    /// The turn that a server has taken at a moment, and when.
    fn turn(&self, server: usize, at: Duration) -> Option<(Duration, Turn)> {
        let turns = self.turns.get(&server)?;
        turns.iter().rev().find(|(since, _)| *since <= at).copied()
    }

    /// Whether nothing kept it from beating for so long before.
    fn is_well_for(&self, server: usize, at: Duration, length: Duration) -> bool {
        let Some(from) = at.checked_sub(length) else {
            return false;
        };
        let beats = |turn: Turn| matches!(turn, Turn::Well | Turn::Strained);
        let before = self.turn(server, from).is_some_and(|(_, turn)| beats(turn));
        let turns = self.turns.get(&server).into_iter().flatten();
        before
            && turns
                .filter(|(since, _)| *since > from && *since <= at)
                .all(|(_, turn)| beats(*turn))
    }

    /// For how long it cannot have beaten.
    fn dead_for(&self, server: usize, at: Duration) -> Option<(Duration, Turn)> {
        match self.turn(server, at)? {
            (_, Turn::Well | Turn::Strained | Turn::Open) => None,
            (since, turn) => Some((at - since, turn)),
        }
    }

    /// Invariants 1 and 2, as the database sees them.
    fn states(&mut self) {
        for line in self.lines {
            let Said::Roll(rows) = &line.said else { continue };
            for row in rows {
                let is_gone = matches!(row.state.as_str(), "offline" | "stopped" | "never");
                // A copy that reports itself is no sign of life.
                let is_shown_alive = !is_gone && row.lives;
                if is_gone && self.is_well_for(row.of, line.at, RECOVERY) {
                    self.say(line.at, format!("server {} is well and shown {}", row.of, row.state));
                }
                let Some((length, turn)) = self.dead_for(row.of, line.at) else {
                    continue;
                };
                if is_shown_alive && length > LIMIT + SIGHT {
                    self.say(
                        line.at,
                        format!("server {} is {turn:?} and shown {}", row.of, row.state),
                    );
                }
                if turn == Turn::Ended && length > SIGHT && row.state != "stopped" {
                    self.say(
                        line.at,
                        format!("server {} has ended and is shown {}", row.of, row.state),
                    );
                }
            }
        }
    }

    /// All servers give the same answer as the database, and give it soon.
    fn pages(&mut self) {
        let rolls: Vec<(Duration, &Vec<Row>)> = self.lines.iter().filter_map(roll).collect();
        let mut odd = HashSet::new();
        for line in self.lines {
            let Said::Page { by, took, states } = &line.said else {
                continue;
            };
            let is_calm = self.turn(*by, line.at).is_some_and(|(_, turn)| turn == Turn::Well);
            if !is_calm || !self.is_well_for(*by, line.at, RECOVERY) {
                continue;
            }
            if *took > PAGE {
                self.say(line.at, format!("a page of server {by} took {took:?}"));
            }
            let about = (line.at.saturating_sub(*took + SIGHT), line.at + SIGHT);
            for (of, state) in states {
                let is_said = |rows: &Vec<Row>| rows.iter().any(|row| row.of == *of && row.state == *state);
                let near = rolls.iter().filter(|(at, _)| *at >= about.0 && *at <= about.1);
                let (mut known, mut same) = (false, false);
                for (_, rows) in near {
                    known = true;
                    same |= is_said(rows);
                }
                // What lasts for less than a glance is seen by one of them only.
                if !known || same {
                    odd.remove(&(*by, *of));
                } else if !odd.insert((*by, *of)) {
                    self.say(
                        line.at,
                        format!("server {by} shows server {of} as {state}, the database does not"),
                    );
                }
            }
        }
    }

    /// Invariant 4: whoever lost a row never holds it again.
    fn boots(&mut self, allowed: Allowed) {
        let mut held: HashMap<usize, Vec<String>> = HashMap::new();
        for line in self.lines {
            let Said::Roll(rows) = &line.said else { continue };
            for row in rows.iter().filter(|row| !row.boot.is_empty()) {
                let boots = held.entry(row.of).or_default();
                let place = boots.iter().position(|boot| *boot == row.boot);
                match place {
                    None => boots.push(row.boot.clone()),
                    Some(place) if place + 1 < boots.len() && !allowed.old_boots => {
                        boots.truncate(place + 1);
                        self.say(
                            line.at,
                            format!("the row of server {} is back with an old holder", row.of),
                        );
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Invariant 5: what counts comes from whoever owns the group.
    fn owners(&mut self) {
        let rolls: Vec<(Duration, Option<usize>)> = self
            .lines
            .iter()
            .filter_map(roll)
            .map(|(at, rows)| (at, owner(rows)))
            .collect();
        for line in self.lines {
            let Said::Check { by, asset } = line.said else { continue };
            let from = line.at.saturating_sub(LOOK);
            let near = rolls.iter().filter(|(at, _)| *at >= from && *at <= line.at + SIGHT);
            if near.clone().count() > 0 && !near.clone().any(|(_, owner)| *owner == Some(by)) {
                self.say(
                    line.at,
                    format!("server {by} has checked asset {asset}, which is not its own"),
                );
            }
        }
    }

    /// Nothing is looked at twice: of two looks close to each other, as after a late one, each counts.
    fn looks(&mut self) {
        let lines = self.lines;
        let mut last: HashMap<u32, Duration> = HashMap::new();
        for line in lines {
            let Said::Look { asset } = line.said else { continue };
            let Some(before) = last.insert(asset, line.at) else {
                continue;
            };
            let is_checked = |other: &&Line| {
                let is_near = other.at >= before && other.at < line.at + DOUBLE + SIGHT;
                is_near && matches!(other.said, Said::Check { asset: of, .. } if of == asset)
            };
            let is_double = line.at - before < DOUBLE && lines.iter().filter(is_checked).count() < 2;
            // A server that wakes up asks what it was about to ask when it fell asleep; it does not count.
            let wakes = |(at, turn): &(Duration, Turn)| {
                *turn == Turn::Well && *at <= line.at + SIGHT && line.at.saturating_sub(*at) < 2 * SIGHT
            };
            if is_double && !self.turns.values().flatten().any(wakes) {
                self.say(line.at, format!("asset {asset} was looked at twice"));
            }
        }
    }

    /// What an asset needs, it gets: a look now and then, as long as one server is well.
    fn seen(&mut self, allowed: Allowed) {
        let mut checks: HashMap<u32, Vec<Duration>> = HashMap::new();
        for line in self.lines {
            if let Said::Check { asset, .. } = line.said {
                checks.entry(asset).or_default().push(line.at);
            }
        }
        let end = self.lines.last().map_or(Duration::ZERO, |line| line.at);
        if checks.is_empty() {
            self.say(end, "nothing was ever looked at".to_owned());
        }
        for (asset, mut checks) in checks {
            checks.push(end);
            for pair in checks.windows(2) {
                let gap = pair[1] - pair[0];
                let most = if allowed.slow { 3 * UNSEEN } else { UNSEEN };
                // Whoever was well for so long at any time in between should have looked, even if it ended before the gap.
                let from = (pair[0] + most).as_secs() + 1;
                let is_missed = (from..=pair[1].as_secs()).any(|at| {
                    let at = Duration::from_secs(at);
                    self.turns.keys().any(|server| self.is_well_for(*server, at, most))
                });
                if is_missed {
                    self.say(pair[1], format!("nobody looked at asset {asset} for {gap:?}"));
                }
            }
        }
    }
}

fn roll(line: &Line) -> Option<(Duration, &Vec<Row>)> {
    match &line.said {
        Said::Roll(rows) => Some((line.at, rows)),
        _ => None,
    }
}

/// All groups here are bound to all servers in their order: the first that is alive.
fn owner(rows: &[Row]) -> Option<usize> {
    rows.iter().filter(|row| row.lives).map(|row| row.of).min()
}
