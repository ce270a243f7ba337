//! Why a library failed, found in the causes of its error.

use std::error::Error as StdError;
use std::fmt;
use std::io::ErrorKind;

use tokio_rustls::rustls::{AlertDescription, Error as TlsError};

use super::dial::io_reason;
use super::outcome::{Reason, detail};
use crate::clusters::check::probe::below;

/// A reason of ours on its way through the errors of libraries.
#[derive(Debug)]
pub struct Because(pub Reason);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl StdError for Because {}

/// The first cause that says something.
pub fn reason(error: &(dyn StdError + 'static)) -> Reason {
    let (mut cause, mut network) = (error, None);
    loop {
        if let Some(Because(reason)) = cause.downcast_ref() {
            return reason.clone();
        }
        if let Some(tls) = cause.downcast_ref::<TlsError>() {
            return tls_reason(tls);
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            if http.is_incomplete_message() || http.is_canceled() || http.is_closed() {
                return Reason::Closed;
            }
            if http.is_parse() {
                return Reason::Unexpected { detail: detail(http) };
            }
        }
        network = cause.downcast_ref::<std::io::Error>().or(network);
        match below(cause) {
            Some(next) => cause = next,
            None => break,
        }
    }
    match network {
        // What cannot be read is no fault of the network.
        Some(io)
            if !matches!(
                io.kind(),
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other
            ) =>
        {
            io_reason(io)
        }
        _ => Reason::Unexpected { detail: detail(cause) },
    }
}

/// A certificate of ours that is turned away is a login that is refused.
fn tls_reason(error: &TlsError) -> Reason {
    let nobody = || Reason::Denied { user: String::new() };
    match error {
        TlsError::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
        ) => nobody(),
        other => Reason::Tls { detail: detail(other) },
    }
}
