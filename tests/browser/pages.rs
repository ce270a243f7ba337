//! Every page, with one of each thing and long names: nothing is cut off on a phone, and nothing stands in anybody's way.

use muster::app::Standing;
use muster::seal::Key;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::chrome::{Browser, Look};
use crate::support::TestConsole;
use crate::{clean, reachable};

/// A name as long as it may be, in the writing of most readers.
fn long() -> String {
    "名".repeat(50)
}

/// Makes one of everything, with long names.
async fn furnish(a: &TestConsole) {
    let long = long();
    let made = async |path: &str, fields: &[(&str, &str)]| {
        let page = a.post(path, fields).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}: {}", page.text("main"));
    };
    a.app.seal.add(&Key::random().unwrap()).unwrap();
    let workspace = [("name", long.as_str()), ("folder", &long), ("install_id", a.id())];
    made("/workspaces", &workspace).await;
    made("/groups", &[("name", &long)]).await;
    let credential = [("name", long.as_str()), ("user", "u"), ("password", "geheim77")];
    made("/credentials", &credential).await;
    let channel = [("name", &*long), ("url", "https://hooks.example/x"), ("is_on", "1")];
    made("/notices", &channel).await;
    let host = format!("{}.example", "a".repeat(60));
    let machine = format!("https://{host}:9100/");
    let engine = format!("tcp://{host}:2375");
    for (kind, more) in [
        ("machine", [("address", &*machine), ("user", "root")]),
        ("ssh", [("host", &host), ("user", "root")]),
        ("docker", [("address", &*engine), ("user", "root")]),
    ] {
        let name = format!("{kind} {}", "n".repeat(42));
        let mut fields = vec![("kind", kind), ("name", &name), ("group_id", "1")];
        fields.extend(more);
        made("/assets", &fields).await;
    }
    // The same address once more.
    let twin = [
        ("kind", "machine"),
        ("name", "twin"),
        ("group_id", "1"),
        ("address", &machine),
        ("user", "root"),
    ];
    made("/assets", &twin).await;
    a.sql("update asset set state = 'down', reason = '{\"code\":\"refused\"}', state_since = utc_timestamp(6)")
        .await;
}

/// The lists, the forms, and the page of one of each.
async fn pages(a: &TestConsole) -> Vec<String> {
    furnish(a).await;
    let plain = "/home /clusters /groups /workspaces /workspaces/new /assets /assets?kind=ssh /assets/import /credentials \
                 /credentials/new /notices /notices/new /audit /users /users/new /profile /security /security/tokens \
                 /settings /log /nowhere";
    let mut pages: Vec<String> = plain.split_whitespace().map(str::to_owned).collect();
    let of = "concat('/clusters/', install_id) from cluster \
              | concat('/clusters/', install_id, '/edit') from cluster \
              | concat('/clusters/', install_id, '/removal') from cluster \
              | concat('/clusters/', install_id, '/succession') from cluster \
              | concat('/workspaces/', workspace_id) from workspace where workspace_id <> 'DEFAULT' \
              | concat('/credentials/', credential_id) from credential where name is not null \
              | concat('/notices/', channel_id) from notice_channel \
              | concat('/notices/', channel_id, '/edit') from notice_channel \
              | concat('/groups/', group_id) from asset_group \
              | concat('/users/', account_id) from account \
              | concat('/assets/', asset_id) from asset \
              | concat('/assets/', asset_id, '/edit') from asset";
    for path in of.split('|') {
        let found: Vec<String> = a.conn().await.query(format!("select {path}")).await.unwrap();
        assert!(!found.is_empty(), "{path}");
        pages.extend(found);
    }
    pages
}

