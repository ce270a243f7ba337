//! Telling people by e-mail: a real SMTP server, and some that are not honest.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster::notify::Event;
use poem::http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::rustls;

use crate::notify::{tell, tick};
use crate::support::free_port;
use crate::support::{Page, TestConsole};

/// Debian's aiosmtpd: says what it took, a line of JSON each. Ends with its standard input.
const SERVER: &str = r#"
import json, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
port, mode, cert, key = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such user here: " + str(session.auth_data or b"", "utf-8")
        envelope.rcpt_tos.append(address)
        return "250 OK"
    async def handle_DATA(self, server, session, envelope):
        took = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
                "user": str(session.auth_data or b"", "utf-8"), "text": envelope.content.decode("utf-8")}
        print(json.dumps(took), flush=True)
        return "250 taken"
def judge(server, session, envelope, mechanism, data):
    session.auth_data = data.login + b"/" + data.password
    good = data.password == "geheim 88 ü".encode()
    return AuthResult(success=good, handled=good, auth_data=session.auth_data)
options = {}
if mode != "plain":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    options = {"auth_required": True, "authenticator": judge}
    if mode == "tls":
        options |= {"ssl_context": context, "auth_require_tls": False}
    else:
        options |= {"tls_context": context, "require_starttls": True}
controller = Controller(Handler(), hostname="127.0.0.1", port=port, **options)
controller.start()
print("{}", flush=True)
sys.stdin.read()
controller.stop()
"#;

struct Smtp {
    child: Child,
    lines: BufReader<ChildStdout>,
    port: String,
    authority: String,
    _files: TempDir,
}

