//! Docker hosts: asked through the engine's API.

mod engine;
mod fields;

use std::io::ErrorKind;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use url::Url;

use super::http::{self, Line};
use super::outcome::{Reason, Report, detail};
use super::ssh::seen::Seen;
use super::ssh::{self, Login, session};
use super::target::Target;
use super::trust;
use crate::clusters::address::Reach;
pub use fields::typed;

/// Docker's own.
const PORT: u16 = 2375;
const PORT_WITH_TLS: u16 = 2376;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `tcp://host:2375`, `unix:///var/run/docker.sock`, `ssh://host:22`.
    pub address: String,
    /// TLS over TCP, with the credential's authority and client certificate where it has them.
    pub tls: bool,
    /// Whether the engine's certificate has to be valid.
    pub verify: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            address: String::new(),
            tls: false,
            verify: true,
        }
    }
}

/// The three answers of an engine together; `info` of one with thousands of plugins and labels stays below.
const LONGEST_ANSWERS: usize = 1024 * 1024;

/// One look at a Docker host.
pub async fn check(settings: &Settings, target: &Target) -> Report {
    match Place::parse(&settings.address, settings.tls) {
        Ok(Place::Tcp { host, port }) => target.within_time(at_port(&host, port, settings, target)).await,
        Ok(Place::Unix(path)) => target.within_time(at_socket(&path, target.reach)).await,
        Ok(Place::Ssh { host, port }) => behind_ssh(host, port, target).await,
        Err(reason) => Report::down(reason),
    }
}

/// A look through an SSH login, by the command that Docker's own client uses. The host is known by its key, as others are.
async fn behind_ssh(host: String, port: u16, target: &Target) -> Report {
    let login = match target.secret.private_key.is_empty() {
        true => Login::Password,
        false => Login::Key,
    };
    let gate = ssh::Settings {
        host,
        port,
        login,
        ..ssh::Settings::default()
    };
    let (mut seen, begun) = (Seen::default(), Instant::now());
    let look = async {
        let session = session::open(&gate, target, &mut seen).await?;
        let channel = session.run("docker system dial-stdio").await?;
        let report = over(channel.into_stream(), "docker", begun).await;
        session.close().await;
        report
    };
    let looked = tokio::time::timeout(target.timeout, look).await;
    let looked = looked.unwrap_or_else(|_| Err(seen.timed_out(target.timeout)));
    let mut report = looked.unwrap_or_else(Report::down);
    report.pin = seen.key.get().filter(|shown| **shown != target.pin).cloned();
    report
}

async fn at_port(host: &str, port: u16, settings: &Settings, target: &Target) -> Result<Report, Reason> {
    let begun = Instant::now();
    let tls = match settings.tls {
        true => Some(trust::config(&target.secret, settings.verify)?),
        false => None,
    };
    let line = http::call(host, port, tls, target.reach, LONGEST_ANSWERS).await?;
    engine::look(line, &format!("{host}:{port}"), begun).await
}

async fn at_socket(path: &str, reach: Reach) -> Result<Report, Reason> {
    if reach == Reach::Public {
        let address = path.to_owned();
        return Err(Reason::Forbidden { address });
    }
    let begun = Instant::now();
    let stream = UnixStream::connect(path)
        .await
        .map_err(|cause| no_socket(path, &cause))?;
    // As Docker's own client calls it.
    over(stream, "docker", begun).await
}

/// A look through a connection that somebody else made, as one through SSH is.
///
/// # Errors
/// Why the engine is down.
pub async fn over<S>(stream: S, host: &str, begun: Instant) -> Result<Report, Reason>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    engine::look(Line::over(stream, LONGEST_ANSWERS).await?, host, begun).await
}

fn no_socket(path: &str, cause: &std::io::Error) -> Reason {
    match cause.kind() {
        ErrorKind::ConnectionRefused => Reason::Refused,
        _ => Reason::NoFile {
            path: detail(path),
            detail: detail(cause),
        },
    }
}

/// Where an engine is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(String),
    /// Behind an SSH server, as for Docker's own client.
    Ssh {
        host: String,
        port: u16,
    },
}

impl Place {
    fn parse(address: &str, tls: bool) -> Result<Place, Reason> {
        let bad = || Reason::bad_address(address);
        if let Some(path) = address.strip_prefix("unix://") {
            let is_path = path.starts_with('/') && !path.contains('\0');
            return is_path.then(|| Place::Unix(path.to_owned())).ok_or_else(bad);
        }
        if let Some(rest) = address.strip_prefix("ssh://") {
            let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
            let host = host.trim_matches(['[', ']']).to_owned();
            let port = port.parse().map_err(|_| bad())?;
            return Ok(Place::Ssh { host, port });
        }
        // Read as one of the web's, so that every way to write a number means the same everywhere.
        let rest = address.strip_prefix("tcp://").ok_or_else(bad)?;
        let url = Url::parse(&format!("https://{rest}")).map_err(|_| bad())?;
        let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_anonymous = url.username().is_empty() && url.password().is_none();
        let host = url.host_str().filter(|_| is_plain && is_anonymous).ok_or_else(bad)?;
        let port = match url.port() {
            Some(port) => port,
            // The reading takes 443 for what is understood.
            None if rest.trim_end_matches('/').ends_with(":443") => 443,
            None if tls => PORT_WITH_TLS,
            None => PORT,
        };
        Ok(Place::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_at_a_port_or_a_socket() {
        let tcp = |host: &str, port| {
            Ok(Place::Tcp {
                host: host.to_owned(),
                port,
            })
        };
        for (address, expected) in [
            ("tcp://db1:2375", tcp("db1", 2375)),
            ("tcp://db1/", tcp("db1", 2375)),
            ("tcp://db1:443", tcp("db1", 443)),
            ("tcp://db1:80", tcp("db1", 80)),
            ("tcp://[::1]:2375", tcp("[::1]", 2375)),
            ("tcp://0x7f.1:1", tcp("127.0.0.1", 1)),
            (
                "unix:///var/run/docker.sock",
                Ok(Place::Unix("/var/run/docker.sock".to_owned())),
            ),
        ] {
            assert_eq!(Place::parse(address, false), expected, "{address}");
        }
        assert_eq!(Place::parse("tcp://db1", true), tcp("db1", 2376));
        for address in [
            "",
            "db1:2375",
            "tcp://",
            "tcp://a:b@db1:2375",
            "tcp://db1:2375/x",
            "tcp://db1?x",
            "unix://x",
            "unix://",
            "unix:///a\0b",
            "http://db1:2375",
            "ssh://db1",
            "ssh://db1:x",
            "npipe:////./pipe/docker_engine",
        ] {
            let bad = Err(Reason::bad_address(address));
            assert_eq!(Place::parse(address, false), bad, "{address}");
        }
    }
}
