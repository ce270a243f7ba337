//! SQL of the list of assets: its pages, and what its filters leave.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value};

use super::list::{Narrowed, Shown, Sort, Wanted};
use super::queries::{ROW, Row};
use super::state::State;
use super::{latency, trouble};
use crate::db::numbers;
use crate::groups::name_key;
use crate::web::slice::Side;

/// Whether another asset of its kind is at the same address.
const TWIN: &str = ", exists (select 1 from asset x force index (asset_address) where x.address = a.address \
    and x.kind = a.kind and x.asset_id <> a.asset_id) as has_twin";
/// The most that are counted.
const MOST_COUNTED: u64 = 1000;

/// One page of the list, with one row more when there is a further page. The inner statement finds the ids by a key alone.
pub async fn page(
    conn: &mut Conn,
    wanted: &Wanted,
    groups: Option<&Narrowed>,
    count: usize,
) -> mysql_async::Result<Vec<Row>> {
    let (sql, values) = page_sql(wanted, groups, count);
    conn.exec(sql, Params::Positional(values)).await
}

/// The statement of [`page`], to be looked at by a test.
pub fn page_sql(wanted: &Wanted, groups: Option<&Narrowed>, count: usize) -> (String, Vec<Value>) {
    rows_sql(wanted, groups, count, "")
}

/// Rows by their ids, which an inner statement finds and puts in order; `more` columns behind each. What is sorted are those ids
/// alone: with the long texts of a row, the database would sort on disk.
fn rows_sql(wanted: &Wanted, groups: Option<&Narrowed>, count: usize, more: &str) -> (String, Vec<Value>) {
    let (ids, values) = match wanted.sort {
        Sort::State => trouble::ids_sql(wanted, groups, count + 1),
        Sort::Latency => latency::ids_sql(wanted, groups, count + 1),
        _ => ids_sql(wanted, groups, count + 1),
    };
    let sql = format!(
        "select {ROW}{more} from ({ids}) k straight_join asset a on a.asset_id = k.asset_id \
         straight_join asset_watch w on w.asset_id = k.asset_id order by {}",
        order(wanted, "k.")
    );
    (sql, values)
}

/// The order of the list, by the columns of a table of ids: a rank where there are such, what is sorted by, the id.
pub(super) fn order(wanted: &Wanted, table: &str) -> String {
    let way = direction(wanted).0;
    let rank = match wanted.sort {
        Sort::State => format!("{table}place {way}, "),
        Sort::Latency if wanted.descending == (way == "desc") => format!("{table}place asc, "),
        Sort::Latency => format!("{table}place desc, "),
        _ => String::new(),
    };
    format!("{rank}{table}sorted {way}, {table}asset_id {way}")
}

/// In which direction the rows are read, and how one compares that comes later.
pub(super) fn direction(wanted: &Wanted) -> (&'static str, &'static str) {
    let is_before = wanted.place.as_ref().is_some_and(|place| place.side == Side::Before);
    match wanted.descending != is_before {
        true => ("desc", "<"),
        false => ("asc", ">"),
    }
}

fn ids_sql(wanted: &Wanted, groups: Option<&Narrowed>, count: usize) -> (String, Vec<Value>) {
    let (mut filter, mut values) = filter(wanted, groups);
    let (column, (order, than)) = (wanted.sort.column(), direction(wanted));
    if let Some(place) = &wanted.place {
        filter.push_str(&beyond(column, than));
        let key = Value::from(place.key.as_str());
        values.extend([key.clone(), key, place.asset_id.into()]);
    }
    let sql = format!(
        "select a.asset_id, a.{column} as sorted from {} where {filter} order by a.{column} {order}, a.asset_id {order} limit {count}",
        source(wanted, key(wanted, groups)),
    );
    (sql, values)
}

/// What comes later than a place in the order of a column: its value twice, and the id.
pub(super) fn beyond(column: &str, than: &str) -> String {
    format!(" and a.{column} {than}= ? and (a.{column} {than} ? or a.asset_id {than} ?)")
}

/// A page of the list with what is said beside it.
#[derive(Debug)]
pub struct Listed {
    pub rows: Vec<Row>,
    /// Of these another one of their kind has the same address.
    pub twins: Vec<u32>,
    /// How many the filters leave, up to [`MOST_COUNTED`] and one; none where that would mean to read much more than is counted.
    pub total: Option<u64>,
}

/// [`page`], with what is said beside it.
pub async fn counted(
    conn: &mut Conn,
    wanted: &Wanted,
    groups: Option<&Narrowed>,
    count: usize,
) -> mysql_async::Result<Listed> {
    let (sql, values) = counted_sql(wanted, groups, count);
    let rows: Vec<mysql_async::Row> = conn.exec(sql, Params::Positional(values)).await?;
    let total: Option<Option<u64>> = rows.first().and_then(|row| row.get("total"));
    let has_twin = |row: &&mysql_async::Row| row.get("has_twin") == Some(true);
    Ok(Listed {
        total: total.flatten(),
        twins: { rows.iter().filter(has_twin) }
            .filter_map(|row| row.get("asset_id"))
            .collect(),
        rows: rows.into_iter().map(mysql_async::from_row).collect(),
    })
}

/// The statement of [`counted`], to be looked at by a test.
pub fn counted_sql(wanted: &Wanted, groups: Option<&Narrowed>, count: usize) -> (String, Vec<Value>) {
    let Some(key) = counting_key(wanted, groups) else {
        return rows_sql(wanted, groups, count, &format!("{TWIN}, null as total"));
    };
    let (filter, mut counted) = filter(wanted, groups);
    let total = format!(
        "{TWIN}, (select count(*) from (select 1 from {} where {filter} limit {}) n) as total",
        source(wanted, key),
        MOST_COUNTED + 1
    );
    let (sql, values) = rows_sql(wanted, groups, count, &total);
    counted.extend(values);
    (sql, counted)
}

