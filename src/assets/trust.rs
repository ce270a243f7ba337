//! TLS towards assets: whom to trust and which certificate to show, from texts in memory.

use std::sync::{Arc, OnceLock};

use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    WantsVerifier,
};

use super::outcome::{Reason, detail};
use super::target::Secret;

/// How to speak TLS to an asset. Without an authority of its own the system's are trusted; without `verify` everybody.
///
/// # Errors
/// [`Reason::BadKey`] when an authority, certificate or key cannot be used.
pub fn config(secret: &Secret, verify: bool) -> Result<Arc<ClientConfig>, Reason> {
    static PLAIN: [OnceLock<Arc<ClientConfig>>; 2] = [const { OnceLock::new() }; 2];
    // Reading the system's authorities takes milliseconds, so what needs no text of the asset is made once.
    let is_plain = (!verify || secret.authority.is_empty()) && secret.certificate.is_empty();
    let plain = &PLAIN[usize::from(verify)];
    match plain.get().filter(|_| is_plain) {
        Some(known) => Ok(known.clone()),
        None => {
            let config = made(secret, verify)?;
            Ok(if is_plain {
                plain.get_or_init(|| config).clone()
            } else {
                config
            })
        }
    }
}

fn made(secret: &Secret, verify: bool) -> Result<Arc<ClientConfig>, Reason> {
    let provider = provider();
    let unusable = |cause: TlsError| Reason::Tls { detail: detail(cause) };
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match (verify, secret.authority.is_empty()) {
        (false, _) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        (true, true) => builder.with_platform_verifier().map_err(unusable)?,
        (true, false) => builder.with_root_certificates(authorities(&secret.authority)?),
    };
    let config = match secret.certificate.is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            let key = PrivateKeyDer::from_pem_slice(secret.private_key.as_bytes()).map_err(|_| bad("private key"))?;
            let shown = certificates(&secret.certificate, "certificate")?;
            let made = builder.with_client_auth_cert(shown, key);
            made.map_err(|cause| Reason::BadKey { detail: detail(cause) })?
        }
    };
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

fn authorities(pem: &str) -> Result<RootCertStore, Reason> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "authority")? {
        roots.add(certificate).map_err(|_| bad("authority"))?;
    }
    Ok(roots)
}

/// All of a text, of which there must be one at least.
fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, Reason> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(bad(what)),
    }
}

/// Names the text and says nothing of what it holds.
fn bad(what: &str) -> Reason {
    Reason::BadKey {
        detail: format!("PEM: {what}"),
    }
}

/// Trusts everybody, as somebody asked for: what is sent is still hidden from those who only listen.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, shown, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, shown, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
