//! The secrets of a test are in no answer, no log line and no row: each is looked for in all of them.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Once};

use flate2::read::GzDecoder;
use futures_util::StreamExt;
use mysql_async::Value;
use mysql_async::prelude::Queryable;
use poem::endpoint::BoxEndpoint;
use poem::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE};
use poem::http::{HeaderMap, Method};
use poem::{Body, Endpoint, EndpointExt, Request, Response};
use scraper::{Html, Selector};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::support::{PASSWORD, SERVER, TOKEN, TestDatabase};

/// Where a secret is shown because somebody has to see it once, or has just typed all of it: how the address begins, and what
/// holds it. Another place of the same page may not show it. Besides these only `Set-Cookie` may say what it sets.
const SHOWN_ONCE: [(&str, &str); 5] = [
    ("/users", ".shown-once code, .shown-once .copy"),
    ("/security/tokens", ".shown-once code, .shown-once .copy"),
    ("/security/second-factor", "#totp-secret, .codes code, .copy"),
    ("/jumps", "input[name=code]"),
    ("/setup", "input[name=token]"),
];
/// The one line of the log with a secret: the set-up token, beside the file it stands in.
const LOGGED_ONCE: &str = "/setup-token";
/// Fields of forms whose values are secrets.
const FIELDS: [&str; 8] = [
    "password",
    "again",
    "current",
    "passphrase",
    "private_key",
    "key",
    "code",
    "token",
];
/// Shorter ones would be found in every text; only codes are as short as [`START`].
const SHORTEST: usize = 8;
/// So many bytes at its start lead to a secret.
const START: usize = 6;
/// Of the piece before, since a secret may stand across two.
const TAIL: usize = 4096;

/// Of each database of the run.
static WORLDS: LazyLock<Mutex<HashMap<String, Arc<Seen>>>> = LazyLock::new(Mutex::default);
/// What all consoles in this process logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The secrets of one database, and where they were found.
#[derive(Default)]
pub(crate) struct Seen(Mutex<State>);

#[derive(Default)]
struct State {
    secrets: HashMap<Vec<u8>, Vec<String>>,
    /// Whether a secret begins with these two bytes; asking the map at each byte would take long.
    begins: Vec<bool>,
    found: Vec<String>,
    is_by_hand: bool,
}

/// The secrets of a database, and those of every test.
pub(crate) fn of(database: &str) -> Arc<Seen> {
    static ONCE: Once = Once::new();
    ONCE.call_once(listen);
    let seen = WORLDS.lock().unwrap().entry(database.to_owned()).or_default().clone();
    for secret in [PASSWORD, TOKEN, &SERVER.password] {
        seen.mark(secret);
    }
    seen
}

/// An answer of a process, which shows none of the secrets that every test has.
#[track_caller]
pub(crate) fn clean(asked: &str, answer: String) -> String {
    let seen = of("");
    seen.look(asked, answer.as_bytes());
    seen.judge();
    answer
}

/// A process that ran in this directory logged no secret of any test.
pub(crate) fn ended(data: &Path) {
    if std::thread::panicking() {
        return;
    }
    of("");
    let worlds: Vec<Arc<Seen>> = WORLDS.lock().unwrap().values().cloned().collect();
    // What was found before belongs to another test.
    for seen in worlds.iter().filter(|seen| seen.0.lock().unwrap().found.is_empty()) {
        seen.files(data);
        seen.judge();
    }
}

/// Keeps what is logged, as much of it as the program does.
fn listen() {
    struct Kept;
    impl Write for Kept {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            LOG.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let wanted = Targets::new()
        .with_default(tracing::Level::INFO)
        .with_target("poem", tracing::Level::WARN);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Kept);
    tracing_subscriber::registry().with(wanted).with(lines).init();
}

impl Seen {
    /// Nothing may show this from now on, however it is written there. Of a private key each line.
    pub(crate) fn mark(&self, secret: &str) {
        let is_code = secret.len() == START && secret.bytes().all(|byte| byte.is_ascii_digit());
        if secret.contains("PRIVATE KEY") {
            let lines = secret.lines().map(str::trim);
            lines
                .filter(|line| line.len() >= 40 && !line.starts_with('-'))
                .for_each(|line| self.keep(line));
        } else if secret.trim().len() >= SHORTEST || is_code {
            self.keep(secret.trim());
        }
    }

