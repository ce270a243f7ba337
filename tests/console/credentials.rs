//! Who to be at assets: sealed, kept, replaced, and never given to another.

use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::assets::{added, machine, refused};
use crate::support::{TOKEN, TestConsole, let_in};

#[tokio::test]
async fn a_secret_is_sealed_never_shown_and_never_sent_to_another_address() {
    let a = TestConsole::start().await;
    let mut fields = machine("web", "http://web:9100");
    fields.extend([("user", "prom"), ("password", "geheim77")]);
    let web = added(&a, &fields).await;
    assert_eq!(
        a.count("select count(*) from credential where instr(sealed, 'geheim77') > 0")
            .await,
        0
    );
    assert_eq!(
        a.count("select count(*) from credential where length(sealed) > 50")
            .await,
        1
    );
    let edit = a.get(&format!("{web}/edit")).await;
    assert_eq!(edit.value("input[name=user]"), "prom");
    for page in [&edit, &a.get(&web).await, &a.get("/audit").await] {
        assert!(!page.body.contains("geheim77"));
    }
    // Nothing typed: it stays.
    let sealed = "select crc32(sealed) from credential";
    let mut fields = machine("web", "http://elsewhere:9100");
    fields.push(("user", "prom"));
    fields.push(("row_version", "0"));
    refused(&a.post(&web, &fields).await, "type the secrets again");
    let before = a.count(sealed).await;
    fields[2] = ("address", "http://web:9100");
    // Nor where nobody looks who takes it.
    fields[4] = ("verify", "no");
    refused(&a.post(&web, &fields).await, "type the secrets again");
    fields[4] = ("verify", "yes");
    assert_eq!(a.post(&web, &fields).await.header("location"), web);
    let secret = opened(&a).await;
    assert_eq!((secret.user.as_str(), secret.password.as_str()), ("prom", "geheim77"));
    // A new one for a new address.
    fields[2] = ("address", "http://elsewhere:9100");
    fields.retain(|(field, _)| *field != "row_version");
    fields.extend([("password", "anders"), ("row_version", "1")]);
    assert_eq!(a.post(&web, &fields).await.header("location"), web);
    assert_eq!(opened(&a).await.password, "anders");
    assert_ne!(a.count(sealed).await, before);
    a.get("/audit").await.shows("•••");

    let id = web.trim_start_matches("/assets/");
    a.post("/assets/removals", &[("asset", id)]).await;
    assert_eq!(
        a.count("select count(*) from credential").await,
        0,
        "it goes with its asset"
    );
}

/// The only credential there is, opened as a check does.
async fn opened(console: &TestConsole) -> muster::assets::target::Secret {
    let sql = "select credential_id, sealed from credential";
    let found: Option<(String, Vec<u8>)> = console.conn().await.query_first(sql).await.unwrap();
    let (id, sealed) = found.unwrap();
    muster::assets::credentials::open(&console.app.seal, &id, &sealed).unwrap()
}

#[tokio::test]
async fn a_named_credential_serves_many_and_is_deleted_only_when_none_uses_it() {
    let a = TestConsole::start().await;
    let fields = [("name", "deploy"), ("user", "deploy"), ("password", "geheim77")];
    assert_eq!(a.post("/credentials", &fields).await.header("location"), "/credentials");
    refused(&a.post("/credentials", &fields).await, "of that name already");
    refused(
        &a.post("/credentials", &[("name", "leer")]).await,
        "at least a password",
    );
    refused(
        &a.post("/credentials", &[("name", "x"), ("private_key", "nothing")])
            .await,
        "This is not PEM",
    );
    let id: Option<String> = a
        .conn()
        .await
        .query_first("select credential_id from credential")
        .await
        .unwrap();
    let id = id.unwrap();
    let mut webs = Vec::new();
    for name in ["one", "two"] {
        let mut fields = machine(name, "http://web:9100");
        fields.push(("credential_id", &id));
        webs.push(added(&a, &fields).await);
    }
    let page = a.get("/credentials").await;
    assert_eq!(page.texts("td.c-count"), ["2"]);
    let removal = format!("/credentials/{id}/removal");
    assert_eq!(a.post(&removal, &[]).await.status, StatusCode::CONFLICT);
    let ids: Vec<(&str, &str)> = webs
        .iter()
        .map(|web| ("asset", web.trim_start_matches("/assets/")))
        .collect();
    a.post("/assets/removals", &ids).await;
    assert_eq!(a.count("select count(*) from credential").await, 1, "a named one stays");

    let fields = [("name", "deploy"), ("user", "root"), ("row_version", "0")];
    assert_eq!(
        a.post(&format!("/credentials/{id}"), &fields).await.header("location"),
        "/credentials"
    );
    let secret = opened(&a).await;
    assert_eq!((secret.user.as_str(), secret.password.as_str()), ("root", "geheim77"));
    refused(
        &a.post(&format!("/credentials/{id}"), &fields).await,
        "Somebody changed this credential",
    );
    assert_eq!(a.post(&removal, &[]).await.header("location"), "/credentials");
    assert!(!a.get("/audit").await.body.contains("geheim77"));
}

