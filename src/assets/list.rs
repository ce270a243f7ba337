//! The list of assets: what is asked for, and its pages by key.

use url::form_urlencoded;

use super::kind::Kind;
use super::queries::Row;
use super::state::State;
use crate::groups::Group;
use crate::install::is_install_id;
use crate::web::slice::{Side, Slice};

/// One group of so many is few: with 100,000 assets evenly in them, either way then reads about two thousand of a key.
const FEW: usize = 40;

/// Who watches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Watched {
    #[default]
    Anyhow,
    /// By no cluster: none is bound to the group, or none of them is alive.
    Nobody,
    By(String),
}

/// A state to be filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Is(State),
    Paused,
    /// What the last check said is too old to be believed.
    Stale,
}

impl Shown {
    /// Those to choose from.
    pub fn choices() -> impl Iterator<Item = Shown> {
        Shown::all().chain([Shown::Stale])
    }

    /// Those of which each asset has one, the worst first.
    pub fn all() -> impl Iterator<Item = Shown> {
        State::ALL.into_iter().map(Shown::Is).chain([Shown::Paused])
    }

    pub fn of(row: &Row) -> Shown {
        match row.is_paused {
            true => Shown::Paused,
            false => Shown::Is(row.state),
        }
    }

    /// Its place in the list that has the worst on top, as one digit.
    pub fn rank(self) -> usize {
        Shown::all().position(|shown| shown == self).unwrap_or_default()
    }

    pub fn code(self) -> &'static str {
        match self {
            Shown::Is(state) => state.code(),
            Shown::Paused => "paused",
            Shown::Stale => "stale",
        }
    }

    pub fn name(self) -> crate::i18n::Text {
        match self {
            Shown::Is(state) => state.name(),
            Shown::Paused => crate::i18n::Text::new("assets.paused"),
            Shown::Stale => crate::i18n::Text::new("assets.stale"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Name,
    Address,
    Modified,
    Created,
    /// The worst first, by name within each state; what is paused stands last.
    State,
    /// What never answered stands last, whichever way it is sorted.
    Latency,
}

impl Sort {
    const ALL: [Sort; 6] = [
        Sort::Name,
        Sort::Address,
        Sort::Modified,
        Sort::Created,
        Sort::State,
        Sort::Latency,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Address => "address",
            Sort::Modified => "modified",
            Sort::Created => "created",
            Sort::State => "state",
            Sort::Latency => "latency",
        }
    }

    /// Rows that are equal in it stand in the order of their ids. Those of one state stand by name.
    pub fn column(self) -> &'static str {
        match self {
            Sort::Name | Sort::State => "name_key",
            Sort::Address => "address",
            Sort::Modified => "modified_at",
            Sort::Created => "asset_id",
            Sort::Latency => "latency_us",
        }
    }

    fn key(self, row: &Row) -> String {
        match self {
            Sort::Name => row.name_key.clone(),
            Sort::Address => row.address.clone(),
            Sort::Modified => row.modified_at.format("%F %T%.6f").to_string(),
            Sort::Created => row.asset_id.to_string(),
            Sort::State => format!("{}{}", Shown::of(row).rank(), row.name_key),
            Sort::Latency => row.latency_us.map_or_else(|| "1".to_owned(), |us| format!("0{us}")),
        }
    }
}

/// A place between two rows: the sorted value and the id of the row beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub key: String,
    pub asset_id: u32,
    pub side: Side,
}

/// Some of all groups.
#[derive(Debug, Clone)]
pub struct Narrowed {
    pub ids: Vec<u32>,
    /// So few that it is quicker to read what is in them than to walk along the list until the page is full.
    pub are_few: bool,
}

/// What the reader asks for, from the query of the address.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub kind: Option<Kind>,
    pub name: String,
    pub address: String,
    pub group_id: Option<u32>,
    pub watched: Watched,
    pub state: Option<Shown>,
    pub sort: Sort,
    pub descending: bool,
    pub place: Option<Place>,
}

impl Wanted {
    pub fn parse(query: &str) -> Wanted {
        let mut wanted = Wanted::default();
        let (mut after, mut before, mut id) = (None, None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let text = || value.trim().chars().take(255).collect::<String>();
            match key.as_ref() {
                "kind" => wanted.kind = Kind::parse(&value),
                "name" => wanted.name = text(),
                "address" => wanted.address = text(),
                "group" => wanted.group_id = value.parse().ok(),
                "cluster" if value == "none" => wanted.watched = Watched::Nobody,
                "cluster" if is_install_id(&value) => wanted.watched = Watched::By(value.into_owned()),
                "state" => wanted.state = Shown::choices().find(|shown| shown.code() == value),
                "sort" => {
                    wanted.sort = Sort::ALL
                        .into_iter()
                        .find(|sort| sort.code() == value)
                        .unwrap_or_default()
                }
                "order" => wanted.descending = value == "desc",
                "after" => after = Some(text()),
                "before" => before = Some(text()),
                "id" => id = value.parse().ok(),
                _ => {}
            }
        }
        let side = if after.is_some() { Side::After } else { Side::Before };
        wanted.place = after
            .or(before)
            .zip(id)
            .map(|(key, asset_id)| Place { key, asset_id, side });
        wanted
    }

