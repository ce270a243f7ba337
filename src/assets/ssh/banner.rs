//! The first line of an SSH server, read before anything is said to it: for hosts that must not be logged into every
//! minute, and as the beginning of a login.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::dial::{connect, io_reason};
use super::super::outcome::{Reason, detail};
use super::Settings;
use super::seen::Seen;
use crate::clusters::address::Reach;

/// What we call ourselves. A server notes an error about whoever goes without a word.
pub const OWN: &str = concat!("SSH-2.0-Muster_", env!("CARGO_PKG_VERSION"));
/// Most bytes up to the end of the version; others may stand before it (RFC 4253, section 4.2).
const MOST: usize = 8 * 1024;
/// Longest version with its line end (RFC 4253, section 4.2).
const LONGEST_VERSION: usize = 255;

/// Reads the version and hangs up.
pub async fn look(settings: &Settings, reach: Reach, seen: &mut Seen) -> Result<(), Reason> {
    let (mut stream, _) = greet(settings, reach, seen).await?;
    // The answer is there; whether a farewell arrives changes nothing.
    let _ = stream.write_all(format!("{OWN}\r\n").as_bytes()).await;
    Ok(())
}

/// A connection whose server has said its version, and that line. Nothing was said to it.
///
/// # Errors
/// Why there is no connection, or what answered instead of an SSH server.
pub async fn greet(settings: &Settings, reach: Reach, seen: &mut Seen) -> Result<(TcpStream, Vec<u8>), Reason> {
    let began = Instant::now();
    let mut stream = connect(&settings.host, settings.port, reach).await?;
    let line = version(&mut stream, &mut seen.heard).await?;
    seen.latency = Some(began.elapsed());
    seen.software = software(&line)?;
    Ok((stream, line))
}

/// The line that begins with `SSH-`. Not one byte behind it is taken.
async fn version(stream: &mut TcpStream, heard: &mut String) -> Result<Vec<u8>, Reason> {
    let (mut left, mut line) = (MOST, Vec::new());
    loop {
        let mut piece = [0; 1024];
        let there = stream.peek(&mut piece).await.map_err(|cause| io_reason(&cause))?;
        let end = piece[..there].iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(there, |at| at + 1);
        if there == 0 {
            return Err(closed(&line, heard));
        }
        let read = stream.read_exact(&mut piece[..taken]).await;
        read.map_err(|cause| io_reason(&cause))?;
        line.extend_from_slice(&piece[..taken]);
        left = left.checked_sub(taken).ok_or(Reason::TooLong)?;
        match (end.is_some(), line.starts_with(b"SSH-")) {
            (_, true) if line.len() > LONGEST_VERSION => return Err(Reason::TooLong),
            (true, true) => return Ok(line),
            (true, false) => {
                if heard.is_empty() {
                    *heard = shown(&line);
                }
                line.clear();
            }
            (false, _) => {}
        }
    }
}

/// Why the end came before a version.
fn closed(line: &[u8], heard: &str) -> Reason {
    match heard.is_empty() && (line.is_empty() || line.starts_with(b"SSH-")) {
        true => Reason::Closed,
        false if heard.is_empty() => Reason::Unexpected { detail: shown(line) },
        false => Reason::Unexpected {
            detail: heard.to_owned(),
        },
    }
}

/// `OpenSSH_9.2p1` of `SSH-2.0-OpenSSH_9.2p1 Debian-2`; 1.99 also speaks 2.0 (RFC 4253, section 5.1).
fn software(line: &[u8]) -> Result<String, Reason> {
    let line = shown(line);
    let said = line.strip_prefix("SSH-2.0-").or_else(|| line.strip_prefix("SSH-1.99-"));
    match said.and_then(|said| said.split(' ').next()) {
        Some(software) if !software.is_empty() => Ok(software.to_owned()),
        _ => Err(Reason::Unexpected { detail: line }),
    }
}

fn shown(line: &[u8]) -> String {
    detail(String::from_utf8_lossy(line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    #[test]
    fn the_software_is_what_stands_between_protocol_and_remark() {
        for (line, expected) in [
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n", "OpenSSH_9.2p1"),
            ("SSH-2.0-dropbear_2022.83\r\n", "dropbear_2022.83"),
            ("SSH-1.99-Cisco-1.25\n", "Cisco-1.25"),
        ] {
            assert_eq!(software(line.as_bytes()).as_deref(), Ok(expected), "{line:?}");
        }
        for line in [
            "SSH-1.5-old\r\n",
            "SSH-2.0-\r\n",
            "SSH-2.0- remark\r\n",
            "SSH-\u{7}\r\n",
        ] {
            let refused = software(line.as_bytes());
            assert!(
                matches!(refused, Err(Reason::Unexpected { .. })),
                "{line:?}: {refused:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_a_host_begins_with_is_told_short_and_in_one_line(
            line in odd::bytes(&["SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-1.99-Cisco-1.25\n", "220 ftp.example\r\n"]),
        ) {
            match software(&line) {
                Ok(software) => {
                    prop_assert!(!software.is_empty() && !software.contains(' '));
                    prop_assert_eq!(detail(&software), software.trim());
                }
                Err(Reason::Unexpected { detail: said }) => prop_assert_eq!(detail(&said), said),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
            let heard = shown(&line);
            let mut seen = Seen { heard: heard.clone(), ..Seen::default() };
            for reason in [closed(&line, ""), closed(&line, &heard), seen.timed_out(std::time::Duration::MAX)] {
                if let Reason::Unexpected { detail: said } = reason {
                    prop_assert_eq!(detail(&said), said);
                }
            }
            seen.software = "x".to_owned();
            let timed_out = matches!(seen.timed_out(std::time::Duration::ZERO), Reason::TimedOut { seconds: 0 });
            prop_assert!(timed_out, "a host that said what it is was only slow");
        }
    }
}
