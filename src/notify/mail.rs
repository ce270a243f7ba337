//! Sending by SMTP. The server's name is resolved once, its addresses are judged, and only a judged one is connected to.

use std::fmt;
use std::io::Error as IoError;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use lettre::address::{Address, Envelope};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::{TcpStream, lookup_host};

use super::capped::{Capped, Secured};
use super::channel::{Encryption, Secret, Settings};
use super::message::Outgoing;
use super::trouble::Trouble;
use crate::app::App;
use crate::clusters::check;
use crate::i18n::detail;
use crate::web::form::line_mistake;

/// For all of it, names and the goodbye included.
pub const LIMIT: Duration = Duration::from_secs(15);
/// Letters of a sender's name and address.
const LONGEST_SENDER: usize = 320;
/// No honest server says more than this during one message.
const MOST_READ: usize = 256 * 1024;

/// # Errors
/// Why it was not sent, or may not have been.
pub async fn send(
    app: &App,
    (settings, secret): (&Settings, &Secret),
    recipients: &str,
    outgoing: &Outgoing,
) -> Result<(), Trouble> {
    let (envelope, text) = message(app, settings, recipients, outgoing)?;
    let credentials = (!settings.user.is_empty()).then(|| Credentials::new(settings.user.clone(), secret.key.clone()));
    let stream = connect(app, settings).await?;
    let stream: Box<dyn AsyncTokioStream> = match settings.encryption {
        Encryption::Tls => Box::new(Secured::over(stream, settings).await?),
        // What is upgraded stays the same stream below.
        Encryption::StartTls | Encryption::None => Box::new(stream),
    };
    let hello = ClientId::default();
    let mut conn = AsyncSmtpConnection::connect_with_transport(stream, &hello)
        .await
        .map_err(|error| failed(&error))?;
    if settings.encryption == Encryption::StartTls {
        if !conn.can_starttls() {
            return Err(Trouble::NoStartTls);
        }
        conn.starttls(tls_of(settings)?, &hello)
            .await
            .map_err(|error| failed(&error))?;
    }
    if let Some(credentials) = credentials {
        let ways = [Mechanism::Plain, Mechanism::Login];
        conn.auth(&ways, &credentials).await.map_err(|error| failed(&error))?;
    }
    conn.send(&envelope, &text).await.map_err(|error| failed(&error))?;
    // It is sent, whatever is said to that.
    let _ = conn.quit().await;
    Ok(())
}

/// The letter, and who gets it. Nothing typed can end a header: the library encodes them, and [`is_address`] and [`is_sender`]
/// let the addresses pass.
fn message(
    app: &App,
    settings: &Settings,
    recipients: &str,
    outgoing: &Outgoing,
) -> Result<(Envelope, Vec<u8>), Trouble> {
    let lang = app.config.lang;
    let wrong = |cause: &dyn fmt::Display| Trouble::Settings { detail: detail(cause) };
    let from: Mailbox = settings.from.parse().map_err(|cause| wrong(&cause))?;
    let name = from.name.unwrap_or_else(|| "Muster".to_owned());
    let from = from.email;
    let to: Result<Vec<Address>, _> = addresses(recipients).map(str::parse).collect();
    let to = to.map_err(|cause| wrong(&cause))?;
    // Each on a line of its own: the library leaves them on one, which may be longer than servers take.
    let names: Vec<String> = to.iter().map(Address::to_string).collect();
    let (plain, folded) = (names.join(", "), names.join(",\r\n "));
    let to_header = HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str("To"), plain, folded);
    let envelope = Envelope::new(Some(from.clone()), to).map_err(|cause| wrong(&cause))?;
    // The same for every try, so that mailboxes can tell that they have it.
    let id = format!("<muster.{}.{}@{}>", app.install.id, outgoing.notice_id, from.domain());
    let letter = MessageBuilder::new()
        .envelope(envelope)
        .raw_header(to_header)
        .from(Mailbox::new(Some(name), from))
        .subject(format!("[Muster] {}", outgoing.title(lang)))
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(outgoing.now))
        .message_id(Some(id))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .header(ContentType::TEXT_PLAIN)
        .body(outgoing.lines(lang))
        .map_err(|cause| wrong(&cause))?;
    Ok((letter.envelope().clone(), letter.formatted()))
}