    /// What comes after a row, in the same order.
    #[must_use]
    pub fn after(&self, row: &Row) -> Wanted {
        let place = Place {
            key: self.sort.key(row),
            asset_id: row.asset_id,
            side: Side::After,
        };
        Wanted {
            place: Some(place),
            ..self.clone()
        }
    }

    /// The address of all that these filters leave, as CSV.
    pub fn export(&self) -> String {
        self.here().replacen("/assets", "/assets/export", 1)
    }

    pub fn is_filtered(&self) -> bool {
        let texts = self.name.is_empty() && self.address.is_empty();
        !texts || self.group_id.is_some() || self.watched != Watched::Anyhow || self.state.is_some()
    }

    /// `none`, an install id, or nothing.
    pub fn cluster(&self) -> &str {
        match &self.watched {
            Watched::Anyhow => "",
            Watched::Nobody => "none",
            Watched::By(install_id) => install_id,
        }
    }

    /// The groups that the filters leave; none for all of them.
    pub fn narrowed(&self, groups: &[Group]) -> Option<Narrowed> {
        let fits = |group: &&Group| match &self.watched {
            Watched::Anyhow => true,
            Watched::Nobody => group.owner().is_none(),
            Watched::By(install_id) => group.owner().is_some_and(|owner| owner.install_id == *install_id),
        };
        // Of what nobody watches it is not known whether it is still up, and its row says that rather than how old this is.
        let is_of_age = matches!(self.state, Some(Shown::Is(State::Up) | Shown::Stale));
        let is_known = |group: &&Group| !is_of_age || group.owner().is_some();
        let is_open = self.watched == Watched::Anyhow && self.group_id.is_none();
        let left = groups.iter().filter(fits).filter(is_known).map(|group| group.group_id);
        let ids: Vec<u32> = left
            .filter(|id| self.group_id.is_none_or(|wanted| wanted == *id))
            .collect();
        (!is_open || ids.len() < groups.len()).then(|| Narrowed {
            are_few: !is_open && (ids.len() == 1 || ids.len() * FEW <= groups.len()),
            ids,
        })
    }

    /// The address of the list with these filters.
    pub fn here(&self) -> String {
        self.address_with(&[])
    }

    /// [`Wanted::here`], at the same place in it.
    pub fn this(&self) -> String {
        match &self.place {
            None => self.here(),
            Some(place) => {
                let id = place.asset_id.to_string();
                self.address_with(&[(place.side.word(), &place.key), ("id", &id)])
            }
        }
    }

    /// The page of these rows.
    pub fn slice(&self, rows: Vec<Row>) -> Slice<Row> {
        Slice::of(rows, self.place.as_ref().map(|place| place.side), |side, row| {
            let (key, id) = (self.sort.key(row), row.asset_id.to_string());
            self.address_with(&[(side.word(), &key), ("id", &id)])
        })
    }

    /// The list of the kind without other filters.
    pub fn of_kind_alone(&self) -> String {
        let kind = self.kind;
        Wanted {
            kind,
            ..Wanted::default()
        }
        .here()
    }

    /// The list in another order, from its beginning; the other way round when it is in that order already.
    pub fn sorted_by(&self, sort: Sort) -> String {
        let descending = self.sort == sort && !self.descending;
        Wanted {
            sort,
            descending,
            ..self.clone()
        }
        .here()
    }

    pub fn aria_sort(&self, sort: Sort) -> &'static str {
        match (self.sort == sort, self.descending) {
            (true, true) => "descending",
            (true, false) => "ascending",
            (false, _) => "none",
        }
    }

    fn address_with(&self, more: &[(&str, &str)]) -> String {
        let group = self.group_id.map(|id| id.to_string()).unwrap_or_default();
        let filters = [
            ("kind", self.kind.map_or("", Kind::code)),
            ("name", &self.name),
            ("address", &self.address),
            ("group", &group),
            ("cluster", self.cluster()),
            ("state", self.state.map_or("", Shown::code)),
            ("sort", if self.sort == Sort::Name { "" } else { self.sort.code() }),
            ("order", if self.descending { "desc" } else { "" }),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(filters.into_iter().filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(more);
        match query.finish() {
            none if none.is_empty() => "/assets".to_owned(),
            query => format!("/assets?{query}"),
        }
    }
}
