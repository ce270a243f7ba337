//! The kinds of assets, and what each knows to do: one line for each kind, in each place.

use super::outcome::{Report, detail};
use super::target::Target;
use super::{docker, machine, ssh};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::web::{Form, Mistakes};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Machine,
    Ssh,
    Docker,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Machine, Kind::Ssh, Kind::Docker];

    /// The word in the database and in addresses.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Machine => "machine",
            Kind::Ssh => "ssh",
            Kind::Docker => "docker",
        }
    }

    pub fn parse(code: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    pub fn name(self) -> Text {
        Text::new(match self {
            Kind::Machine => "assets.machine",
            Kind::Ssh => "assets.ssh",
            Kind::Docker => "assets.docker",
        })
    }

    /// The heading of its list.
    pub fn title(self) -> Text {
        Text::new(match self {
            Kind::Machine => "assets.machines",
            Kind::Ssh => "assets.sshs",
            Kind::Docker => "assets.dockers",
        })
    }

    /// Seconds between two checks, unless somebody says otherwise.
    pub fn usual_interval(self) -> u32 {
        match self {
            Kind::Machine => 30,
            Kind::Ssh | Kind::Docker => 60,
        }
    }
}

crate::db::word!(Kind);

/// What a person says of an asset of some kind, besides what all have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    Machine(machine::Settings),
    Ssh(ssh::Settings),
    Docker(docker::Settings),
}

/// What a form or a line of a file says, by the name of the field.
pub type Fields = Vec<(&'static str, String)>;

impl Settings {
    /// Those of a new asset.
    pub fn usual(kind: Kind) -> Settings {
        match kind {
            Kind::Machine => Settings::Machine(machine::Settings::default()),
            Kind::Ssh => Settings::Ssh(ssh::Settings::default()),
            Kind::Docker => Settings::Docker(docker::Settings::default()),
        }
    }

    /// From what was typed; what is wrong with it is noted at its field.
    pub fn typed(kind: Kind, form: &Form, mistakes: &mut Mistakes) -> Settings {
        match kind {
            Kind::Machine => Settings::Machine(machine::typed(form, mistakes)),
            Kind::Ssh => Settings::Ssh(ssh::typed(form, mistakes)),
            Kind::Docker => Settings::Docker(docker::typed(form, mistakes)),
        }
    }

    /// As the form shows them: the other way round.
    pub fn fields(&self) -> Fields {
        match self {
            Settings::Machine(settings) => settings.fields(),
            Settings::Ssh(settings) => settings.fields(),
            Settings::Docker(settings) => settings.fields(),
        }
    }

    /// From the database.
    ///
    /// # Errors
    /// [`Error::Internal`] for what this program would not have written.
    pub fn read(kind: Kind, json: &str) -> Result<Settings> {
        let read = match kind {
            Kind::Machine => serde_json::from_str(json).map(Settings::Machine),
            Kind::Ssh => serde_json::from_str(json).map(Settings::Ssh),
            Kind::Docker => serde_json::from_str(json).map(Settings::Docker),
        };
        read.map_err(|cause| Error::Internal(cause.into()))
    }

    /// # Errors
    /// [`Error::Internal`] for what cannot be written as JSON; nothing here is such a thing.
    pub fn json(&self) -> Result<String> {
        let json = match self {
            Settings::Machine(settings) => serde_json::to_string(settings),
            Settings::Ssh(settings) => serde_json::to_string(settings),
            Settings::Docker(settings) => serde_json::to_string(settings),
        };
        json.map_err(|cause| Error::Internal(cause.into()))
    }

    /// Where it is, as one text.
    pub fn address(&self) -> String {
        match self {
            Settings::Machine(settings) => settings.address.clone(),
            Settings::Ssh(settings) => settings.address(),
            Settings::Docker(settings) => settings.address.clone(),
        }
    }

    /// What keeps a secret safe on its way: two marks, each better when set.
    fn guards(&self) -> [bool; 2] {
        match self {
            Settings::Machine(settings) => [settings.verify, settings.agent == machine::Agent::Jpom],
            Settings::Docker(settings) => [settings.verify, settings.tls],
            Settings::Ssh(_) => [true, true],
        }
    }

    /// Whether a secret that was given for `other` may go where this leads: to the same address, and guarded no worse.
    pub fn is_as_safe_as(&self, other: &Settings) -> bool {
        let pairs = self.guards().into_iter().zip(other.guards());
        self.address() == other.address() && pairs.into_iter().all(|(now, before)| now || !before)
    }

    /// What lies on the server and is used: a key file, or a socket.
    pub fn of_the_server(&self) -> Option<String> {
        match self {
            Settings::Ssh(settings) if settings.login == ssh::Login::KeyFile => {
                Some(format!("{} {}", settings.key_file, settings.address()))
            }
            Settings::Docker(settings) if settings.address.starts_with("unix://") => Some(settings.address.clone()),
            _ => None,
        }
    }

    /// Whether nothing can be found out without a login.
    pub fn needs_user(&self) -> bool {
        match self {
            Settings::Ssh(settings) => settings.login != ssh::Login::Banner,
            Settings::Docker(settings) => settings.address.starts_with("ssh://"),
            Settings::Machine(_) => false,
        }
    }

    /// One look, within the target's time whatever happens.
    pub async fn check(&self, target: &Target) -> Report {
        match self {
            Settings::Machine(settings) => machine::check(settings, target).await,
            Settings::Ssh(settings) => ssh::check(settings, target).await,
            Settings::Docker(settings) => docker::check(settings, target).await,
        }
    }
}

/// The address of a URL with one of these schemes in its one spelling: scheme, host, a port that is not the scheme's own,
/// path without a slash at its end; no user, no query.
///
/// # Errors
/// What is wrong with it, for the person who typed it.
pub fn url(typed: &str, schemes: &[&str]) -> Result<url::Url, Text> {
    let wrong = || Text::new("assets.wrong_address").with("schemes", schemes.join("://, ") + "://");
    if typed.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong());
    }
    let url = url::Url::parse(typed).map_err(|_| wrong())?;
    if !schemes.contains(&url.scheme()) {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Text::new("address.user"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Text::new("address.query"));
    }
    if url.port() == Some(0) || url.as_str().chars().count() > super::LONGEST_ADDRESS {
        return Err(wrong());
    }
    if let Some(host) = url.host_str()
        && host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(crate::clusters::address::is_forbidden)
    {
        return Err(Text::new("assets.forbidden_address"));
    }
    Ok(url)
}

/// A percentage of a form; empty for none.
pub fn percent(form: &Form, field: &'static str, mistakes: &mut Mistakes) -> u8 {
    let typed = form.text(field);
    match typed.parse() {
        Ok(percent) if percent <= 100 => percent,
        _ if typed.is_empty() => 0,
        _ => {
            mistakes.note(field, Text::new("assets.wrong_percent").with("value", detail(typed)));
            0
        }
    }
}