    fn keep(&self, secret: &str) {
        let escaped = secret
            .chars()
            .map(|letter| match letter {
                '&' | '<' | '>' | '"' | '\'' => format!("&#{};", u32::from(letter)),
                letter => letter.to_string(),
            })
            .collect();
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let json = serde_json::to_string(secret).unwrap();
        let ways = [
            secret.to_owned(),
            escaped,
            form.replace('+', "%20"),
            form,
            json.trim_matches('"').to_owned(),
        ];
        let mut state = self.0.lock().unwrap();
        for way in BTreeSet::from(ways) {
            let first = way.as_bytes()[..START].to_vec();
            state.begins.resize(1 << 16, false);
            state.begins[usize::from(first[0]) << 8 | usize::from(first[1])] = true;
            let known = state.secrets.entry(first).or_default();
            if !known.contains(&way) {
                known.push(way);
            }
        }
    }

    /// Fields are filled with all sorts of words from now on, and are no secrets.
    pub(crate) fn mark_by_hand(&self) {
        self.0.lock().unwrap().is_by_hand = true;
    }

    /// Marks what is a secret by the place it stands in.
    fn guess(&self, secret: &str) {
        let is_by_hand = self.0.lock().unwrap().is_by_hand;
        if !is_by_hand {
            self.mark(secret);
        }
    }

    /// Notes the secrets in a text.
    pub(crate) fn look(&self, place: &str, text: &[u8]) {
        let mut state = self.0.lock().unwrap();
        state.begins.resize(1 << 16, false);
        let apart = |at: usize| {
            text.get(at)
                .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.')
        };
        let mut found = Vec::new();
        for at in 0..(text.len() + 1).saturating_sub(START) {
            if !state.begins[usize::from(text[at]) << 8 | usize::from(text[at + 1])] {
                continue;
            }
            for secret in state.secrets.get(&text[at..at + START]).into_iter().flatten() {
                let is_whole = secret.len() > START || (at == 0 || apart(at - 1)) && apart(at + START);
                if is_whole && text[at..].starts_with(secret.as_bytes()) {
                    let around = &text[at.saturating_sub(80)..(at + secret.len() + 40).min(text.len())];
                    found.push(format!("{secret:?} in {place}: {}", String::from_utf8_lossy(around)));
                }
            }
        }
        state.found.extend(found);
    }

    #[track_caller]
    pub(crate) fn judge(&self) {
        let found = self.0.lock().unwrap().found.clone();
        assert!(found.is_empty(), "secrets are shown:\n{}", found.join("\n"));
    }

    fn asked(&self, path: &str, headers: &HeaderMap, form: &[u8]) {
        for value in headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            value.split("; ").for_each(|cookie| self.mark_cookie(cookie));
        }
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        bearer.into_iter().for_each(|token| self.guess(token));
        for (name, value) in url::form_urlencoded::parse(form) {
            if FIELDS.contains(&&*name) {
                self.guess(&value);
            }
            // What follows the host.
            if path.starts_with("/notices") && name == "url" {
                self.guess(value.splitn(4, '/').nth(3).unwrap_or_default());
            }
        }
    }

    /// `muster_s_1a2b=…; Path=/`
    fn mark_cookie(&self, cookie: &str) {
        let value = cookie.split(';').next().and_then(|pair| pair.split_once('='));
        let value = value.filter(|(name, value)| name.starts_with("muster_") && value.len() >= 32);
        value.into_iter().for_each(|(_, value)| self.guess(value));
    }

    fn answered(&self, asked: &str, headers: &HeaderMap) {
        for (name, value) in headers {
            match value.to_str() {
                Ok(cookie) if name == SET_COOKIE => self.mark_cookie(cookie),
                _ => self.look(&format!("{name} of {asked}"), value.as_bytes()),
            }
        }
    }

    /// What a page shows once is a secret from then on, and must not be there twice.
    fn page(&self, asked: &str, path: &str, body: &[u8]) {
        let mut text = String::from_utf8_lossy(body).into_owned();
        let places = SHOWN_ONCE.iter().filter(|(at, _)| path.starts_with(at));
        let html = places.clone().next().map(|_| Html::parse_document(&text));
        for (_, selector) in places {
            let selector = Selector::parse(selector).unwrap();
            for shown in html.iter().flat_map(|html| html.select(&selector)) {
                let said = shown.attr("data-copy").or(shown.attr("value")).map(str::to_owned);
                let said = said.unwrap_or_else(|| shown.text().collect());
                said.lines().for_each(|line| self.guess(line));
                text = text.replacen(&said, "", 1);
            }
        }
        self.look(asked, text.as_bytes());
    }

    /// Log files and keys of a data directory.
    pub(crate) fn files(&self, data: &Path) {
        for file in ["master.key", "setup-token", "db/password"] {
            let text = std::fs::read_to_string(data.join(file)).unwrap_or_default();
            text.lines().for_each(|line| self.mark(line));
        }
        for file in std::fs::read_dir(data.join("log")).into_iter().flatten() {
            let path = file.unwrap().path();
            self.log(&std::fs::read(&path).unwrap_or_default());
        }
    }

    fn log(&self, log: &[u8]) {
        let once = LOGGED_ONCE.as_bytes();
        let lines = log.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.windows(once.len()).any(|part| part == once)) {
            self.look("the log", line);
        }
    }

    /// Every column of every row.
    async fn rows(&self, database: &str) {
        let mut conn = TestDatabase::admin().await;
        let tables = "select table_name from information_schema.tables where table_schema = ?";
        let tables: Vec<String> = conn.exec(tables, (database,)).await.unwrap();
        for table in tables {
            let all = format!("select * from `{database}`.`{table}`");
            let mut rows = conn.query_iter(all).await.unwrap();
            while let Some(row) = rows.next().await.unwrap() {
                let columns = row.unwrap().into_iter().map(|value| match value {
                    Value::Bytes(bytes) => bytes,
                    _ => Vec::new(),
                });
                self.look(&format!("a row of {table}"), &columns.collect::<Vec<_>>().join(&b' '));
            }
        }
        conn.disconnect().await.unwrap();
    }
}

