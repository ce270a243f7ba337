//! The pages of assets: adding, finding, moving, and who is said to watch. Nothing here asks an asset anything.

use poem::http::StatusCode;

use crate::support::{Page, TestConsole};

/// The fields of a machine as a browser sends them.
pub(crate) fn machine<'a>(name: &'a str, address: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("kind", "machine"),
        ("name", name),
        ("address", address),
        ("agent", "node_exporter"),
        ("verify", "yes"),
        ("group_id", "1"),
    ]
}

/// The asset's address on that server.
pub(crate) async fn added(console: &TestConsole, fields: &[(&str, &str)]) -> String {
    let page = console.post("/assets", fields).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    page.header("location").to_owned()
}

pub(crate) async fn group(console: &TestConsole, name: &str) -> String {
    let page = console.post("/groups", &[("name", name)]).await;
    page.header("location").trim_start_matches("/groups/").to_owned()
}

#[track_caller]
pub(crate) fn refused(page: &Page, says: &str) {
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", page.text("body"));
    page.shows(says);
}

/// Rows that only have to be there, in one statement.
pub(crate) async fn many(console: &TestConsole, count: u32, group_id: u32) {
    let rows: Vec<String> = (1..=count)
        .map(|n| {
            format!(
                "('machine', 'host {}', 'host {0}', 'http://10.0.0.{n}:9100', {group_id}, '{{}}')",
                n / 2
            )
        })
        .collect();
    let sql = format!(
        "insert into asset (kind, name, name_key, address, group_id, settings) values {}",
        rows.join(", ")
    );
    console.sql(&sql).await;
    console
        .sql("insert into asset_watch (asset_id, group_id) select asset_id, group_id from asset where asset_id not in (select asset_id from asset_watch)")
        .await;
}

