//! What is done to all that match and takes longer than a browser waits: it goes on where it stopped.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::assets::{group, many};
use crate::support::{Page, TestConsole};

/// Sends a form while somebody holds these assets, each until its time: one piece after the other has to wait for them.
async fn held(console: &TestConsole, (path, fields): (&str, &[(&str, &str)]), assets: &[(u32, u64)]) -> Page {
    let mut conns = Vec::new();
    for (asset_id, until) in assets {
        let mut conn = console.conn().await;
        conn.query_drop("begin").await.unwrap();
        let sql = format!("select asset_id from asset where asset_id = {asset_id} for update");
        let locked: Option<u32> = conn.query_first(sql).await.unwrap();
        assert_eq!(locked, Some(*asset_id));
        conns.push((conn, Duration::from_millis(*until)));
    }
    let release = async {
        let began = Instant::now();
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        for (mut conn, until) in conns {
            while began.elapsed() < until {
                beat.tick().await;
            }
            conn.query_drop("rollback").await.unwrap();
        }
    };
    let (page, ()) = tokio::join!(console.post(path, fields), release);
    page
}

/// Presses the button that goes on, as a browser without scripts does.
async fn go_on(console: &TestConsole, page: &Page) -> Page {
    let names = page.attrs(".rest input", "name");
    let values = page.attrs(".rest input", "value");
    let fields: Vec<(&str, &str)> = names
        .iter()
        .zip(&values)
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let fields: Vec<(&str, &str)> = fields.into_iter().filter(|(name, _)| *name != "csrf").collect();
    console.post(&page.attrs(".rest", "action")[0], &fields).await
}

#[tokio::test]
async fn a_pause_of_all_that_match_goes_on_where_it_stopped() {
    let a = TestConsole::start().await;
    many(&a, 1200, 1).await;
    a.sql("update asset set name = 'other', name_key = 'other' where asset_id = 1100")
        .await;
    let fields = [
        ("scope", "all"),
        ("hours", "3"),
        ("note", "Umzug & <b>"),
        ("back", "/assets?name=host&sort=address"),
        ("at", "/assets?name=host&sort=address"),
    ];
    let page = held(&a, ("/assets/pauses", &fields), &[(100, 2600), (700, 5200)]).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text("body"));
    page.shows("1000 are done. The rest is not done yet.");
    assert_eq!(page.count("[hx-trigger^=every]"), 0, "it does not go away by itself");
    assert_eq!(page.count("tbody tr"), 50);
    let paused = "select count(*) from asset where paused_until is not null and paused_note = 'Umzug & <b>'";
    assert_eq!(a.count(paused).await, 1000);
    let versions = "select count(*) from asset where row_version = 1";
    assert_eq!(a.count(versions).await, 1000);
    let done = go_on(&a, &page).await;
    assert_eq!(done.header("location"), "/assets?name=host&sort=address");
    assert!(done.header("set-cookie").starts_with("muster_said=said.paused:1199:0"));
    assert_eq!(a.count(paused).await, 1199, "and no other than the filter leaves");
    assert_eq!(a.count(versions).await, 1199, "none of them twice");
}

#[tokio::test]
async fn a_check_of_all_that_match_stops_at_what_somebody_holds_and_goes_on_there() {
    let a = TestConsole::start().await;
    many(&a, 1200, 1).await;
    a.sql("update asset_watch set due_at = '9000-01-01'").await;
    let fields = [("scope", "all"), ("back", "/assets")];
    let page = held(&a, ("/assets/checks", &fields), &[(700, 5400)]).await;
    page.shows("500 are done");
    let due = "select count(*) from asset_watch where due_at < '9000-01-01'";
    assert_eq!(a.count(due).await, 500);
    a.sql("update asset_watch set due_at = '9000-01-01'").await;
    let done = go_on(&a, &page).await;
    assert!(
        done.header("set-cookie")
            .starts_with("muster_said=said.checking:1200:0")
    );
    assert_eq!(
        a.count(due).await,
        700,
        "those of the first press are not begun with again"
    );
}

#[tokio::test]
async fn each_deed_to_all_that_match_goes_on_behind_the_asset_it_is_told() {
    let a = TestConsole::start().await;
    many(&a, 20, 1).await;
    let web = group(&a, "web").await;
    let all = |to: &'static str, after: &'static str| {
        let web = web.clone();
        let a = &a;
        async move {
            let fields = [
                ("scope", "all"),
                ("back", "/assets?name=host"),
                ("after", after),
                ("done", "7"),
                ("left", "2"),
                ("to", &web),
            ];
            let page = a.post(&format!("/assets/{to}"), &fields).await;
            assert_eq!(page.status, StatusCode::SEE_OTHER, "{to}");
            page.header("set-cookie").split(';').next().unwrap().to_owned()
        }
    };
    assert_eq!(all("moves", "15").await, "muster_said=said.moved:12:2");
    assert_eq!(all("pauses", "10").await, "muster_said=said.paused:17:2");
    assert_eq!(all("resumptions", "12").await, "muster_said=said.resumed:15:2");
    assert_eq!(all("removals", "18").await, "muster_said=said.removed:9:2");
    let left = "select count(*) from asset where asset_id <= 18";
    assert_eq!(a.count(left).await, 18);
    assert_eq!(a.count("select count(*) from asset").await, 18);
    assert_eq!(
        a.count(&format!("select count(*) from asset where group_id = {web}"))
            .await,
        3
    );
    assert_eq!(
        a.count("select count(*) from asset where paused_until is not null")
            .await,
        2
    );
    // What is nonsense begins from the first.
    assert_eq!(all("checks", "x").await, "muster_said=said.checking:23:4");
}