/// A console with a token of a super admin, and the named credential `deploy` by its id.
async fn with_token_and_credential() -> (TestConsole, String) {
    let a = TestConsole::start().await;
    let_in(&a.database).await;
    let fields = [("name", "deploy"), ("user", "u"), ("password", "geheim77")];
    a.post("/credentials", &fields).await;
    let id: Option<String> = (a.conn().await.query_first("select credential_id from credential").await).unwrap();
    (a, id.unwrap())
}

#[tokio::test]
async fn a_leaked_token_cannot_send_a_named_credential_home() {
    let (a, id) = with_token_and_credential().await;
    let with = |name, address, more: &[(&'static str, &'static str)]| {
        let mut fields = machine(name, address);
        fields.push(("credential_id", &id));
        fields.extend(more);
        fields
    };
    let why = "A token cannot send a named credential to a new address";
    let home = with("home", "http://evil:9100", &[]);
    refused(&a.post_with(TOKEN, "/assets", &home).await, why);
    refused(&a.post_with(TOKEN, "/assets/trials", &home).await, why);
    let csv = "kind,name,address,credential\nmachine,home,http://evil:9100,deploy\n";
    a.post_with(TOKEN, "/assets/import", &[("text", csv)]).await.shows(why);

    // Where a person put it, it may stay, and a token may do the rest.
    let web = added(&a, &with("web", "http://web:9100", &[])).await;
    let renamed = with("gate", "http://web:9100", &[("row_version", "0")]);
    assert_eq!(a.post_with(TOKEN, &web, &renamed).await.header("location"), web);
    let moved = with("gate", "http://evil:9100", &[("row_version", "1")]);
    refused(&a.post_with(TOKEN, &web, &moved).await, why);
    let own = machine("own", "http://own:9100");
    a.post_with(TOKEN, "/assets", &own).await.header("location");
    assert_eq!(a.count("select count(*) from asset").await, 2);
    assert_eq!(
        a.count("select count(*) from asset where address like '%evil%'").await,
        0
    );
}

#[tokio::test]
async fn a_leaked_token_takes_no_lock_off_and_uses_nothing_of_the_server() {
    let (a, id) = with_token_and_credential().await;
    let mut safe = machine("safe", "https://safe:9100");
    safe.push(("credential_id", &id));
    let at = added(&a, &safe).await;
    safe[4] = ("verify", "no");
    safe.push(("row_version", "0"));
    refused(&a.post_with(TOKEN, &at, &safe).await, "or with less protection");

    let file = [
        ("kind", "ssh"),
        ("name", "f"),
        ("host", "evil"),
        ("group_id", "1"),
        ("login", "key_file"),
        ("key_file", "/k"),
        ("user", "u"),
    ];
    let why = "nor use a key file or socket of the server";
    refused(&a.post_with(TOKEN, "/assets", &file).await, why);
    let address = ("address", "unix:///run/x.sock");
    let socket = [("kind", "docker"), ("name", "s"), address, ("group_id", "1")];
    refused(&a.post_with(TOKEN, "/assets", &socket).await, why);
    assert_eq!(
        a.post("/assets", &socket).await.status,
        StatusCode::SEE_OTHER,
        "a person may"
    );
}
