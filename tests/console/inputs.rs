//! Whatever a browser sends, the answer is a page for people and never an error of the program.

use std::collections::BTreeSet;
use std::path::Path;

use muster::routes;
use muster::seal::Key;
use mysql_async::prelude::Queryable;

use crate::assets::{added, machine};
use crate::support::{Page, TestConsole};

/// Rounds at each address.
const ROUNDS: usize = 25;

/// What others have stumbled over.
const ODD: [&str; 34] = [
    "",
    " ",
    "0",
    "-1",
    "1",
    "4294967296",
    "18446744073709551616",
    "1e309",
    "NaN",
    "on",
    "none",
    "offline",
    "desc",
    "'",
    "\"><script>alert(1)</script>",
    "' or 1=1 -- ",
    "%",
    "_",
    "\\",
    "\\0",
    "\u{0}",
    "\u{1b}[31m",
    "\u{202e}gnp",
    "\u{feff}",
    "\r\n\r\nSet-Cookie: a=b",
    "../../etc/passwd",
    "//evil.example/",
    "http://[::1]:80/",
    "http://169.254.169.254/latest",
    "unix:///var/run/docker.sock",
    "名",
    "👩‍👩‍👧‍👦",
    "2026-02-30T25:61",
    "DEFAULT",
];

/// Numbers that look random and are the same on each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())].clone()
    }
}

/// Every name of a field in the pages, and every key of an address.
fn names() -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for mark in [" name=\"", "field::line(\"text\", \"", "field::line(\"password\", \""] {
                let found = text.split(mark).skip(1).filter_map(|rest| rest.split('"').next());
                let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                names.extend(found.filter(plain).map(str::to_owned));
            }
        }
    }
    let keys = [
        "after",
        "before",
        "id",
        "sort",
        "order",
        "page",
        "size",
        "like",
        "to",
        "next",
        "back",
        "step",
        "fingerprint",
    ];
    names.extend(keys.map(str::to_owned));
    names.into_iter().filter(|name| name != "csrf").collect()
}

/// One of everything, and their ids.
async fn furnished(a: &TestConsole) -> Vec<String> {
    a.scan.seen.mark_by_hand();
    a.app.seal.add(&Key::random().unwrap()).unwrap();
    a.post("/groups", &[("name", "odd")]).await;
    a.post("/workspaces", &[("name", "odd"), ("install_id", a.id())]).await;
    a.post("/credentials", &[("name", "odd"), ("user", "u"), ("password", "p")])
        .await;
    a.post("/notices", &[("name", "odd"), ("url", "https://hooks.example/x")])
        .await;
    added(a, &machine("odd", "http://web:9100")).await;
    let sql = "select install_id from cluster union select workspace_id from workspace union select credential_id from credential \
               union select account_id from account union select cast(group_id as char) from asset_group";
    let mut ids: Vec<String> = a.conn().await.query(sql).await.unwrap();
    ids.extend(["machine", "ssh", "docker", "mail", "webhook", "super_admin", "member"].map(str::to_owned));
    ids
}

/// A value: something odd, an id of something that is there, or very much of one letter.
fn value(dice: &mut Dice, ids: &[String]) -> String {
    match dice.below(8) {
        0..4 => dice.pick(&ODD).to_owned(),
        4..7 => dice.pick(ids),
        _ => dice
            .pick(&["x", "名", " "])
            .repeat(dice.pick(&[40, 60, 255, 256, 300, 5000])),
    }
}

