//! The log: readable or JSON lines, each with the install id and boot id of the server that wrote it.

use std::fmt;

use clap::ValueEnum;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::app::App;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line for each event.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// Starts the log on standard error. Called once, by a command; a second call changes nothing.
pub fn start(format: LogFormat, app: &App) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(std::io::stderr);
    // A second subscriber cannot be set; the first one then goes on.
    let _ = match format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let line = TextLine {
                prefix: app.install.id.chars().take(8).collect(),
                inner: Format::default().with_target(false),
            };
            builder.with_ansi(ansi).event_format(line).try_init()
        }
        LogFormat::Json => {
            let line = JsonLine {
                app: app.clone(),
                inner: Format::default().json().flatten_event(true),
            };
            builder.fmt_fields(JsonFields::new()).event_format(line).try_init()
        }
    };
}

/// `7a175577 2026-11-24T08:00:00Z INFO …`
struct TextLine {
    prefix: String,
    inner: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "{} ", self.prefix)?;
        self.inner.format_event(context, writer, event)
    }
}

/// `{"install_id":"…","boot_id":"…","timestamp":…}`
struct JsonLine {
    app: App,
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
        let (install_id, boot_id) = (&self.app.install.id, self.app.boot_id());
        let rest = object.strip_prefix('{').unwrap_or(&object);
        write!(
            writer,
            "{{\"install_id\":\"{install_id}\",\"boot_id\":\"{boot_id}\",{rest}"
        )
    }
}
