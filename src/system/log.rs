//! 系统日志: this server's log, as it is and as it grows.

use std::collections::VecDeque;
use std::time::Duration;

use askama::Template;
use futures_util::stream;
use poem::http::header;
use poem::web::Data;
use poem::{Body, Request, Response, handler};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};
use tracing::Level;
use url::form_urlencoded;

use crate::app::App;
use crate::error::{Error, Result};
use crate::log::{Filter, Found, Line};
use crate::people::access::{Access, Address, get};
use crate::web::{Hx, filters};

/// Lines on a page.
const SHOWN: usize = 500;
/// Lines that a browser that was away gets at most; as many as it keeps.
const CAUGHT_UP: usize = 2000;
/// A stream ends after this; the browser comes back, and it is asked again who is there.
const STREAM: Duration = Duration::from_secs(60);
/// A comment in the stream keeps proxies from ending it, and shows us when nobody listens any more.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 1000;

pub fn routes() -> Vec<Address> {
    vec![
        get("/log", Access::SystemAdmin, index).always(),
        get("/log/live", Access::SystemAdmin, watch).always(),
        get("/log/download", Access::SystemAdmin, download).always(),
    ]
}

/// The page; its block `lines` is the fragment.
#[derive(Template)]
#[template(path = "system/log.html", blocks = ["lines"])]
struct Page {
    level: &'static str,
    text: String,
    lines: Vec<Line>,
    /// Older files were not looked at.
    is_cut_off: bool,
    /// Where the files are.
    directory: String,
    /// The stream of what comes after the last line.
    live: String,
}

/// One line; also what the stream sends.
#[derive(Template)]
#[template(path = "system/_log_line.html")]
struct OneLine<'a> {
    line: &'a Line,
}

/// The levels a reader can choose: the word in addresses and its name.
const LEVELS: [(&str, &str); 3] = [("", "log.all"), ("warn", "log.warn"), ("error", "log.error")];

/// What the reader asks for; words that mean nothing ask for everything.
struct Wanted {
    level: &'static str,
    filter: Filter,
    /// The last line that is known.
    after: Option<u64>,
}

impl Wanted {
    fn parse(query: &str) -> Wanted {
        let mut wanted = Wanted {
            level: "",
            filter: Filter::default(),
            after: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "level" => {
                    wanted.level = LEVELS
                        .iter()
                        .find(|(known, _)| *known == value)
                        .map_or("", |(known, _)| known)
                }
                "text" => wanted.filter.text = value.trim().chars().take(100).collect(),
                "after" => wanted.after = value.parse().ok(),
                _ => {}
            }
        }
        wanted.filter.level = match wanted.level {
            "warn" => Some(Level::WARN),
            "error" => Some(Level::ERROR),
            _ => None,
        };
        wanted
    }

    /// As the query of an address.
    fn query(&self, after: u64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let pairs = [("level", self.level), ("text", self.filter.text.as_str())];
        query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        query.append_pair("after", &after.to_string());
        query.finish()
    }
}

impl Page {
    /// Whether only a part of the log is asked for.
    fn is_filtered(&self) -> bool {
        !self.level.is_empty() || !self.text.is_empty()
    }
}

/// `GET /log`
#[handler]
async fn index(hx: Hx, app: Data<&App>, req: &Request) -> Result<Response> {
    let wanted = Wanted::parse(req.uri().query().unwrap_or_default());
    // Before the search, so that what is said meanwhile is sent by the stream.
    let last = *app.log.news().borrow();
    let Found { lines, is_cut_off } = search(&app, wanted.filter.clone(), SHOWN).await?;
    let last = lines.last().map_or(last, |line| line.at_us.max(last));
    let page = Page {
        live: format!("/log/live?{}", wanted.query(last)),
        level: wanted.level,
        text: wanted.filter.text,
        directory: app.config.data.join("log").display().to_string(),
        is_cut_off,
        lines,
    };
    hx.render(&page, &page.as_lines())
}

async fn search(app: &App, filter: Filter, most: usize) -> Result<Found> {
    let log = app.log.clone();
    let found = tokio::task::spawn_blocking(move || log.search(&filter, most)).await;
    let internal = |cause: std::io::Error| Error::Internal(cause.into());
    found.map_err(|cause| Error::Internal(cause.into()))?.map_err(internal)
}

