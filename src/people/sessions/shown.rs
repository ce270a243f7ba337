//! What a request shows of who sent it: cookies, a token, where it comes from.

use poem::Request;
use poem::http::header;

use super::queries::Origin;
use crate::app::App;
use crate::people::secret;
use crate::web::guard::{bearer, client_address, cookie_path, cookies, is_https};

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
        let (sessions, form) = named(cookies(req), &own);
        let hashed = |(name, value): (String, String)| SessionCookie {
            hash: secret::hash(&value),
            name,
            value,
        };
        Shown {
            sessions: sessions.into_iter().map(hashed).collect(),
            form,
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

/// The sessions that cookies name, our own first, then the newest; and what stands for the form of somebody without one.
fn named(cookies: impl Iterator<Item = (String, String)>, own: &str) -> (Vec<(String, String)>, Option<String>) {
    let (mut sessions, mut form) = (Vec::new(), None);
    for (name, value) in cookies {
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
    (sessions, form.filter(|value| value.len() == 64))
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
    let path = cookie_path(&app.config.base_path);
    let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let secure = if is_https { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax{age}{secure}")
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    const OWN: &str = "muster_s_0a1b2c3d";
    const SAMPLES: [&str; 4] = [
        "muster_lang=en; muster_theme=dark",
        "muster_s_11111111=2222222222222222222222222222222222222222222222222222222222222222; x=\"y\"",
        "muster_form=3333333333333333333333333333333333333333333333333333333333333333",
        "a=ü; JSESSIONID=x; =; ;;",
    ];

    fn shown(headers: &[&[u8]]) -> Vec<(String, String)> {
        let mut request = Request::default();
        for header in headers {
            if let Ok(value) = HeaderValue::from_bytes(header) {
                request.headers_mut().append(header::COOKIE, value);
            }
        }
        cookies(&request).collect()
    }

    #[test]
    fn a_cookie_of_another_site_on_this_host_takes_ours_not_away() {
        let value = "f".repeat(64);
        let header = format!("theirs=ü; {OWN}={value}");
        let (sessions, _) = named(shown(&[header.as_bytes()]).into_iter(), OWN);
        assert_eq!(sessions, [(OWN.to_owned(), value)]);
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_else_is_sent_our_own_session_comes_first(
            before in odd::bytes(&SAMPLES),
            after in odd::bytes(&SAMPLES),
            in_one in any::<bool>(),
            value in "[0-9a-f]{64}",
        ) {
            let own = format!("{OWN}={value}");
            let joined = [&before[..], b"; ", own.as_bytes(), b"; ", &after[..]].concat();
            let is_one = in_one && HeaderValue::from_bytes(&joined).is_ok();
            let headers: &[&[u8]] = if is_one { &[&joined] } else { &[&before, own.as_bytes(), &after] };
            let (sessions, form) = named(shown(headers).into_iter(), OWN);
            prop_assert!((1..=COOKIES).contains(&sessions.len()));
            prop_assert_eq!(&sessions[0], &(OWN.to_owned(), value));
            prop_assert!(sessions.iter().all(|(name, value)| name.starts_with(PREFIX) && value.len() == 64));
            prop_assert!(form.is_none_or(|form| form.len() == 64));
        }
    }
}
