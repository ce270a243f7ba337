//! The shared database: a pool for pages, connections of their own for what must not wait behind pages.

pub mod embedded;
pub mod migrations;
pub mod nodes;
pub mod shared;
mod transaction;
mod word;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, SslOpts};
use tokio::time::timeout;

use crate::config::{Config, Database, Tls};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install;
use embedded::{Keeper, Options};
use nodes::Nodes;
pub use transaction::Tries;
pub(crate) use transaction::transact;
pub(crate) use word::word;

/// How long a page waits for a connection before it answers 503.
const CHECKOUT: Duration = Duration::from_secs(3);
/// How long closing the pool may take.
const GOODBYE: Duration = Duration::from_millis(300);
/// How long opening a connection of one's own may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Enough to keep two cores busy; sixteen servers then stay under MariaDB's default of 151 connections, as long as no
/// statement outlives its limit.
const MOST_CONNECTIONS: usize = 8;

/// Same answers on every server, whatever the database's own defaults: UTC, strict, no endless wait for a row, and no
/// statement that goes on long after its reader was told that the database does not answer (MariaDB in seconds, MySQL in
/// milliseconds and for reads only; each engine skips the other's comment). The wait is longer than the longest interval
/// between two beats.
const SESSION: &str = "set session time_zone = '+00:00', \
    sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION', \
    innodb_lock_wait_timeout = 5, wait_timeout = 90000 \
    /*M! , max_statement_time = 8 */ /*!80000 , max_execution_time = 8000 */";
/// Locks then cover the rows that are changed and not the gaps beside them, so that two who sign in at once do not wait
/// for each other in a circle.
const ISOLATION: &str = "set session transaction isolation level read committed";
/// Lets the statements of this connection take as long as they need.
const NO_LIMIT: &str =
    "set session wait_timeout = 90000 /*M! , max_statement_time = 0 */ /*!80000 , max_execution_time = 0 */";

/// Ids as a list of SQL; numbers need no marks.
pub fn numbers(ids: impl IntoIterator<Item: Display>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    ids.join(", ")
}

/// The oldest databases this program is tried on.
const OLDEST_MARIADB: (u32, u32) = (10, 6);
const OLDEST_MYSQL: (u32, u32) = (8, 0);

#[derive(Debug, Clone)]
pub struct Db {
    nodes: Arc<Nodes>,
    /// `user@host:port/name`, for messages.
    pub place: String,
}

/// The database of the settings, or the private one of the data directory, started and kept for as long as the keeper is
/// not told to stop.
///
/// # Errors
/// [`Error::Invalid`] when the private database does not start.
pub async fn open(config: &Config) -> Result<(Db, Option<Keeper>)> {
    if let Some(database) = &config.database {
        return Ok((Db::new(database), None));
    }
    let options = Options {
        tcp: false,
        durable: true,
    };
    let (database, keeper) = Keeper::start(&config.data.join("mariadb"), options).await?;
    Ok((Db::new(&database), Some(keeper)))
}

/// [`open`] for a command: beside a server that runs on its private database, that one is used.
///
/// # Errors
/// As for [`open`]; [`Error::Conflict`] when the data directory is in use by something else.
pub async fn open_beside(config: &Config) -> Result<(Db, Option<Keeper>)> {
    let dir = config.data.join("mariadb");
    match (&config.database, embedded::running(&dir)) {
        (None, Some(database)) => Ok((Db::new(&database), None)),
        (Some(_), _) => open(config).await,
        // A mistyped directory must not become a new, empty system.
        (None, None) if !dir.exists() => {
            let text = Text::new("db.no_data").with("path", config.data.display());
            Err(Error::Invalid(text.with("file", config.file.display())))
        }
        (None, None) => {
            let in_use = |error| match error {
                Error::Conflict(_) => {
                    let text = Text::new("db.beside_unknown").with("path", config.data.display());
                    Error::Conflict(text.with("file", config.file.display()))
                }
                other => other,
            };
            let _lock = install::lock(&config.data).map_err(in_use)?;
            open(config).await
        }
    }
}

impl Db {
    /// Prepares the pool; connects to nothing yet.
    pub fn new(database: &Database) -> Db {
        let nodes = database
            .nodes()
            .map(|(host, port)| (format!("{host}:{port}"), opts(database, host, port)));
        Db {
            nodes: Arc::new(Nodes::new(nodes.collect())),
            place: database.to_string(),
        }
    }

