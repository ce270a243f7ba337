//! `muster serve`: one server from start to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use poem::listener::TcpAcceptor;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::app::App;
use crate::clusters::heartbeat::Heart;
use crate::config::{Config, DEFAULT_FILE, Flags, Place};
use crate::db;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::Install;
use crate::log::{self, LogFormat, Store};
use crate::tls::Tls;
use crate::web::connections;
use crate::{routes, tasks};

/// Open files that are enough: hundreds of checks at once, and thousands of browsers.
const OPEN_FILES: u64 = 65_536;
/// How long requests under way may take to end once the server stops.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    place: Place,
    /// Address to listen on [server.address, default 0.0.0.0: every interface]
    #[arg(long)]
    address: Option<String>,
    /// Port to listen on [server.port, default 2122]
    #[arg(long)]
    port: Option<String>,
    /// How the log is written, to standard error
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// End when standard input closes: the demo's servers go with the demo, however it ends
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Conflict`] are refusals to start, each with place and remedy.
pub async fn run(args: Serve) -> Result<()> {
    allow_open_files();
    let flags = Flags {
        address: args.address,
        port: args.port,
        ..args.place.into()
    };
    let config = Config::load(&flags)?;
    let install = Arc::new(Install::open(&config.data)?);
    write_default_file(&config)?;
    if let Some(files) = &config.tls {
        files.check()?;
    }
    let listener = listen(&config).await?;
    let mut asked = Signals::new(args.until_stdin_closes)?;
    let store = Arc::new(open_log(&config)?);
    log::start(args.log_format, &install, &store);
    let (db, keeper) = tokio::select! {
        opened = db::open(&config) => opened?,
        // The private database may be recovering; it goes with the start that is broken off.
        signal = asked.recv() => {
            tracing::info!(signal, "{}", Text::new("serve.stopped").say(config.lang));
            return Ok(());
        }
    };
    let app = App::new(config, install, db, store.clone())?;
    greet(&app, &listener);
    let result = serve(&app, listener, &mut asked).await;
    // The database goes last: the last beat still needs it.
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    app.db.clone().close().await;
    // A disk that hangs is not waited for.
    let _ = tokio::time::timeout(LAST_REQUESTS, tokio::task::spawn_blocking(move || store.close())).await;
    result
}

/// Takes as many open files as the system allows without rights, up to what is enough. It allows 1,024 at first, which is
/// for programs that cannot number more. Where it refuses, the limit stays as it is.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < enough) {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(enough),
                maximum: limit.maximum,
            },
        );
    }
}

fn open_log(config: &Config) -> Result<Store> {
    Store::open(&config.data).map_err(|cause| {
        Error::Invalid(
            Text::new("install.unwritable")
                .with("path", config.data.join("log").display())
                .with("cause", cause),
        )
    })
}

/// Serves until told to stop or until the heart gives up, then stops in order: requests, heart.
async fn serve(app: &App, listener: TcpListener, asked: &mut Signals) -> Result<()> {
    let internal = |cause: std::io::Error| Error::Internal(cause.into());
    let (stop, stopped) = watch::channel(false);
    let mut heart = tokio::spawn(Heart::new(app.clone()).run(stopped.clone()));
    let mut tasks = tasks::start(app, &stopped);
    let (routes, last) = (routes::all(app), LAST_REQUESTS);
    let site = match app.config.tls.clone() {
        None => {
            let acceptor = TcpAcceptor::from_tokio(listener).map_err(internal)?;
            tokio::spawn(connections::serve(acceptor, routes, stopped, last))
        }
        Some(files) => tokio::spawn(connections::serve(Tls::start(listener, files)?, routes, stopped, last)),
    };
    let gave_up = tokio::select! {
        signal = asked.recv() => {
            tracing::info!(signal, "{}", app.say(&Text::new("serve.stopping")));
            None
        }
        ended = &mut heart => Some(ended),
    };
    stop.send_replace(true);
    let ended = match gave_up {
        Some(ended) => ended,
        None => heart.await,
    };
    let _ = site.await;
    while tasks.join_next().await.is_some() {}
    tracing::info!("{}", app.say(&Text::new("serve.stopped")));
    ended.map_err(|cause| Error::Internal(cause.into()))?
}

/// The ways a person ends a server or the demo: SIGTERM, SIGINT, SIGHUP or, if asked for, the end of standard input.
pub struct Signals {
    signals: [tokio::signal::unix::Signal; 3],
    until_stdin_closes: bool,
}

impl Signals {
    /// From here on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system does not hand signals on.
    pub fn new(until_stdin_closes: bool) -> Result<Signals> {
        let one = |kind| signal(kind).map_err(|cause| Error::Internal(cause.into()));
        let signals = [
            one(SignalKind::terminate())?,
            one(SignalKind::interrupt())?,
            one(SignalKind::hangup())?,
        ];
        Ok(Signals {
            signals,
            until_stdin_closes,
        })
    }

    /// Waits for one of them and says which.
    pub async fn recv(&mut self) -> &'static str {
        let [terminate, interrupt, hangup] = &mut self.signals;
        let until_stdin_closes = self.until_stdin_closes;
        let stdin = async {
            if !until_stdin_closes {
                std::future::pending::<()>().await;
            }
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => "SIGHUP",
            () = stdin => "end of standard input",
        }
    }
}

/// A data directory without settings gets the file with all of them, commented out.
fn write_default_file(config: &Config) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // The database password will stand in it.
    let made = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&config.file);
    match made.and_then(|mut file| file.write_all(DEFAULT_FILE.as_bytes())) {
        Ok(()) => Ok(()),
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(Error::Invalid(
            Text::new("install.unwritable")
                .with("path", config.file.display())
                .with("cause", cause),
        )),
    }
}

async fn listen(config: &Config) -> Result<TcpListener> {
    let address = SocketAddr::new(config.address, config.port);
    TcpListener::bind(address).await.map_err(|cause| {
        let key = match cause.kind() {
            std::io::ErrorKind::AddrInUse => "serve.port_taken",
            _ => "serve.no_port",
        };
        Error::Invalid(
            Text::new(key)
                .with("address", address)
                .with("port", config.port)
                .with("cause", cause),
        )
    })
}

fn greet(app: &App, listener: &TcpListener) {
    let address = listener
        .local_addr()
        .map_or_else(|_| String::new(), |address| address.to_string());
    let (data, boot) = (app.install.data.display().to_string(), app.install.boot_id());
    let key = if app.install.fresh {
        "serve.installed"
    } else {
        "serve.install_id"
    };
    tracing::info!(
        boot,
        "{}",
        app.say(&Text::new(key).with("id", &app.install.id).with("path", &data))
    );
    if app.config.database.is_none() {
        tracing::info!(
            "{}",
            app.say(&Text::new("serve.alone").with("path", app.config.file.display()))
        );
    }
    for warning in &app.config.warnings {
        tracing::warn!("{}", app.say(warning));
    }
    let scheme = if app.config.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}{}/", app.config.base_path);
    let text = Text::new("serve.listening")
        .with("url", url)
        .with("database", &app.db.place);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{}", app.say(&text));
}
