//! What libraries and the system say of a failure, in the words of the reader. A reason keeps it as it was said.

use crate::i18n::Text;

/// By the number of the system.
const OF_THE_SYSTEM: [(&str, &str); 16] = [
    ("2", "word.no_file"),
    ("13", "word.not_permitted"),
    ("20", "word.no_file"),
    ("21", "word.no_plain_file"),
    ("23", "word.too_many_files"),
    ("24", "word.too_many_files"),
    ("32", "word.broken_pipe"),
    ("98", "word.no_port"),
    ("99", "word.no_own_address"),
    ("100", "word.network_down"),
    ("101", "word.network_unreachable"),
    ("104", "word.reset"),
    ("110", "word.timed_out"),
    ("111", "word.refused"),
    ("112", "word.host_down"),
    ("113", "word.no_route"),
];

/// By what it begins with; nothing here begins as a longer one below.
const BEGINNINGS: [(&str, &str); 36] = [
    ("invalid peer certificate: Expired", "word.expired"),
    ("invalid peer certificate: certificate expired", "word.expired"),
    ("invalid peer certificate: NotValidYet", "word.not_valid_yet"),
    (
        "invalid peer certificate: certificate not valid yet",
        "word.not_valid_yet",
    ),
    ("invalid peer certificate: UnknownIssuer", "word.unknown_issuer"),
    ("invalid peer certificate: NotValidForName", "word.wrong_name"),
    (
        "invalid peer certificate: certificate not valid for name",
        "word.wrong_name",
    ),
    ("invalid peer certificate: Revoked", "word.revoked"),
    ("invalid peer certificate: BadSignature", "word.bad_signature"),
    (
        "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
        "word.authority_itself",
    ),
    ("invalid peer certificate: InvalidPurpose", "word.other_purpose"),
    (
        "invalid peer certificate: certificate does not allow extended key usage",
        "word.other_purpose",
    ),
    ("invalid peer certificate: BadEncoding", "word.unreadable_certificate"),
    ("received corrupt message of type InvalidContentType", "word.no_tls"),
    ("received fatal alert: HandshakeFailure", "word.no_common_tls"),
    ("received fatal alert: ProtocolVersion", "word.no_common_tls"),
    ("received fatal alert: UnrecognisedName", "word.name_refused"),
    ("peer is incompatible", "word.no_common_tls"),
    ("keys may not be consistent", "word.key_and_certificate"),
    ("PEM: authority", "word.bad_authority"),
    ("PEM: certificate", "word.bad_certificate"),
    ("PEM: private key", "word.bad_private_key"),
    ("not an absolute path", "word.no_absolute_path"),
    ("not a regular file", "word.no_plain_file"),
    ("no private key in OpenSSH or PEM form", "word.no_private_key"),
    ("damaged", "word.damaged_key"),
    ("it cannot be decoded", "word.damaged_key"),
    ("it needs a passphrase", "word.needs_passphrase"),
    ("the passphrase does not open it", "word.wrong_passphrase"),
    ("opening it would take too long", "word.costly_key"),
    ("too long", "word.long_key"),
    ("too many bits", "word.long_key"),
    ("tls handshake eof", "word.ended"),
    ("unexpected end of file", "word.ended"),
    ("failed to lookup address", "word.no_such_name"),
    ("operation timed out", "word.timed_out"),
];

/// What is said of an answer that is not the expected one. A peer may say the same, and is not believed any more for that.
const OF_ANSWERS: [(&str, &str); 11] = [
    ("invalid HTTP version parsed", "word.no_http"),
    ("invalid HTTP header parsed", "word.no_http"),
    ("invalid HTTP status-code parsed", "word.no_http"),
    ("invalid content-length parsed", "word.no_http"),
    ("message head is too large", "word.long_head"),
    ("no common algorithm (", "word.no_common_algorithm"),
    ("Key exchange failed", "word.no_key_exchange"),
    ("Key exchange init failed", "word.no_key_exchange"),
    ("Wrong server signature", "word.wrong_host_key_signature"),
    ("No authentication method", "word.no_way_to_sign_in"),
    ("Unsupported authentication method", "word.no_way_to_sign_in"),
];

/// Of what a library or the system said, or we ourselves.
pub fn said(detail: &str) -> Text {
    let system = detail.rsplit_once("(os error ").map(|(_, number)| number);
    let system = system.and_then(|number| find(&OF_THE_SYSTEM, |known| number.trim_end_matches(')') == known));
    let known = system.or_else(|| find(&BEGINNINGS, |known| detail.starts_with(known)));
    known.map_or_else(|| quoted(detail), |key| in_words(key, detail))
}

/// Of what may be from the other side as well.
pub fn of_answer(detail: &str) -> Text {
    let known = find(&OF_ANSWERS, |known| detail.starts_with(known));
    known.map_or_else(|| quoted(detail), |key| in_words(key, detail))
}

