//! Every page under load, as a whole and as the fragment that htmx asks for: as shipped, in a bare handler, from memory, and the
//! same table in Django's admin.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use muster::app::App;
use muster::clusters::heartbeat::Heart;
use tokio::sync::Mutex;

use crate::bare::{self, Who};
use crate::django::Django;
use crate::load::{self, Load, Turn};
use crate::process;
use crate::report::Goal;
use crate::sites::{self, FLOOR, MEMORY, SITE, TOKEN_END};

/// One page of the site.
pub(crate) struct Page {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) load: bare::Load,
    /// Whether it is compared with memory: what has not changed need not be read again. Else with the floor.
    of_memory: bool,
    /// What stands in it, and how often.
    holds: (&'static str, usize),
    /// The list of Django's admin, how many lines it shows and what stands in one of them.
    django: Option<(&'static str, usize, &'static str)>,
}

impl Page {
    pub(crate) fn route(&self) -> &'static str {
        self.path.split('?').next().unwrap_or_default()
    }
}

pub(crate) const PAGES: [Page; 7] = [
    Page {
        name: "clusters",
        path: "/clusters?size=50",
        load: bare::CLUSTERS,
        of_memory: true,
        holds: ("<tr id=", 50),
        django: Some(("cluster", 50, "host-1")),
    },
    Page {
        name: "switcher",
        path: "/jumps/new?back=%2Fhome",
        load: bare::SWITCHER,
        of_memory: true,
        holds: ("role=\"menuitem\"", 140),
        django: Some(("menu", 100, "集群 0001")),
    },
    Page {
        name: "home",
        path: "/home",
        load: bare::HOME,
        of_memory: false,
        holds: ("<td class=\"c-count\"", 400),
        django: None,
    },
    Page {
        name: "workspaces",
        path: "/workspaces",
        load: bare::WORKSPACES,
        of_memory: false,
        holds: ("name=\"workspace\"", 50),
        django: Some(("workspace", 50, "w 00049")),
    },
    Page {
        name: "assets",
        path: "/assets",
        load: bare::ASSETS,
        of_memory: false,
        holds: ("name=\"asset\"", 50),
        django: Some(("asset", 50, "host 00000")),
    },
    Page {
        name: "groups",
        path: "/groups",
        load: bare::GROUPS,
        of_memory: false,
        holds: ("<tr id=\"group-", 50),
        django: Some(("group", 50, "group 0049")),
    },
    Page {
        name: "audit",
        path: "/audit",
        load: bare::AUDIT,
        of_memory: false,
        holds: ("<td class=\"c-changes\"", 50),
        django: Some(("audit", 50, "a description of usual length")),
    },
];

/// The busy load twice, for two seconds each, the calm one once for three.
const TURNS: [(u32, u32, u32); 2] = [(32, 2, 2), (8, 1, 3)];
/// Seconds for Django, which answers seldom.
const DJANGO_SECONDS: u32 = 4;

/// What one page did as a whole or as a fragment.
pub(crate) struct Compared {
    pub(crate) page: &'static str,
    pub(crate) whole: bool,
    /// As shipped, the floor and memory, at 32 and at 8 connections; then Django at both.
    pub(crate) loads: Vec<Load>,
    /// Bytes of the body, plain and compressed.
    pub(crate) bytes: [usize; 2],
    of_memory: bool,
}

impl Compared {
    pub(crate) fn at(&self, site: &str, connections: u32) -> Option<&Load> {
        { self.loads.iter() }.find(|load| load.site == site && load.connections == connections)
    }

    /// How often as fast as `site`.
    pub(crate) fn ratio(&self, site: &str, connections: u32) -> Option<f64> {
        let own = self.at(SITE, connections)?;
        Some(own.per_second / self.at(site, connections)?.per_second)
    }

    pub(crate) fn form(&self) -> &'static str {
        if self.whole { "page" } else { "fragment" }
    }

    /// At 32 connections.
    fn goals(&self) -> Vec<Goal> {
        let name = |other: &str| format!("{} {} / {other}", self.page, self.form());
        let (other, least) = if self.of_memory { (MEMORY, 0.8) } else { (FLOOR, 0.9) };
        let mut goals = vec![Goal::least(name(other), self.ratio(other, 32).unwrap(), least, "x")];
        goals.extend(
            self.ratio(DJANGO, 32)
                .map(|ratio| Goal::least(name(DJANGO), ratio, 30.0, "x")),
        );
        goals
    }
}

pub(crate) const DJANGO: &str = "django";