/// A console's end: by then what it logged and what it wrote into the database is looked through.
pub(crate) struct Scan {
    pub(crate) seen: Arc<Seen>,
    database: String,
    data: PathBuf,
    /// Length of the log when it began.
    since: usize,
}

impl Scan {
    pub(crate) fn new(database: &str, data: &Path) -> Scan {
        Scan {
            seen: of(database),
            database: database.to_owned(),
            data: data.to_owned(),
            since: LOG.lock().unwrap().len(),
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // Whoever failed already has more to say.
        if std::thread::panicking() {
            return;
        }
        self.seen.files(&self.data);
        let log = LOG.lock().unwrap()[self.since..].to_vec();
        self.seen.log(&log);
        let (seen, database) = (self.seen.clone(), self.database.clone());
        let rows = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(seen.rows(&database));
        };
        std::thread::spawn(rows).join().unwrap();
        self.seen.judge();
    }
}

/// A site each answer of which is looked through.
pub(crate) fn watched(site: BoxEndpoint<'static, Response>, seen: &Arc<Seen>) -> BoxEndpoint<'static, Response> {
    let seen = seen.clone();
    site.around(move |site, mut request| {
        let seen = seen.clone();
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let form = form(&mut request).await;
            seen.asked(&path, request.headers(), &form);
            let asked = format!("{method} {path}");
            let answer = site.get_response(request).await;
            seen.answered(&asked, answer.headers());
            let answer = body(answer, &seen, asked, &path).await;
            seen.judge();
            Ok(answer)
        }
    })
    .boxed()
}

/// The body of a form, which stays where it is.
async fn form(request: &mut Request) -> Vec<u8> {
    let kind = request.content_type().unwrap_or_default().to_owned();
    if request.method() != Method::POST || !kind.contains("urlencoded") {
        return Vec::new();
    }
    let form = request.take_body().into_vec().await.unwrap_or_default();
    request.set_body(form.clone());
    form
}

/// A page is looked at whole; what is sent piece by piece, as it goes.
async fn body(answer: Response, seen: &Arc<Seen>, asked: String, path: &str) -> Response {
    let (parts, body) = answer.into_parts();
    let said = |name, word| {
        parts
            .headers
            .get(name)
            .is_some_and(|value| value.to_str().unwrap().contains(word))
    };
    let is_packed = said(CONTENT_ENCODING, "gzip");
    if said(CONTENT_TYPE, "text/html") || is_packed {
        let body = body.into_vec().await.unwrap();
        let mut plain = Vec::new();
        match is_packed {
            true => drop(std::io::copy(&mut GzDecoder::new(&*body), &mut plain)),
            false => plain.clone_from(&body),
        }
        seen.page(&asked, path, &plain);
        return Response::from_parts(parts, Body::from(body));
    }
    let (seen, mut tail) = (seen.clone(), Vec::new());
    let pieces = body.into_bytes_stream().map(move |piece| {
        let piece = piece?;
        tail.extend_from_slice(&piece);
        seen.look(&asked, &tail);
        tail.drain(..tail.len().saturating_sub(TAIL));
        Ok::<_, std::io::Error>(piece)
    });
    Response::from_parts(parts, Body::from_bytes_stream(pieces))
}
