//! Testing a connection before it is saved: by the server that would watch it, and by no other.

use muster::assets::monitor::Monitor;
use muster::people::Role;
use muster::tasks;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::agents::{NodeExporter, Podman};
use crate::commands::say;
use crate::peers::{Key, Sshd, me, peer};
use crate::ssh_server::{Does, PASSWORD, Server, USER, Way};
use crate::support::{Page, TestConsole, Visitor};

type Fields<'a> = Vec<(&'a str, String)>;

/// The form of something new in the default group.
async fn form(a: &TestConsole, kind: &str, typed: &[(&'static str, &str)]) -> Fields<'static> {
    let group_id = a.count("select group_id from asset_group where default_one = 1").await;
    let mut fields = vec![("kind", kind.to_owned()), ("group_id", group_id.to_string())];
    for limit in ["cpu_limit", "memory_limit", "disk_limit"] {
        fields.push((limit, "0".to_owned()));
    }
    fields.extend(typed.iter().map(|(field, value)| (*field, (*value).to_owned())));
    fields
}

fn plain<'a>(fields: &'a Fields<'_>) -> Vec<(&'a str, &'a str)> {
    fields.iter().map(|(field, value)| (*field, value.as_str())).collect()
}

/// As htmx sends it.
async fn hx_post(a: &TestConsole, visitor: &Visitor, path: &str, fields: &Fields<'_>) -> Page {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("csrf", &visitor.csrf()).extend_pairs(fields);
    let request = a.client.post(path).header("Accept-Language", "en");
    let request = request.header("HX-Request", "true").header("Cookie", visitor.cookie());
    let request = request.content_type("application/x-www-form-urlencoded");
    Page::of(request.body(form.finish()).send().await).await
}

/// Asks for a trial without scripts; where its page is.
async fn asked(a: &TestConsole, fields: &Fields<'_>) -> String {
    let page = a.post("/assets/trials", &plain(fields)).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("main"));
    page.header("location").to_owned()
}

/// What a server does in a step and the checks it began.
async fn step(of: &TestConsole) {
    let monitor = Monitor::default();
    monitor.tick(&of.app).await.unwrap();
    monitor.settle(&of.app).await.unwrap();
}

/// Asked for and made on this server; the page that tells.
async fn tried(a: &TestConsole, kind: &str, typed: &[(&'static str, &str)]) -> Page {
    let path = asked(a, &form(a, kind, typed).await).await;
    step(a).await;
    a.get(&path).await
}

fn ssh<'a>(port: &'a str, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    [&[("host", "127.0.0.1"), ("port", port)], more].concat()
}

/// A page of `node_exporter` on loopback; how often somebody asked for it.
async fn counted() -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = count.clone();
    let port = peer(move |mut stream| {
        seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            let mut question = [0; 2048];
            let _ = stream.read(&mut question).await;
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    (format!("http://127.0.0.1:{port}"), count)
}

fn seen(count: &std::sync::atomic::AtomicUsize) -> usize {
    count.load(std::sync::atomic::Ordering::SeqCst)
}

#[tokio::test]
async fn a_machine_that_answers_and_one_that_does_not() {
    let a = TestConsole::start().await;
    let exporter = NodeExporter::start(&[]).await;
    let address = format!("http://127.0.0.1:{}", exporter.port);
    let page = tried(&a, "machine", &[("address", &address)]).await;
    page.shows("The connection works");
    page.shows("Tested by this server");
    assert!(page.text(".notice-good").contains("memory"), "{}", page.text("main"));
    assert_eq!(page.count("[hx-trigger]") + page.count("meta[http-equiv]"), 0);
    drop(exporter);
    let page = tried(&a, "machine", &[("address", &address)]).await;
    page.shows("The connection fails: Connection refused");
    assert_eq!(page.count(".notice-bad"), 1);
    assert_eq!(a.count("select count(*) from asset").await, 0, "nothing is saved");
}

#[tokio::test]
async fn a_password_and_a_key_of_ssh_hosts_and_nothing_secret_stays() {
    let a = TestConsole::start().await;
    let server = Server::start(Way::Password, Does::Tell).await;
    let port = server.port.to_string();
    let right = ssh(&port, &[("login", "password"), ("user", USER), ("password", PASSWORD)]);
    tried(&a, "ssh", &right).await.shows("The connection works");
    let wrong = ssh(
        &port,
        &[("login", "password"), ("user", USER), ("password", "secret-zebra")],
    );
    let page = tried(&a, "ssh", &wrong).await;
    page.shows(&format!("The connection fails: The login of {USER} was refused"));
    assert!(!page.body.contains("secret-zebra"));
    let left = "select count(*) from asset_trial where sealed is not null";
    assert_eq!(a.count(left).await, 0);
    let kept = "select count(*) from credential";
    assert_eq!(a.count(kept).await, 0);
    let trail = a.get("/audit?action=asset_trial").await;
    trail.shows(&format!("127.0.0.1:{port}"));
    assert!(!trail.body.contains("zebra") && !trail.body.contains(PASSWORD));
    let told = "select count(*) from audit where changes like '%zebra%' or changes like '%correct horse%'";
    assert_eq!(a.count(told).await, 0);

    let (sshd, key) = (Sshd::start(&["ed25519"]), Key::new("ed25519", "RFC4716", ""));
    sshd.authorize(&key, "");
    let (port, user) = (sshd.port.to_string(), me());
    let right = ssh(&port, &[("login", "key"), ("user", &user), ("private_key", &key.text)]);
    let page = tried(&a, "ssh", &right).await;
    page.shows("The connection works");
    // To be compared by a person, and kept nowhere but in the report.
    page.shows(&sshd.host_key("ed25519"));
    let stranger = Key::new("ed25519", "RFC4716", "");
    let wrong = ssh(
        &port,
        &[("login", "key"), ("user", &user), ("private_key", &stranger.text)],
    );
    tried(&a, "ssh", &wrong)
        .await
        .shows(&format!("The login of {user} was refused"));
}

#[tokio::test]
async fn a_docker_host_that_is_there_and_one_that_is_not() {
    let a = TestConsole::start().await;
    let podman = Podman::on_socket().await;
    let page = tried(&a, "docker", &[("address", &podman.address())]).await;
    page.shows("The connection works");
    page.shows("containers 0/0");
    let page = tried(&a, "docker", &[("address", "unix:///nowhere/docker.sock")]).await;
    page.shows("The connection fails");
}

#[tokio::test]
async fn the_owner_looks_and_not_the_server_that_was_asked() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let (address, count) = counted().await;
    let path = asked(&b, &form(&a, "machine", &[("address", &address)]).await).await;
    let waiting = b.get(&path).await;
    waiting.shows(&format!("Waiting for {}", a.app.name()));
    assert_eq!(waiting.count("noscript") + waiting.count("[hx-trigger='every 1s']"), 3);
    step(&b).await;
    assert_eq!(seen(&count), 0);
    b.get(&path).await.shows("Waiting for");
    let (one, two) = (Monitor::default(), Monitor::default());
    one.tick(&a.app).await.unwrap();
    two.tick(&a.app).await.unwrap();
    one.settle(&a.app).await.unwrap();
    two.settle(&a.app).await.unwrap();
    assert_eq!(seen(&count), 1, "one of two steps made it");
    let page = b.get(&path).await;
    page.shows("The connection fails: The answer has HTTP status 404");
    page.shows("this server did not connect");
    a.get(&path).await.shows("Tested by this server");
    let taken = format!("select count(*) from asset_trial where taken_by = '{}'", a.id());
    assert_eq!(a.count(&taken).await, 1);
}

#[tokio::test]
async fn who_is_testing_is_said_while_it_lasts_and_when_it_never_ends() {
    let a = TestConsole::start().await;
    let (told, wait) = tokio::sync::watch::channel(());
    let port = peer(move |mut stream| {
        let mut wait = wait.clone();
        async move {
            let _ = wait.changed().await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let address = format!("http://127.0.0.1:{port}");
    let path = asked(&a, &form(&a, "machine", &[("address", &address)]).await).await;
    let monitor = Monitor::default();
    monitor.tick(&a.app).await.unwrap();
    a.get(&path).await.shows("is testing…");
    a.sql("update asset_trial set taken_at = taken_at - interval 60 second")
        .await;
    let page = a.hx_get(&path).await;
    page.shows("began the test and never told the result");
    assert_eq!(page.count("[hx-trigger]"), 0);
    told.send(()).unwrap();
    monitor.settle(&a.app).await.unwrap();
    a.get(&path).await.shows("The connection fails");
}

#[tokio::test]
async fn nobody_who_would_do_it_is_said_at_once_and_saving_goes_on() {
    let a = TestConsole::start().await;
    a.sql("delete from cluster_group").await;
    let fields = form(&a, "machine", &[("address", "http://127.0.0.1:1"), ("name", "m")]).await;
    let page = hx_post(&a, &a.visitor, "/assets/trials", &fields).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.shows("No cluster is bound to the group");
    page.shows("You can save it all the same");
    assert_eq!(page.count("a[href$='/clusters/new']"), 1);
    assert_eq!(a.count("select count(*) from asset_trial").await, 0);
    let saved = a.post("/assets", &plain(&fields)).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text("main"));
}

#[tokio::test]
async fn an_owner_that_dies_before_it_takes_one_is_told_of() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let (address, count) = counted().await;
    let path = asked(&b, &form(&a, "machine", &[("address", &address)]).await).await;
    a.age(1000.0).await;
    a.sql("update asset_trial set asked_at = asked_at - interval 31 second")
        .await;
    let page = b.get(&path).await;
    page.shows("No server took the test within 30 s");
    page.shows("None of the clusters of the group");
    assert_eq!(page.count("[hx-trigger]") + page.count("meta[http-equiv]"), 0);
    // Late is not at all: nobody looks at it any more.
    let mut a = a;
    a.heart.tick().await.unwrap();
    step(&a).await;
    assert_eq!(seen(&count), 0);
    a.sql("update asset_trial set asked_at = asked_at - interval 10 minute")
        .await;
    tasks::sweep(&a.app).await.unwrap();
    assert_eq!(a.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_whoever_asked_sees_it_and_only_who_may_can_ask() {
    let a = TestConsole::start().await;
    let fields = form(&a, "machine", &[("address", "http://127.0.0.1:1")]).await;
    let path = asked(&a, &fields).await;
    assert_eq!(a.get(&path).await.status, StatusCode::OK);
    let other = a.visitor("other", Role::SuperAdmin).await;
    assert_eq!(a.get_as(&other, &path).await.status, StatusCode::NOT_FOUND);
    for wrong in ["x", "%20", &"0".repeat(33)] {
        assert_eq!(
            a.get(&format!("/assets/trials/{wrong}")).await.status,
            StatusCode::NOT_FOUND
        );
    }
    let member = a.visitor("member", Role::Member).await;
    let page = a.post_as(&member, "/assets/trials", &plain(&fields)).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert_eq!(a.get_as(&member, &path).await.status, StatusCode::FORBIDDEN);
    let request = a.client.post("/assets/trials").header("Cookie", a.visitor.cookie());
    let request = request.content_type("application/x-www-form-urlencoded");
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(&fields);
    let page = Page::of(request.body(body.finish()).send().await).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "without the token of our forms");
    assert_eq!(a.count("select count(*) from asset_trial").await, 1);
}

#[tokio::test]
async fn the_form_stays_as_typed_and_mistakes_are_said_in_the_box() {
    let a = TestConsole::start().await;
    let shown = a.get("/assets/new?kind=ssh").await;
    let button =
        "button[formaction='/assets/trials'][hx-post='/assets/trials'][hx-target='#trial'][formtarget='_blank']";
    assert_eq!((shown.count(button), shown.count("#trial")), (1, 1));
    let wrong = form(&a, "ssh", &[("host", ""), ("port", "99999"), ("password", "zebra")]).await;
    let page = hx_post(&a, &a.visitor, "/assets/trials", &wrong).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("Host : Give its host");
    page.shows("Port : A port is between 1 and 65535");
    assert_eq!(page.count("form") + page.count("input"), 0);
    assert!(!page.body.contains("zebra"));
    // Without scripts on a page of its own.
    let page = a.post("/assets/trials", &plain(&wrong)).await;
    assert_eq!(
        (page.status, page.count("main a[href='#f-host']")),
        (StatusCode::UNPROCESSABLE_ENTITY, 1)
    );
    assert_eq!(a.count("select count(*) from asset_trial").await, 0);
    let right = form(
        &a,
        "ssh",
        &[("host", "127.0.0.1"), ("port", "1"), ("password", "zebra")],
    )
    .await;
    let page = hx_post(&a, &a.visitor, "/assets/trials", &right).await;
    assert_eq!((page.status, page.count("form")), (StatusCode::OK, 0));
    assert_eq!(page.count("#trial [hx-get^='/assets/trials/'][hx-target='#trial']"), 1);
    assert!(!page.body.contains("zebra"));
}

#[tokio::test]
async fn what_is_kept_is_used_where_it_belongs_and_sent_nowhere_else() {
    let a = TestConsole::start().await;
    let (mine, theirs) = (
        Server::start(Way::Password, Does::Tell).await,
        Server::start(Way::Password, Does::Tell).await,
    );
    let port = mine.port.to_string();
    let kept = [
        ("login", "password"),
        ("user", USER),
        ("password", PASSWORD),
        ("name", "kept"),
    ];
    let saved = a
        .post("/assets", &plain(&form(&a, "ssh", &ssh(&port, &kept)).await))
        .await;
    let asset_id = saved.header("location").rsplit('/').next().unwrap().to_owned();
    a.sql("update asset_watch set due_at = '9999-12-31'").await;
    a.sql("update asset set paused_until = '9999-12-31'").await;
    a.sql("update asset set pin = 'ssh-ed25519 SHA256:another'").await;
    let again = [("login", "password"), ("user", USER), ("asset_id", &*asset_id)];
    // What the host is known by counts here, too, and stays.
    tried(&a, "ssh", &ssh(&port, &again))
        .await
        .shows("The host key has changed");
    a.sql("update asset set pin = ''").await;
    let before = mine.tries().len();
    let page = tried(&a, "ssh", &ssh(&port, &again)).await;
    page.shows("The connection works");
    assert!(mine.tries().len() > before);
    let pins = "select count(*) from asset where pin <> '' or offered_pin <> ''";
    assert_eq!(a.count(pins).await, 0, "a trial pins nothing");

    let port = theirs.port.to_string();
    let page = a
        .post("/assets/trials", &plain(&form(&a, "ssh", &ssh(&port, &again)).await))
        .await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("what is kept is not sent that way");
    // Something else typed brings nothing kept along.
    let other = [&again[..], &[("passphrase", "x")]].concat();
    let page = tried(&a, "ssh", &ssh(&port, &other)).await;
    page.shows("The connection fails");
    let right = [&again[..], &[("password", PASSWORD)]].concat();
    tried(&a, "ssh", &ssh(&port, &right))
        .await
        .shows("The connection works");
}

#[tokio::test]
async fn a_named_credential_is_used() {
    let a = TestConsole::start().await;
    let server = Server::start(Way::Password, Does::Tell).await;
    let port = server.port.to_string();
    let named = [("name", "shared"), ("user", USER), ("password", PASSWORD)];
    a.post("/credentials", &named).await;
    let ids: Vec<String> = a
        .conn()
        .await
        .query("select credential_id from credential")
        .await
        .unwrap();
    let typed = ssh(&port, &[("login", "password"), ("credential_id", &ids[0])]);
    tried(&a, "ssh", &typed).await.shows("The connection works");
}

#[tokio::test]
async fn three_at_a_time_also_when_asked_for_at_once() {
    let a = TestConsole::start().await;
    let fields = form(&a, "machine", &[("address", "http://127.0.0.1:1")]).await;
    let ask = || hx_post(&a, &a.visitor, "/assets/trials", &fields);
    let pages = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());
    let pages = [pages.0, pages.1, pages.2, pages.3, pages.4, pages.5];
    let refused = pages.iter().filter(|page| page.status == StatusCode::TOO_MANY_REQUESTS);
    refused
        .clone()
        .for_each(|page| page.shows("Three of your tests have not ended yet"));
    assert_eq!(
        (refused.count(), a.count("select count(*) from asset_trial").await),
        (3, 3)
    );
    let other = a.visitor("other", Role::SystemAdmin).await;
    assert_eq!(
        hx_post(&a, &other, "/assets/trials", &fields).await.status,
        StatusCode::OK
    );
    step(&a).await;
    assert_eq!(ask().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_change_of_the_key_drops_what_waits_with_a_secret() {
    let a = TestConsole::start().await;
    let typed = ssh("1", &[("login", "password"), ("user", USER), ("password", PASSWORD)]);
    let path = asked(&a, &form(&a, "ssh", &typed).await).await;
    assert_eq!(
        a.count("select count(*) from asset_trial where sealed is not null")
            .await,
        1
    );
    let key = |arguments: &[&str]| say(a.data.path(), &a.database, &[&["key"], arguments].concat()).1;
    key(&["rotate"]);
    let said = key(&["rotate", "--finish"]);
    assert!(said.contains("Sealed 0 secrets"), "{said}");
    assert_eq!(a.get(&path).await.status, StatusCode::NOT_FOUND);
    tasks::keys(&a.app).await.unwrap();
    let path = asked(&a, &form(&a, "ssh", &typed).await).await;
    std::fs::remove_file(a.app.seal.path()).unwrap();
    let said = key(&["forget"]);
    assert!(said.contains("Dropped 0"), "{said}");
    assert_eq!(a.get(&path).await.status, StatusCode::NOT_FOUND);
}
