//! Connections to mail servers that read so many bytes and no more, whatever is spoken over them.

use std::io::{Error as IoError, Result as IoResult};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError};

use super::channel::Settings;
use super::trouble::Trouble;
use crate::i18n::detail;

/// A connection that reads so many bytes: the library that speaks SMTP reads a line to its end, however far that is.
#[derive(Debug)]
pub struct Capped {
    stream: TcpStream,
    left: usize,
}

impl Capped {
    pub fn new(stream: TcpStream, most: usize) -> Capped {
        Capped { stream, left: most }
    }
}

impl AsyncTokioStream for Capped {
    fn peer_addr(&self) -> IoResult<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Capped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(IoError::other("too much was said")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Capped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<IoResult<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// TLS from the start over such a connection. The library would make one of its own, without an end.
#[derive(Debug)]
pub struct Secured(TlsStream<Capped>);

impl Secured {
    /// # Errors
    /// What is wrong with the authority or with the server's certificate.
    pub async fn over(stream: Capped, settings: &Settings) -> Result<Secured, Trouble> {
        let unusable = |cause: &dyn std::fmt::Display| Trouble::Tls { detail: detail(cause) };
        let config = trusting(&settings.authority).map_err(|cause| unusable(&cause))?;
        let host = settings.host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|cause| unusable(&cause))?;
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Secured(stream)),
            Err(cause) => Err(match cause.get_ref().is_some_and(|inner| inner.is::<TlsError>()) {
                true => unusable(&cause),
                false => super::mail::unreachable(&cause),
            }),
        }
    }
}

/// The system's authorities, and these in PEM.
fn trusting(authority: &str) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let own = CertificateDer::pem_slice_iter(authority.as_bytes()).collect::<Result<Vec<_>, _>>();
    let own = own.map_err(|cause| TlsError::General(cause.to_string()))?;
    let verifier = Verifier::new_with_extra_roots(own, provider.clone())?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

impl AsyncTokioStream for Secured {
    fn peer_addr(&self) -> IoResult<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<IoResult<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
