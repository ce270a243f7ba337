//! Asking an engine over a connection that is there already, whatever it runs through.

use std::sync::Arc;
use std::time::Instant;

use bollard::errors::Error as DockerError;
use bollard::models::{LocalNodeState, SwarmInfo, SystemInfo, SystemVersion};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http_body_util::Empty;
use hyper::Request;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use tokio::sync::Mutex;

use crate::assets::cause;
use crate::assets::facts::{Containers, Facts};
use crate::assets::http::Line;
use crate::assets::outcome::{Outcome, Reason, Report, detail};

/// The caller limits the time.
const NO_LIMIT_S: u64 = u64::MAX;

/// What an engine says of itself. `host` is how it is called, `begun` when the connection to it was begun.
///
/// # Errors
/// Why it is down.
pub async fn look(line: Line, host: &str, begun: Instant) -> Result<Report, Reason> {
    let docker = client(line, host)?;
    let told = docker.ping().await.map_err(failed)?;
    let latency = begun.elapsed();
    if told.trim() != "OK" {
        return Err(Reason::Unexpected { detail: detail(told) });
    }
    let version = docker.version().await.map_err(failed)?;
    let (info, unread) = match docker.info().await {
        Ok(info) => (info, None),
        // It works, and says something that bollard does not know.
        Err(DockerError::JsonDataError { message, .. }) => {
            let detail = detail(message);
            (SystemInfo::default(), Some(Reason::NoFacts { detail }))
        }
        Err(error) => return Err(failed(error)),
    };
    let (swarm, trouble) = info.swarm.as_ref().map(swarm).unwrap_or_default();
    let trouble = unread.or(trouble);
    Ok(Report {
        outcome: trouble.map_or(Outcome::Up, Outcome::Degraded),
        latency: Some(latency),
        facts: facts(&version, info, swarm),
        pin: None,
    })
}

/// Bollard over our own connection. Its own ones judge no address, take certificates from files only, and read answers
/// of any length.
fn client(line: Line, host: &str) -> Result<Docker, Reason> {
    let bad = |_| Reason::bad_address(host);
    let host = HeaderValue::from_str(host).map_err(bad)?;
    let line = Arc::new(Mutex::new(line));
    let transport = move |question: BollardRequest| {
        let (line, host) = (line.clone(), host.clone());
        async move {
            let question = plain(question, host);
            Ok(line.lock().await.ask(question).await?)
        }
    };
    // The name is only for bollard; the engine hears `host`.
    let made = Docker::connect_with_custom_transport(transport, Some("http://engine"), NO_LIMIT_S, API_DEFAULT_VERSION);
    made.map_err(failed)
}

/// As it is sent to the engine itself: the path alone, and no body, for nothing is changed there.
fn plain(question: BollardRequest, host: HeaderValue) -> Request<Empty<hyper::body::Bytes>> {
    let (mut head, _) = question.into_parts();
    let path = head.uri.path_and_query().cloned();
    head.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
    head.headers.insert(HOST, host);
    Request::from_parts(head, Empty::new())
}

fn failed(error: DockerError) -> Reason {
    match error {
        DockerError::DockerResponseServerError { status_code, message } => match status_code {
            401 | 403 => Reason::Denied { user: String::new() },
            // What Go's servers say about plain HTTP at a port with TLS.
            400 if !message.is_empty() => Reason::Unexpected {
                detail: detail(format_args!("HTTP 400: {message}")),
            },
            status => Reason::Status { status },
        },
        DockerError::JsonDataError { message, .. } => Reason::Unexpected {
            detail: detail(message),
        },
        // It hides what it is made of, not what that was caused by.
        DockerError::HyperResponseError { err } => cause::reason(&err),
        other => cause::reason(&other),
    }
}

/// The part this engine plays in its swarm, and what is wrong with that.
fn swarm(swarm: &SwarmInfo) -> (&'static str, Option<Reason>) {
    let role = match swarm.control_available {
        Some(true) => "manager",
        _ => "worker",
    };
    let trouble = |state: &str| {
        let error = swarm.error.as_deref().unwrap_or_default();
        let detail = detail(format_args!("{state} {error}"));
        Some(Reason::Swarm { detail })
    };
    match swarm.local_node_state {
        Some(LocalNodeState::ACTIVE) => (role, None),
        Some(LocalNodeState::ERROR) => (role, trouble("error")),
        // A manager after a restart, until somebody brings the key.
        Some(LocalNodeState::LOCKED) => ("manager", trouble("locked")),
        _ => ("", None),
    }
}

fn facts(version: &SystemVersion, info: SystemInfo, swarm: &str) -> Facts {
    let number = |told: Option<i64>| told.and_then(|number| u64::try_from(number).ok());
    let containers = number(info.containers_running).map(|running| Containers {
        running,
        paused: number(info.containers_paused).unwrap_or_default(),
        stopped: number(info.containers_stopped).unwrap_or_default(),
    });
    Facts {
        host_name: detail(info.name.unwrap_or_default()),
        os: detail(info.operating_system.unwrap_or_default()),
        kernel: detail(info.kernel_version.unwrap_or_default()),
        software: software(version),
        cores: info
            .ncpu
            .and_then(|cores| u32::try_from(cores).ok())
            .filter(|cores| *cores > 0),
        containers,
        images: number(info.images),
        swarm: swarm.to_owned(),
        ..Facts::default()
    }
}

