//! SQL of the list of assets with the worst on top: state by state, each by name.
//!
//! A key that begins with the state holds each state's assets in this order, so a page of each is read and the first of these
//! rows are the page. What is paused now cannot stand in a key, since a pause ends by itself; these are few, and sorted.

use mysql_async::Value;

use super::list::{Narrowed, Shown, Wanted};
use super::search::{beyond, direction, filter, order, source};

const IS_PAUSED: &str = "coalesce(a.paused_until > utc_timestamp(6), 0)";

/// The ids of a page with the rank of their state as `place`, in this order.
pub fn ids_sql(wanted: &Wanted, groups: Option<&Narrowed>, count: usize) -> (String, Vec<Value>) {
    let pieces = match groups {
        // All that is in them, or too old, is read once and sorted.
        Some(few) if few.are_few => vec![of_few(wanted, groups)],
        _ if wanted.state == Some(Shown::Stale) => vec![of_few(wanted, groups)],
        _ => { ranks(wanted) }
            .map(|(rank, shown)| of_one(wanted, groups, (rank, shown)))
            .collect(),
    };
    let (mut all, mut values) = (Vec::new(), Vec::new());
    for (sql, own) in pieces {
        all.push(format!("({sql} order by {} limit {count})", within(wanted)));
        values.extend(own);
    }
    if all.is_empty() {
        all.push("(select a.asset_id, 0 as place, a.name_key as sorted from asset a where 1 = 0)".to_owned());
    }
    let sql = format!(
        "select asset_id, place, sorted from ({}) u order by {} limit {count}",
        all.join(" union all "),
        order(wanted, "u.")
    );
    (sql, values)
}

/// The order of one piece, in the words of its key.
fn within(wanted: &Wanted) -> String {
    let order = direction(wanted).0;
    format!("place {order}, a.name_key {order}, a.asset_id {order}")
}

/// Where a page begins: the rank of a state and a name within it.
fn place(wanted: &Wanted) -> Option<(usize, &str, u32)> {
    let place = wanted.place.as_ref()?;
    let rank = place.key.get(..1).and_then(|rank| rank.parse().ok());
    Some((
        rank.unwrap_or_default(),
        place.key.get(1..).unwrap_or_default(),
        place.asset_id,
    ))
}

/// The states that a page may show, with their ranks.
fn ranks(wanted: &Wanted) -> impl Iterator<Item = (usize, Shown)> {
    let all = Shown::all().enumerate();
    all.filter(move |(rank, shown)| {
        let begins = place(wanted).is_none_or(|(first, ..)| match direction(wanted).0 {
            "asc" => *rank >= first,
            _ => *rank <= first,
        });
        begins && wanted.state.is_none_or(|state| state == *shown)
    })
}

fn of_one(wanted: &Wanted, groups: Option<&Narrowed>, (rank, shown): (usize, Shown)) -> (String, Vec<Value>) {
    let (mut sql, mut values) = filter(wanted, groups);
    let key = match shown {
        Shown::Paused => {
            sql.push_str(" and a.paused_until > utc_timestamp(6)");
            "asset_paused"
        }
        Shown::Is(state) => {
            sql.push_str(&format!(" and a.state = '{}' and not {IS_PAUSED}", state.code()));
            "asset_state"
        }
        Shown::Stale => "asset_name",
    };
    if let Some((_, name, asset_id)) = place(wanted).filter(|(first, ..)| *first == rank) {
        sql.push_str(&beyond("name_key", direction(wanted).1));
        values.extend([name.into(), name.into(), asset_id.into()]);
    }
    let source = source(wanted, key);
    let sql = format!("select a.asset_id, {rank} as place, a.name_key as sorted from {source} where {sql}");
    (sql, values)
}

fn of_few(wanted: &Wanted, groups: Option<&Narrowed>) -> (String, Vec<Value>) {
    let (mut sql, mut values) = filter(wanted, groups);
    let codes: Vec<String> = Shown::all().map(|shown| format!("'{}'", shown.code())).collect();
    let rank = format!("field(if({IS_PAUSED}, 'paused', a.state), {}) - 1", codes.join(", "));
    if let Some((first, name, asset_id)) = place(wanted) {
        let than = direction(wanted).1;
        sql.push_str(&format!(
            " and ({rank} {than} {first} or {rank} = {first}{})",
            beyond("name_key", than)
        ));
        values.extend([name.into(), name.into(), asset_id.into()]);
    }
    let source = source(wanted, "asset_group");
    let sql = format!("select a.asset_id, {rank} as place, a.name_key as sorted from {source} where {sql}");
    (sql, values)
}
