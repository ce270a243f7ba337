//! Servers on loopback that do what real ones should not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a server does once it was asked something.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Says this and closes.
    Answer(Vec<u8>),
    /// Says these to one question after the other and closes.
    Answers(Vec<Vec<u8>>),
    /// Says nothing and closes.
    Close,
    /// Resets the connection.
    Reset,
    /// Says nothing ever.
    Hang,
    /// Says this, and then a letter now and then without end.
    Drip(Vec<u8>),
    /// Says this, and then as much as is read, without end.
    Flood(Vec<u8>),
}

pub(crate) struct Hostile {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicU64>,
}

impl Hostile {
    pub(crate) async fn start(manner: Manner) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hostile = Hostile {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            sent: Arc::default(),
        };
        let (asked, sent) = (hostile.asked.clone(), hostile.sent.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, manner.clone(), asked.clone(), sent.clone()));
            }
        });
        hostile
    }

    /// Answers with these bytes.
    pub(crate) async fn answering(bytes: impl Into<Vec<u8>>) -> Hostile {
        Hostile::start(Manner::Answer(bytes.into())).await
    }

    /// Every request so far, from its first line to the empty one.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Bytes of an endless answer that went out so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, asked: Arc<Mutex<Vec<String>>>, sent: Arc<AtomicU64>) {
    let first = request(&mut stream).await;
    asked.lock().unwrap().push(first);
    match manner {
        Manner::Answer(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Manner::Answers(answers) => {
            for answer in answers {
                let _ = stream.write_all(&answer).await;
                let next = request(&mut stream).await;
                asked.lock().unwrap().push(next);
            }
        }
        Manner::Close => {}
        Manner::Reset => stream.set_zero_linger().unwrap(),
        Manner::Hang => drop(stream.read_u8().await),
        Manner::Drip(head) => {
            let _ = stream.write_all(&head).await;
            let mut beat = tokio::time::interval(Duration::from_millis(10));
            while stream.write_all(b"x").await.is_ok() {
                beat.tick().await;
            }
        }
        Manner::Flood(head) => {
            let _ = stream.write_all(&head).await;
            let piece = [b'x'; 16 * 1024];
            while let Ok(count) = stream.write(&piece).await {
                sent.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
    }
}

/// From its first line to the empty one.
async fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    // Whoever does not ask in HTTP is served as well.
    while !request.ends_with(b"\r\n\r\n") && request.first().is_none_or(u8::is_ascii_uppercase) {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// An answer of HTTP with this body; each line of `more` is a header and ends with `\r\n`.
pub(crate) fn http(status: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}
