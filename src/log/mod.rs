//! The log: readable or JSON lines, each with the install id and boot id of the server that wrote it.

use std::fmt;
use std::sync::Arc;

use clap::ValueEnum;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Json, JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use crate::install::Install;

pub mod store;

pub use store::{Filter, Found, Line, Store};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line for each event.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// Starts the log on standard error and in the store. Called once, by a command; a second call changes nothing.
pub fn start(format: LogFormat, install: &Arc<Install>, store: &Arc<Store>) {
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let to_stderr = match format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let line = TextLine {
                install: install.clone(),
                inner: Format::default().with_target(false),
            };
            stderr.with_ansi(ansi).event_format(line).boxed()
        }
        LogFormat::Json => {
            let line = JsonLine {
                install: install.clone(),
                inner: Format::default().json().flatten_event(true),
            };
            stderr.fmt_fields(JsonFields::new()).event_format(line).boxed()
        }
    };
    let writer = store::Writer(store.clone());
    let to_store = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .event_format(TextLine {
            install: install.clone(),
            inner: Format::default().with_target(false).without_time(),
        });
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    // A second subscriber cannot be set; the first one then goes on.
    let _ = tracing_subscriber::registry()
        .with(wanted())
        .with(to_stderr)
        .with(to_store)
        .try_init();
}

/// What the web framework says of its own starting and stopping is said by the server, too.
fn wanted() -> Targets {
    Targets::new()
        .with_default(tracing::Level::INFO)
        .with_target("poem", tracing::Level::WARN)
}

/// `7a175577/5c1e 2026-11-24T08:00:00Z INFO …`: the first digits of install id and boot id; the first lines after a start
/// have both in full.
struct TextLine<T> {
    install: Arc<Install>,
    inner: Format<Full, T>,
}

impl<S, N, T> FormatEvent<S, N> for TextLine<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (install_id, boot_id) = (&self.install.id, self.install.boot_id());
        let start = |id: &str, digits: usize| id.get(..digits).unwrap_or_default().to_owned();
        write!(writer, "{}/{} ", start(install_id, 8), start(&boot_id, 4))?;
        self.inner.format_event(context, writer, event)
    }
}

/// `{"install_id":"…","boot_id":"…","timestamp":…}`
struct JsonLine {
    install: Arc<Install>,
    inner: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut object = String::new();
        self.inner.format_event(context, Writer::new(&mut object), event)?;
        // A boot id can change while the process runs.
        let (install_id, boot_id) = (&self.install.id, self.install.boot_id());
        let rest = object.strip_prefix('{').unwrap_or(&object);
        write!(
            writer,
            "{{\"install_id\":\"{install_id}\",\"boot_id\":\"{boot_id}\",{rest}"
        )
    }
}
