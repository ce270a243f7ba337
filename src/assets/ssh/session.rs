//! A login on an SSH host, and commands in it. The host is known by its key before anything else is said to it.

use std::borrow::Cow;
use std::net::Shutdown;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{AuthResult, Config, Handle, Handler, KeyboardInteractiveAuthResponse as Interactive, Msg};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Disconnect, Error, MethodKind, Preferred, SshId};
use tokio::io::{AsyncReadExt, join};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::dial::io_reason;
use super::super::outcome::{Reason, detail};
use super::super::target::Target;
use super::seen::Seen;
use super::{Login, Settings, banner, key};

/// Bytes of a channel that may be on their way here unread.
const WINDOW: u32 = 256 * 1024;
/// Longest wait for the farewell to be sent.
const FAREWELL: Duration = Duration::from_millis(200);
/// Rounds of questions that a login may take; empty ones count.
const MOST_ROUNDS: usize = 4;

/// Logged in. Its channels end with it.
pub struct Session {
    handle: Handle<Judge>,
    _line: Line,
}

/// Connects and logs in; it takes as long as it takes, the caller limits the time. Dropped halfway, nothing remains.
///
/// # Errors
/// Why there is no connection; [`Reason::KeyChanged`] before a name or password is sent; [`Reason::Denied`];
/// [`Reason::NoFile`] and [`Reason::BadKey`] before the host is asked at all.
pub async fn open(settings: &Settings, target: &Target, seen: &mut Seen) -> Result<Session, Reason> {
    let secret = &target.secret;
    let proof = match settings.login {
        Login::Password => Proof::Password(&secret.password),
        Login::Key => Proof::Key(key::of_credential(secret).await?),
        Login::KeyFile => Proof::Key(key::of_file(&settings.key_file, secret).await?),
        Login::Banner => Proof::None,
    };
    let (stream, version) = banner::greet(settings, target.reach, seen).await?;
    let (stream, line) = Line::of(stream).map_err(|cause| io_reason(&cause))?;
    let (read, write) = stream.into_split();
    // The library wants to read the version itself.
    let stream = join(std::io::Cursor::new(version).chain(read), write);
    let judge = Judge {
        known: target.pin.clone(),
        shown: seen.key.clone(),
    };
    let connected = russh::client::connect_stream(Arc::new(config(&target.pin)), stream, judge).await;
    let mut handle = connected.map_err(|cause| match (cause, seen.key.get()) {
        (Error::UnknownKey, Some(shown)) => Reason::KeyChanged {
            known: target.pin.clone(),
            shown: shown.clone(),
        },
        (cause, _) => reason(&cause),
    })?;
    match log_in(&mut handle, &secret.user, proof).await {
        Ok(true) => Ok(Session { handle, _line: line }),
        Ok(false) => Err(Reason::Denied {
            user: secret.user.clone(),
        }),
        Err(cause) => Err(reason(&cause)),
    }
}

impl Session {
    /// Starts a command; its channel can be read and written as a stream.
    ///
    /// # Errors
    /// [`Reason::NoFacts`] when the host runs no commands for this user.
    pub async fn run(&self, command: &str) -> Result<Channel<Msg>, Reason> {
        let opened = self.handle.channel_open_session().await;
        let mut channel = opened.map_err(|cause| refused(&cause))?;
        channel.exec(true, command).await.map_err(|cause| refused(&cause))?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                _ => return Err(refused(&Error::RequestDenied)),
            }
        }
    }

    /// Says good-bye, which spares the host an error in its log.
    pub async fn close(self) {
        let said = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
        if said.is_ok() {
            let _ = timeout(FAREWELL, self.handle).await;
        }
    }
}

/// Shuts the connection down when it is dropped: a library's task that still waits for the host then ends, too.
struct Line(std::net::TcpStream);