#[tokio::test]
async fn one_of_each_kind_is_added_changed_copied_and_deleted() {
    let a = TestConsole::start().await;
    let web = added(&a, &machine("web 1", "HTTP://Web.Example:9100/")).await;
    let fields = [
        ("kind", "ssh"),
        ("name", "跳板机"),
        ("host", "10.0.0.7"),
        ("port", ""),
        ("login", "banner"),
        ("group_id", "1"),
    ];
    added(&a, &fields).await;
    let fields = [
        ("kind", "docker"),
        ("name", "swarm"),
        ("address", "tcp://10.0.0.8"),
        ("group_id", "1"),
    ];
    added(&a, &fields).await;
    let page = a.get("/assets").await;
    let addresses = page.texts("td.c-address");
    assert_eq!(
        addresses,
        ["tcp://10.0.0.8:2375", "http://web.example:9100", "10.0.0.7:22"]
    );
    assert_eq!(page.texts("tbody .state"), ["Not checked yet"; 3]);
    assert_eq!(a.get("/assets?kind=ssh").await.texts("th.c-name a"), ["跳板机"]);

    let edit = a.get(&format!("{web}/edit")).await;
    assert_eq!(edit.value("input[name=address]"), "http://web.example:9100");
    let mut fields = machine("web eins", "http://web.example:9100");
    fields.extend([("interval_s", "60"), ("timeout_s", "7"), ("row_version", "0")]);
    assert_eq!(a.post(&web, &fields).await.header("location"), web);
    a.get(&web).await.shows(
        "every 60 s, limit 7 s, 0 retries"
            .replace("0 retries", "2 retries")
            .as_str(),
    );

    let late = a.post(&web, &fields).await;
    refused(&late, "Somebody changed this asset");
    assert_eq!(late.value("input[name=row_version]"), "1");

    let copy = a.get(&web.replace("/assets/", "/assets/new?like=")).await;
    assert_eq!(copy.value("input[name=name]"), "web eins");
    assert_eq!(copy.value("input[name=interval_s]"), "60");
    added(&a, &machine("web zwei", "http://web.example:9100")).await;
    a.get(&web).await.shows("Another asset has the same address: web zwei");

    let id = web.trim_start_matches("/assets/");
    let gone = a.post("/assets/removals", &[("asset", id), ("back", &web)]).await;
    assert_eq!(gone.header("location"), "/assets");
    assert_eq!(a.get(&web).await.status, StatusCode::NOT_FOUND);
    let trail = a.get("/audit").await;
    for says in [
        "Add an asset",
        "Change an asset",
        "Delete an asset",
        "http://web.example:9100",
    ] {
        trail.shows(says);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_at_its_field_and_what_was_typed_stays() {
    let a = TestConsole::start().await;
    for (address, says) in [
        ("", "Give its address"),
        ("web:9100", "An address begins with http://, https://"),
        ("ftp://web", "An address begins with"),
        ("http://u:p@web:9100", "user"),
        ("http://web:9100/?x=1", "?"),
        ("http://169.254.169.254/", "No asset can be at this address"),
        ("http://[::ffff:169.254.169.254]/", "No asset can be at this address"),
        ("http://0x7f.1:0", "An address begins with"),
    ] {
        let page = a.post("/assets", &machine("eins", address)).await;
        refused(&page, says);
        assert_eq!(page.value("input[name=address]"), address);
        assert_eq!(page.value("input[name=name]"), "eins");
    }
    assert_eq!(a.count("select count(*) from asset").await, 0);
}

#[tokio::test]
async fn another_kind_keeps_what_was_typed_and_no_secret() {
    let a = TestConsole::start().await;
    let web = group(&a, "web").await;
    let mut typed = machine("eins", "http://10.0.0.7:9200");
    typed.retain(|(field, _)| *field != "group_id");
    typed.extend([
        ("group_id", web.as_str()),
        ("interval_s", "45"),
        ("user", "ops"),
        ("password", "hunter2-leaks"),
        ("other", "ssh"),
    ]);
    let ssh = a.post("/assets/drafts", &typed).await;
    assert_eq!(ssh.status, StatusCode::OK);
    assert_eq!(ssh.value("input[name=kind]"), "ssh");
    for (field, value) in [
        ("name", "eins"),
        ("host", "10.0.0.7"),
        ("port", "22"),
        ("interval_s", "45"),
        ("user", "ops"),
        ("address", "http://10.0.0.7:9200"),
    ] {
        assert_eq!(ssh.value(&format!("input[name={field}]")), value);
    }
    assert_eq!(ssh.attrs("select[name=group_id] option[selected]", "value"), [web]);
    assert!(!ssh.body.contains("hunter2"));
    ssh.shows("passwords, keys and certificates that were typed are not kept");
    assert_eq!(ssh.attrs("[name=other]", "formaction"), ["/assets/drafts"; 3]);
    // The first button of a form is what Enter presses, and that saves.
    assert_eq!(ssh.count("#asset-form form > button:not([formaction])"), 1);
    let wrong = a.post("/assets/drafts", &[("other", "toaster")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(a.count("select count(*) from asset").await, 0);
}

#[tokio::test]
async fn each_kind_says_what_is_wrong_with_its_own_fields() {
    let a = TestConsole::start().await;
    let ssh = |host: &'static str, port: &'static str, login: &'static str, key_file: &'static str| {
        [
            ("kind", "ssh"),
            ("name", "x"),
            ("host", host),
            ("port", port),
            ("login", login),
            ("key_file", key_file),
            ("group_id", "1"),
        ]
    };
    for (fields, says) in [
        (ssh("", "22", "password", ""), "Give its host"),
        (ssh("a b", "22", "password", ""), "neither a host name"),
        (ssh("fe80::1", "22", "password", ""), "No asset can be"),
        (ssh("h", "70000", "password", ""), "between 1 and 65535"),
        (ssh("h", "22", "key_file", "id_rsa"), "whole path"),
        (ssh("h", "22", "password", ""), "Give a user"),
    ] {
        refused(&a.post("/assets", &fields).await, says);
    }
    for (field, value, says) in [
        ("interval_s", "4", "from 5 to 86400"),
        ("timeout_s", "30", "from 1 to 29"),
        ("retries", "11", "from 0 to 10"),
        ("cpu_limit", "101", "not a whole number from 0 to 100"),
        ("group_id", "99", "Choose a group"),
        ("name", "", "Give the asset a name"),
        ("name", "a\u{202e}b", "Control characters"),
    ] {
        let mut fields = machine("eins", "http://web:9100");
        fields.retain(|(known, _)| *known != field);
        fields.push((field, value));
        refused(&a.post("/assets", &fields).await, says);
    }
    let page = a
        .post(
            "/assets",
            &[
                ("kind", "docker"),
                ("name", "x"),
                ("address", "unix://run"),
                ("group_id", "1"),
            ],
        )
        .await;
    refused(&page, "whole path");
    assert_eq!(a.count("select count(*) from asset").await, 0);
}

#[tokio::test]
async fn an_asset_that_nobody_watches_says_so_with_the_way_to_mend_it() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let lonely = group(&b, "lonely").await;
    let mut fields = machine("web", "http://web:9100");
    fields.retain(|(field, _)| *field != "group_id");
    fields.push(("group_id", &lonely));
    let web = added(&a, &fields).await;
    let page = a.get("/assets").await;
    page.shows("No cluster is bound to the group “lonely”");
    let mend = page.attrs(".why a", "href");
    assert_eq!(mend, [format!("/groups/{lonely}/clusters/new")]);
    a.get("/home").await.shows("Assets that no cluster alive watches: 1");
    assert!(
        a.get("/home")
            .await
            .attrs(".matters a", "href")
            .contains(&"/assets?cluster=none".to_owned())
    );

    a.post(&format!("/groups/{lonely}/clusters"), &[("install_id", b.id())])
        .await;
    let page = a.get(&web).await;
    page.shows(&b.app.name());
    assert_eq!(page.count(".notice-bad"), 0);
    b.age(3600.0).await;
    let page = a.get(&web).await;
    page.shows(&format!(
        "None of the clusters of the group “lonely” ({}) is alive",
        b.app.name()
    ));
    assert_eq!(page.attrs(".notice-bad a", "href"), [format!("/groups/{lonely}")]);
    a.get("/home").await.shows("Assets that no cluster alive watches: 1");
    a.post(&format!("/groups/{lonely}/clusters"), &[("install_id", a.id())])
        .await;
    let page = a.get("/assets").await;
    page.shows("standby");
    assert_eq!(page.count(".is-unwatched"), 0);

    // What was found long ago is not shown as if it were so.
    a.sql("update asset set state = 'up'").await;
    a.sql("update asset_watch set checked_at = utc_timestamp(6) - interval 1 hour")
        .await;
    let page = a.get("/assets").await;
    assert_eq!(page.text("tbody .c-state .state"), "Out of date");
    page.shows("Not checked since");
    page.shows("Last result: Up");
}