fn find(all: &[(&str, &'static str)], is: impl Fn(&str) -> bool) -> Option<&'static str> {
    all.iter().find(|(known, _)| is(known)).map(|(_, key)| *key)
}

/// With what is no word in any language: names of hosts, and of what was to be agreed on.
fn in_words(key: &'static str, detail: &str) -> Text {
    let behind = |mark: &str| detail.split_once(mark).map_or("", |(_, rest)| rest);
    match key {
        "word.wrong_name" => match behind("is only valid for ") {
            "" => Text::new(key),
            names => Text::new("word.other_names").with("names", names),
        },
        "word.no_common_algorithm" => Text::new(key).with("kind", behind("(").trim_end_matches(')')),
        _ => Text::new(key),
    }
}

fn quoted(detail: &str) -> Text {
    Text::new("audit.plain").with("value", detail)
}

#[cfg(test)]
mod tests {
    use std::io::Error as IoError;
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, OtherError, PeerIncompatible};
    use tokio_rustls::rustls;

    use super::*;
    use crate::assets::outcome::detail;
    use crate::i18n::Lang;
    use crate::odd;

    fn chinese(text: &Text) -> String {
        let said = text.say(Lang::ZhCn);
        assert!(!said.contains("word."), "{said}");
        said
    }

    #[test]
    fn what_the_system_says_is_said_in_chinese() {
        for (number, _) in OF_THE_SYSTEM {
            let error = IoError::from_raw_os_error(number.parse().unwrap());
            let said = chinese(&super::said(&detail(&error)));
            assert!(!said.contains("os error") && !said.is_ascii(), "{error}: {said}");
        }
        let odd = detail(IoError::from_raw_os_error(71));
        assert_eq!(chinese(&said(&odd)), odd, "what is left stays as it is");
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_chinese() {
        let (time, other) = (UnixTime::since_unix_epoch, std::time::Duration::from_secs);
        let name = || ServerName::try_from("web.example").unwrap();
        for error in [
            CertificateError::Expired,
            CertificateError::ExpiredContext {
                time: time(other(9)),
                not_after: time(other(5)),
            },
            CertificateError::NotValidYet,
            CertificateError::NotValidYetContext {
                time: time(other(5)),
                not_before: time(other(9)),
            },
            CertificateError::UnknownIssuer,
            CertificateError::NotValidForName,
            CertificateError::NotValidForNameContext {
                expected: name(),
                presented: vec!["DnsName(\"x\")".to_owned()],
            },
            CertificateError::Revoked,
            CertificateError::BadSignature,
            CertificateError::BadEncoding,
            CertificateError::InvalidPurpose,
        ] {
            let error = TlsError::InvalidCertificate(error);
            let said = chinese(&super::said(&detail(&error)));
            assert!(!said.contains("certificate") && !said.is_ascii(), "{error}: {said}");
        }
        for error in [
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType),
            TlsError::AlertReceived(AlertDescription::HandshakeFailure),
            TlsError::AlertReceived(AlertDescription::ProtocolVersion),
            TlsError::AlertReceived(AlertDescription::UnrecognisedName),
            TlsError::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
        ] {
            let said = chinese(&super::said(&detail(&error)));
            assert!(!said.is_ascii(), "{error}: {said}");
        }
        let odd = TlsError::Other(OtherError(Arc::new(IoError::other("odd"))));
        assert_eq!(chinese(&said(&detail(&odd))), detail(&odd));
    }

    #[test]
    fn a_peer_that_speaks_our_words_says_nothing_of_certificates() {
        let (kex, known) = (of_answer("no common algorithm (Kex)"), of_answer("SSH-2.0-x"));
        assert!(chinese(&kex).contains("Kex") && !chinese(&kex).contains("common"));
        assert_eq!(chinese(&known), "SSH-2.0-x");
        for peer in ["invalid peer certificate: Expired", "x (os error 2)"] {
            assert_eq!(chinese(&of_answer(peer)), peer);
        }
        for (said, _) in OF_ANSWERS {
            assert!(!chinese(&of_answer(said)).is_ascii(), "{said}");
        }
        for (known, _) in BEGINNINGS {
            assert!(!chinese(&said(known)).is_ascii(), "{known}");
        }
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn what_nobody_knows_is_said_as_it_is_and_what_is_known_not_longer_than_it_was(
            told in odd::text(&[
                "Connection refused (os error 111)",
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for DnsName(\"b\")",
                "no common algorithm (Kex)",
                "%{value} %{names} %{kind}",
            ]),
        ) {
            let told = detail(told);
            for (text, is_known) in [
                (said(&told), find(&BEGINNINGS, |known| told.starts_with(known)).is_some() || told.contains("(os error ")),
                (of_answer(&told), find(&OF_ANSWERS, |known| told.starts_with(known)).is_some()),
            ] {
                for lang in Lang::ALL {
                    let said = text.say(lang);
                    prop_assert!(is_known || said == told, "{:?}", said);
                    prop_assert!(said.chars().count() <= told.chars().count() + 100, "{:?}", said);
                }
            }
        }
    }
}
