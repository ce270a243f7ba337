//! How long single pages take at the server when the database is full, compared with a small one.

use std::net::SocketAddr;
use std::time::Instant;

use muster::app::App;
use muster::people::secret;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::report::Goal;
use crate::sites::{SITE, Sites, TOKEN_END};

/// Requests of each kind; the median counts.
const TIMES: usize = 60;

/// The site must be served, with a thousand clusters.
pub(crate) async fn measure(app: &App, sites: &Sites) -> Vec<Goal> {
    let (_, site) = sites.addresses().find(|(name, _)| *name == SITE).unwrap();
    workspaces(app, 100).await;
    let few = median(site, "/workspaces").await;
    workspaces(app, 10_000).await;
    let first = median(site, "/workspaces").await;
    let deep = median(site, "/workspaces?after=w+09950").await;
    fill_groups(app).await;
    assets(app, 1000).await;
    let some = lists(site).await;
    assets(app, 100_000).await;
    let many = lists(site).await;
    let home = median(site, "/home").await;
    let jump = jump(app, site).await;
    vec![
        Goal::least("workspaces: first of 10,000 / of 100", few / first, 0.9, "of its speed"),
        Goal::least("workspaces: 200th page / first of 100", few / deep, 0.9, "of its speed"),
        Goal::least(
            "assets: first page of 100,000 / of 1,000",
            some[0] / many[0],
            0.8,
            "of its speed",
        ),
        Goal::least(
            "assets: a group of 100,000 / of 1,000",
            some[1] / many[1],
            0.8,
            "of its speed",
        ),
        Goal::least(
            "assets: a state of 100,000 / of 1,000",
            some[2] / many[2],
            0.8,
            "of its speed",
        ),
        Goal::least(
            "assets: 1,000th page of 100,000 / same of 1,000",
            some[3] / many[3],
            0.8,
            "of its speed",
        ),
        Goal::below(
            "home page, 1,000 clusters, 2,000 groups, 100,000 assets",
            home,
            30.0,
            "ms",
        ),
        Goal::below("jump to another cluster, both ends", jump, 150.0, "ms"),
    ]
}

/// That many rows, named by number.
async fn workspaces(app: &App, count: u32) {
    let mut conn = app.db.conn().await.unwrap();
    conn.query_drop("delete from workspace where workspace_id <> 'DEFAULT'")
        .await
        .unwrap();
    conn.query_drop(format!(
        "insert into workspace (workspace_id, name, name_key, description, install_id) select md5(seq), \
         concat('w ', lpad(seq, 5, '0')), concat('w ', lpad(seq, 5, '0')), 'a description of usual length', \
         md5(seq mod 999 + 1) from seq_1_to_{count}"
    ))
    .await
    .unwrap();
    conn.query_drop("analyze table workspace").await.unwrap();
}

async fn fill_groups(app: &App) {
    let mut conn = app.db.conn().await.unwrap();
    for sql in [
        "insert into asset_group (name, name_key, created_by) select concat('group ', seq), concat('group ', seq), '' \
         from seq_1_to_2000",
        "insert into cluster_group (group_id, install_id, position) select group_id, md5(group_id mod 999 + 1), 1 \
         from asset_group where default_one is null",
        "analyze table asset_group, cluster_group",
    ] {
        conn.query_drop(sql).await.unwrap();
    }
}

/// That many rows in ten groups, a third of each kind, one in twenty down; names are not in the order of the ids.
async fn assets(app: &App, count: u32) {
    // A hundred thousand rows take longer than a page may.
    let mut conn = app.db.patient_conn().await.unwrap();
    let names = "concat('host ', lpad(seq * 7919 mod 1000003, 7, '0'))";
    for sql in [
        "delete from asset".to_owned(),
        format!(
            "insert into asset (asset_id, kind, name, name_key, address, group_id, settings, state) select seq, \
             elt(seq mod 3 + 1, 'machine', 'ssh', 'docker'), {names}, {names}, concat('http://10.', seq div 65536, '.', \
             seq div 256 mod 256, '.', seq mod 256, ':9100'), (select min(group_id) from asset_group) + seq mod 10, '{{}}', \
             if(seq mod 20 = 0, 'down', 'up') from seq_1_to_{count}"
        ),
        "insert into asset_watch (asset_id, group_id, checked_at, latency_us, due_at) select asset_id, group_id, \
         utc_timestamp(6), 1234, utc_timestamp(6) + interval 1 day from asset"
            .to_owned(),
        "analyze table asset, asset_watch".to_owned(),
    ] {
        conn.query_drop(sql).await.unwrap();
    }
}

/// The first page, those of a group and of a state, and one in the middle.
async fn lists(site: SocketAddr) -> [f64; 4] {
    [
        median(site, "/assets").await,
        median(site, "/assets?group=3").await,
        median(site, "/assets?state=down").await,
        median(site, "/assets?after=host+0500000&id=1").await,
    ]
}

/// Milliseconds of the middle request.
async fn median(site: SocketAddr, path: &str) -> f64 {
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let answer = ask(site, "GET", path, "HX-Request: true\r\n", "").await;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        assert!(
            answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
            "{path}: {answer}"
        );
    }
    took.sort_by(f64::total_cmp);
    took[TIMES / 2]
}

/// From the click to the session at the other end, here the same process under another install id.
async fn jump(app: &App, site: SocketAddr) -> f64 {
    let mut conn = app.db.conn().await.unwrap();
    let target = "select install_id from cluster where address like 'http%' and stopped_at is null and beat_seq > 0 \
                  and beat_at > utc_timestamp(6) - interval 1 hour order by install_id limit 1";
    let target: String = conn.query_first(target).await.unwrap().unwrap();
    conn.query_drop(format!(
        "insert into address_check (install_id, kind, address, checker_id, outcome, checked_at) \
         select install_id, 'own', address, install_id, 'ok', utc_timestamp(6) from cluster where install_id = '{target}'"
    ))
    .await
    .unwrap();
    conn.query_drop("update cluster set address_role = 'super_admin'")
        .await
        .unwrap();
    drop(conn);
    let csrf = secret::derived("form", &format!("00{TOKEN_END}"));
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let left = ask(
            site,
            "POST",
            "/jumps",
            "",
            &format!("csrf={csrf}&to={target}&back=%2Fhome"),
        )
        .await;
        let code = left
            .split("name=\"code\" value=\"")
            .nth(1)
            .unwrap_or_else(|| panic!("{left}"));
        let arrived = ask(
            site,
            "POST",
            "/arrivals",
            "",
            &format!("back=%2Fhome&code={}", &code[..64]),
        )
        .await;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        // Meant for another cluster: refused after the same look at the database.
        assert!(arrived.contains(" 303 "), "{arrived}");
    }
    took.sort_by(f64::total_cmp);
    took[TIMES / 2]
}

async fn ask(site: SocketAddr, method: &str, path: &str, more: &str, form: &str) -> String {
    let mut stream = TcpStream::connect(site).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {site}\r\nCookie: muster_s_bench=00{TOKEN_END}\r\n{more}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
