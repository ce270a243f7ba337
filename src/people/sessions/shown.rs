//! What a request shows of who sent it: cookies, a token, where it comes from.

use poem::Request;
use poem::http::header;

use super::queries::Origin;
use crate::app::App;
use crate::people::secret;
use crate::web::guard::{bearer, client_address, is_https};

/// Sessions of that many servers in one browser are looked at: cookies know no ports, and those of a session that has
/// ended stay until they are a week old.
const COOKIES: usize = 16;
const PREFIX: &str = "muster_s_";
pub(super) const FORM_COOKIE: &str = "muster_form";

/// A cookie that may be behind a session.
pub struct SessionCookie {
    pub name: String,
    pub value: String,
    /// What the database knows it by.
    pub hash: String,
}

/// What a request shows of who sent it.
pub struct Shown {
    /// Our own first, then the newest.
    pub sessions: Vec<SessionCookie>,
    pub form: Option<String>,
    pub token: Option<String>,
    pub origin: Origin,
    pub is_https: bool,
}

impl Shown {
    pub fn of(req: &Request, app: &App) -> Shown {
        let own = cookie_name(app);
        let (mut sessions, mut form) = (Vec::new(), None);
        for (name, value) in cookies(req) {
            if name == FORM_COOKIE {
                form = Some(value);
            } else if name.starts_with(PREFIX) && value.len() == 64 {
                sessions.push((name, value));
            }
        }
        // Browsers send the oldest first (RFC 6265, 5.4).
        sessions.reverse();
        sessions.sort_by_key(|(name, _)| *name != own);
        sessions.truncate(COOKIES);
        let hashed = |(name, value): (String, String)| SessionCookie {
            hash: secret::hash(&value),
            name,
            value,
        };
        Shown {
            sessions: sessions.into_iter().map(hashed).collect(),
            form: form.filter(|value| value.len() == 64),
            token: bearer(req).map(secret::hash),
            origin: origin(req, app),
            is_https: is_https(req),
        }
    }

    /// A request with a token is a program's; cookies beside it do not count.
    pub fn hashes(&self) -> Vec<String> {
        let cookies = self.sessions.iter().filter(|_| self.token.is_none());
        cookies.map(|cookie| cookie.hash.clone()).collect()
    }
}

fn cookies(req: &Request) -> impl Iterator<Item = (String, String)> {
    let headers = req.headers().get_all(header::COOKIE).iter();
    let parsed = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(cookie::Cookie::split_parse)
        .flatten();
    parsed.map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned()))
}

/// A secret of ours that a cookie carries.
pub fn cookie_value(req: &Request, name: &str) -> Option<String> {
    let found = cookies(req).find(|(known, _)| known == name);
    found.map(|(_, value)| value).filter(|value| value.len() == 64)
}

/// Where a request comes from, as sessions and the audit trail keep it.
pub fn origin(req: &Request, app: &App) -> Origin {
    Origin {
        install_id: app.install.id.clone(),
        address: client_address(req).map_or_else(String::new, |address| address.to_string()),
        agent: req
            .header(header::USER_AGENT)
            .unwrap_or_default()
            .chars()
            .take(255)
            .collect(),
    }
}

/// Cookies do not know ports, so each server of a host has one of its own.
pub fn cookie_name(app: &App) -> String {
    format!("{PREFIX}{}", app.install.id.get(..8).unwrap_or_default())
}

/// A cookie for our paths only that no script can read.
pub fn cookie(app: &App, name: &str, value: &str, seconds: Option<u64>, is_https: bool) -> String {
    let path = match app.config.base_path.as_str() {
        "" => "/",
        base => base,
    };
    let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let secure = if is_https { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax{age}{secure}")
}
