//! Who answers at the addresses of clusters.

use std::sync::Arc;

use muster::clusters::address::Reach;
use muster::clusters::check;
use muster::clusters::check::probe::{Outcome, judge};
use poem::Server;
use poem::listener::TcpAcceptor;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::TestConsole;
use crate::support::free_port;

/// Serves a console on loopback; its address.
async fn served(console: &TestConsole) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let site = console.site();
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap());
    tokio::spawn(async move { server.run(site).await.unwrap() });
    address
}

/// Something on loopback that answers every request with these bytes.
async fn answering(bytes: impl Into<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let bytes: Arc<Vec<u8>> = Arc::new(bytes.into());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&bytes).await;
            });
        }
    });
    address
}

fn http(status: &str, more: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_look_tells_who_answers() {
    let a = TestConsole::start().await;
    let own = served(&a).await;
    assert_eq!(judge(&own, a.id(), Reach::All).await.outcome, Outcome::Fine);
    let other = judge(&own, &"0".repeat(32), Reach::All).await;
    assert_eq!((other.outcome, other.answered_id.as_str()), (Outcome::Other, a.id()));
    assert_eq!(
        judge(&format!("{own}/muster"), a.id(), Reach::All).await.outcome,
        Outcome::NotMuster,
        "a path too much"
    );

    let jpom = r#"{"code":200,"data":{"routerBase":"","extendPlugins":[],"installId":"x"}}"#;
    assert_eq!(
        judge(&answering(http("200 OK", "", jpom)).await, a.id(), Reach::All)
            .await
            .outcome,
        Outcome::Jpom
    );
    let redirect = http("302 Found", &format!("Location: {own}/identity\r\n"), "");
    let verdict = judge(&answering(redirect).await, a.id(), Reach::All).await;
    assert_eq!(
        (verdict.outcome, verdict.detail.as_str()),
        (Outcome::NotMuster, "HTTP 302"),
        "no redirect is followed"
    );
    for body in [
        "<html>",
        "{}",
        "[]",
        r#"{"product":"Muster"}"#,
        r#"{"product":"Muster","installId":"' or 1=1"}"#,
    ] {
        assert_eq!(
            judge(&answering(http("200 OK", "", body)).await, a.id(), Reach::All)
                .await
                .outcome,
            Outcome::NotMuster,
            "{body}"
        );
    }
    let endless = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n{}",
        "x".repeat(1_000_000)
    );
    assert_eq!(
        judge(&answering(endless).await, a.id(), Reach::All).await.outcome,
        Outcome::NotMuster
    );
    assert_eq!(
        judge(&answering("no http").await, a.id(), Reach::All).await.outcome,
        Outcome::Unreachable
    );
    let closed = format!("http://127.0.0.1:{}", free_port());
    assert_eq!(judge(&closed, a.id(), Reach::All).await.outcome, Outcome::Unreachable);
}

#[tokio::test]
async fn a_certificate_nobody_trusts_is_a_problem_of_tls() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = acceptor.accept(stream).await;
        }
    });
    let verdict = judge(&format!("https://localhost:{port}"), "", Reach::All).await;
    assert_eq!(verdict.outcome, Outcome::Tls, "{}", verdict.detail);
}

#[tokio::test]
async fn each_server_looks_at_itself_and_at_others_and_all_pages_show_it() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    // The addresses are swapped, as Jpom does not notice.
    let (at_a, at_b) = (served(&a).await, served(&b).await);
    a.set(&format!("address = '{at_b}'")).await;
    b.set(&format!("address = '{at_a}'")).await;
    check::tick(&a.app).await.unwrap();
    let page = b.get(&format!("/clusters/{}", a.id())).await;
    page.shows(&format!("Another cluster answers {} checked by itself", b.app.name()));
    let page = b.get(&format!("/clusters/{}", b.id())).await;
    page.shows(&format!(
        "Another cluster answers {} checked by {}",
        a.app.name(),
        a.app.name()
    ));
    let list = b.get("/clusters").await;
    assert_eq!(list.count(".c-address .state-red"), 2);
    let told = list.text(&format!("#cluster-{} .c-address .since", b.id()));
    assert!(
        told.starts_with(&format!("Another cluster answers · checked by {} at 20", a.app.name())),
        "{told}"
    );
    let told = list.text(&format!("#cluster-{} .c-address .since", a.id()));
    assert!(told.contains("checked by"), "{told}");

    a.set(&format!("address = '{at_a}'")).await;
    let page = b.get(&format!("/clusters/{}", a.id())).await;
    page.shows("This address has not been checked yet");
    check::tick(&a.app).await.unwrap();
    b.get(&format!("/clusters/{}", a.id()))
        .await
        .shows("This cluster answers checked by itself");
    assert_eq!(b.get("/clusters").await.count(".c-address .state-red"), 1);
    // Nobody looks at the same one again for ten minutes, unless its address changes.
    let seen = "select unix_timestamp(max(checked_at)) * 1000000 from address_check where kind = 'peer'";
    let before = a.count(&format!("select cast(({seen}) as unsigned)")).await;
    check::tick(&a.app).await.unwrap();
    assert_eq!(a.count(&format!("select cast(({seen}) as unsigned)")).await, before);
    b.set(&format!("address = '{at_b}'")).await;
    check::tick(&a.app).await.unwrap();
    b.get(&format!("/clusters/{}", b.id()))
        .await
        .shows("This cluster answers checked by");
    a.set("address = ''").await;
    check::tick(&a.app).await.unwrap();
    b.get("/clusters").await.shows("No address");
    let now = b.post(&format!("/clusters/{}/check", b.id()), &[]).await;
    assert_eq!(now.header("location"), format!("/clusters/{}", b.id()));
}
