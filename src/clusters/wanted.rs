//! What the reader of the list asks for, from the address of the page, and the addresses that ask for other parts.

use url::form_urlencoded;

use crate::i18n::Text;
use crate::liveness::State;

/// No name, address or host is longer, so a longer filter cannot match anything.
const LONGEST_FILTER: usize = 255;
pub const SIZES: [u64; 4] = [10, 20, 50, 100];
const DEFAULT_SIZE: u64 = 20;

/// The columns one may sort by, as in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    InstallId,
    ClusterId,
    #[default]
    Name,
    State,
    Address,
    Host,
    Version,
    Beat,
    ModifiedBy,
    Created,
    Modified,
}

impl Sort {
    pub const ALL: [Sort; 11] = [
        Sort::InstallId,
        Sort::ClusterId,
        Sort::Name,
        Sort::State,
        Sort::Address,
        Sort::Host,
        Sort::Version,
        Sort::Beat,
        Sort::ModifiedBy,
        Sort::Created,
        Sort::Modified,
    ];

    /// The word in the URL.
    pub fn code(self) -> &'static str {
        match self {
            Sort::InstallId => "install_id",
            Sort::ClusterId => "cluster_id",
            Sort::Name => "name",
            Sort::State => "state",
            Sort::Address => "address",
            Sort::Host => "host",
            Sort::Version => "version",
            Sort::Beat => "beat",
            Sort::ModifiedBy => "modified_by",
            Sort::Created => "created",
            Sort::Modified => "modified",
        }
    }

    /// The expression to order by.
    pub fn column(self) -> &'static str {
        match self {
            Sort::State => "field(state, 'duplicate', 'offline', 'late', 'never', 'stopped', 'online')",
            Sort::Beat => "beat_at",
            Sort::Created => "created_at",
            Sort::Modified => "modified_at",
            other => other.code(),
        }
    }
}

/// Filters, order and part of the list; every field has a usable value whatever the address said.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    pub address: String,
    pub host: String,
    pub state: Option<State>,
    pub sort: Sort,
    pub descending: bool,
    pub size: u64,
    /// From 1; may lie past the end until [`Wanted::settle`].
    pub page: u64,
    /// What could not be followed, for the reader.
    pub notices: Vec<Text>,
    /// A filter no column can match; nothing is asked of the database then.
    pub impossible: bool,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            name: String::new(),
            address: String::new(),
            host: String::new(),
            state: None,
            sort: Sort::default(),
            descending: false,
            size: DEFAULT_SIZE,
            page: 1,
            notices: Vec::new(),
            impossible: false,
        }
    }
}

impl Wanted {
    /// Reads the query of the address. Unknown keys are ignored, wrong values noted.
    pub fn parse(query: &str) -> Wanted {
        let mut wanted = Wanted::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim();
            if !value.is_empty() {
                wanted.set(&key, value);
            }
        }
        wanted
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "name" | "address" | "host" => self.filter(key, value),
            "state" => match State::parse(value) {
                Some(state) => self.state = Some(state),
                None => self.note("clusters.unknown_state", value),
            },
            "sort" => match Sort::ALL.into_iter().find(|sort| sort.code() == value) {
                Some(sort) => self.sort = sort,
                None => self.note("clusters.unknown_sort", value),
            },
            "order" => match value {
                "asc" | "desc" => self.descending = value == "desc",
                _ => self.note("clusters.unknown_order", value),
            },
            "size" => match value.parse().ok().filter(|size| SIZES.contains(size)) {
                Some(size) => self.size = size,
                None => self.note("clusters.unknown_size", value),
            },
            "page" => match value.parse::<u64>() {
                Ok(page @ 1..) => self.page = page,
                _ => self.note("clusters.unknown_page", value),
            },
            _ => {}
        }
    }

    fn filter(&mut self, key: &str, value: &str) {
        if value.chars().count() > LONGEST_FILTER {
            self.notices
                .push(Text::new("clusters.long_filter").with("most", LONGEST_FILTER));
            self.impossible = true;
        }
        match key {
            "name" => self.name = value.to_owned(),
            "address" => self.address = value.to_owned(),
            _ => self.host = value.to_owned(),
        }
    }

    fn note(&mut self, key: &'static str, value: &str) {
        let shown: String = value.chars().take(40).collect();
        self.notices.push(Text::new(key).with("value", shown));
    }

    pub fn is_filtered(&self) -> bool {
        !(self.name.is_empty() && self.address.is_empty() && self.host.is_empty() && self.state.is_none())
    }

    /// Moves a page past the end to the last one; returns the number of rows to skip.
    pub fn settle(&mut self, total: u64) -> u64 {
        let last = total.div_ceil(self.size).max(1);
        if self.page > last {
            self.notices.push(
                Text::new("clusters.past_end")
                    .with("page", self.page)
                    .with("last", last),
            );
            self.page = last;
        }
        (self.page - 1) * self.size
    }

    /// The address that asks for exactly this; defaults are left out so that shared links stay short.
    pub fn address(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in [("name", &self.name), ("address", &self.address), ("host", &self.host)] {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        if let Some(state) = self.state {
            query.append_pair("state", state.code());
        }
        if self.sort != Sort::default() {
            query.append_pair("sort", self.sort.code());
        }
        if self.descending {
            query.append_pair("order", "desc");
        }
        if self.size != DEFAULT_SIZE {
            query.append_pair("size", &self.size.to_string());
        }
        if self.page != 1 {
            query.append_pair("page", &self.page.to_string());
        }
        match query.finish().as_str() {
            "" => "/clusters".to_owned(),
            query => format!("/clusters?{query}"),
        }
    }

    pub fn on_page(&self, page: u64) -> String {
        Wanted { page, ..self.clone() }.address()
    }

    /// The address of the first page in another state, or in any.
    pub fn in_state(&self, state: Option<State>) -> String {
        Wanted {
            state,
            page: 1,
            ..self.clone()
        }
        .address()
    }

    pub fn of_size(&self, size: u64) -> String {
        Wanted {
            size,
            page: 1,
            ..self.clone()
        }
        .address()
    }

    /// The address that sorts by a column; the one already sorted by turns round.
    pub fn sorted_by(&self, sort: Sort) -> String {
        let descending = self.sort == sort && !self.descending;
        Wanted {
            sort,
            descending,
            page: 1,
            ..self.clone()
        }
        .address()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_a_round_trip() {
        let address = "/clusters?name=b%26c&host=%E6%9E%84%E5%BB%BA&state=offline&sort=beat&order=desc&size=50&page=3";
        let wanted = Wanted::parse(address.split_once('?').unwrap().1);
        assert!(wanted.notices.is_empty());
        assert_eq!(wanted.address(), address);
    }

    #[test]
    fn absurd_values_are_noted_and_replaced() {
        let wanted = Wanted::parse("page=-1&size=7&sort=name;drop&order=up&state=happy&page=99999999999999999999");
        assert_eq!(wanted.notices.len(), 6);
        assert_eq!(wanted.address(), "/clusters");
    }

    #[test]
    fn a_page_past_the_end_is_the_last_page() {
        let mut wanted = Wanted::parse("page=18446744073709551615&size=10");
        assert_eq!(wanted.settle(25), 20);
        assert_eq!(wanted.page, 3);
        assert_eq!(wanted.notices.len(), 1);
    }

    #[test]
    fn an_overlong_filter_is_kept_but_not_asked_for() {
        let wanted = Wanted::parse(&format!("name={}", "长".repeat(256)));
        assert!(wanted.impossible);
        assert_eq!(wanted.name.chars().count(), 256);
    }
}
