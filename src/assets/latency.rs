//! SQL of the list of assets by latency: those that never answered stand last, whichever way it is sorted.

use mysql_async::Value;

use super::list::{Narrowed, Wanted};
use super::search::{direction, filter, is_walked, key, order, source, up_only};

/// The ids of a page with the rank of those with and without a latency as `place`, in this order.
pub fn ids_sql(wanted: &Wanted, groups: Option<&Narrowed>, count: usize) -> (String, Vec<Value>) {
    if !is_walked(wanted, groups) {
        let (sql, values) = of_few(wanted, groups);
        return (format!("{sql} order by {} limit {count}", order(wanted, "")), values);
    }
    let way = direction(wanted).0;
    let (mut all, mut values) = (Vec::new(), Vec::new());
    for rank in ranks(wanted) {
        let (sql, own) = of_one(wanted, groups, rank);
        // Told what they are sorted by that is one and the same, the database would read and sort them all.
        let within = if rank == 0 {
            format!("l.latency_us {way}, ")
        } else {
            String::new()
        };
        all.push(format!("({sql} order by {within}l.asset_id {way} limit {count})"));
        values.extend(own);
    }
    let sql = format!(
        "select asset_id, place, sorted from ({}) u order by {} limit {count}",
        all.join(" union all "),
        order(wanted, "u.")
    );
    (sql, values)
}

/// Where a page begins: a rank, a latency and an id.
fn place(wanted: &Wanted) -> Option<(usize, u32, u32)> {
    let place = wanted.place.as_ref()?;
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let rank = usize::from(place.key.starts_with('1'));
    Some((rank, number(place.key.get(1..)), place.asset_id))
}

/// How a rank compares that comes later.
fn later(wanted: &Wanted) -> &'static str {
    let is_turned = direction(wanted).0 != if wanted.descending { "desc" } else { "asc" };
    if is_turned { "<" } else { ">" }
}

fn ranks(wanted: &Wanted) -> impl Iterator<Item = usize> {
    let (first, later) = (place(wanted).map(|(rank, ..)| rank), later(wanted));
    (0..2).filter(move |rank| first.is_none_or(|first| *rank == first || (*rank < first) == (later == "<")))
}

fn of_one(wanted: &Wanted, groups: Option<&Narrowed>, rank: usize) -> (String, Vec<Value>) {
    let (mut sql, mut values) = filter(wanted, groups);
    let than = direction(wanted).1;
    let place = place(wanted).filter(|(first, ..)| *first == rank);
    match (rank, place) {
        (0, None) => sql.push_str(" and l.latency_us is not null"),
        (0, Some((_, latency, asset_id))) => {
            sql.push_str(&format!(
                " and l.latency_us {than}= ? and (l.latency_us {than} ? or l.asset_id {than} ?)"
            ));
            values.extend([latency.into(), latency.into(), asset_id.into()]);
        }
        (_, None) => sql.push_str(" and l.latency_us is null"),
        (_, Some((.., asset_id))) => {
            sql.push_str(&format!(" and l.latency_us is null and l.asset_id {than} ?"));
            values.push(asset_id.into());
        }
    }
    let source = format!(
        "asset_watch l force index (asset_watch_latency) straight_join asset a on a.asset_id = l.asset_id{}",
        up_only(wanted)
    );
    let sql = format!("select l.asset_id, {rank} as place, l.latency_us as sorted from {source} where {sql}");
    (sql, values)
}

fn of_few(wanted: &Wanted, groups: Option<&Narrowed>) -> (String, Vec<Value>) {
    let (mut sql, mut values) = filter(wanted, groups);
    if let Some((first, latency, asset_id)) = place(wanted) {
        let (than, later) = (direction(wanted).1, later(wanted));
        let within = match first {
            0 => {
                values.extend([latency.into(), latency.into()]);
                format!("(l.latency_us {than} ? or l.latency_us = ? and l.asset_id {than} ?)")
            }
            _ => format!("l.asset_id {than} ?"),
        };
        values.push(asset_id.into());
        let rank = "(l.latency_us is null)";
        sql.push_str(&format!(
            " and ({rank} {later} {first} or {rank} = {first} and {within})"
        ));
    }
    let source = source(wanted, key(wanted, groups));
    let sql = format!(
        "select l.asset_id, l.latency_us is null as place, l.latency_us as sorted from {source} \
         straight_join asset_watch l on l.asset_id = a.asset_id where {sql}"
    );
    (sql, values)
}