/// `Docker 28.2.2`; another engine says its name as its first part: `Podman Engine 4.3.1`.
fn software(version: &SystemVersion) -> String {
    let first = version.components.as_ref().and_then(|parts| parts.first());
    let name = match first.map(|part| part.name.as_str()) {
        None | Some("" | "Engine") => "Docker",
        Some(other) => other,
    };
    detail(format_args!(
        "{name} {}",
        version.version.as_deref().unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::odd;

    /// What engines say to `/_ping`, `/version` and `/info`, each with its head.
    const PINGS: [&str; 1] = ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"];
    const VERSIONS: [&str; 2] = [
        r#"{"Version":"28.2.2","Components":[{"Name":"Engine","Version":"28.2.2"}]}"#,
        r#"{"Version":"4.3.1","Components":[{"Name":"Podman Engine","Version":"4.3.1"}],"ApiVersion":"1.41"}"#,
    ];
    const INFOS: [&str; 3] = [
        r#"{"Name":"db1","OperatingSystem":"Debian","KernelVersion":"6.1","NCPU":4,"Containers":3,"ContainersRunning":1,"ContainersPaused":1,"ContainersStopped":1,"Images":7,"Swarm":{"LocalNodeState":"active","ControlAvailable":true}}"#,
        r#"{"Name":"db2","NCPU":-1,"ContainersRunning":-5,"Images":9223372036854775807,"Swarm":{"LocalNodeState":"locked","ControlAvailable":false,"Error":"no leader"}}"#,
        r#"{"Name":"db3","Swarm":{"LocalNodeState":"error","Error":"rpc: connection refused\nto 10.0.0.1"},"Labels":["a=b"]}"#,
    ];

    /// What a check says of an engine that answers with these.
    async fn told(answers: [Vec<u8>; 3]) -> Result<Report, Reason> {
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        let answering = tokio::spawn(async move {
            for answer in answers {
                // Whoever waits for the rest of an answer is not kept waiting.
                tokio::time::timeout(Duration::from_millis(50), asked(&mut there)).await??;
                there.write_all(&answer).await?;
            }
            std::io::Result::Ok(())
        });
        let report = crate::assets::docker::over(here, "docker", Instant::now()).await;
        answering.abort();
        report
    }

    /// Reads one question.
    async fn asked(from: &mut tokio::io::DuplexStream) -> std::io::Result<()> {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(from.read_u8().await?);
        }
        Ok(())
    }

    fn whole(body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    fn is_short(reason: &Reason) -> bool {
        let said = reason.text().say(crate::i18n::Lang::En);
        said.chars().count() < 1000 && !said.chars().any(char::is_control)
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_an_engine_says_the_facts_are_short_and_a_reason_is_too(
            ping in odd::bytes(&PINGS),
            version in odd::bytes(&VERSIONS),
            info in odd::bytes(&INFOS),
            name in odd::text(&["db1"]),
            is_well in 0..4_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let name = serde_json::Value::from(name.repeat(40)).to_string();
            let info = String::from_utf8(info).map_or_else(|error| error.into_bytes(), |info| info.replace("\"db1\"", &name).into());
            // Three of four say well what comes before, so that the rest is read.
            let ping = if is_well == 0 { ping } else { PINGS[0].as_bytes().to_vec() };
            let version = if is_well == 1 { whole(&version) } else { whole(VERSIONS[0].as_bytes()) };
            match runtime.block_on(told([ping, version, whole(&info)])) {
                Ok(Report { outcome, facts, .. }) => {
                    for text in [&facts.host_name, &facts.os, &facts.kernel, &facts.software] {
                        prop_assert_eq!(&detail(text), text);
                    }
                    prop_assert!(["manager", "worker", ""].contains(&facts.swarm.as_str()));
                    prop_assert!(facts.cores != Some(0));
                    if let Outcome::Degraded(reason) = &outcome {
                        prop_assert!(is_short(reason), "{:?}", reason);
                    }
                }
                Err(reason) => prop_assert!(is_short(&reason), "{:?}", reason),
            }
        }
    }

    #[test]
    fn a_swarm_that_does_not_work_is_trouble() {
        let told = |state, control_available| {
            swarm(&SwarmInfo {
                local_node_state: Some(state),
                control_available: Some(control_available),
                error: Some("no\nleader".to_owned()),
                ..SwarmInfo::default()
            })
        };
        assert_eq!(told(LocalNodeState::ACTIVE, true), ("manager", None));
        assert_eq!(told(LocalNodeState::ACTIVE, false), ("worker", None));
        assert_eq!(told(LocalNodeState::INACTIVE, false), ("", None));
        assert_eq!(told(LocalNodeState::PENDING, false), ("", None));
        let trouble = |detail: &str| {
            Some(Reason::Swarm {
                detail: detail.to_owned(),
            })
        };
        assert_eq!(
            told(LocalNodeState::ERROR, false),
            ("worker", trouble("error no leader"))
        );
        assert_eq!(
            told(LocalNodeState::LOCKED, false),
            ("manager", trouble("locked no leader"))
        );
    }

    #[test]
    fn an_engine_is_called_by_its_name() {
        let told = |name: &str| {
            let told = format!(r#"{{"Version":"28.2.2","Components":[{{"Name":"{name}","Version":"1"}}]}}"#);
            software(&serde_json::from_str(&told).unwrap())
        };
        assert_eq!(
            (told("Engine"), told("Podman Engine")),
            ("Docker 28.2.2".into(), "Podman Engine 28.2.2".into())
        );
        assert_eq!(software(&SystemVersion::default()), "Docker");
    }
}
