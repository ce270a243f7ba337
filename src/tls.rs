//! TLS for browsers: certificate and key from files, read again when they change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{DEFAULT_VERSIONS, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::error::{Error, Result};
use crate::i18n::Text;

/// A client that has not shaken hands within this is dropped.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Handshakes at once; whoever comes beyond that waits in the system's queue.
const AT_ONCE: usize = 1024;
/// A renewed certificate is in use this much later at most.
const LOOK: Duration = Duration::from_secs(2);
/// After a failed accept (too many open files) the next one waits.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest certificate chain that is read.
const MOST_BYTES: u64 = 1024 * 1024;

/// Where the certificate chain and its key are, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A pipe or a device would be read for ever.
fn regular(path: &Path) -> std::io::Result<()> {
    let meta = std::fs::metadata(path)?;
    match meta.is_file() && meta.len() <= MOST_BYTES {
        true => Ok(()),
        false => Err(std::io::Error::other("not a regular file, or longer than 1 MiB")),
    }
}

impl Files {
    /// Whether they can be used.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the file and what is wrong with it.
    pub fn check(&self) -> Result<()> {
        self.read().map(drop)
    }

    fn read(&self) -> Result<CertifiedKey> {
        let wrong = |path: &Path, cause: &dyn std::fmt::Display| {
            let text = Text::new("tls.wrong_file").with("path", path.display());
            Error::Invalid(text.with("cause", cause))
        };
        for path in [&self.certificate, &self.key] {
            regular(path).map_err(|cause| wrong(path, &cause))?;
        }
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|cause| wrong(&self.certificate, &cause))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|cause| wrong(&self.key, &cause))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, &"no certificate"));
        }
        // Also refuses a key that does not belong to the certificate.
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|cause| wrong(&self.key, &cause))
    }

    /// When they were last changed; none while one of them is away.
    fn changed(&self) -> Option<(SystemTime, SystemTime)> {
        let of = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        Some((of(&self.certificate)?, of(&self.key)?))
    }
}

/// The certificate in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Connections that have shaken hands.
pub struct Tls {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Tls {
    /// Shakes hands with whoever comes to `listener`, each on a task of its own, so that a slow one delays nobody.
    ///
    /// # Errors
    /// [`Error::Invalid`] when certificate and key cannot be used.
    pub fn start(listener: TcpListener, files: Files) -> Result<Tls> {
        let internal = |cause: &dyn std::fmt::Display| Error::Internal(cause.to_string().into());
        let changed = files.changed();
        let current = Arc::new(Current(RwLock::new(Arc::new(files.read()?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(DEFAULT_VERSIONS)
            .map_err(|cause| internal(&cause))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = listener.local_addr().map_err(|cause| internal(&cause))?;
        let (tell, ready) = mpsc::channel(AT_ONCE);
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), tell.clone()));
        tokio::spawn(async move {
            tokio::select! {
                () = renew(&files, &current, changed) => {}
                () = tell.closed() => {}
            }
        });
        Ok(Tls { address, ready })
    }
}

/// Until the receiver is gone, which also closes the port.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, tell: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(turn) = turns.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = tokio::select! {
            () = tell.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                let _ = tell.send((stream, peer)).await;
            }
            drop(turn);
        });
    }
}

/// Takes up renewed files; broken ones are said once, and the old certificate stays.
async fn renew(files: &Files, current: &Current, mut known: Option<(SystemTime, SystemTime)>) {
    loop {
        sleep(LOOK).await;
        let now = files.changed();
        if now.is_none() || now == known {
            continue;
        }
        known = now;
        match files.read() {
            Ok(key) => {
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(certificate = %files.certificate.display(), "TLS certificate renewed");
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
}

impl Acceptor for Tls {
    type Io = TlsStream<TcpStream>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.address.into())]
    }

    async fn accept(&mut self) -> std::io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        match self.ready.recv().await {
            Some((stream, peer)) => {
                let (here, there) = (LocalAddr(self.address.into()), RemoteAddr(peer.into()));
                Ok((stream, here, there, Scheme::HTTPS))
            }
            None => std::future::pending().await,
        }
    }
}