/// The parts of a list with commas, semicolons or line ends between them.
pub fn addresses(list: &str) -> impl Iterator<Item = &str> {
    let parts = list.split([',', ';', '，', '；', '\n']);
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// The address of `Name <address>`; anything else as it is.
pub fn bare(typed: &str) -> &str {
    let inner = typed.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    inner.map_or(typed, |(_, address)| address)
}

/// Whether this is an address, with a name before it or without.
pub fn is_sender(typed: &str) -> bool {
    let parsed = typed.parse::<Mailbox>();
    line_mistake(typed, LONGEST_SENDER).is_none()
        && parsed.is_ok_and(|mailbox| is_address(mailbox.email.as_ref()) && is_address(bare(typed)))
}

/// Whether one can write to this address, and nothing else is in it.
pub fn is_address(typed: &str) -> bool {
    let is_plain = typed
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>(),;:\\".contains(&byte));
    is_plain && typed.len() <= 254 && typed.parse::<Address>().is_ok()
}

/// Whether this is a certificate to trust.
pub fn is_authority(pem: &str) -> bool {
    pem.contains("-----BEGIN CERTIFICATE-----") && Certificate::from_pem(pem.as_bytes()).is_ok()
}

fn tls_of(settings: &Settings) -> Result<TlsParameters, Trouble> {
    let wrong = |error: smtp::Error| Trouble::Tls { detail: detail(error) };
    let mut tls = TlsParameters::builder(settings.host.clone());
    if !settings.authority.is_empty() {
        tls = tls.add_root_certificate(Certificate::from_pem(settings.authority.as_bytes()).map_err(wrong)?);
    }
    tls.build_rustls().map_err(wrong)
}

/// A connection to the first address that answers, if all may be connected to.
async fn connect(app: &App, settings: &Settings) -> Result<Capped, Trouble> {
    let name = settings.host.as_str();
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    let nowhere = || Trouble::NoSuchName { name: name.to_owned() };
    let found = lookup_host((plain, settings.port)).await.map_err(|_| nowhere())?;
    let found: Vec<SocketAddr> = found.collect();
    let reach = check::reach(app);
    if found.iter().any(|address| !reach.allows(address.ip())) {
        return Err(Trouble::Forbidden);
    }
    let mut last = nowhere();
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(Capped::new(stream, MOST_READ)),
            Err(cause) => last = unreachable(&cause),
        }
    }
    Err(last)
}

pub fn unreachable(cause: &IoError) -> Trouble {
    Trouble::Unreachable { detail: detail(cause) }
}

fn failed(error: &smtp::Error) -> Trouble {
    let said = detail(crate::error::chain(error));
    if error.is_timeout() {
        let seconds = LIMIT.as_secs();
        return Trouble::TimedOut { seconds };
    }
    // Of our own side is that the server knows none of the ways to log in.
    let is_refused = error.is_permanent() || error.is_transient() || error.is_client();
    match (is_refused, is_tls(error)) {
        (true, _) => Trouble::Refused { detail: said },
        (false, true) => Trouble::Tls { detail: said },
        (false, false) => Trouble::Unreachable { detail: said },
    }
}

/// The library says of a handshake that fails that the connection did.
fn is_tls(error: &smtp::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        let inner = one.downcast_ref::<IoError>().and_then(IoError::get_ref);
        if one.is::<tokio_rustls::rustls::Error>()
            || inner.is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>())
        {
            return true;
        }
        cause = one.source();
    }
    error.is_tls()
}
