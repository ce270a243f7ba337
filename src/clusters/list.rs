//! The list as the reader sees it: rows, headings, state tabs and the way to its other parts.

use chrono::{Local, NaiveDateTime, TimeZone};

use super::queries::Row;
use super::wanted::{SIZES, Sort, Wanted};
use crate::i18n::Text;
use crate::liveness::{State, rule};

/// The rows and what stands around them; fields for the template.
#[derive(Debug)]
pub struct List {
    pub wanted: Wanted,
    pub rows: Vec<Row>,
    pub counts: Vec<(State, u64)>,
    /// Rows that match, over all pages.
    pub total: u64,
    pub own_interval_s: u32,
}

/// One column's heading.
pub struct Heading {
    pub name: Text,
    /// Where clicking it leads.
    pub link: String,
    /// `ascending`, `descending` or `none`, for screen readers.
    pub aria_sort: &'static str,
}

/// One entry of the state filter.
pub struct Tab {
    pub name: Text,
    pub count: u64,
    pub link: String,
    pub colour: &'static str,
    pub is_current: bool,
}

impl List {
    pub fn rule(&self) -> Text {
        rule(self.own_interval_s)
    }

    pub fn headings(&self) -> Vec<Heading> {
        let sorted = |name: &'static str, sort: Sort| Heading {
            name: Text::new(name),
            link: self.wanted.sorted_by(sort),
            aria_sort: match (self.wanted.sort == sort, self.wanted.descending) {
                (true, true) => "descending",
                (true, false) => "ascending",
                (false, _) => "none",
            },
        };
        vec![
            sorted("clusters.install_id", Sort::InstallId),
            sorted("clusters.cluster_id", Sort::ClusterId),
            sorted("clusters.name", Sort::Name),
            sorted("clusters.state", Sort::State),
            sorted("clusters.address", Sort::Address),
            sorted("clusters.host", Sort::Host),
            sorted("clusters.version", Sort::Version),
            sorted("clusters.beat_at", Sort::Beat),
            sorted("clusters.modified_by", Sort::ModifiedBy),
            sorted("clusters.created_at", Sort::Created),
            sorted("clusters.modified_at", Sort::Modified),
        ]
    }

    pub fn tabs(&self) -> Vec<Tab> {
        let all = Tab {
            name: Text::new("clusters.all_states"),
            count: self.counts.iter().map(|(_, count)| count).sum(),
            link: self.wanted.in_state(None),
            colour: "blue",
            is_current: self.wanted.state.is_none(),
        };
        let of = |state: State| Tab {
            name: state.name(),
            count: self
                .counts
                .iter()
                .find(|(known, _)| *known == state)
                .map_or(0, |(_, count)| *count),
            link: self.wanted.in_state(Some(state)),
            colour: state.colour(),
            is_current: self.wanted.state == Some(state),
        };
        let used = |tab: &Tab| tab.count > 0 || tab.is_current;
        std::iter::once(all)
            .chain(State::ALL.into_iter().map(of).filter(used))
            .collect()
    }

    pub fn sizes(&self) -> Vec<(u64, String, bool)> {
        SIZES
            .iter()
            .map(|&size| (size, self.wanted.of_size(size), size == self.wanted.size))
            .collect()
    }

    pub fn last_page(&self) -> u64 {
        self.total.div_ceil(self.wanted.size).max(1)
    }

    pub fn previous(&self) -> Option<String> {
        (self.wanted.page > 1).then(|| self.wanted.on_page(self.wanted.page - 1))
    }

    pub fn next(&self) -> Option<String> {
        (self.wanted.page < self.last_page()).then(|| self.wanted.on_page(self.wanted.page + 1))
    }

    pub fn position(&self) -> Text {
        Text::new("clusters.position")
            .with("total", self.total)
            .with("page", self.wanted.page)
            .with("last", self.last_page())
    }

    /// In which zone the times are shown: that of the newest beat, since a zone may change with the season.
    pub fn zone(&self) -> Option<Text> {
        let newest = self
            .rows
            .iter()
            .map(|row| row.beat_at.unwrap_or(row.created_at))
            .max()?;
        Some(Text::new("clusters.zone").with("offset", Local.from_utc_datetime(&newest).format("%:z")))
    }
}

/// What the row template asks of a row.
impl Row {
    pub fn short_id(&self) -> &str {
        self.install_id.get(..8).unwrap_or(&self.install_id)
    }

    pub fn since(&self) -> Option<NaiveDateTime> {
        self.times().since(self.state)
    }

    pub fn created(&self) -> Option<NaiveDateTime> {
        Some(self.created_at)
    }
}
