//! What each answer must carry and what no request may do, whatever the handler.

use std::net::IpAddr;
use std::sync::Arc;

use cookie::Cookie;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response};
use url::Url;

use crate::app::App;

/// Nothing but our own files; images may also be the `data:` icons of the style sheet.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What each answer tells browsers not to do with it.
pub const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // "no-referrer" would make browsers send "Origin: null" with our own forms. Links that lead out say noreferrer.
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Adds the security headers, also to error answers; not to a 304, which leaves those of the first answer in force.
pub async fn headers<E: Endpoint>(next: Arc<E>, req: Request) -> poem::Result<Response> {
    let is_https = is_https(&req);
    let mut answer = next.get_response(req).await;
    if answer.status() == StatusCode::NOT_MODIFIED {
        return Ok(answer);
    }
    let headers = answer.headers_mut();
    let hsts = is_https.then_some(("strict-transport-security", "max-age=31536000"));
    for (name, value) in HEADERS.into_iter().chain(hsts) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    Ok(answer)
}

/// Whether a change was sent by a page of this console, and not by another site's with this reader's browser (CSRF). A
/// client that sends neither `Sec-Fetch-Site` nor `Origin` is no browser.
pub fn is_same_origin(req: &Request) -> bool {
    if let Some(site) = req.header("Sec-Fetch-Site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = req.header(header::ORIGIN) else {
        return true;
    };
    let Some(origin) = Url::parse(origin).ok().and_then(|url| authority(&url)) else {
        return false;
    };
    host(req).is_some_and(|host| {
        // The scheme is not known behind a proxy, so the default ports of both are tried.
        ["http", "https"]
            .iter()
            .filter_map(|scheme| Url::parse(&format!("{scheme}://{host}")).ok())
            .any(|url| authority(&url).as_ref() == Some(&origin))
    })
}

/// Host and port, the port also when it is the scheme's own.
fn authority(url: &Url) -> Option<(String, u16)> {
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// The host the browser asked for; from a trusted proxy the one it forwards.
fn host(req: &Request) -> Option<String> {
    let forwarded = || {
        from_trusted_proxy(req)
            .then(|| req.header("X-Forwarded-Host")?.split(',').next())
            .flatten()
            .map(str::trim)
    };
    let named = || {
        req.header(header::HOST)
            .or_else(|| req.uri().authority().map(|authority| authority.as_str()))
    };
    forwarded().or_else(named).map(str::to_owned)
}

/// Where the request came from: the peer, or what a trusted proxy says of its own peer, through as many trusted proxies
/// as stand in a row. What a stranger writes into the header stays left of that and is not believed. None without a
/// network, as in tests.
pub fn client_address(req: &Request) -> Option<IpAddr> {
    let peer = req.remote_addr().as_socket_addr()?.ip().to_canonical();
    let trusted = &req.data::<App>()?.config.trusted_proxies;
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let headers = req.headers().get_all("X-Forwarded-For").iter();
    let said: Vec<&str> = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let mut nearest = peer;
    for hop in said.iter().rev() {
        let Ok(address) = hop.parse::<IpAddr>() else { break };
        nearest = address.to_canonical();
        if !is_trusted(&nearest) {
            break;
        }
    }
    Some(nearest)
}

/// Whether the browser came by TLS: to this server, or to a trusted proxy that says so.
pub fn is_https(req: &Request) -> bool {
    let forwarded = || {
        let said = req.header("X-Forwarded-Proto")?.split(',').next()?.trim();
        from_trusted_proxy(req).then(|| said.eq_ignore_ascii_case("https"))
    };
    *req.scheme() == Scheme::HTTPS || forwarded().unwrap_or(false)
}

/// The token of a program (RFC 6750; the scheme is compared without case). Another scheme, as a proxy's own password,
/// does not make a browser a program.
pub fn bearer(req: &Request) -> Option<&str> {
    let (scheme, token) = req.header(header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

/// Every cookie that can be read, in order. Others on this host may set cookies of any bytes, which must not take ours away.
pub fn cookies(req: &Request) -> impl Iterator<Item = (String, String)> {
    let headers = req.headers().get_all(header::COOKIE).iter();
    let parsed = headers
        .flat_map(|value| Cookie::split_parse(String::from_utf8_lossy(value.as_bytes())))
        .flatten();
    parsed.map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned()))
}

/// For which paths our cookies are.
pub fn cookie_path(base: &str) -> &str {
    if base.is_empty() { "/" } else { base }
}

/// A path of ours, to return to: neither another host (`//`, `/\`) nor anything that could end a header.
pub fn is_local(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.starts_with("/\\")
        && path.bytes().all(|b| b.is_ascii_graphic())
        && !has_dots(path)
}

/// Segments that lead out of a path, also percent-encoded.
fn has_dots(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.split(['/', '\\']);
    segments.any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    })
}

fn from_trusted_proxy(req: &Request) -> bool {
    let peer = req.remote_addr().as_socket_addr().map(|peer| peer.ip().to_canonical());
    match (req.data::<App>(), peer) {
        (Some(app), Some(peer)) => app.config.trusted_proxies.iter().any(|net| net.contains(&peer)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_paths_of_ours_are_returned_to() {
        assert!(is_local("/clusters?name=a%20b"));
        for elsewhere in [
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "https:evil.example",
            "http:/evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "evil.example",
            "@evil.example",
            ".evil.example",
            "",
            " /clusters",
            "\t//evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a\r\nSet-Cookie: x",
            "/..//evil.example",
            "/a/%2E%2e/b",
            "/.",
            "/ä",
            "/\u{2028}/evil",
        ] {
            assert!(!is_local(elsewhere), "{elsewhere:?}");
        }
    }
}
