//! HTTP/1 towards assets over connections of ours: only judged addresses, no redirects, no proxy, and no answer longer
//! than agreed, nor all of them together than there is room for.
//!
//! A connection serves one check. Kept ones would spare a fifth of its processor time (half with TLS), and hold a file
//! descriptor for each asset between the checks; a dead one of them would make a living asset look down.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::budget::{ANSWERS, Share};
use super::cause::{self, Because};
use super::dial;
use super::outcome::Reason;
use crate::clusters::address::Reach;

/// A connection to ask over, one question after the other. It ends when this is dropped, whatever the other side does.
#[derive(Debug)]
pub struct Line {
    /// Nothing we ask has a body.
    sender: SendRequest<Empty<Bytes>>,
    _connection: JoinSet<()>,
}

/// A connection to `host`, over TLS if so told, that brings at most `most` bytes.
///
/// # Errors
/// As [`dial::connect`], and what is wrong with the TLS.
pub async fn call(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    reach: Reach,
    most: usize,
) -> Result<Line, Reason> {
    let stream = dial::connect(host, port, reach).await?;
    let Some(config) = tls else {
        return Line::over(stream, most).await;
    };
    let plain = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(plain).map_err(|_| Reason::NoSuchName { name: host.to_owned() })?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    Line::over(stream.map_err(|cause| cause::reason(&cause))?, most).await
}

impl Line {
    /// Over a connection that is there already.
    ///
    /// # Errors
    /// [`Reason::Closed`] and other failures of the connection.
    pub async fn over<S>(stream: S, most: usize) -> Result<Line, Reason>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let stream = tokio::io::join(Bounded::of(read, most), write);
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|cause| cause::reason(&cause))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // What went wrong is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Line {
            sender,
            _connection: tasks,
        })
    }

    /// The head of an answer. The path alone stands in the request; the host is a header.
    ///
    /// # Errors
    /// What broke; [`cause::reason`] makes a reason of it.
    pub async fn ask(&mut self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

/// Fails with [`Reason::TooLong`] once more was read than agreed, or when all connections together keep too much and this
/// one has to make room.
#[derive(Debug)]
struct Bounded<R> {
    read: R,
    left: usize,
    share: Share,
}

impl<R> Bounded<R> {
    fn of(read: R, left: usize) -> Bounded<R> {
        let share = ANSWERS.share();
        Bounded { read, left, share }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.read).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) if self.share.takes(read, cx) => {
                self.left = left;
                polled
            }
            _ => Poll::Ready(Err(std::io::Error::other(Because(Reason::TooLong)))),
        }
    }
}