/// Opens what asks whether one is sure, and finds buttons and rows that stand out then.
const LOST: &str = "document.querySelectorAll('main details.confirm').forEach(one => one.open = true); \
                    const lost = [...document.querySelectorAll('main .confirm :is(button, input)')].filter(one => \
                    one.offsetParent && one.getBoundingClientRect().right > 361); \
                    const out = [...document.querySelectorAll('main tbody tr :not(.visually-hidden)')].filter(one => \
                    one.getBoundingClientRect().right > one.closest('tr').getBoundingClientRect().right + 1); \
                    return [...lost, ...out].map(one => one.outerHTML.slice(0, 150)).slice(0, 3).join(' ')";

/// Links that nobody can see.
const SQUEEZED: &str = "return [...document.querySelectorAll('main a')].filter(one => one.offsetParent && \
                        one.textContent.trim() && one.getBoundingClientRect().width < 8).map(one => one.outerHTML).join(' ')";

/// What stands out of a phone's page.
const WIDE: &str = "return [...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > 361) \
                    .map(one => one.tagName + '.' + one.className).slice(0, 9).join(' ')";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_off_at_phone_width() {
    let (a, address, _site) = reachable().await;
    let sql = "update cluster set name = ?, address = concat('https://', repeat('a', 240)), host = repeat('h', 200)";
    a.conn().await.exec_drop(sql, (long(),)).await.unwrap();
    a.app.log.write(&format!("7a175577/5c1e ERROR {}", "x".repeat(500)));
    let paths = pages(&a).await;
    let page = Browser::start(Look::Phone).await;
    page.arrive_as(&address, &a.visitor).await;
    let mut wide = Vec::new();
    for path in paths {
        page.goto(&format!("{address}{path}")).await;
        let width = page.run("return document.documentElement.scrollWidth").await;
        if width.as_u64() > Some(360) {
            wide.push(format!("{path}: {width} {}", page.run(WIDE).await));
        }
        let lost = page.run(LOST).await;
        if lost.as_str() != Some("") {
            wide.push(format!("{path}: {lost}"));
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
    page.close().await;
}

/// The pages of a server that may not work: waiting for its database, a duplicate, removed.
async fn clean_while_paused(console: &TestConsole, page: &Browser, address: &str, theme: &str) {
    let duplicate = Standing::Duplicate {
        host: "other".into(),
        path: "/srv/muster".into(),
    };
    let removed = Standing::Removed {
        by: "admin".into(),
        at: Some(chrono::NaiveDateTime::default()),
    };
    for standing in [Standing::Starting(None), duplicate, removed] {
        console.app.standing.send_replace(standing.clone());
        page.goto(&format!("{address}/clusters")).await;
        page.has("#flash.notice").await;
        clean(page, theme, &format!("{standing:?}")).await;
    }
    console.app.standing.send_replace(Standing::Working);
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_serious_violation_in_either_theme() {
    let (a, address, _site) = reachable().await;
    let mut paths = pages(&a).await;
    a.add_rows(3).await;
    a.sql("update cluster set stopped_at = beat_at where cluster_id = 'C1'")
        .await;
    paths.push("/clusters?name=none".to_owned());
    // Half of the pages each way: what stands on all of them is seen by both.
    for (look, half) in [(Look::Desktop, 0), (Look::Phone, 1)] {
        let page = Browser::start(look).await;
        page.arrive_as(&address, &a.visitor).await;
        for (theme, lang) in [("light", "en"), ("dark", "zh-CN")] {
            page.goto(&format!("{address}/healthz")).await;
            page.run(&format!("document.cookie = 'muster_lang={lang}; path=/'"))
                .await;
            let list = "/assets".to_owned();
            for path in paths.iter().skip(half).step_by(2).chain([&list]) {
                page.goto(&format!("{address}{path}")).await;
                clean(&page, theme, path).await;
                let squeezed = page.run(SQUEEZED).await;
                assert_eq!(squeezed.as_str(), Some(""), "{path} in {lang}");
            }
            clean_while_paused(&a, &page, &address, theme).await;
        }
        page.close().await;
    }
}