impl Line {
    fn of(stream: TcpStream) -> std::io::Result<(TcpStream, Line)> {
        let stream = stream.into_std()?;
        let line = Line(stream.try_clone()?);
        Ok((TcpStream::from_std(stream)?, line))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Whether the host is who it was.
struct Judge {
    /// Empty when it is met for the first time.
    known: String,
    shown: Arc<OnceLock<String>>,
}

impl Handler for Judge {
    type Error = Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Error> {
        // No certificate was asked for.
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false);
        };
        let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        if self.known.is_empty() {
            self.known.clone_from(&shown);
        }
        let is_known = self.known == shown;
        let _ = self.shown.set(shown);
        Ok(is_known)
    }
}

/// A host with several keys shows the one that was asked for first.
fn config(pin: &str) -> Config {
    let kind = pin.split(' ').next().unwrap_or_default();
    let mut keys = Preferred::DEFAULT.key.into_owned();
    keys.sort_by_key(|algorithm| match algorithm {
        Algorithm::Rsa { .. } => kind != "ssh-rsa",
        other => kind != other.as_str(),
    });
    Config {
        client_id: SshId::Standard(Cow::Borrowed(banner::OWN)),
        window_size: WINDOW,
        preferred: Preferred {
            key: Cow::Owned(keys),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    }
}

/// How to show who we are.
enum Proof<'a> {
    None,
    Password(&'a str),
    Key(Arc<PrivateKey>),
}

/// Whether the host let us in. Nothing is tried twice: a wrong password counts against its user at the host.
async fn log_in(handle: &mut Handle<Judge>, user: &str, proof: Proof<'_>) -> Result<bool, Error> {
    // The way every client begins: it is no failed login, and tells which ways there are.
    let ways = match handle.authenticate_none(user).await? {
        AuthResult::Success => return Ok(true),
        AuthResult::Failure { remaining_methods, .. } => remaining_methods,
    };
    if ways.is_empty() && handle.is_closed() {
        return Err(Error::Disconnect);
    }
    match proof {
        Proof::Password(password) if ways.contains(&MethodKind::Password) => {
            Ok(handle.authenticate_password(user, password).await?.success())
        }
        Proof::Password(password) if ways.contains(&MethodKind::KeyboardInteractive) => {
            answer(handle, user, password).await
        }
        Proof::Key(key) if ways.contains(&MethodKind::PublicKey) => {
            let hash = match key.algorithm().is_rsa() {
                // Whoever does not say what it understands is asked for what all do that understand more than SHA-1.
                true => handle
                    .best_supported_rsa_hash()
                    .await?
                    .flatten()
                    .or(Some(HashAlg::Sha256)),
                false => None,
            };
            let key = PrivateKeyWithHashAlg::new(key, hash);
            Ok(handle.authenticate_publickey(user, key).await?.success())
        }
        _ => Ok(false),
    }
}

/// Answers the one question for a password; any other is none that a check can answer.
async fn answer(handle: &mut Handle<Judge>, user: &str, password: &str) -> Result<bool, Error> {
    let mut unsaid = Some(password);
    let mut asked = handle.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..MOST_ROUNDS {
        let answers = match &asked {
            Interactive::Success => return Ok(true),
            Interactive::Failure { .. } => return Ok(false),
            Interactive::InfoRequest { prompts, .. } => match (prompts.as_slice(), unsaid) {
                ([], _) => Vec::new(),
                ([prompt], Some(password)) if !prompt.echo => {
                    unsaid = None;
                    vec![password.to_owned()]
                }
                _ => return Ok(false),
            },
        };
        asked = handle.authenticate_keyboard_interactive_respond(answers).await?;
    }
    Ok(matches!(asked, Interactive::Success))
}

fn refused(cause: &Error) -> Reason {
    match reason(cause) {
        Reason::Unexpected { detail } => Reason::NoFacts { detail },
        other => other,
    }
}

fn reason(cause: &Error) -> Reason {
    match cause {
        Error::IO(cause) => io_reason(cause),
        Error::Disconnect | Error::HUP | Error::SendError | Error::RecvError => Reason::Closed,
        Error::NoCommonAlgo { kind, .. } => Reason::Unexpected {
            detail: detail(format!("no common algorithm ({kind:?})")),
        },
        other => Reason::Unexpected { detail: detail(other) },
    }
}