/// The site must be served, with the tables full. `heart` is that of the measured server.
pub(crate) async fn measure(
    app: &App,
    heart: &Mutex<Heart>,
    site: SocketAddr,
    django: &Django,
    dir: &Path,
) -> Vec<Compared> {
    // No beat between the rows that are kept and the look at whether all show the same.
    let own_heart = heart.lock().await;
    let who = Who::first(app).await;
    let served = [
        sites::serve(FLOOR, bare::floor(app, &who)).await,
        sites::serve(MEMORY, bare::memory(app, &who).await).await,
    ];
    let addresses = [site, served[0].1, served[1].1];
    check(&addresses).await;
    drop(own_heart);
    let script = dir.join("pages.lua");
    std::fs::write(&script, load::script(false)).unwrap();
    let script: Arc<Path> = script.into();
    let mut all = Vec::new();
    for page in &PAGES {
        for whole in [true, false] {
            all.push(one(page, whole, addresses, django, &script).await);
        }
    }
    for (_, _, server) in served {
        server.abort();
    }
    all
}

pub(crate) fn goals(all: &[Compared]) -> Vec<Goal> {
    all.iter().flat_map(Compared::goals).collect()
}

async fn one(page: &Page, whole: bool, addresses: [SocketAddr; 3], django: &Django, script: &Path) -> Compared {
    let header: &[&str] = if whole { &[] } else { &["HX-Request: true"] };
    let mut compared = Compared {
        page: page.name,
        whole,
        loads: Vec::new(),
        bytes: [
            body(addresses[0], page.path, whole, "").await.len(),
            body(addresses[0], page.path, whole, "Accept-Encoding: gzip\r\n")
                .await
                .len(),
        ],
        of_memory: page.of_memory,
    };
    for (connections, rounds, seconds) in TURNS {
        println!("wrk -c{connections} {} {}", page.name, compared.form());
        let mut turns: Vec<(&'static str, SocketAddr)> = [SITE, FLOOR, MEMORY].into_iter().zip(addresses).collect();
        let mut found: Vec<Load> = Vec::new();
        for round in 0..rounds {
            for (name, address) in &turns {
                let turn = Turn {
                    warms_up: round == 0,
                    seconds,
                    connections,
                    headers: header,
                    script: Some(script),
                };
                let load = load::wrk_as(name, &format!("http://{address}{}", page.path), turn).await;
                match found.iter_mut().find(|known| known.site == *name) {
                    Some(known) => known.join(&load, round),
                    None => found.push(load),
                }
            }
            turns.reverse();
        }
        compared.loads.extend(found);
    }
    if let Some((list, ..)) = page.django.filter(|_| whole) {
        compared.loads.extend(peer(list, django).await);
    }
    compared
}

/// Django under the same loads, after ours: what it has not answered yet when a load ends would weigh on whatever comes next.
async fn peer(list: &str, django: &Django) -> Vec<Load> {
    let cookie = django.cookie();
    let mut loads = Vec::new();
    for (connections, ..) in TURNS {
        println!("wrk -c{connections} Django {list}");
        let turn = Turn {
            warms_up: true,
            seconds: DJANGO_SECONDS,
            connections,
            headers: &[&cookie],
            script: None,
        };
        loads.push(load::wrk_as(DJANGO, &django.url(list), turn).await);
        // Who asks now is answered after all that wait.
        for _ in 0..2 {
            django.get(list).await;
        }
    }
    loads
}

/// All answer with the same, and with what should stand in it, or their speeds could not be compared.
async fn check(addresses: &[SocketAddr; 3]) {
    for page in &PAGES {
        for whole in [true, false] {
            let mut texts = Vec::new();
            for address in addresses {
                let body = body(*address, page.path, whole, "").await;
                texts.push(without_seconds(&String::from_utf8(body).unwrap()));
            }
            let (what, count) = page.holds;
            let (name, first) = (page.name, &texts[0]);
            assert_eq!(first.matches(what).count(), count, "{what:?} in {name}:\n{first}");
            for other in &texts[1..] {
                assert!(other == first, "{name} differs:\n{first}\n{other}");
            }
        }
    }
}

/// What is so many seconds ago grows older between two looks.
fn without_seconds(text: &str) -> String {
    let pieces = text
        .split(" 秒前")
        .map(|piece| piece.trim_end_matches(|c: char| c.is_ascii_digit()));
    pieces.collect::<Vec<_>>().join(" 秒前")
}

/// Django shows what the page shows.
pub(crate) async fn check_django(django: &Django) {
    for (list, lines, text) in PAGES.iter().filter_map(|page| page.django) {
        let answer = django.get(list).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{list}: {answer}");
        assert_eq!(
            answer.matches("name=\"_selected_action\"").count(),
            lines,
            "{list}: {answer}"
        );
        assert!(answer.contains(text), "no {text:?} in {list}: {answer}");
    }
}

/// The answer's body as it is sent.
async fn body(address: SocketAddr, path: &str, whole: bool, more: &str) -> Vec<u8> {
    let header = if whole { "" } else { "HX-Request: true\r\n" };
    let headers = format!("{header}Cookie: muster_s_bench=00{TOKEN_END}\r\n{more}");
    let answer = process::get_bytes(address, path, &headers).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{path}: {}",
        String::from_utf8_lossy(&answer)
    );
    answer[end + 4..].to_vec()
}
