//! HTTPS: directly, with a certificate that is renewed, and behind nginx with a path in front.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::people::Role;
use mysql_async::prelude::Queryable;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::nginx::Nginx;
use crate::processes::Process;
use crate::support::free_port;
use crate::support::{PASSWORD, TestConsole, TestDatabase};

pub(crate) const NAME: &str = "muster.example";

/// A self-signed certificate and its key, written where a server looks for them.
pub(crate) fn certificate(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    for (name, pem) in [("key.pem", signing_key.serialize_pem()), ("cert.pem", cert.pem())] {
        let new = dir.join(format!("{name}.new"));
        std::fs::write(&new, pem).unwrap();
        std::fs::rename(new, dir.join(name)).unwrap();
    }
    cert.der().clone()
}

/// The whole answer of a server that must have this certificate; the error otherwise.
pub(crate) async fn ask(port: u16, trusted: &CertificateDer<'static>, request: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(NAME).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    // Not every server says goodbye.
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8(answer).unwrap())
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\nHost: {NAME}\nAccept-Language: en\nConnection: close\n\n")
}

#[tokio::test]
async fn a_server_speaks_tls_by_itself_and_takes_up_a_renewed_certificate() {
    let database = TestDatabase::new().await.database;
    let files = TempDir::new().unwrap();
    let first = certificate(files.path());
    let path = |name: &str| files.path().join(name).display().to_string();
    let env = [
        ("SERVER_SSL_CERTIFICATE", path("cert.pem")),
        ("SERVER_SSL_CERTIFICATE_PRIVATE_KEY", path("key.pem")),
    ];
    let process = Process::spawn(Some(&database), "TLS", &env);
    let end = Instant::now() + Duration::from_secs(60);
    while !ask(process.port, &first, &get("/readyz"))
        .await
        .is_ok_and(|answer| answer.contains("ready\n"))
    {
        assert!(Instant::now() < end, "never ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = ask(process.port, &first, &get("/setup")).await.unwrap().to_lowercase();
    assert!(
        answer.contains("strict-transport-security") && answer.contains("samesite=lax; secure"),
        "{answer}"
    );

    std::fs::write(files.path().join("cert.pem"), "broken").unwrap();
    let second = certificate(files.path());
    while ask(process.port, &second, &get("/healthz")).await.is_err() {
        assert!(Instant::now() < end, "the renewed certificate was never used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(ask(process.port, &first, &get("/healthz")).await.is_err());
}

/// The sign-in page behind nginx, once it answers.
async fn sign_in_page(port: u16, trusted: &CertificateDer<'static>) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match ask(port, trusted, &get("/muster/sign-in")).await {
            Ok(page) => return page,
            Err(cause) => assert!(Instant::now() < end, "nginx never answered: {cause}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What stands between two marks.
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text
        .split(from)
        .nth(1)
        .unwrap_or_else(|| panic!("no {from:?} in: {text}"));
    rest.split(to).next().unwrap()
}

/// A sign-in as a browser sends it that came from `origin` and claims to come from an address.
fn sign_in(port: u16, page: &str, origin: &str) -> String {
    let cookie = between(page, "muster_form=", ";");
    let csrf = between(page, "name=\"csrf\" value=\"", "\"");
    let body = format!("csrf={csrf}&name=ann&password=correct+horse+battery&back=%2Fclusters");
    format!(
        "POST /muster/sign-in HTTP/1.1\nHost: {NAME}:{port}\nOrigin: {origin}\nX-Forwarded-For: 203.0.113.9\n\
         Cookie: muster_form={cookie}\nContent-Type: application/x-www-form-urlencoded\nContent-Length: {}\n\
         Connection: close\n\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn behind_nginx_with_tls_and_a_path_one_signs_in_and_is_known_by_ones_own_address() {
    let console = TestConsole::start().await;
    console.visitor("ann", Role::SystemAdmin).await;
    let files = TempDir::new().unwrap();
    let trusted = certificate(files.path());
    let env = [
        ("SERVER_SERVLET_CONTEXT_PATH", "/muster".to_owned()),
        ("SERVER_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    let process = Process::spawn(Some(&console.database), "P", &env);
    process.until("/muster/readyz", "ready").await;
    let port = free_port();
    let _nginx = Nginx::start(files.path(), port, process.port);
    let page = sign_in_page(port, &trusted).await;
    assert!(page.contains("Path=/muster; HttpOnly; SameSite=Lax; Secure"), "{page}");
    let foreign = sign_in(port, &page, "https://evil.example");
    let foreign = ask(port, &trusted, &foreign).await.unwrap();
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    let own = sign_in(port, &page, &format!("https://{NAME}:{port}"));
    let answer = ask(port, &trusted, &own).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 303") && answer.contains("location: /muster/clusters"),
        "{answer}"
    );
    let session = between(&answer, "set-cookie: muster_s_", ";");
    let request = get("/muster/clusters").replace("Connection:", &format!("Cookie: muster_s_{session}\nConnection:"));
    let list = ask(port, &trusted, &request).await.unwrap();
    assert!(
        list.starts_with("HTTP/1.1 200") && list.contains("href=\"/muster/security\""),
        "{list}"
    );
    let sql = "select address from audit where action = 'sign_in' and result = 'done'";
    let address: Option<String> = console.conn().await.query_first(sql).await.unwrap();
    assert_eq!(
        address.unwrap(),
        "203.0.113.9",
        "nginx appends its peer, which is trusted here"
    );
}

#[tokio::test]
async fn without_a_trusted_proxy_nobody_is_believed_about_where_they_come_from() {
    let console = TestConsole::start().await;
    console.visitor("ann", Role::SystemAdmin).await;
    let process = Process::spawn(Some(&console.database), "P", &[]);
    process.until("/readyz", "ready").await;
    let ask = async |request: String| {
        let mut stream = TcpStream::connect(("127.0.0.1", process.port)).await.unwrap();
        stream
            .write_all(request.replace('\n', "\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let page = ask(get("/sign-in")).await;
    let own = format!("http://{NAME}:{}", process.port);
    let lying = sign_in(process.port, &page, &own).replace("/muster/", "/");
    let lying = lying.replace("X-Forwarded-For", "X-Forwarded-Proto: https\nX-Forwarded-For");
    let answer = ask(lying.clone()).await;
    assert!(
        answer.starts_with("HTTP/1.1 303") && !answer.contains("Secure"),
        "{answer}"
    );
    let sql = "select address from audit where action = 'sign_in' and result = 'done'";
    let address: Option<String> = console.conn().await.query_first(sql).await.unwrap();
    assert_eq!(address.unwrap(), "127.0.0.1");
    // Nor about the host the browser asked for.
    let foreign = lying.replace(&own, "https://evil.example");
    let foreign = foreign.replace("X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example");
    let answer = ask(foreign).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn two_servers_of_one_host_keep_their_browsers_apart_and_know_each_others() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.visitor("ann", Role::Member).await;
    let mut cookies = Vec::new();
    for console in [&a, &b] {
        let page = console.sign_in("ann", PASSWORD).await;
        let set = page
            .headers
            .get_all("set-cookie")
            .iter()
            .map(|cookie| cookie.to_str().unwrap().to_owned());
        let session = set
            .filter(|cookie| cookie.starts_with("muster_s_"))
            .find(|cookie| !cookie.contains("Max-Age=0"));
        cookies.push(session.unwrap().split(';').next().unwrap().to_owned());
    }
    assert_ne!(cookies[0].split('=').next(), cookies[1].split('=').next());
    // A browser sends the cookies of both ports to both.
    let both = cookies.join("; ");
    for console in [&a, &b] {
        let page = console.client.get("/profile").header("Cookie", &both).send().await;
        assert_eq!(page.0.status(), 200);
    }
    // Behind one address for several servers the cookie of any of them will do.
    let page = b.client.get("/profile").header("Cookie", &cookies[0]).send().await;
    assert_eq!(page.0.status(), 200);
}