impl Smtp {
    fn start(mode: &str) -> Smtp {
        let files = TempDir::new().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| files.path().join(name));
        std::fs::write(&cert_file, cert.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let port = free_port().to_string();
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SERVER, &port, mode])
            .args([cert_file, key_file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut smtp = Smtp {
            child,
            lines,
            port,
            authority: issuer.pem(),
            _files: files,
        };
        assert_eq!(smtp.next(), Value::Object(Default::default()), "it has begun");
        smtp
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no line of JSON: {line:?}"))
    }

    /// A channel for it.
    async fn channel(&self, a: &TestConsole, encryption: &str, more: &[(&str, &str)]) -> Page {
        let mut fields = vec![
            ("kind", "mail"),
            ("name", "值班"),
            ("recipients", "one@example.org"),
            ("from", "muster@example.org"),
            ("host", "localhost"),
            ("port", self.port.as_str()),
            ("encryption", encryption),
            ("is_on", "1"),
        ];
        fields.retain(|(known, _)| more.iter().all(|(name, _)| name != known));
        a.post("/notices", &[&fields, more].concat()).await
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.child.stdin.take().map(|mut end| end.flush());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LOGIN: [(&str, &str); 2] = [("user", "ann"), ("key", "geheim 88 ü")];

/// A channel whose test ended so.
async fn tested(a: &TestConsole, page: &Page) -> Page {
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    let page = page.header("location");
    let sent = a.post(&format!("{page}/test"), &[]).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text("body"));
    tick(&a.app).await;
    a.get(page).await
}

#[tokio::test]
async fn a_letter_arrives_over_tls_with_a_login_and_all_its_headers() {
    let a = TestConsole::start().await;
    for (mode, encryption) in [("starttls", "start_tls"), ("tls", "tls")] {
        let mut smtp = Smtp::start(mode);
        a.sql("delete from notice_channel").await;
        let authority = [("authority", smtp.authority.as_str())];
        let page = smtp.channel(&a, encryption, &[&LOGIN[..], &authority].concat()).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
        tell(&a.app, "asset/1", Event::Down, 0).await;
        tick(&a.app).await;
        let shown = a.get(page.header("location")).await;
        assert_eq!(shown.texts("tbody .state"), ["Sent"], "{}", shown.text("tbody"));
        let took = smtp.next();
        // Behind TLS from the start it knows of none.
        assert_eq!(took["tls"], mode == "starttls");
        assert_eq!(took["user"], "ann/geheim 88 ü");
        assert_eq!(
            (&took["from"], &took["to"]),
            (&"muster@example.org".into(), &serde_json::json!(["one@example.org"]))
        );
        let text = took["text"].as_str().unwrap();
        for header in [
            "Auto-Submitted: auto-generated\r\n",
            "\r\nDate: ",
            "charset=utf-8",
            "From: ",
        ] {
            assert!(text.contains(header), "{header}: {text}");
        }
        let id = format!("Message-ID: <muster.{}.", a.id());
        assert!(text.contains(&id) && text.contains("@example.org>\r\n"), "{text}");
        assert!(text.contains("Subject: [Muster] =?utf-8?"), "{text}");
    }
}

#[tokio::test]
async fn many_recipients_get_one_letter_and_one_that_is_refused_is_named() {
    let a = TestConsole::start().await;
    let mut smtp = Smtp::start("plain");
    let list: Vec<String> = (0..100)
        .map(|number| format!("person.number{number}@department.example.org"))
        .collect();
    let page = smtp.channel(&a, "none", &[("recipients", &list.join(",\n"))]).await;
    tested(&a, &page).await.shows("Sent");
    let took = smtp.next();
    assert_eq!(took["to"], serde_json::json!(list));
    let longest = took["text"].as_str().unwrap().lines().map(str::len).max().unwrap();
    assert!(longest < 998, "RFC 5322, 2.1.1");
    a.sql("delete from notice_channel").await;
    let page = smtp
        .channel(&a, "none", &[("recipients", "one@example.org, nobody@example.org")])
        .await;
    tested(&a, &page).await.shows("no such user here");
    a.sql("delete from notice_channel").await;
    let list = format!("{},one@example.org", list.join(","));
    let page = smtp.channel(&a, "none", &[("recipients", &list)]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("100 recipients at most; these are 101");
}

#[tokio::test]
async fn nothing_goes_out_in_the_open_or_to_a_certificate_nobody_trusts() {
    let a = TestConsole::start().await;
    let open = Smtp::start("plain");
    let page = open.channel(&a, "start_tls", &LOGIN).await;
    tested(&a, &page)
        .await
        .shows("The mail server offers no STARTTLS, so nothing was sent");
    for (mode, encryption) in [("starttls", "start_tls"), ("tls", "tls")] {
        let smtp = Smtp::start(mode);
        a.sql("delete from notice_channel").await;
        let page = smtp.channel(&a, encryption, &LOGIN).await;
        tested(&a, &page).await.shows("TLS problem:");
    }
    let smtp = Smtp::start("starttls");
    a.sql("delete from notice_channel").await;
    let wrong = [
        ("user", "ann"),
        ("key", "geheim 99"),
        ("authority", smtp.authority.as_str()),
    ];
    let page = smtp.channel(&a, "start_tls", &wrong).await;
    let shown = tested(&a, &page).await;
    shown.shows("The other side refused it");
    // What the server says back of the password is not shown.
    a.sql("delete from notice_channel").await;
    let right = [
        LOGIN[0],
        LOGIN[1],
        ("authority", smtp.authority.as_str()),
        ("recipients", "nobody@example.org"),
    ];
    let shown = tested(&a, &smtp.channel(&a, "start_tls", &right).await).await;
    shown.shows("The other side refused it: •••");
    assert!(!shown.body.contains("geheim"));
}

#[tokio::test]
async fn a_sender_may_have_a_name_and_of_recipients_the_addresses_count() {
    let a = TestConsole::start().await;
    let mut smtp = Smtp::start("plain");
    // As mail programs show it; encoded when it is not plain.
    for (from, header) in [
        ("Ops <ops@example.org>", "From: Ops <ops@example.org>\r\n"),
        (
            "\"Ops, night\" <ops@example.org>",
            "From: =?utf-8?b?T3BzLCBuaWdodA==?= <ops@example.org>\r\n",
        ),
        (
            "值班 <ops@example.org>",
            "From: =?utf-8?b?5YC854+t?= <ops@example.org>\r\n",
        ),
        ("ops@example.org", "From: Muster <ops@example.org>\r\n"),
    ] {
        a.sql("delete from notice_channel").await;
        let fields = [
            ("from", from),
            ("recipients", "Ann <one@example.org>; 李 <two@example.org>"),
        ];
        let page = smtp.channel(&a, "none", &fields).await;
        let shown = tested(&a, &page).await;
        shown.shows("Sent");
        shown.shows("one@example.org, two@example.org");
        let edit = format!("{}/edit", page.header("location"));
        assert_eq!(a.get(&edit).await.value("#f-from"), from);
        let took = smtp.next();
        assert_eq!(took["from"], "ops@example.org");
        assert_eq!(took["to"], serde_json::json!(["one@example.org", "two@example.org"]));
        let text = took["text"].as_str().unwrap();
        assert!(text.contains(header), "{header}: {text}");
    }
}

/// Something on loopback that says these bytes to everybody, again and again if told so, and never ends.
async fn saying(bytes: &'static [u8], endless: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while stream.write_all(bytes).await.is_ok() && endless {}
                let _ = stream.read(&mut [0; 100]).await;
                std::future::pending::<()>().await;
            });
        }
    });
    port
}

