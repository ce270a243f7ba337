//! Assets as people see them: in view of who watches, of when somebody last looked, and of what happened in thirty days.

use chrono::{Datelike, NaiveDateTime};

use super::facts::Facts;
use super::outcome::Reason;
use super::queries::{Event, Row};
use super::state::State;
use crate::groups::{Group, Member};
use crate::i18n::Text;

/// Seconds that the bar shows.
const SPAN: i64 = 30 * 86_400;
/// Width of the bar in units of its picture.
const WIDTH: i64 = 240;
/// A result is old after this many intervals without another one. The column `stale_at`, by which the list is filtered, counts
/// with the same numbers.
const STALE_INTERVALS: i64 = 3;
/// And so many seconds besides.
const STALE_SLACK_S: i64 = 30;

/// One asset with its group.
#[derive(Debug)]
pub struct Line {
    pub row: Row,
    pub group: Option<Group>,
    pub facts: Facts,
    pub reason: Option<Reason>,
    pub bar: Bar,
}

impl Line {
    /// From everything that a page read.
    pub fn of(row: Row, groups: &[Group], events: &[Event]) -> Line {
        let own: Vec<&Event> = events.iter().filter(|event| event.asset_id == row.asset_id).collect();
        Line {
            group: groups.iter().find(|group| group.group_id == row.group_id).cloned(),
            facts: row
                .facts
                .as_deref()
                .and_then(|facts| serde_json::from_str(facts).ok())
                .unwrap_or_default(),
            reason: serde_json::from_str(&row.reason).ok(),
            bar: Bar::of(&row, &own),
            row,
        }
    }

    pub fn group_name(&self) -> &str {
        self.group.as_ref().map_or("", |group| &group.name)
    }

    /// Who watches, if anybody.
    pub fn owner(&self) -> Option<&Member> {
        self.group.as_ref()?.owner()
    }

    /// Whether a standby watches.
    pub fn is_by_standby(&self) -> bool {
        let first = self.group.as_ref().and_then(|group| group.members.first());
        self.owner()
            .zip(first)
            .is_some_and(|(owner, first)| owner.install_id != first.install_id)
    }

    /// Nobody looks, although somebody should.
    pub fn is_unwatched(&self) -> bool {
        self.owner().is_none() && !self.row.is_paused
    }

    /// Where that is mended.
    pub fn remedy(&self) -> String {
        self.group.as_ref().map_or_else(|| "/groups".to_owned(), remedy)
    }

    /// In words, why nobody looks.
    pub fn unwatched_because(&self) -> Text {
        match &self.group {
            Some(group) => unwatched(group),
            None => Text::new("groups.missing"),
        }
    }

    /// The last result is too old to be believed.
    pub fn is_stale(&self) -> bool {
        let limit = i64::from(self.row.interval_s) * STALE_INTERVALS + STALE_SLACK_S;
        !self.row.is_paused && self.row.state != State::New && self.row.age_s.is_some_and(|age| age > limit)
    }

    pub fn word(&self) -> Text {
        match () {
            () if self.row.is_paused => Text::new("assets.paused"),
            () if self.is_unwatched() => Text::new("assets.unwatched"),
            () if self.is_stale() => Text::new("assets.stale"),
            () => self.row.state.name(),
        }
    }

    pub fn colour(&self) -> &'static str {
        match () {
            () if self.row.is_paused => "secondary",
            () if self.is_unwatched() => "red",
            () if self.is_stale() => "yellow",
            () => self.row.state.colour(),
        }
    }

    /// What the last check said, once that is not what the state says itself.
    pub fn last_state(&self) -> Option<Text> {
        let hides = self.row.is_paused || self.is_unwatched() || self.is_stale();
        (hides && self.row.state != State::New).then(|| self.row.state.name())
    }

    pub fn why(&self) -> Option<Text> {
        self.reason.as_ref().map(Reason::text)
    }

    pub fn modified(&self) -> Option<NaiveDateTime> {
        Some(self.row.modified_at)
    }

    /// When a pause ends by itself; none for one that does not.
    pub fn paused_until(&self) -> Option<NaiveDateTime> {
        self.row.paused_until.filter(|until| until.year() < 9000)
    }

    pub fn has_facts(&self) -> bool {
        self.facts != Facts::default()
    }

    /// How long ago somebody looked.
    pub fn age(&self) -> Option<Text> {
        self.row.age_s.map(ago)
    }

    pub fn latency(&self) -> String {
        latency(self.row.latency_us)
    }

    /// The kind's own facts in a few words.
    pub fn brief(&self) -> Vec<Text> {
        brief(&self.facts)
    }
}

