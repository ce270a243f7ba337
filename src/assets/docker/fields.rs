//! The settings of a Docker host as a form says them.

use super::Settings;
use crate::assets::kind::{self, Fields};
use crate::i18n::Text;
use crate::web::{Form, Mistakes};

impl Settings {
    pub fn fields(&self) -> Fields {
        let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![
            ("address", self.address.clone()),
            ("tls", word(self.tls)),
            ("verify", word(self.verify)),
        ]
    }
}

/// What a form says; what is wrong with it is noted at its field.
pub fn typed(form: &Form, mistakes: &mut Mistakes) -> Settings {
    let address = address(form.text("address")).unwrap_or_else(|text| {
        mistakes.note("address", text);
        String::new()
    });
    Settings {
        address,
        tls: form.text("tls") == "yes",
        verify: form.text("verify") != "no",
    }
}

/// A port is always said; a socket is a whole path.
fn address(typed: &str) -> Result<String, Text> {
    if typed.is_empty() {
        return Err(Text::new("assets.address_missing"));
    }
    if let Some(path) = typed.strip_prefix("unix://") {
        let is_path = path.starts_with('/') && path.len() > 1 && !path.chars().any(char::is_control);
        return match is_path && path.chars().count() <= 100 {
            true => Ok(typed.to_owned()),
            false => Err(Text::new("assets.wrong_path")),
        };
    }
    let url = kind::url(typed, &["tcp", "ssh"])?;
    let wrong = || Text::new("assets.wrong_address").with("schemes", "tcp://, unix://, ssh://");
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    if !matches!(url.path(), "" | "/") {
        return Err(wrong());
    }
    let port = url.port().unwrap_or(if url.scheme() == "ssh" { 22 } else { 2375 });
    Ok(format!("{}://{}:{port}", url.scheme(), host.to_lowercase()))
}