/// Something that speaks TLS, after STARTTLS or from the start, and then says one line without an end. How much it could say.
async fn flooding(starts_tls: bool) -> (String, String, Arc<AtomicUsize>) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let said = Arc::new(AtomicUsize::new(0));
    let counted = said.clone();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if starts_tls {
                for answer in ["220 hello\r\n", "250-localhost\r\n250 STARTTLS\r\n", "220 go\r\n"] {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if answer != "220 go\r\n" {
                        assert!(stream.read(&mut [0; 500]).await.unwrap() > 0);
                    }
                }
            }
            // Somebody may only look whether anybody is there.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            while stream.write_all(&[b'2'; 16_384]).await.is_ok() {
                counted.fetch_add(16_384, Ordering::Relaxed);
            }
        }
    });
    (port, issuer.pem(), said)
}

#[tokio::test]
async fn a_mail_server_that_floods_behind_tls_is_left_as_well() {
    let a = TestConsole::start().await;
    let smtp = Smtp::start("plain");
    for (encryption, starts_tls) in [("tls", false), ("start_tls", true)] {
        let begun = std::time::Instant::now();
        let (port, authority, said) = flooding(starts_tls).await;
        a.sql("delete from notice_channel").await;
        let fields = [("port", port.as_str()), ("authority", authority.as_str())];
        let page = smtp.channel(&a, encryption, &fields).await;
        tested(&a, &page).await.shows("No way there");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{encryption}: it was read for long"
        );
        // The system takes some that nobody reads.
        let said = said.load(Ordering::Relaxed);
        assert!((1..32 * 1024 * 1024).contains(&said), "{encryption}: {said} bytes");
    }
}

#[tokio::test]
async fn a_mail_server_that_hangs_or_floods_is_left() {
    let a = TestConsole::start().await;
    let smtp = Smtp::start("plain");
    let begun = std::time::Instant::now();
    let flood = saying(&[b'2'; 65536], true).await;
    let page = smtp.channel(&a, "none", &[("port", &flood)]).await;
    tested(&a, &page).await.shows("No way there");
    assert!(begun.elapsed() < Duration::from_secs(5), "it was not read for long");
    let silent = saying(b"220 wait", false).await;
    a.sql("delete from notice_channel").await;
    let page = smtp.channel(&a, "none", &[("port", &silent)]).await;
    tested(&a, &page).await.shows("Not done within 15 s");
    assert!(begun.elapsed() < Duration::from_secs(25));
    a.sql("delete from notice_channel").await;
    let page = smtp.channel(&a, "none", &[("host", "169.254.169.254")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("The address leads to where nobody may be told");
}
