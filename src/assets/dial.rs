//! Connecting to an asset: names are resolved once, every address they lead to is judged, and only a judged one is
//! connected to.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::names::NAMES;
use super::outcome::{Reason, detail};
use crate::clusters::address::Reach;

/// How long an address may be silent until the next one is tried beside it; as RFC 8305 has it.
const HEAD_START: Duration = Duration::from_millis(250);

/// Where a host is; the first is tried first. May wait for its turn; the caller limits the time.
///
/// # Errors
/// [`Reason::NoSuchName`]; [`Reason::Forbidden`] when any of its addresses is one where no asset can be.
pub async fn resolve(host: &str, port: u16, reach: Reach) -> Result<Vec<SocketAddr>, Reason> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let nowhere = || Reason::NoSuchName { name: host.to_owned() };
    let found: Vec<SocketAddr> = match plain.parse::<IpAddr>() {
        Ok(ip) => vec![(ip, port).into()],
        Err(_) => {
            let name = plain.to_owned();
            let looked = NAMES.look_up(plain, move || (name.as_str(), port).to_socket_addrs());
            let looked = looked.await.and_then(std::io::Result::ok);
            looked.ok_or_else(nowhere)?.collect()
        }
    };
    match found.iter().find(|address| !reach.allows(address.ip())) {
        Some(address) => Err(Reason::Forbidden {
            address: address.ip().to_string(),
        }),
        None if found.is_empty() => Err(nowhere()),
        None => Ok(found),
    }
}

/// A connection to the first of its addresses that answers; one that says nothing does not keep the next from being tried.
/// Takes as long as it takes; the caller limits the time.
///
/// # Errors
/// As for [`resolve`]; why the last address could not be reached.
pub async fn connect(host: &str, port: u16, reach: Reach) -> Result<TcpStream, Reason> {
    let mut last = Reason::Refused;
    let mut addresses = resolve(host, port, reach).await?.into_iter();
    let mut tries = JoinSet::new();
    loop {
        match addresses.next() {
            Some(address) => drop(tries.spawn(TcpStream::connect(address))),
            None if tries.is_empty() => return Err(last),
            None => {}
        }
        let patience = if addresses.len() > 0 { HEAD_START } else { Duration::MAX };
        match timeout(patience, tries.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => {
                // Small questions should not wait for more to be asked.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Some(Ok(Err(cause)))) => last = io_reason(&cause),
            _ => {}
        }
    }
}

/// Why something on the network failed.
pub fn io_reason(cause: &std::io::Error) -> Reason {
    match cause.kind() {
        ErrorKind::ConnectionRefused => Reason::Refused,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Reason::Closed,
        _ => Reason::Unreachable { detail: detail(cause) },
    }
}