fn place(dice: &mut Dice, path: &str, ids: &[String]) -> String {
    let encoded = |value: String| value.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let parts = path.split('/').map(|part| match part.starts_with([':', '*']) {
        true => match dice.below(4) {
            0 => encoded(value(dice, ids)),
            _ => dice.pick(ids),
        },
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

fn fields(dice: &mut Dice, names: &[String], ids: &[String]) -> Vec<(String, String)> {
    let count = dice.below(names.len());
    let mut length = 0;
    let all = (0..count).map(|_| (dice.pick(names), value(dice, ids)));
    // What is longer does not get past the reading of a request's head.
    all.take_while(|(_, value)| {
        length += value.len();
        length < 6000
    })
    .collect()
}

#[tokio::test]
async fn whatever_is_sent_is_answered_by_a_page_and_not_by_an_error_of_the_program() {
    let mut a = TestConsole::start().await;
    let (names, ids, mut dice) = (names(), furnished(&a).await, Dice(0x9e37_79b9_7f4a_7c15));
    assert!(names.len() > 50, "{names:?}");
    let account = a.visitor.account_id.clone();
    let mut wrong = Vec::new();
    for address in routes::table() {
        // This one never ends.
        if address.path == "/log/live" {
            continue;
        }
        for _ in 0..ROUNDS {
            let token = muster::people::secret::random().unwrap();
            a.visitor = a.session_of(&account, token).await;
            let path = place(&mut dice, address.path, &ids);
            let fields = fields(&mut dice, &names, &ids);
            let page = ask(&a, address.method.as_str(), &path, &fields).await;
            if page.status.is_server_error() {
                let sent: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={:.30}", format!("{value:?}")))
                    .collect();
                wrong.push(format!(
                    "{} {path}: {} for {}",
                    address.method,
                    page.status,
                    sent.join(" ")
                ));
            }
        }
        a.sql("update account set disabled_at = null, role = 'super_admin' where name = 'root'")
            .await;
    }
    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
}

async fn ask(a: &TestConsole, method: &str, path: &str, fields: &[(String, String)]) -> Page {
    let borrowed: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    match method {
        "GET" => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&borrowed)
                .finish();
            a.get(&format!("{path}?{query}")).await
        }
        _ => a.post(path, &borrowed).await,
    }
}

/// An address, and the fields of a form as people fill it.
type Filled = (&'static str, Vec<(&'static str, &'static str)>);

const SECRET: [(&str, &str); 5] = [
    ("user", "u"),
    ("password", "p"),
    ("private_key", ""),
    ("passphrase", ""),
    ("certificate", ""),
];

const MAIL: [(&str, &str); 8] = [
    ("kind", "mail"),
    ("name", "odd 3"),
    ("host", "mail.example"),
    ("port", "25"),
    ("encryption", "starttls"),
    ("from", "a@b.example"),
    ("recipients", "c@d.example"),
    ("user", "u"),
];

fn of_assets() -> Vec<Filled> {
    let asset = [
        ("name", "odd"),
        ("group_id", "1"),
        ("interval_s", "30"),
        ("timeout_s", "5"),
        ("retries", "2"),
    ];
    let of = |more: &[(&'static str, &'static str)]| [&asset[..], &SECRET, more].concat();
    let machine = of(&[
        ("kind", "machine"),
        ("agent", "node_exporter"),
        ("address", "http://web:9100"),
        ("cpu_limit", "90"),
    ]);
    let ssh = of(&[
        ("kind", "ssh"),
        ("host", "db"),
        ("port", "22"),
        ("login", "key_file"),
        ("key_file", "/srv/key"),
    ]);
    let docker = of(&[
        ("kind", "docker"),
        ("address", "tcp://engine:2375"),
        ("tls", "yes"),
        ("verify", "no"),
    ]);
    let csv = "kind,name,address,group,user,password,interval_s\nssh,odd,db:22,odd,root,p,60\n";
    vec![
        ("/assets", machine.clone()),
        ("/assets", ssh.clone()),
        ("/assets", docker.clone()),
        ("/assets/1", machine.clone()),
        ("/assets/trials", machine),
        ("/assets/trials", ssh),
        ("/assets/trials", docker),
        ("/assets/import", vec![("text", csv), ("step", "look")]),
        ("/assets/moves", vec![("asset", "1"), ("to", "1"), ("scope", "ticked")]),
    ]
}

fn of_the_rest() -> Vec<Filled> {
    vec![
        ("/credentials", [&[("name", "odd 2")], &SECRET[..]].concat()),
        (
            "/notices",
            vec![
                ("name", "odd 2"),
                ("url", "https://h.example/"),
                ("format", "json"),
                ("key", "k"),
                ("is_on", "1"),
            ],
        ),
        ("/notices", MAIL.to_vec()),
        ("/groups", vec![("name", "odd 2")]),
        ("/groups/1", vec![("name", "odd 3"), ("row_version", "0")]),
        (
            "/workspaces",
            vec![
                ("name", "odd 2"),
                ("description", "d"),
                ("folder", "f"),
                ("install_id", "none"),
            ],
        ),
        (
            "/workspaces/DEFAULT",
            vec![("name", "odd 3"), ("row_version", "0"), ("install_id", "none")],
        ),
        ("/profile", vec![("display_name", "Root")]),
        (
            "/preferences",
            vec![("lang", "en"), ("theme", "dark"), ("back", "/home")],
        ),
        (
            "/security/tokens",
            vec![("name", "t"), ("role", "member"), ("days", "30")],
        ),
        (
            "/settings",
            vec![("cluster_id", "A"), ("heart_second", "30"), ("step", "look")],
        ),
        (
            "/settings",
            vec![
                ("text", "jpom:\n  cluster:\n    id: A\n"),
                ("step", "look"),
                ("fingerprint", "x"),
            ],
        ),
    ]
}

#[tokio::test]
async fn a_form_with_something_odd_in_it_is_answered_by_a_page_too() {
    let a = TestConsole::start().await;
    let (ids, mut dice) = (furnished(&a).await, Dice(0x2545_f491_4f6c_dd1d));
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for (path, base) in of_assets().into_iter().chain(of_the_rest()) {
        for _ in 0..ROUNDS {
            let mut fields: Vec<(String, String)> = base
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect();
            for _ in 0..=dice.below(2) {
                let at = dice.below(fields.len());
                fields[at].1 = match dice.below(3) {
                    0 => format!("{}{}", fields[at].1, dice.pick(&ODD)),
                    _ => value(&mut dice, &ids),
                };
            }
            let page = ask(&a, "POST", path, &fields).await;
            refused += usize::from(page.status.is_client_error());
            if page.status.is_server_error() {
                wrong.push(format!("{path}: {} for {fields:.200?}", page.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > ROUNDS, "{refused} were refused");
}
