//! The list of workspaces: what is asked for, and its pages by key.

use url::form_urlencoded;

use super::queries::Row;
use crate::install::is_install_id;

/// Rows on a page.
pub const PAGE: usize = 50;

/// Which cluster the workspaces are bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Bound {
    #[default]
    Any,
    Nowhere,
    /// To one that is not alive.
    Offline,
    /// To this one.
    To(String),
}

impl Bound {
    fn parse(word: &str) -> Bound {
        match word {
            "none" => Bound::Nowhere,
            "offline" => Bound::Offline,
            id if is_install_id(id) => Bound::To(id.to_owned()),
            _ => Bound::Any,
        }
    }

    /// The word in addresses.
    pub fn word(&self) -> &str {
        match self {
            Bound::Any => "",
            Bound::Nowhere => "none",
            Bound::Offline => "offline",
            Bound::To(install_id) => install_id,
        }
    }
}

/// What the reader asks for, from the query of the address.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub name: String,
    pub folder: String,
    pub bound: Bound,
    /// The key of the last name of the page before.
    pub after: Option<String>,
    /// The key of the first name of the page behind.
    pub before: Option<String>,
}

impl Wanted {
    pub fn parse(query: &str) -> Wanted {
        let mut wanted = Wanted::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let text = || value.trim().chars().take(150).collect::<String>();
            match key.as_ref() {
                "name" => wanted.name = text(),
                "folder" => wanted.folder = text(),
                "cluster" => wanted.bound = Bound::parse(&value),
                "after" => wanted.after = Some(text()),
                "before" => wanted.before = Some(text()),
                _ => {}
            }
        }
        wanted
    }

    pub fn is_filtered(&self) -> bool {
        !self.name.is_empty() || !self.folder.is_empty() || self.bound != Bound::Any
    }

    /// The address of the list with these filters, at a place in it.
    pub fn address(&self, place: Option<(&str, &str)>) -> String {
        let filters = [
            ("name", self.name.as_str()),
            ("folder", self.folder.as_str()),
            ("cluster", self.bound.word()),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(filters.into_iter().filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(place);
        match query.finish() {
            none if none.is_empty() => "/workspaces".to_owned(),
            query => format!("/workspaces?{query}"),
        }
    }
}

/// One page of rows, and where the pages beside it begin.
#[derive(Debug)]
pub struct Slice {
    pub rows: Vec<Row>,
    pub next: Option<String>,
    pub previous: Option<String>,
}

impl Slice {
    /// From what was read: one row more than a page when there is a further one.
    pub fn of(wanted: &Wanted, mut rows: Vec<Row>) -> Slice {
        let is_backward = wanted.after.is_none() && wanted.before.is_some();
        let has_more = rows.len() > PAGE;
        rows.truncate(PAGE);
        if is_backward {
            rows.reverse();
        }
        let key = |row: Option<&Row>| row.map(|row| row.name_key.clone());
        let (has_next, has_previous) = match is_backward {
            true => (true, has_more),
            false => (has_more, wanted.after.is_some()),
        };
        let first = key(rows.first()).filter(|_| has_previous);
        let last = key(rows.last()).filter(|_| has_next);
        Slice {
            next: last.map(|key| wanted.address(Some(("after", &key)))),
            previous: first.map(|key| wanted.address(Some(("before", &key)))),
            rows,
        }
    }
}