/// Where it is mended that nobody watches a group: a cluster is bound to it, or brought back.
pub fn remedy(group: &Group) -> String {
    match group.is_unbound() {
        false => format!("/groups/{}", group.group_id),
        true => format!("/groups/{}/clusters/new", group.group_id),
    }
}

/// In words, why nobody watches a group.
pub fn unwatched(group: &Group) -> Text {
    if group.is_unbound() {
        return Text::new("assets.unwatched_unbound").with("group", &group.name);
    }
    let names: Vec<&str> = group.members.iter().map(|member| member.name.as_str()).collect();
    let text = Text::new("assets.unwatched_away").with("group", &group.name);
    text.with("clusters", names.join(", "))
}

/// Milliseconds, with a digit behind the point below ten.
pub fn latency(us: Option<u32>) -> String {
    match us {
        None => "–".to_owned(),
        Some(us) if us < 10_000 => format!("{:.1} ms", f64::from(us) / 1000.0),
        Some(us) => format!("{} ms", us / 1000),
    }
}

/// Facts in a few words.
pub fn brief(facts: &Facts) -> Vec<Text> {
    let percent = |key: &'static str, value: f64| Text::new(key).with("percent", format!("{value:.0}"));
    let memory = facts.memory.map(|memory| memory.percent());
    let disk = facts.disks.first().map(|disk| disk.usage.percent());
    let mut brief = Vec::new();
    brief.extend(facts.cpu.map(|cpu| percent("facts.brief_cpu", cpu)));
    brief.extend(memory.map(|memory| percent("facts.brief_memory", memory)));
    brief.extend(disk.map(|disk| percent("facts.brief_disk", disk)));
    brief.extend(facts.containers.map(|containers| {
        let text = Text::new("facts.brief_containers").with("running", containers.running);
        text.with("all", containers.running + containers.paused + containers.stopped)
    }));
    if brief.is_empty() && !facts.software.is_empty() {
        brief.push(Text::new("audit.plain").with("value", &facts.software));
    }
    brief
}

/// How long ago, in the largest unit that is not too rough.
pub fn ago(seconds: i64) -> Text {
    match seconds {
        ..120 => Text::new("assets.seconds_ago").with("count", seconds.max(0)),
        120..7200 => Text::new("assets.minutes_ago").with("count", seconds / 60),
        7200..172_800 => Text::new("assets.hours_ago").with("count", seconds / 3600),
        _ => Text::new("assets.days_ago").with("count", seconds / 86_400),
    }
}

/// As many changes as the page of an asset reads; the list reads more of each.
pub const MANY: usize = 50;

/// Thirty days of states as a picture.
#[derive(Debug, Default)]
pub struct Bar {
    /// Left edge, width and colour.
    pub pieces: Vec<(i64, i64, &'static str)>,
    up_s: i64,
    known_s: i64,
    outages: usize,
    /// Whether what was added last is one: what goes on for another reason is no second one.
    is_out: bool,
}

impl Bar {
    fn of(row: &Row, events: &[&Event]) -> Bar {
        // Ages of changes, the oldest first, with the state that began then.
        let mut changes: Vec<(i64, State)> = Vec::new();
        // Where so many are shown there may be more, and what was before the first of them is not known.
        if let Some(first) = events.first().filter(|_| events.len() < MANY) {
            changes.push((SPAN, first.was));
        }
        changes.extend(events.iter().map(|event| (event.age_s.clamp(0, SPAN), event.state)));
        if changes.is_empty() {
            changes.push((SPAN, row.state));
        }
        let mut bar = Bar::default();
        for (place, (age, state)) in changes.iter().enumerate() {
            let until = changes.get(place + 1).map_or(0, |(age, _)| *age);
            bar.add(*age, until, *state, place + 1 == changes.len());
        }
        bar
    }

