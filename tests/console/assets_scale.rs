//! What is read of many assets by their pages and by whoever watches them: the database counts each row it touches.

use std::collections::BTreeMap;

use muster::assets::list::{Narrowed, Wanted};
use muster::assets::monitor::queries::{About, Claimed, Found, claim, due, owned, record};
use muster::assets::queries;
use muster::assets::search::{counted_sql, page_sql};
use muster::web::slice::PAGE;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, TxOpts, Value};

use crate::support::TestConsole;

const ASSETS: u32 = 20_000;
const GROUPS: u32 = 100;

/// Names that are not in the order of the ids, a third of each kind, one in a hundred down, one in a thousand paused; one in
/// a hundred is due.
async fn many(console: &TestConsole) {
    let groups: Vec<String> = (2..=GROUPS).map(|n| format!("('group {n}', 'group {n}')")).collect();
    let mut conn = console.conn().await;
    let sql = format!("insert into asset_group (name, name_key) values {}", groups.join(", "));
    conn.query_drop(sql).await.unwrap();
    for piece in 0..ASSETS / 1000 {
        let rows: Vec<String> = (piece * 1000..(piece + 1) * 1000).map(row).collect();
        let columns = "kind, name, name_key, address, group_id, settings, state, paused_until";
        let sql = format!("insert into asset ({columns}) values {}", rows.join(", "));
        conn.query_drop(sql).await.unwrap();
    }
    conn.query_drop(
        "insert into asset_watch (asset_id, group_id, due_at) select asset_id, group_id, \
         utc_timestamp(6) + interval if(asset_id % 100 = 7, 0, 1) hour from asset",
    )
    .await
    .unwrap();
    // One in a thousand is out of date, and one in ten never answered.
    conn.query_drop(
        "update asset_watch set checked_at = utc_timestamp(6) - interval if(asset_id % 1000 = 11, 900, asset_id % 40) second, \
         latency_us = if(asset_id % 10 = 3, null, asset_id * 7919 % 20011) where asset_id % 50 <> 4",
    )
    .await
    .unwrap();
    conn.query_drop("analyze table asset, asset_watch").await.unwrap();
}

fn row(number: u32) -> String {
    let kind = ["machine", "ssh", "docker"][number as usize % 3];
    let state = if number % 100 == 7 { "down" } else { "up" };
    let paused = if number % 1000 == 5 { "'9999-12-31'" } else { "null" };
    let name = format!("host {:05}", number * 7919 % 20_011);
    let address = format!("http://10.{}.{}.1:9100", number / 200, number % 200);
    let group = number % GROUPS + 1;
    format!("('{kind}', '{name}', '{name}', '{address}', {group}, '{{}}', '{state}', {paused})")
}

/// Rows that the session has read since it was asked last.
async fn reads(conn: &mut Conn) -> u64 {
    let counted: BTreeMap<String, String> = conn
        .query("show session status like 'Handler_read%'")
        .await
        .unwrap()
        .into_iter()
        .collect();
    conn.query_drop("flush status").await.unwrap();
    counted.values().filter_map(|count| count.parse::<u64>().ok()).sum()
}

/// What a statement makes on disk to sort what it found: tables, and pieces of what does not fit into memory at once.
async fn sorted_on_disk(conn: &mut Conn, (sql, values): (String, Vec<Value>)) -> u64 {
    conn.query_drop("flush status").await.unwrap();
    let rows: Vec<mysql_async::Row> = conn.exec(sql, Params::Positional(values)).await.unwrap();
    assert!(!rows.is_empty());
    let sql = "show session status where variable_name in ('Created_tmp_disk_tables', 'Sort_merge_passes')";
    let counted: Vec<(String, u64)> = conn.query(sql).await.unwrap();
    assert_eq!(counted.len(), 2);
    counted.iter().map(|(_, count)| count).sum()
}

/// Rows that a statement reads, and how many it shows.
async fn read_by(conn: &mut Conn, (sql, values): (String, Vec<Value>)) -> (u64, usize) {
    reads(conn).await;
    let rows: Vec<mysql_async::Row> = conn.exec(sql, Params::Positional(values)).await.unwrap();
    (reads(conn).await, rows.len())
}

/// Only this group, as when one is chosen of many.
fn few(group: u32) -> Narrowed {
    Narrowed {
        ids: vec![group],
        are_few: true,
    }
}

fn half() -> Narrowed {
    Narrowed {
        ids: (1..=GROUPS / 2).collect(),
        are_few: false,
    }
}