/// `GET /log/live`: what comes after a line, as server-sent events; each says the line's number, so that a browser that
/// was away goes on where it was.
#[handler]
fn watch(hx: Hx, app: Data<&App>, req: &Request) -> Response {
    let wanted = Wanted::parse(req.uri().query().unwrap_or_default());
    let resumed = req.header("Last-Event-ID").and_then(|id| id.parse().ok());
    let after = resumed.or(wanted.after).unwrap_or_else(|| *app.log.news().borrow());
    let stream = Stream {
        hx,
        app: app.clone(),
        filter: wanted.filter,
        after,
        until: Instant::now() + STREAM,
        is_new: true,
    };
    let events = stream::unfold(stream, |stream| async move { stream.next().await });
    Response::builder()
        .content_type("text/event-stream; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        // Asks nginx to pass events on as they come.
        .header("X-Accel-Buffering", "no")
        .body(Body::from_bytes_stream(events))
}

struct Stream {
    hx: Hx,
    app: App,
    filter: Filter,
    after: u64,
    until: Instant,
    is_new: bool,
}

impl Stream {
    async fn next(mut self) -> Option<(std::io::Result<String>, Stream)> {
        if std::mem::take(&mut self.is_new) {
            return Some((Ok(format!("retry: {RETRY_MS}\n\n")), self));
        }
        let mut news = self.app.log.news();
        let pause = Instant::now() + SILENCE;
        loop {
            let last = *news.borrow_and_update();
            match self.later().await {
                Ok(lines) if lines.is_empty() => {}
                lines => {
                    let events = lines.and_then(|lines| self.events(&lines));
                    return Some((events.map_err(std::io::Error::other), self));
                }
            }
            self.after = self.after.max(last);
            if Instant::now() >= self.until {
                return None;
            }
            match timeout_at(pause.min(self.until), news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                // The browser then knows how far it is, although nothing fitted.
                Err(_) => return Some((Ok(format!("id: {}\n\n", self.after)), self)),
            }
        }
    }

    /// From memory, or from the files when it does not go back that far.
    async fn later(&self) -> Result<Vec<Line>> {
        if let Some(lines) = self.app.log.after(self.after, &self.filter) {
            return Ok(lines);
        }
        let mut found = search(&self.app, self.filter.clone(), CAUGHT_UP).await?.lines;
        found.retain(|line| line.at_us > self.after);
        Ok(found)
    }

    fn events(&mut self, lines: &[Line]) -> Result<String> {
        let mut events = String::new();
        for line in lines {
            self.after = line.at_us;
            let html = self.hx.piece(&OneLine { line })?;
            let html = html.replace(['\r', '\n'], " ");
            events.push_str(&format!("id: {}\ndata: {html}\n\n", line.at_us));
        }
        Ok(events)
    }
}

/// `GET /log/download`: all files, oldest first, as one text.
#[handler]
async fn download(app: Data<&App>) -> Result<Response> {
    let internal = |cause: std::io::Error| Error::Internal(cause.into());
    let log = app.log.clone();
    // All of them open before the first is sent, so that none is turned over meanwhile.
    let opened = tokio::task::spawn_blocking(move || {
        let files = log
            .files()?
            .into_iter()
            .filter_map(|path| std::fs::File::open(path).ok());
        Ok(files.map(tokio::fs::File::from_std).collect::<VecDeque<_>>())
    });
    let files = opened
        .await
        .map_err(|cause| Error::Internal(cause.into()))?
        .map_err(internal)?;
    let name = format!("muster-{}.log", app.install.id.get(..8).unwrap_or_default());
    let pieces = stream::try_unfold((files, None), |(mut files, mut open)| async move {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let mut file = match open.take() {
                Some(file) => file,
                None => match files.pop_front() {
                    Some(file) => file,
                    None => return Ok::<_, std::io::Error>(None),
                },
            };
            let length = file.read(&mut piece).await?;
            if length > 0 {
                piece.truncate(length);
                return Ok(Some((piece, (files, Some(file)))));
            }
        }
    });
    Ok(Response::builder()
        .content_type("text/plain; charset=utf-8")
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .header(header::CACHE_CONTROL, "no-store")
        .body(Body::from_bytes_stream(pieces)))
}

/// What the page asks of a line.
impl Line {
    fn when(&self) -> Option<chrono::NaiveDateTime> {
        self.at()
    }

    fn name(&self) -> &'static str {
        match self.level() {
            Some(Level::ERROR) => "log.error",
            Some(Level::WARN) => "log.warn",
            _ => "log.info",
        }
    }

    fn colour(&self) -> &'static str {
        match self.level() {
            Some(Level::ERROR) => "red",
            Some(Level::WARN) => "yellow",
            _ => "secondary",
        }
    }
}