/// The key along which nearly everything that is read is counted; none where there is no such key.
fn counting_key(wanted: &Wanted, groups: Option<&Narrowed>) -> Option<&'static str> {
    // Of each that is up the watch has to be read as well.
    let is_up = wanted.state == Some(Shown::Is(State::Up));
    if is_up || !wanted.name.is_empty() || !wanted.address.is_empty() {
        return None;
    }
    match (groups, wanted.kind, wanted.state) {
        (Some(groups), ..) if groups.are_few => Some("asset_group"),
        (Some(_), None, None) => Some("asset_group"),
        (None, Some(_), None) => Some("asset_kind"),
        (None, None, Some(Shown::Paused)) => Some("asset_paused"),
        (None, None, Some(Shown::Stale)) => Some("asset_watch_stale"),
        (None, None, Some(Shown::Is(_))) => Some("asset_state"),
        (None, None, None) => Some("asset_name"),
        _ => None,
    }
}

/// How many there are, for people.
pub fn total(counted: u64) -> String {
    match counted > MOST_COUNTED {
        true => format!("{MOST_COUNTED}+"),
        false => counted.to_string(),
    }
}

/// The table, read along a key; what is too old is found along its own.
pub(super) fn source(wanted: &Wanted, key: &str) -> String {
    match wanted.state {
        Some(Shown::Stale) => {
            "asset_watch v force index (asset_watch_stale) straight_join asset a on a.asset_id = v.asset_id".to_owned()
        }
        _ => format!("asset a force index ({key}){}", up_only(wanted)),
    }
}

/// What is shown as up was found so not long ago, as its row says it too.
pub(super) fn up_only(wanted: &Wanted) -> &'static str {
    match wanted.state {
        Some(Shown::Is(State::Up)) => {
            " straight_join asset_watch v on v.asset_id = a.asset_id and coalesce(v.stale_at >= utc_timestamp(6), 1)"
        }
        _ => "",
    }
}

/// Whether the list is walked along in its order until a page is full; else all that is left is read and sorted, as it is little.
pub(super) fn is_walked(wanted: &Wanted, groups: Option<&Narrowed>) -> bool {
    let is_much = matches!(wanted.state, None | Some(Shown::Is(State::Up)));
    is_much && !groups.is_some_and(|groups| groups.are_few)
}

/// The key that finds a page. The database is told, because it guesses badly how soon a page is full: it reads and sorts a
/// third of the table rather than walk along it. Each of these keys holds all that is filtered by, so whatever it is, the rows
/// themselves are read for one page only.
pub(super) fn key(wanted: &Wanted, groups: Option<&Narrowed>) -> &'static str {
    match wanted.state {
        _ if groups.is_some_and(|groups| groups.are_few) => "asset_group",
        Some(Shown::Paused) => "asset_paused",
        // What is up is nearly everything, so the page is soon full in whatever order.
        Some(Shown::Is(state)) if state != State::Up => "asset_state",
        _ => match wanted.sort {
            Sort::Name if wanted.kind.is_some() => "asset_kind",
            Sort::Name | Sort::State | Sort::Latency => "asset_name",
            Sort::Address => "asset_address",
            Sort::Modified => "asset_modified",
            Sort::Created => "asset_created",
        },
    }
}

/// What is filtered by, as SQL over positional values.
pub(super) fn filter(wanted: &Wanted, groups: Option<&Narrowed>) -> (String, Vec<Value>) {
    let (mut sql, mut values) = ("1 = 1".to_owned(), Vec::<Value>::new());
    if let Some(kind) = wanted.kind {
        sql.push_str(" and a.kind = ?");
        values.push(kind.code().into());
    }
    if !wanted.name.is_empty() {
        sql.push_str(" and locate(?, a.name_key) > 0");
        values.push(name_key(&wanted.name).into());
    }
    if !wanted.address.is_empty() {
        sql.push_str(" and locate(lower(?), lower(a.address)) > 0");
        values.push(wanted.address.as_str().into());
    }
    match groups.map(|groups| groups.ids.as_slice()) {
        None => {}
        Some([]) => sql.push_str(" and 1 = 0"),
        Some(ids) => {
            sql.push_str(&format!(" and a.group_id in ({})", numbers(ids)));
        }
    }
    match wanted.state {
        None => {}
        Some(Shown::Is(state)) => {
            // Those that are paused say that they are.
            sql.push_str(" and a.state = ? and coalesce(a.paused_until <= utc_timestamp(6), 1)");
            values.push(state.code().into());
        }
        Some(Shown::Paused) => sql.push_str(" and a.paused_until > utc_timestamp(6)"),
        Some(Shown::Stale) => sql.push_str(
            " and v.stale_at < utc_timestamp(6) and a.state <> 'new' and coalesce(a.paused_until <= utc_timestamp(6), 1)",
        ),
    }
    (sql, values)
}

/// The ids of the next assets that the filters leave, in the order of their ids.
pub async fn matching(
    conn: &mut Conn,
    (wanted, groups): (&Wanted, Option<&Narrowed>),
    after: u32,
    count: usize,
) -> mysql_async::Result<Vec<u32>> {
    let (filter, mut values) = filter(wanted, groups);
    values.push(after.into());
    let sql = format!(
        "select a.asset_id from {} where {filter} and a.asset_id > ? order by a.asset_id limit {count}",
        source(wanted, "primary")
    );
    conn.exec(sql, Params::Positional(values)).await
}
