//! Sending by HTTP: our own document, signed, or the text that a chat robot takes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Response;
use serde_json::{Value, json};
use sha2::Sha256;
use url::{Host, Url};

use super::channel::{Format, Secret, Settings};
use super::message::Outgoing;
use super::trouble::Trouble;
use crate::app::App;
use crate::clusters::address::is_forbidden;
use crate::clusters::check::{self, probe};
use crate::i18n::{Lang, Text, detail};

/// For all of it, names and the answer included.
pub const LIMIT: Duration = Duration::from_secs(10);
/// More of an answer is not read.
const LONGEST_ANSWER: usize = 16 * 1024;
/// WeCom takes 2,048 bytes.
const LONGEST_TEXT: usize = 600;
const LONGEST_ADDRESS: usize = 2000;
/// What robots say who have had enough: DingTalk, WeCom, and the rest Feishu.
const TOO_MANY: [i64; 5] = [130_101, 45_009, 9_499, 11_232, 99_991_400];
/// Then they are left alone for so long, unless they say for how long.
const TOO_MANY_S: u64 = 60;

/// The address as it is kept.
///
/// # Errors
/// What is wrong with it, for the person who typed it.
pub fn address(typed: &str) -> Result<String, Text> {
    if typed.is_empty() || typed.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Text::new("notify.url_wrong"));
    }
    let url = Url::parse(typed).map_err(|_| Text::new("notify.url_wrong"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Text::new("notify.url_wrong"));
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) => None,
        None => return Err(Text::new("notify.url_wrong")),
    };
    if literal.is_some_and(is_forbidden) {
        return Err(Text::new("notify.forbidden"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() || url.port() == Some(0) {
        return Err(Text::new("notify.url_wrong"));
    }
    match url.as_str().len() > LONGEST_ADDRESS {
        true => Err(Text::new("form.long").with("most", LONGEST_ADDRESS)),
        false => Ok(url.into()),
    }
}

/// As much of an address as may be seen: its path and query may be all that one needs to write there.
pub fn visible(address: &str) -> String {
    match Url::parse(address) {
        Ok(url) => format!("{}/…", url.origin().ascii_serialization()),
        Err(_) => String::new(),
    }
}

/// # Errors
/// Why it was not sent, or may not have been.
pub async fn send(app: &App, (settings, secret): (&Settings, &Secret), outgoing: &Outgoing) -> Result<(), Trouble> {
    if secret.url.is_empty() {
        return Err(Trouble::NoSecret);
    }
    let reach = check::reach(app);
    if probe::literal(&secret.url).is_some_and(|address| !reach.allows(address)) {
        return Err(Trouble::Forbidden);
    }
    let client = probe::client(reach).map_err(|cause| Trouble::Settings { detail: detail(cause) })?;
    let request = request_of(settings.format, secret, outgoing, app.config.lang);
    let mut asked = client.post(&request.url).timeout(LIMIT);
    for (name, value) in &request.headers {
        asked = asked.header(*name, value);
    }
    let answer = asked.header("Content-Type", "application/json; charset=utf-8");
    let answer = answer.body(request.body).send().await.map_err(|error| failed(&error))?;
    judge(settings.format, answer).await
}

/// What is sent where.
struct Request {
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Each robot's simple text message, signed as its maker documents it.
fn request_of(format: Format, secret: &Secret, outgoing: &Outgoing, lang: Lang) -> Request {
    let text: String = outgoing.lines(lang).chars().take(LONGEST_TEXT).collect();
    let (mut url, mut headers) = (secret.url.clone(), Vec::new());
    let is_signed = !secret.key.is_empty();
    let body = match format {
        Format::Json => {
            let (body, timestamp) = (outgoing.document(), outgoing.now.to_string());
            if is_signed {
                let mac = hmac(&secret.key, &format!("{timestamp}.{body}"));
                headers.push(("Muster-Signature", format!("v1={}", hex(&mac))));
            }
            headers.push(("Muster-Timestamp", timestamp));
            body
        }
        Format::DingTalk => {
            if is_signed {
                let timestamp = (outgoing.now * 1000).to_string();
                let sign = STANDARD.encode(hmac(&secret.key, &format!("{timestamp}\n{}", secret.key)));
                if let Ok(mut signed) = Url::parse(&url) {
                    let mut query = signed.query_pairs_mut();
                    query.append_pair("timestamp", &timestamp).append_pair("sign", &sign);
                    drop(query);
                    url = signed.into();
                }
            }
            json!({ "msgtype": "text", "text": { "content": text } }).to_string()
        }
        Format::WeCom => json!({ "msgtype": "text", "text": { "content": untagged(&text) } }).to_string(),
        Format::Feishu => {
            let mut body = json!({ "msg_type": "text", "content": { "text": untagged(&text) } });
            if is_signed {
                let timestamp = outgoing.now.to_string();
                // Their scheme has the key where others have the message.
                let sign = STANDARD.encode(hmac(&format!("{timestamp}\n{}", secret.key), ""));
                body["timestamp"] = timestamp.into();
                body["sign"] = sign.into();
            }
            body.to_string()
        }
        Format::Slack => {
            let plain = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            json!({ "text": plain }).to_string()
        }
    };
    Request { url, headers, body }
}

/// Feishu calls everybody for `<at user_id="all">` and WeCom somebody for `<@name>`, also within a text, and neither says how
/// to write such a thing without that: a peer's words get brackets that look alike. DingTalk calls those that a field names, and
/// there is none.
fn untagged(text: &str) -> String {
    text.replace('<', "＜").replace('>', "＞")
}

fn hmac(key: &str, message: &str) -> Vec<u8> {
    match Hmac::<Sha256>::new_from_slice(key.as_bytes()) {
        Ok(mac) => mac.chain_update(message).finalize().into_bytes().to_vec(),
        // A key may have any length.
        Err(_) => Vec::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() {
        return Trouble::TimedOut {
            seconds: LIMIT.as_secs(),
        };
    }
    let verdict = probe::failed(error);
    let detail = detail(verdict.detail);
    match verdict.outcome {
        probe::Outcome::Forbidden => Trouble::Forbidden,
        probe::Outcome::Tls => Trouble::Tls { detail },
        _ => Trouble::Unreachable { detail },
    }
}

/// Robots answer 200 also to what they do not take, and say so in the body.
async fn judge(format: Format, mut answer: Response) -> Result<(), Trouble> {
    let status = answer.status();
    let after = answer
        .headers()
        .get("Retry-After")
        .and_then(|value| value.to_str().ok());
    let after = after.and_then(|seconds| seconds.parse().ok());
    if status.as_u16() == 429 || status.as_u16() == 503 && after.is_some() {
        return Err(Trouble::too_many(after.unwrap_or(TOO_MANY_S)));
    }
    if !status.is_success() {
        return Err(Trouble::Status {
            status: status.as_u16(),
        });
    }
    if matches!(format, Format::Json | Format::Slack) {
        return Ok(());
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| failed(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_ANSWER {
            break;
        }
    }
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = ["errcode", "code", "StatusCode"]
        .iter()
        .find_map(|name| told[*name].as_i64());
    if code == Some(0) {
        return Ok(());
    }
    if code.is_some_and(|code| TOO_MANY.contains(&code)) {
        return Err(Trouble::too_many(TOO_MANY_S));
    }
    let said = ["errmsg", "msg", "StatusMessage"]
        .iter()
        .find_map(|name| told[*name].as_str());
    let said = said.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
    let code = code.map_or_else(String::new, |code| format!("{code} "));
    Err(Trouble::Refused {
        detail: detail(format!("{code}{said}")),
    })
}
