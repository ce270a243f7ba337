//! Serves browsers and programs over HTTP/1: so many connections at once, and none that takes for ever to say what it wants
//! or to hear the answer.

use std::convert::Infallible;
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::endpoint::BoxEndpoint;
use poem::listener::Acceptor;
use poem::{Endpoint, Request, Response};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::guard::HEADERS;

/// A client that has not sent its whole head within this is dropped; so is a connection on which nothing is asked.
const HEAD: Duration = Duration::from_secs(20);
/// A client that takes in nothing for so long is dropped.
const STALL: Duration = Duration::from_secs(60);
/// Longest head of a request in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// Connections at once are a quarter of the open files that this process may have, and no more than this.
const MOST: u64 = 16_384;
/// After a failed accept (too many open files) the next one waits.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` turns true; requests under way then have `last` to end.
pub async fn serve(
    mut acceptor: impl Acceptor,
    site: BoxEndpoint<'static, Response>,
    mut stop: watch::Receiver<bool>,
    last: Duration,
) {
    let site = Arc::new(site);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 4;
    let places = Arc::new(Semaphore::new(files.min(MOST) as usize));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, acceptor.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        while connections.try_join_next().is_some() {}
        let Ok((io, here, there, scheme)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        let mut io = TimeoutStream::new(io);
        io.set_write_timeout(Some(STALL));
        let (site, is_asked) = (site.clone(), Arc::new(AtomicBool::new(false)));
        let io = Guarded {
            io: Box::pin(io),
            is_asked: is_asked.clone(),
            rest: Vec::new(),
        };
        let answer = service_fn(move |asked| {
            is_asked.store(true, Ordering::Relaxed);
            let (site, from) = (site.clone(), (here.clone(), there.clone(), scheme.clone()));
            async move {
                let request = Request::from((asked, from.0, from.1, from.2));
                Ok::<_, Infallible>(hyper::Response::from(site.get_response(request).await))
            }
        });
        let mut stop = stop.clone();
        connections.spawn(async move {
            let _place = place;
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(LONGEST_HEAD);
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(io), answer));
            tokio::select! {
                // Whoever goes away in the middle is no news.
                _ = connection.as_mut() => return,
                _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    let _ = timeout(last, async { while connections.join_next().await.is_some() {} }).await;
}

/// A connection on which also what hyper answers by itself has the security headers: what it could not read as a request.
/// Only before the first request can it be told from what our pages say.
struct Guarded<S> {
    io: Pin<Box<S>>,
    is_asked: Arc<AtomicBool>,
    /// Of such an answer, what has still to be sent.
    rest: Vec<u8>,
}

impl<S: AsyncRead> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        self.io.as_mut().poll_read(cx, into)
    }
}

impl<S: AsyncWrite> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, answer: &[u8]) -> Poll<Result<usize>> {
        if self.is_asked.load(Ordering::Relaxed) {
            return self.io.as_mut().poll_write(cx, answer);
        }
        if self.rest.is_empty() {
            let more = HEADERS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
            let first = answer.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.rest = [&answer[..first], more.as_bytes(), &answer[first..]].concat();
        }
        while !self.rest.is_empty() {
            let Guarded { io, rest, .. } = &mut *self;
            match ready!(io.as_mut().poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                count => drop(rest.drain(..count)),
            }
        }
        Poll::Ready(Ok(answer.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match self.is_asked.load(Ordering::Relaxed) {
            true => self.io.as_mut().poll_write_vectored(cx, parts),
            // A head of hyper's own is one part.
            false => self.poll_write(cx, parts.iter().find(|part| !part.is_empty()).map_or(&[], |part| part)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}
