//! An SSH server of our own, for logins that OpenSSH takes only from accounts of this machine, and for hosts that mean
//! us ill; it notes every login that is tried.

use std::borrow::Cow;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use muster::assets::ssh::gather::SCRIPT;
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Response, Session, run_stream};
use russh::{Channel, ChannelId, Error, MethodKind, MethodSet};

use crate::peers::peer;

pub(crate) const USER: &str = "anna";
pub(crate) const PASSWORD: &str = "correct horse";

/// How it lets people in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Password,
    /// Keyboard-interactive; with these questions, and whether the answers may be seen.
    Questions(&'static [(&'static str, bool)]),
    /// Keyboard-interactive, with one empty question after the other.
    Silence,
}

/// What it does when a command is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    Tell,
    Refuse,
    /// Sends without an end.
    Flood,
    /// Takes the command and says nothing.
    Hang,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Each try to log in, as `password anna`, without the harmless first one that asks for the ways.
    pub(crate) tries: Arc<Mutex<Vec<String>>>,
    /// Names that were told, also by that first one.
    pub(crate) names: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start(way: Way, does: Does) -> Server {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
        let methods = match way {
            Way::Password => [MethodKind::Password],
            Way::Questions(_) | Way::Silence => [MethodKind::KeyboardInteractive],
        };
        let config = Arc::new(Config {
            keys: vec![key],
            methods: MethodSet::from(methods.as_slice()),
            auth_rejection_time: std::time::Duration::ZERO,
            ..Config::default()
        });
        let (tries, names) = (Arc::default(), Arc::default());
        let mut server = Server { port: 0, tries, names };
        let noted = server.clone();
        server.port = peer(move |stream| {
            let (config, noted) = (config.clone(), noted.clone());
            async move {
                let handler = Guest { way, does, noted };
                if let Ok(running) = run_stream(config, stream, handler).await {
                    let _ = running.await;
                }
            }
        })
        .await;
        server
    }

    pub(crate) fn tries(&self) -> Vec<String> {
        self.tries.lock().unwrap().clone()
    }
}

/// One connection.
struct Guest {
    way: Way,
    does: Does,
    noted: Server,
}

impl Guest {
    fn note(&self, way: &str, user: &str) {
        self.noted.tries.lock().unwrap().push(format!("{way} {user}"));
    }
}

fn judged(user: &str, password: &str) -> Auth {
    match user == USER && password == PASSWORD {
        true => Auth::Accept,
        false => Auth::reject(),
    }
}

impl Handler for Guest {
    type Error = Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Error> {
        self.noted.names.lock().unwrap().push(user.to_owned());
        Ok(Auth::reject())
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Error> {
        self.note("password", user);
        Ok(judged(user, password))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        let asked: &[(&str, bool)] = match self.way {
            Way::Questions(asked) => asked,
            Way::Password | Way::Silence => &[],
        };
        let answers: Vec<String> = match response {
            Some(answers) => answers
                .map(|answer| String::from_utf8_lossy(&answer).into_owned())
                .collect(),
            None => Vec::new(),
        };
        if !answers.is_empty() {
            self.note("answer", user);
            return Ok(judged(user, &answers.concat()));
        }
        let prompts: Vec<(Cow<'static, str>, bool)> = asked
            .iter()
            .map(|(text, seen)| (Cow::Owned((*text).to_owned()), *seen))
            .collect();
        Ok(Auth::Partial {
            name: Cow::Borrowed(""),
            instructions: Cow::Borrowed(""),
            prompts: Cow::Owned(prompts),
        })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), Error> {
        if let Does::Refuse = self.does {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        let (handle, does) = (session.handle(), self.does);
        tokio::spawn(async move {
            match does {
                Does::Tell => {
                    let mut shell = tokio::process::Command::new("/bin/sh");
                    let told = shell.args(["-c", SCRIPT]).stdin(Stdio::null()).output().await.unwrap();
                    let _ = handle.data(channel, told.stdout).await;
                    let _ = handle.close(channel).await;
                }
                Does::Flood => while handle.data(channel, vec![b'x'; 8192]).await.is_ok() {},
                Does::Refuse | Does::Hang => {}
            }
        });
        Ok(())
    }
}
