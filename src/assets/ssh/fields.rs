//! The settings of an SSH host as a form says them.

use super::{Login, Settings};
use crate::assets::facts::Limits;
use crate::assets::kind::Fields;
use crate::i18n::Text;
use crate::web::form::line_mistake;
use crate::web::{Form, Mistakes};

impl Login {
    const ALL: [Login; 4] = [Login::Password, Login::Key, Login::KeyFile, Login::Banner];

    fn code(self) -> &'static str {
        match self {
            Login::Password => "password",
            Login::Key => "key",
            Login::KeyFile => "key_file",
            Login::Banner => "banner",
        }
    }
}

impl Settings {
    /// `host:22`; numbers of IPv6 stand in brackets.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    pub fn fields(&self) -> Fields {
        vec![
            ("host", self.host.clone()),
            ("port", self.port.to_string()),
            ("login", self.login.code().to_owned()),
            ("key_file", self.key_file.clone()),
        ]
        .into_iter()
        .chain(self.limits.fields())
        .collect()
    }
}

/// What a form says; what is wrong with it is noted at its field.
pub fn typed(form: &Form, mistakes: &mut Mistakes) -> Settings {
    let host = match host(form.text("host")) {
        Ok(host) => host,
        Err(text) => {
            mistakes.note("host", text);
            String::new()
        }
    };
    let port = match form.text("port") {
        "" => 22,
        port => port.parse().unwrap_or(0),
    };
    if port == 0 {
        mistakes.note("port", Text::new("assets.wrong_port"));
    }
    let login = Login::ALL.into_iter().find(|login| login.code() == form.text("login"));
    let settings = Settings {
        host,
        port,
        login: login.unwrap_or_default(),
        key_file: form.text("key_file").to_owned(),
        limits: Limits::typed(form, mistakes),
    };
    if settings.login == Login::KeyFile && !settings.key_file.starts_with('/') {
        mistakes.note("key_file", Text::new("assets.wrong_path"));
    }
    if let Some(mistake) = line_mistake(&settings.key_file, 255) {
        mistakes.note("key_file", mistake);
    }
    settings
}

/// A name or a number in its one spelling.
fn host(typed: &str) -> Result<String, Text> {
    if typed.is_empty() {
        return Err(Text::new("assets.host_missing"));
    }
    let bare = typed.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.contains(':') {
        true => url::Host::parse(&format!("[{bare}]")),
        false => url::Host::parse(bare),
    };
    let host = host.map_err(|_| Text::new("assets.wrong_host"))?.to_string();
    let host = host.trim_matches(['[', ']']).to_owned();
    if host.parse().is_ok_and(crate::clusters::address::is_forbidden) {
        return Err(Text::new("assets.forbidden_address"));
    }
    match host.chars().count() > 200 {
        true => Err(Text::new("form.long").with("most", 200)),
        false => Ok(host),
    }
}