    /// Its nodes: one of them is in use.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// A connection of the pool.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after 3 s without one.
    pub async fn conn(&self) -> Result<Conn> {
        match timeout(CHECKOUT, self.nodes.pool().get_conn()).await {
            Ok(conn) => Ok(conn?),
            Err(_) => Err(Error::timed_out("no connection within 3 s")),
        }
    }

    /// A connection outside the pool, for work that must not queue behind pages.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after 5 s, [`Error::Invalid`] when the database turns us away for good.
    pub async fn own_conn(&self) -> Result<Conn> {
        match timeout(CONNECT, self.nodes.connect()).await {
            Ok(conn) => conn.map_err(|error| self.refusal(error)),
            Err(_) => Err(Error::timed_out("no answer to the connection within 5 s")),
        }
    }

    /// [`Db::own_conn`] without a limit for its statements.
    ///
    /// # Errors
    /// As for [`Db::own_conn`].
    pub async fn patient_conn(&self) -> Result<Conn> {
        let mut conn = self.own_conn().await?;
        match timeout(CONNECT, conn.query_drop(NO_LIMIT)).await {
            Ok(done) => done?,
            Err(_) => return Err(Error::timed_out("no answer within 5 s")),
        }
        Ok(conn)
    }

    /// Checks that the database is one this program can work with.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the version found and the ones needed.
    pub async fn check_version(&self, conn: &mut Conn) -> Result<()> {
        let version: String = conn.query_first("select version()").await?.unwrap_or_default();
        let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let oldest = if version.contains("MariaDB") {
            OLDEST_MARIADB
        } else {
            OLDEST_MYSQL
        };
        if found < oldest {
            return Err(Error::Invalid(
                Text::new("db.too_old")
                    .with("place", &self.place)
                    .with("version", version),
            ));
        }
        Ok(())
    }

    /// Refusals that no retry mends become [`Error::Invalid`] with the remedy; the rest stays what it was.
    pub fn refusal(&self, error: mysql_async::Error) -> Error {
        if let mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) = &error {
            return Error::Invalid(Text::new("db.no_tls").with("place", &self.place));
        }
        let mysql_async::Error::Server(server) = &error else {
            return error.into();
        };
        let key = match server.code {
            1045 | 1698 => "db.denied",
            1049 => "db.unknown",
            1044 | 1142 => "db.no_right",
            1251 | 2059 => "db.plugin",
            _ => return error.into(),
        };
        let name = self.nodes.opts().db_name().unwrap_or_default();
        let user = self.nodes.opts().user().unwrap_or_default();
        Error::Invalid(
            Text::new(key)
                .with("place", &self.place)
                .with("name", name)
                .with("user", user)
                .with("cause", &server.message),
        )
    }

    /// Connections of the pool: open ones, and the idle ones among them.
    pub fn pool_sizes(&self) -> (i64, i64) {
        let (mut open, mut idle) = (0, 0);
        for metrics in self.nodes.pools().map(Pool::metrics) {
            open += metrics.connection_count.load(Ordering::Relaxed);
            idle += metrics.connections_in_pool.load(Ordering::Relaxed);
        }
        (
            i64::try_from(open).unwrap_or(i64::MAX),
            i64::try_from(idle).unwrap_or(i64::MAX),
        )
    }

    /// Closes the pool; connections still checked out are closed when they come back. A database that hangs is not
    /// waited for.
    pub async fn close(self) {
        let closing = self.nodes.pools().map(|pool| pool.clone().disconnect());
        let _ = timeout(GOODBYE, join_all(closing)).await;
    }
}

fn opts(database: &Database, host: &str, port: u16) -> Opts {
    let pool = PoolOpts::new()
        .with_constraints(PoolConstraints::new(0, MOST_CONNECTIONS).unwrap_or_default())
        // Every checkout would cost a round trip; SESSION is set once per connection instead.
        .with_reset_connection(false)
        .with_inactive_connection_ttl(Duration::from_secs(60));
    let tls = (database.tls != Tls::Off).then(|| {
        let authorities = database.authority.iter().map(|path| path.clone().into()).collect();
        SslOpts::default()
            .with_root_certs(authorities)
            .with_danger_accept_invalid_certs(database.tls == Tls::Unverified)
            .with_danger_skip_domain_validation(database.tls != Tls::Full)
    });
    OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port)
        .socket(database.socket.clone())
        .prefer_socket(false)
        .user(Some(database.user.clone()))
        .pass(Some(database.password.clone()))
        .db_name(Some(database.name.clone()))
        .tcp_keepalive(Some(Duration::from_secs(10)))
        .setup(vec![SESSION, ISOLATION])
        .ssl_opts(tls)
        .pool_opts(pool)
        .into()
}
