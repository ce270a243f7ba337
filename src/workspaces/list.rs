//! The list of workspaces: what is asked for, and its pages by key.

use url::form_urlencoded;

use super::queries::Row;
use crate::install::is_install_id;
use crate::web::slice::{Side, Slice};

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

    /// The page of these rows.
    pub fn slice(&self, rows: Vec<Row>) -> Slice<Row> {
        let side = match (&self.after, &self.before) {
            (Some(_), _) => Some(Side::After),
            (None, Some(_)) => Some(Side::Before),
            (None, None) => None,
        };
        Slice::of(rows, side, |side, row| self.address(Some((side.word(), &row.name_key))))
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
