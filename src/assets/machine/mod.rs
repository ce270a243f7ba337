//! Machines: asked through `node_exporter` or a Jpom agent.

mod exposition;
mod fields;
mod jpom;
mod node_exporter;

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, USER_AGENT};
use hyper::{Method, Request};
use serde::{Deserialize, Serialize};
use url::Url;

use super::facts::Limits;
use super::outcome::{Reason, Report};
use super::target::{Secret, Target};
use super::{cause, http, trust};
pub use fields::typed;

/// What answers on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    #[default]
    NodeExporter,
    Jpom,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub agent: Agent,
    /// `http://10.0.0.1:9100`, `https://host:2123/path`; the agent's own path is added.
    pub address: String,
    /// Whether a certificate has to be valid; one that is not still hides the password from listeners.
    pub verify: bool,
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            agent: Agent::default(),
            address: String::new(),
            verify: true,
            limits: Limits::default(),
        }
    }
}

/// More than any agent says: `node_exporter` with everything switched on needs a few hundred KiB.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// One look at a machine.
pub async fn check(settings: &Settings, target: &Target) -> Report {
    target.within_time(look(settings, target)).await
}

async fn look(settings: &Settings, target: &Target) -> Result<Report, Reason> {
    let begun = Instant::now();
    let answer = ask(settings, target).await?;
    let took = begun.elapsed();
    match settings.agent {
        Agent::NodeExporter => {
            let facts = node_exporter::facts(&String::from_utf8_lossy(&answer), target.last_ticks)?;
            Ok(Report::of(facts, settings.limits, took))
        }
        Agent::Jpom => jpom::report(&answer, &target.secret.user, settings.limits, took),
    }
}

/// The agent's whole answer.
async fn ask(settings: &Settings, target: &Target) -> Result<Bytes, Reason> {
    let place = Place::parse(&settings.address)?;
    let tls = match place.tls {
        true => Some(trust::config(&target.secret, settings.verify)?),
        false => None,
    };
    let request = request(settings.agent, &place, &target.secret)?;
    let mut line = http::call(&place.host, place.port, tls, target.reach, LONGEST_ANSWER).await?;
    let answer = line.ask(request).await.map_err(|cause| cause::reason(&cause))?;
    let status = answer.status();
    match status.as_u16() {
        200 => {}
        401 | 403 => {
            let user = target.secret.user.clone();
            return Err(Reason::Denied { user });
        }
        status => return Err(Reason::Status { status }),
    }
    let body = answer.into_body().collect().await;
    Ok(body.map_err(|cause| cause::reason(&cause))?.to_bytes())
}

fn request(agent: Agent, place: &Place, secret: &Secret) -> Result<Request<Empty<Bytes>>, Reason> {
    let (method, path) = match agent {
        Agent::NodeExporter => (Method::GET, "metrics"),
        Agent::Jpom => (Method::POST, "get-stat-info"),
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("{}/{path}", place.path))
        .header(HOST, &place.authority)
        .header(USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    let request = match agent {
        Agent::NodeExporter if secret.user.is_empty() => request.header(ACCEPT, "text/plain"),
        Agent::NodeExporter => {
            let basic = STANDARD.encode(format!("{}:{}", secret.user, secret.password));
            let request = request.header(ACCEPT, "text/plain");
            request.header(AUTHORIZATION, format!("Basic {basic}"))
        }
        Agent::Jpom => request
            .header(CONTENT_LENGTH, 0)
            .header(jpom::HEADER, jpom::authorization(secret)),
    };
    request
        .body(Empty::new())
        .map_err(|_| Reason::bad_address(&place.authority))
}

/// Where an agent is, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    tls: bool,
    host: String,
    port: u16,
    /// Host and port as the agent is to hear them.
    authority: String,
    /// Without a slash at its end.
    path: String,
}

impl Place {
    fn parse(address: &str) -> Result<Place, Reason> {
        let bad = || Reason::bad_address(address);
        let url = Url::parse(address).map_err(|_| bad())?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(bad()),
        };
        let host = url.host_str().ok_or_else(bad)?.to_owned();
        Ok(Place {
            tls,
            port: url.port_or_known_default().ok_or_else(bad)?,
            authority: url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")),
            host,
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}
