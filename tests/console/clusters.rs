//! The cluster list and a cluster's own page.

use mysql_async::prelude::Queryable;
use poem::http::StatusCode;
use url::form_urlencoded::byte_serialize;

use crate::support::TestConsole;

async fn found(console: &TestConsole, key: &str, value: &str) -> usize {
    let value: String = byte_serialize(value.as_bytes()).collect();
    console
        .hx_get(&format!("/clusters?size=100&{key}={value}"))
        .await
        .count("tbody tr")
}

#[tokio::test]
async fn the_list_has_the_columns_of_the_original_and_states_in_words() {
    let a = TestConsole::start().await;
    let page = a.get("/clusters").await;
    let head = page.text("thead");
    let columns = [
        "Install ID",
        "Cluster ID",
        "Name",
        "State",
        "Address",
        "Host",
        "Version",
        "Last heartbeat",
        "Modified by",
        "Created",
        "Modified",
    ];
    let mut rest = head.as_str();
    for column in columns {
        let (_, after) = rest
            .split_once(column)
            .unwrap_or_else(|| panic!("{column} is not next in {rest:?} of {head:?}"));
        rest = after;
    }
    page.shows("Online");
    page.shows("No address set");
    page.shows("late after 46 s and offline after 90 s");
    assert!(page.body.contains(a.id()) && page.text("tbody").contains(&a.id()[..8]));
}

#[tokio::test]
async fn filters_take_every_character_as_it_is() {
    let a = TestConsole::start().await;
    a.add_rows(3).await;
    let names = ["100%", "a_b", "o'brien \"x\"", "构建🚀", "back\\slash"];
    for name in names {
        a.conn()
            .await
            .exec_drop("update cluster set name = ? where cluster_id = 'C1'", (name,))
            .await
            .unwrap();
        assert_eq!(found(&a, "name", name).await, 1, "{name}");
    }
    for (key, value, rows) in [
        ("name", "%", 0),
        ("name", "_", 0),
        ("name", "🐢", 0),
        ("name", "NAME 0002", 1),
        ("host", "host2", 1),
        ("address", ":2", 1),
        ("state", "offline", 3),
    ] {
        assert_eq!(found(&a, key, value).await, rows, "{key}={value}");
    }
}

#[tokio::test]
async fn absurd_addresses_end_in_a_clear_message_and_lose_nothing() {
    let a = TestConsole::start().await;
    a.add_rows(30).await;
    for (query, said) in [
        ("page=99999", "99999"),
        ("page=-1", "-1"),
        ("page=x", "x"),
        ("size=100000", "100000"),
        ("sort=name;drop%20table%20cluster", "name;drop table cluster"),
        ("order=sideways", "sideways"),
        ("state=happy", "happy"),
    ] {
        let page = a.get(&format!("/clusters?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        let notice = page.text(".notice");
        assert!(
            notice.contains(&format!("“{said}”")) || notice.contains(&format!("page {said}")),
            "{query}: {notice}"
        );
        assert!(page.count("tbody tr") > 0, "{query}");
    }
    let long = "🚀".repeat(2500);
    let encoded: String = byte_serialize(long.as_bytes()).collect();
    let page = a.get(&format!("/clusters?name={encoded}")).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("255");
    assert!(page.body.contains(&long), "what was typed is kept");
    assert_eq!(
        a.get("/clusters?name=%27%3Cscript%3Ealert(1)%3C/script%3E")
            .await
            .count("script:not([src])"),
        0
    );
}

#[tokio::test]
async fn an_empty_result_says_so_and_offers_to_clear_the_filter() {
    let a = TestConsole::start().await;
    let page = a.get("/clusters?name=nobody&host=x").await;
    assert_eq!(page.count("tbody tr[id^='cluster-']"), 0);
    page.shows("No cluster matches");
    assert!(page.count("#cluster-list a[href='/clusters']") > 0);
}

#[tokio::test]
async fn pages_and_order_reach_every_row_once() {
    let a = TestConsole::start().await;
    a.add_rows(45).await;
    for sort in [
        "install_id",
        "modified_by",
        "cluster_id",
        "name",
        "state",
        "address",
        "host",
        "version",
        "beat",
        "created",
        "modified",
    ] {
        for order in ["asc", "desc"] {
            let mut seen = std::collections::BTreeSet::new();
            for page in 1..=3 {
                let page = a
                    .hx_get(&format!("/clusters?sort={sort}&order={order}&page={page}"))
                    .await;
                seen.extend(
                    page.body
                        .split("id=\"cluster-")
                        .skip(1)
                        .filter_map(|rest| Some(rest.split('"').next()?.to_owned()))
                        .filter(|id| id.len() == 32),
                );
            }
            assert_eq!(seen.len(), 46, "{sort} {order}");
        }
    }
    let by_name = a.hx_get("/clusters?sort=name&order=desc&name=name").await;
    assert!(by_name.text("tbody tr:first-child").contains("name 0044"));
}

#[tokio::test]
async fn counts_tell_how_many_are_in_each_state() {
    let a = TestConsole::start().await;
    a.add_rows(12).await;
    let page = a.get("/clusters?state=online").await;
    assert_eq!(page.count("tbody tr"), 1);
    let counts = page.text(".state-tab .count");
    assert_eq!(counts, "13 1 12", "all, online, offline");
}

#[tokio::test]
async fn hostile_names_and_addresses_stay_text() {
    let a = TestConsole::start().await;
    let sql = "update cluster set name = '<img src=x onerror=alert(1)>', address = 'javascript:alert(1)'";
    a.conn().await.query_drop(sql).await.unwrap();
    for path in ["/clusters".to_owned(), format!("/clusters/{}", a.id())] {
        let page = a.get(&path).await;
        assert_eq!(
            (page.count("img[onerror]"), page.count("a[href^='javascript']")),
            (0, 0),
            "{path}"
        );
        page.shows("<img src=x onerror=alert(1)>");
    }
}

#[tokio::test]
async fn a_clusters_own_page_tells_all_with_its_rule_and_last_beats() {
    let mut a = TestConsole::start().await;
    a.heart.tick().await.unwrap();
    let page = a.get(&format!("/clusters/{}", a.id())).await;
    let data = a.data.path().display().to_string();
    for part in [
        a.id(),
        "Online",
        "late after 46 s",
        &data,
        &a.app.install.boot_id(),
        "by the database's clock",
    ] {
        page.shows(part);
    }
    assert_eq!(page.count("tbody tr"), 2, "two beats so far");
    for wrong in [
        "/clusters/x",
        "/clusters/ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "/clusters/00000000000000000000000000000000",
    ] {
        assert_eq!(a.get(wrong).await.status, StatusCode::NOT_FOUND, "{wrong}");
    }
}

#[tokio::test]
async fn looking_changes_nothing() {
    let a = TestConsole::start().await;
    let sum = async || -> String {
        let sql = "select sha2(group_concat(concat_ws('|', install_id, name, address, beat_seq, beat_at, boot_id, stopped_at, duplicate_at, removed_at, \
                   row_version, modified_at)), 256) from cluster";
        a.conn().await.query_first(sql).await.unwrap().unwrap()
    };
    let before = sum().await;
    for path in [
        "/",
        "/clusters",
        "/healthz",
        "/readyz",
        "/identity",
        "/metrics",
        &format!("/clusters/{}", a.id()),
    ] {
        a.get(path).await;
    }
    assert_eq!(sum().await, before);
}