    fn add(&mut self, from_age: i64, to_age: i64, state: State, is_last: bool) {
        let seconds = from_age - to_age;
        if !matches!(state, State::New | State::Unknown) {
            self.known_s += seconds;
        }
        if matches!(state, State::Up | State::Degraded) {
            self.up_s += seconds;
        }
        let is_bad = matches!(state, State::Down | State::Changed);
        self.outages += usize::from(is_bad && !self.is_out);
        self.is_out = is_bad;
        let x = (SPAN - from_age) * WIDTH / SPAN;
        let end = (SPAN - to_age) * WIDTH / SPAN;
        // A short outage is still seen, and what is now.
        let width = (end - x).max(i64::from(is_bad || is_last) * 2);
        if width > 0 && state != State::New {
            self.pieces.push((x.min(WIDTH - width), width, state.colour()));
        }
    }

    /// The picture in words.
    pub fn text(&self) -> Text {
        if self.known_s == 0 && self.outages == 0 {
            return Text::new("assets.bar_empty");
        }
        let percent = self.up_s as f64 * 100.0 / self.known_s.max(1) as f64;
        // 99.996 % is not everything.
        let percent = (percent * 100.0).floor() / 100.0;
        Text::new("assets.bar")
            .with("percent", percent)
            .with("outages", self.outages)
    }
}

/// A small chart of the last latencies: points of a line, and the highest value in milliseconds.
#[derive(Debug)]
pub struct Chart {
    pub points: String,
    pub highest_ms: String,
    pub count: usize,
}

impl Chart {
    /// From what the row keeps, the oldest first; none for fewer than two.
    pub fn of(latencies: &str) -> Option<Chart> {
        let values: Vec<f64> = latencies.split(',').filter_map(|us| us.parse().ok()).collect();
        let highest = values.iter().copied().fold(1.0, f64::max);
        let step = 240.0 / (values.len().max(2) - 1) as f64;
        let point =
            |(place, us): (usize, &f64)| format!("{:.1},{:.1}", place as f64 * step, 46.0 - us / highest * 44.0);
        let points: Vec<String> = values.iter().enumerate().map(point).collect();
        (values.len() > 1).then(|| Chart {
            points: points.join(" "),
            highest_ms: format!("{:.1}", highest / 1000.0),
            count: values.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_each_state_where_it_was_and_counts_what_is_known() {
        let mut bar = Bar::default();
        bar.add(SPAN, SPAN / 2, State::New, false);
        bar.add(SPAN / 2, SPAN / 4, State::Up, false);
        bar.add(SPAN / 4, 0, State::Down, false);
        assert_eq!(bar.pieces, [(120, 60, "green"), (180, 60, "red")]);
        assert_eq!(
            bar.text(),
            Text::new("assets.bar").with("percent", 50.0).with("outages", 1)
        );
    }

    #[test]
    fn an_outage_of_a_minute_is_seen_also_at_the_edge() {
        let mut bar = Bar::default();
        bar.add(60, 0, State::Down, false);
        assert_eq!(bar.pieces, [(WIDTH - 2, 2, "red")]);
    }

    #[test]
    fn a_chart_needs_two_values() {
        assert!(Chart::of("").is_none() && Chart::of("5").is_none());
        let chart = Chart::of("1000,2000").unwrap();
        assert_eq!(
            (chart.points.as_str(), chart.highest_ms.as_str()),
            ("0.0,24.0 240.0,2.0", "2.0")
        );
    }
}
