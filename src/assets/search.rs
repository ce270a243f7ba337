//! SQL of the list of assets: its pages, and what its filters leave.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Value};

use super::list::{Narrowed, Shown, Sort, Wanted};
use super::queries::{ROW, Row};
use super::state::State;
use crate::db::numbers;
use crate::groups::name_key;
use crate::web::slice::Side;

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
    let (mut filter, mut values) = filter(wanted, groups);
    let column = wanted.sort.column();
    let is_before = wanted.place.as_ref().is_some_and(|place| place.side == Side::Before);
    let (order, than) = match wanted.descending != is_before {
        true => ("desc", "<"),
        false => ("asc", ">"),
    };
    if let Some(place) = &wanted.place {
        filter.push_str(&format!(
            " and a.{column} {than}= ? and (a.{column} {than} ? or a.asset_id {than} ?)"
        ));
        let key = Value::from(place.key.as_str());
        values.extend([key.clone(), key, place.asset_id.into()]);
    }
    let sql = format!(
        "select {ROW} from (select a.asset_id from asset a force index ({}) where {filter} \
         order by a.{column} {order}, a.asset_id {order} limit {}) k join asset a on a.asset_id = k.asset_id join asset_watch w on w.asset_id = k.asset_id \
         order by a.{column} {order}, a.asset_id {order}",
        key(wanted, groups),
        count + 1
    );
    (sql, values)
}

/// The key that finds a page. The database is told, because it guesses badly how soon a page is full: it reads and sorts a
/// third of the table rather than walk along it. Each of these keys holds all that is filtered by, so whatever it is, the rows
/// themselves are read for one page only.
fn key(wanted: &Wanted, groups: Option<&Narrowed>) -> &'static str {
    match wanted.state {
        _ if groups.is_some_and(|groups| groups.are_few) => "asset_group",
        Some(Shown::Paused) => "asset_paused",
        // What is up is nearly everything, so the page is soon full in whatever order.
        Some(Shown::Is(state)) if state != State::Up || wanted.sort == Sort::Name => "asset_state",
        _ => match wanted.sort {
            Sort::Name => "asset_name",
            Sort::Address => "asset_address",
            Sort::Modified => "asset_modified",
            Sort::Created => "primary",
        },
    }
}

/// What is filtered by, as SQL over positional values.
fn filter(wanted: &Wanted, groups: Option<&Narrowed>) -> (String, Vec<Value>) {
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
        sql.push_str(" and locate(?, a.address) > 0");
        values.push(wanted.address.to_lowercase().into());
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
            sql.push_str(" and a.state = ?");
            values.push(state.code().into());
        }
        Some(Shown::Paused) => sql.push_str(" and a.paused_until > utc_timestamp(6)"),
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
    let sql =
        format!("select a.asset_id from asset a where {filter} and a.asset_id > ? order by a.asset_id limit {count}");
    conn.exec(sql, Params::Positional(values)).await
}