/// Pages that read much more than they show, or than can be counted.
async fn offences(conn: &mut Conn, pages: &[(&str, Option<Narrowed>)]) -> Vec<String> {
    let mut offences = Vec::new();
    for (query, groups) in pages {
        let (wanted, groups) = (Wanted::parse(query), groups.as_ref());
        let (read, shown) = read_by(conn, page_sql(&wanted, groups, PAGE)).await;
        let (with_count, _) = read_by(conn, counted_sql(&wanted, groups, PAGE)).await;
        assert!(shown > 0, "{query} shows nothing");
        // The ids of a page and one more, both rows of each, and what is passed over until there are enough of them.
        if read > 1000 {
            offences.push(format!("{query}: {read} rows read for {shown}"));
        }
        // At most a thousand are counted, each found in a key and then counted; where more would be read nothing is counted.
        // Beside each row that is shown its neighbours in the key of addresses are looked at, for a twin.
        if with_count > read + 2100 + 3 * PAGE as u64 {
            offences.push(format!("{query}: {with_count} rows read to count"));
        }
    }
    offences
}

#[tokio::test]
async fn a_page_of_the_list_reads_little_more_than_it_shows() {
    let a = TestConsole::start().await;
    many(&a).await;
    let pages = [
        ("", None),
        ("order=desc", None),
        ("sort=address", None),
        ("sort=modified&order=desc", None),
        ("sort=created&order=desc", None),
        ("sort=state", None),
        ("sort=state&order=desc", None),
        ("sort=state&after=5host%2010000&id=1", None),
        ("sort=state&before=5host%2010000&id=1", None),
        ("sort=state&kind=docker", None),
        ("sort=state&group=7", Some(few(7))),
        ("sort=state&cluster=none", Some(half())),
        ("sort=created&kind=docker", None),
        ("kind=ssh", None),
        ("kind=ssh&sort=address", None),
        ("after=host%2010000&id=1", None),
        ("before=host%2010000&id=1", None),
        ("sort=address&after=http://10.50.7.1:9100&id=1", None),
        ("sort=created&after=10000&id=10000", None),
        ("state=down", None),
        ("state=paused", None),
        ("state=up&kind=docker", None),
        ("state=up&sort=address", None),
        ("group=7", Some(few(7))),
        ("group=7&kind=ssh", Some(few(7))),
        ("cluster=none", Some(half())),
        ("cluster=none&sort=address&order=desc", Some(half())),
        ("name=host", None),
        ("address=10.", None),
    ];
    let offences = offences(&mut a.conn().await, &pages).await;
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[tokio::test]
async fn a_page_by_latency_or_of_what_is_out_of_date_reads_little_more_than_it_shows() {
    let a = TestConsole::start().await;
    many(&a).await;
    let pages = [
        ("sort=latency", None),
        ("sort=latency&order=desc", None),
        ("sort=latency&after=010000&id=1", None),
        ("sort=latency&before=010000&id=1", None),
        ("sort=latency&after=1&id=10000", None),
        ("sort=latency&order=desc&before=1&id=10000", None),
        ("sort=latency&kind=docker", None),
        ("sort=latency&state=up", None),
        ("sort=latency&state=down", None),
        ("sort=latency&group=7", Some(few(7))),
        ("sort=latency&cluster=none", Some(half())),
        ("state=stale", None),
        ("state=stale&sort=address&order=desc", None),
        ("state=stale&sort=state", None),
        ("state=stale&sort=latency&kind=docker", None),
        ("state=stale&group=11", Some(few(11))),
    ];
    let offences = offences(&mut a.conn().await, &pages).await;
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[tokio::test]
async fn no_statement_of_the_list_reads_the_table_itself_from_end_to_end() {
    let a = TestConsole::start().await;
    many(&a).await;
    let mut conn = a.conn().await;
    for query in [
        "",
        "sort=address",
        "sort=modified",
        "sort=created",
        "sort=state",
        "sort=latency",
        "state=stale",
        "kind=docker",
        "state=down",
        "state=paused",
        "name=zzz",
        "address=zzz",
    ] {
        let (sql, values) = page_sql(&Wanted::parse(query), None, PAGE);
        let plan: Vec<mysql_async::Row> = conn
            .exec(format!("explain {sql}"), Params::Positional(values))
            .await
            .unwrap();
        let ways: Vec<(Option<String>, Option<String>)> =
            plan.iter().map(|row| (row.get("table"), row.get("type"))).collect();
        let scans = ways
            .iter()
            .filter(|(table, way)| way.as_deref() == Some("ALL") && table.as_deref() == Some("a"));
        assert_eq!(scans.count(), 0, "{query}: {ways:?}");
    }
}

#[tokio::test]
async fn no_page_of_the_list_is_sorted_on_disk() {
    let a = TestConsole::start().await;
    many(&a).await;
    let mut conn = a.conn().await;
    let few = few(7);
    for (query, groups) in [
        ("", None),
        ("sort=address", None),
        ("sort=modified", None),
        ("sort=created", None),
        ("sort=state", None),
        ("sort=latency", None),
        ("state=down&sort=address", None),
        ("state=paused", None),
        ("state=stale", None),
        ("state=up&kind=docker", None),
        ("group=7", Some(&few)),
    ] {
        let on_disk = sorted_on_disk(&mut conn, counted_sql(&Wanted::parse(query), groups, PAGE)).await;
        assert_eq!(on_disk, 0, "{query}");
    }
    // Of those that are paused only a page is kept while they are read, however many they are.
    conn.query_drop("update asset set paused_until = '9999-12-31'")
        .await
        .unwrap();
    for query in ["sort=state", "state=paused"] {
        let on_disk = sorted_on_disk(&mut conn, counted_sql(&Wanted::parse(query), None, PAGE)).await;
        assert_eq!(on_disk, 0, "{query}");
    }
}

/// Each has changed its state twice.
async fn changed_twice(conn: &mut Conn) {
    for (was, state) in [("new", "down"), ("down", "up")] {
        let sql =
            format!("insert into asset_event (asset_id, was, state) select asset_id, '{was}', '{state}' from asset");
        conn.query_drop(sql).await.unwrap();
    }
    conn.query_drop("analyze table asset_event").await.unwrap();
}

#[tokio::test]
async fn the_page_of_an_asset_and_the_bars_of_the_list_read_only_their_own() {
    let a = TestConsole::start().await;
    many(&a).await;
    let mut conn = a.conn().await;
    changed_twice(&mut conn).await;
    reads(&mut conn).await;
    assert!(queries::with_twin(&mut conn, 10_000).await.unwrap().is_some());
    let read = reads(&mut conn).await;
    assert!(read <= 10, "the asset: {read}");
    assert_eq!(queries::history(&mut conn, 10_000, 50).await.unwrap().len(), 2);
    let read = reads(&mut conn).await;
    assert!(read <= 10, "its history: {read}");
    let ids: Vec<u32> = (1..=PAGE as u32).map(|n| n * 100).collect();
    assert_eq!(queries::recent(&mut conn, &ids).await.unwrap().len(), 2 * PAGE);
    let read = reads(&mut conn).await;
    assert!(read <= 10 * PAGE as u64, "the bars of the list: {read}");
}

#[tokio::test]
async fn the_watch_reads_what_is_due_and_not_what_there_is() {
    let a = TestConsole::start().await;
    many(&a).await;
    a.sql(&format!(
        "insert into cluster_group (group_id, install_id, position) select group_id, '{}', 0 from asset_group where group_id > 1",
        a.id()
    ))
    .await;
    let mut conn = a.conn().await;
    reads(&mut conn).await;
    let groups: Vec<u32> = owned(&mut conn, a.id())
        .await
        .unwrap()
        .iter()
        .map(|own| own.group_id)
        .collect();
    assert_eq!(groups.len(), GROUPS as usize);
    let read = reads(&mut conn).await;
    assert!(read <= 15 * u64::from(GROUPS), "whose they are: {read}");
    let ids = due(&mut conn, &groups, false, 400).await.unwrap();
    let read = reads(&mut conn).await;
    assert_eq!(ids.len() as u32, ASSETS / 100);
    let few = ids.len() as u64;
    assert!(read <= 3 * few + 3 * u64::from(GROUPS), "what is due: {read} for {few}");
    let claimed = claim(&mut conn, &ids, &"c".repeat(32)).await.unwrap();
    let read = reads(&mut conn).await;
    assert_eq!(claimed.len(), ids.len());
    assert!(read <= 10 * few, "what is claimed: {read} for {few}");

    let found: Vec<Found> = claimed.into_iter().map(unreachable).collect();
    let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
    record(&mut tx, &found, a.id()).await.unwrap();
    tx.commit().await.unwrap();
    let read = reads(&mut conn).await;
    assert_eq!(a.count("select count(*) from asset_watch where misses = 1").await, few);
    assert!(read <= 10 * few, "what is written: {read} for {few}");
}

/// It failed for the first time.
fn unreachable(claimed: Claimed) -> Found {
    Found {
        at: std::time::Instant::now(),
        id: claimed.asset_id,
        claim: claimed.claim,
        latency: None,
        latencies: String::new(),
        misses: 1,
        slow: 0,
        retry: 1,
        facts: String::new(),
        turn: None,
        about: About {
            name: claimed.name,
            group_id: claimed.group_id,
            group: claimed.group_name,
        },
    }
}
