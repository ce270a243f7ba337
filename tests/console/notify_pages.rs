//! The pages of notification channels: forms, secrets that nobody reads, and the key that seals them.

use std::process::Command;

use muster::people::Role;
use muster::tasks;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::notify::{tell, tick};
use crate::support::{Page, TestConsole, url};

const MAIL: [(&str, &str); 9] = [
    ("kind", "mail"),
    ("name", "mail"),
    ("recipients", "a@example.org"),
    ("from", "m@example.org"),
    ("host", "localhost"),
    ("port", "587"),
    ("encryption", "start_tls"),
    ("user", "ann"),
    ("key", "geheim-pw"),
];

/// Fields with some of them replaced.
fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = fields
        .iter()
        .filter(|(known, _)| more.iter().all(|(name, _)| name != known));
    kept.chain(more).copied().collect()
}

async fn added(a: &TestConsole, fields: &[(&str, &str)]) -> String {
    let page = a.post("/notices", fields).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    page.header("location").to_owned()
}

const HOOK: [(&str, &str); 3] = [("name", "hook"), ("url", "https://a.example/x?k=1"), ("format", "json")];

/// What stands beside the one field that is wrong.
async fn refused(a: &TestConsole, fields: &[(&str, &str)], changed: &[(&str, &str)], shown: &str) -> Page {
    let field = changed[0].0;
    let page = a.post("/notices", &with(fields, changed)).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{changed:?}");
    let mistake = page.text(".mistake");
    assert!(mistake.contains(shown), "{changed:?}: {mistake:?}");
    assert_eq!(page.count(&format!("[name={field}].is-invalid")), 1, "{changed:?}");
    assert!(!page.body.contains("geheim-pw"), "a password is typed again");
    page
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_stands_beside_its_field_and_what_was_typed_stays() {
    let a = TestConsole::start().await;
    let long = "n".repeat(51);
    let address = "Give a whole http:// or https:// address";
    for (field, value, shown) in [
        ("name", "", "Give the channel a name"),
        ("name", &long, "50"),
        ("url", "", address),
        ("url", "ftp://a.example/", address),
        ("url", "https://u:p@a.example/", address),
        ("url", "http://169.254.169.254/", "nobody may be told"),
        ("url", "http://[::ffff:169.254.169.254]/", "nobody may be told"),
        ("group_id", "99", "That group is gone"),
    ] {
        refused(&a, &HOOK, &[(field, value)], shown).await;
    }
    let useless = [("key", "k"), ("format", "slack")];
    refused(&a, &HOOK, &useless, "have no signing key").await;
    let page = refused(&a, &HOOK, &[("name", "")], "Give the channel a name").await;
    assert_eq!(page.value("#f-url"), "https://a.example/x?k=1");
    assert_eq!(page.value("[name=kind]"), "webhook");
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("csrf", &a.visitor.csrf()).extend_pairs(&HOOK[1..]);
    let request = a.client.post("/notices").header("Accept-Language", "zh");
    let request = request.header("Cookie", a.visitor.cookie());
    let request = request.content_type("application/x-www-form-urlencoded");
    let page = Page::of(request.body(form.finish()).send().await).await;
    page.shows("请输入渠道名称");
    assert_eq!(a.count("select count(*) from notice_channel").await, 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_mail_channel_stands_beside_its_field() {
    let a = TestConsole::start().await;
    for (field, value, shown) in [
        ("recipients", " , ", "at least one recipient"),
        ("recipients", "a@b.example, x", "“x” is no e-mail address"),
        ("recipients", "a@b.example\r\nBcc: c@d.example", "is no e-mail address"),
        (
            "from",
            "m@example.org\r\nTo: x@y.example",
            "the e-mail address it comes from",
        ),
        ("from", "Ops", "the e-mail address it comes from"),
        ("from", "Ops <x>", "the e-mail address it comes from"),
        (
            "from",
            "Ops <m@example.org>, x@y.example",
            "the e-mail address it comes from",
        ),
        (
            "from",
            "Ops\r\nBcc: x@y.example <m@example.org>",
            "the e-mail address it comes from",
        ),
        (
            "from",
            "\"Ops\u{8}\" <m@example.org>",
            "the e-mail address it comes from",
        ),
        (
            "from",
            &format!("{} <m@example.org>", "n".repeat(320)),
            "the e-mail address it comes from",
        ),
        ("recipients", "Ann <a@b.example", "is no e-mail address"),
        ("recipients", "Ann <a@b.example> x", "is no e-mail address"),
        ("host", "a b", "Give a host name"),
        ("host", "fe80::1", "nobody may be told"),
        ("port", "0", "Give a port"),
        ("port", "65536", "Give a port"),
        ("encryption", "none", "only be sent encrypted"),
        ("key", "", "Give the password"),
        ("user", "", "A password needs a user"),
        ("authority", "-----BEGIN CERTIFICATE-----\nx", "no certificate in PEM"),
    ] {
        let page = refused(&a, &MAIL, &[(field, value)], shown).await;
        assert_eq!(page.value("[name=kind]"), "mail");
    }
    assert_eq!(a.count("select count(*) from notice_channel").await, 0);
}

#[tokio::test]
async fn two_who_change_a_channel_lose_nothing_and_a_name_is_taken_once() {
    let a = TestConsole::start().await;
    let hook = [("name", "Hook"), ("url", "https://a.example/x"), ("is_on", "1")];
    let path = added(&a, &hook).await;
    let page = a.post("/notices", &with(&hook, &[("name", "HOOK")])).await;
    assert!(page.text(".mistake").contains("Another channel has this name"));
    let version = a.get(&format!("{path}/edit")).await.value("[name=row_version]");
    let first = [("name", "first"), ("row_version", version.as_str()), ("is_on", "1")];
    assert_eq!(a.post(&path, &first).await.status, StatusCode::SEE_OTHER);
    let page = a.post(&path, &with(&first, &[("name", "second")])).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("Somebody changed this channel since the form was opened");
    assert_eq!(page.value("#f-name"), "second");
    let version = page.value("[name=row_version]");
    let again = [("name", "second"), ("row_version", version.as_str())];
    assert_eq!(a.post(&path, &again).await.status, StatusCode::SEE_OTHER);
    let list = a.get("/notices").await;
    assert_eq!(
        (list.texts("tbody th"), list.texts("tbody .state")),
        (vec!["second".to_owned()], vec!["Off".to_owned()])
    );
    let gone = a.post(&format!("{path}/removal"), &[]).await;
    assert_eq!(gone.header("location"), "/notices");
    assert_eq!(a.get(&path).await.status, StatusCode::NOT_FOUND);
    a.get("/notices").await.shows("There are no notification channels yet");
    let actions: Vec<String> = a
        .conn()
        .await
        .query("select action from audit where object_kind = 'notice_channel' order by audit_id")
        .await
        .unwrap();
    assert_eq!(
        actions,
        ["notice_create", "notice_update", "notice_update", "notice_remove"]
    );
    let member = a.visitor("member", Role::Member).await;
    assert_eq!(a.get_as(&member, "/notices").await.status, StatusCode::FORBIDDEN);
    assert_eq!(a.get_as(&member, "/workspaces").await.count("a[href='/notices']"), 0);
}

#[tokio::test]
async fn a_password_goes_to_nobody_it_was_not_typed_for() {
    let a = TestConsole::start().await;
    let mail = added(&a, &MAIL).await;
    let edit = a.get(&format!("{mail}/edit")).await;
    edit.shows("Kept; type to replace");
    let version = edit.value("[name=row_version]");
    let keep = with(&MAIL, &[("key", ""), ("row_version", &version)]);
    for door in [
        ("host", "mail.evil.example"),
        ("port", "26"),
        ("encryption", "tls"),
        ("user", "bob"),
    ] {
        let page = a.post(&mail, &with(&keep, &[door])).await;
        let mistake = page.text("#m-key");
        assert!(mistake.starts_with("Type the password again"), "{door:?}: {mistake}");
    }
    let page = a.post(&mail, &with(&keep, &[("name", "mail 2")])).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text(".mistake"));
}

#[tokio::test]
async fn a_secret_is_never_shown_again() {
    let a = TestConsole::start().await;
    let address = "http://127.0.0.1:9/geheim-path?t=geheim-token";
    let hook = [
        ("name", "hook"),
        ("url", address),
        ("key", "geheim-key"),
        ("is_on", "1"),
    ];
    let hook = added(&a, &hook).await;
    let mail = added(
        &a,
        &with(&MAIL, &[("host", "127.0.0.1"), ("port", "9"), ("is_on", "1")]),
    )
    .await;
    for path in [&hook, &mail] {
        let sent = a.post(&format!("{path}/test"), &[]).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER);
    }
    tell(&a.app, "asset/1", muster::notify::Event::Down, 0).await;
    tick(&a.app).await;
    let mut told = String::new();
    let (edit_hook, edit_mail) = (format!("{hook}/edit"), format!("{mail}/edit"));
    for path in [
        "/notices",
        &hook,
        &mail,
        &edit_hook,
        &edit_mail,
        "/audit",
        "/audit.csv",
        "/log",
    ] {
        let page = a.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        told += &page.body;
    }
    assert!(told.contains("http://127.0.0.1:9/…") && told.contains("Sending fails"));
    for sql in [
        "select concat_ws(' ', settings, target) from notice_channel",
        "select concat_ws(' ', body, last_error) from notice",
    ] {
        let rows: Vec<String> = a.conn().await.query(sql).await.unwrap();
        told += &rows.concat();
    }
    assert!(!told.contains("geheim"));
    let sealed = "select count(*) from notice_channel where secret is not null and locate('geheim', secret) = 0";
    assert_eq!(a.count(sealed).await, 2);
    // A key that is dropped is gone.
    let version = a.get(&edit_hook).await.value("[name=row_version]");
    let fields = [("name", "hook"), ("drops_key", "1"), ("row_version", version.as_str())];
    assert_eq!(a.post(&hook, &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(a.get(&edit_hook).await.count("[name=drops_key]"), 0);
}

#[tokio::test]
async fn a_changed_key_keeps_channels_working_and_a_lost_one_is_told() {
    let a = TestConsole::start().await;
    let key = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.arg("key").args(arguments).arg("--data").arg(a.data.path());
        command
            .env("JPOM_DB_URL", url(&a.database))
            .env("LC_ALL", "en_US.UTF-8");
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let hook = added(&a, &[("name", "hook"), ("url", "http://127.0.0.1:9/"), ("is_on", "1")]).await;
    assert!(key(&["rotate"]).contains("was added"));
    tasks::keys(&a.app).await.unwrap();
    let said = key(&["rotate", "--finish"]);
    assert!(said.contains("Sealed 1 secrets"), "{said}");
    let file = std::fs::read_to_string(a.app.seal.path()).unwrap();
    std::fs::write(a.app.seal.path(), file.lines().last().unwrap()).unwrap();
    a.app.seal.reload().unwrap();
    let tested = || async {
        let sent = a.post(&format!("{hook}/test"), &[]).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text("body"));
        tick(&a.app).await;
        a.get(&hook).await
    };
    tested().await.shows("No way there");
    std::fs::remove_file(a.app.seal.path()).unwrap();
    a.app.seal.reload().unwrap();
    tested().await.shows("This server lacks the master key");
    assert!(key(&["forget"]).contains("Dropped 1"));
    tested().await.shows("The address, key or password is lost");
}
