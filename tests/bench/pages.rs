//! How long single pages take at the server when there is a hundred times as much to show, one request at a time.

use std::net::SocketAddr;
use std::time::Instant;

use muster::app::App;
use muster::people::secret;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::report::Goal;
use crate::sites::TOKEN_END;
use crate::tables::Tables;

/// Requests of each kind, as by somebody who has just written something, so that nothing is kept for them; the median counts.
const TIMES: usize = 60;

/// One list at three sizes of the tables: its name, its address at each of them, and how much of its speed it must keep; none
/// where the page itself holds more when there is more.
type Growing = (&'static str, [&'static str; 3], Option<f64>);

/// While all tables grow.
const TOGETHER: [Growing; 10] = [
    ("clusters: first ten", ["/clusters?size=10"; 3], None),
    ("switcher: one by its name", ["/jumps/new?text=0919"; 3], None),
    ("groups: one by its name", ["/groups?text=group+0007"; 3], None),
    ("audit: newest", ["/audit"; 3], Some(0.8)),
    ("audit: of one person", ["/audit?actor=bench+3"; 3], Some(0.8)),
    ("audit: the oldest", ["/audit?before=60"; 3], Some(0.8)),
    ("home", ["/home"; 3], None),
    ("groups: first page", ["/groups"; 3], None),
    ("workspaces, with clusters to choose from", ["/workspaces"; 3], None),
    ("assets, with groups to choose from", ["/assets"; 3], None),
];

/// While only workspaces and assets grow, beside a thousand clusters and two thousand groups.
const ALONE: [Growing; 6] = [
    ("workspaces: first page", ["/workspaces"; 3], Some(0.9)),
    (
        "workspaces: last page but one",
        ["/workspaces", "/workspaces?after=w+00900", "/workspaces?after=w+09900"],
        Some(0.9),
    ),
    ("assets: first page", ["/assets"; 3], Some(0.8)),
    ("assets: a group", ["/assets?group=3"; 3], Some(0.8)),
    ("assets: a state", ["/assets?state=down"; 3], Some(0.8)),
    ("assets: the middle", ["/assets?after=host+0500000&id=1"; 3], Some(0.8)),
];

/// What one list took: milliseconds at each size.
pub(crate) struct Growth {
    pub(crate) name: &'static str,
    pub(crate) took: [f64; 3],
    least: Option<f64>,
}

impl Growth {
    /// Its speed at a hundred times, of that at once.
    pub(crate) fn kept(&self) -> f64 {
        self.took[0] / self.took[2]
    }
}

/// The site must be served. Leaves the tables full.
pub(crate) async fn measure(app: &App, site: SocketAddr) -> Vec<Growth> {
    let grown = |(name, _, least): &Growing| Growth {
        name,
        took: [0.0; 3],
        least: *least,
    };
    let lists = [&TOGETHER[..], &ALONE[..]];
    let mut all = lists.map(|lists| lists.iter().map(grown).collect::<Vec<Growth>>());
    let full = Tables::times(100);
    let mut filled = None;
    for (size, factor) in [1, 10, 100].into_iter().enumerate() {
        let together = Tables::times(factor);
        let alone = Tables {
            workspaces: together.workspaces,
            assets: together.assets,
            audit: together.audit,
            ..full
        };
        for ((tables, lists), found) in [together, alone].into_iter().zip(lists).zip(&mut all) {
            println!("tables at {factor} x");
            if filled != Some(tables) {
                tables.fill(app).await;
                filled = Some(tables);
            }
            for (growth, (_, paths, _)) in found.iter_mut().zip(lists) {
                growth.took[size] = median(site, paths[size]).await;
            }
        }
    }
    all.into_iter().flatten().collect()
}

/// Also of what is not a list; the tables must be full.
pub(crate) async fn goals(app: &App, site: SocketAddr, all: &[Growth]) -> Vec<Goal> {
    let kept = all.iter().filter_map(|growth| {
        let name = format!("{}: 100 x / 1 x", growth.name);
        Some(Goal::least(name, growth.kept(), growth.least?, "of its speed"))
    });
    let mut goals: Vec<Goal> = kept.collect();
    let home = median(site, "/home").await;
    let jump = jump(app, site).await;
    goals.extend([
        Goal::below(
            "home page, 1,000 clusters, 2,000 groups, 100,000 assets",
            home,
            30.0,
            "ms",
        ),
        Goal::below("jump to another cluster, both ends", jump, 150.0, "ms"),
    ]);
    goals
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
        "{method} {path} HTTP/1.0\r\nHost: {site}\r\nCookie: muster_s_bench=00{TOKEN_END}; muster_wrote=1\r\n{more}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
