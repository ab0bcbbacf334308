//! HTTP by hand: a client that can be rude, and an upstream that can be wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An answer, as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
    /// The body ended as its framing says.
    pub whole: bool,
    pub trailers: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.head, name)
    }

    pub fn trailer(&self, name: &str) -> Option<&str> {
        find(&self.trailers, name)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn find<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The stub closes after its answer. Unless it says so, the gateway may send its next request on that connection, and
/// whether the close or the request comes first is anybody's guess.
fn saying_that_it_closes(answer: Vec<u8>) -> Vec<u8> {
    match std::str::from_utf8(&answer) {
        Ok(text) if text.starts_with("HTTP/1.1 ") && !text.to_lowercase().contains("connection:") => {
            text.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes()
        }
        Ok(_) | Err(_) => answer,
    }
}

pub async fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.unwrap()
}

/// Sends these bytes and reads until the other side closes.
pub async fn send(to: SocketAddr, request: &str) -> Answer {
    let mut socket = connect(to).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A connection that is cut may end with an error; what came before it is still an answer.
    let reading = async {
        let mut piece = [0; 16 << 10];
        while let Ok(length) = socket.read(&mut piece).await {
            if length == 0 {
                break;
            }
            bytes.extend_from_slice(&piece[..length]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("the connection is closed in the end");
    parse(&bytes, request.starts_with("HEAD"))
}

fn parse(bytes: &[u8], head_only: bool) -> Answer {
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        // A reset may take with it what the client has not read yet, the head too.
        return Answer {
            status: 0,
            head: String::new(),
            body: bytes.to_vec(),
            whole: false,
            trailers: String::new(),
        };
    };
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let rest = &bytes[at + 4..];
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let (body, whole, trailers) = match find(&head, "transfer-encoding") {
        Some(_) => dechunk(rest),
        None => {
            let length = find(&head, "content-length").map(|length| length.parse::<usize>().unwrap());
            (
                rest.to_vec(),
                head_only || length.is_none_or(|length| length == rest.len()),
                String::new(),
            )
        }
    };
    Answer {
        status,
        head,
        body,
        whole,
        trailers,
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool, String) {
    let mut body = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false, String::new());
        };
        let size = usize::from_str_radix(str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        rest = &rest[at + 2..];
        if size == 0 {
            return (body, rest.ends_with(b"\r\n"), String::from_utf8(rest.to_vec()).unwrap());
        }
        let Some(chunk) = rest.get(..size) else {
            body.extend_from_slice(rest);
            return (body, false, String::new());
        };
        body.extend_from_slice(chunk);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
}

/// An upstream that reads one request a connection and answers with the same bytes, whatever was asked.
#[derive(Clone)]
pub struct Stub {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Sends the answer, then closes.
    pub async fn answering(answer: &str) -> Stub {
        Stub::start(answer.as_bytes().to_vec(), Duration::ZERO).await
    }

    /// Sends the answer, then leaves the connection open, without a word.
    pub async fn falling_silent_after(answer: &str) -> Stub {
        Stub::start(answer.as_bytes().to_vec(), Duration::from_secs(60)).await
    }

    /// At an address at which nobody listened so far.
    pub async fn answering_at(address: SocketAddr, answer: &str) -> Stub {
        let listener = TcpListener::bind(address).await.unwrap();
        Stub::on(listener, answer.as_bytes().to_vec(), Duration::ZERO)
    }

    async fn start(answer: Vec<u8>, open: Duration) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Stub::on(listener, answer, open)
    }

    fn on(listener: TcpListener, answer: Vec<u8>, open: Duration) -> Stub {
        let answer = if open.is_zero() {
            saying_that_it_closes(answer)
        } else {
            answer
        };
        let stub = Stub {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&stub.seen);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answer, seen) = (answer.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut piece = [0; 4096];
                    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                        match socket.read(&mut piece).await {
                            Ok(0) | Err(_) => return,
                            Ok(length) => request.extend_from_slice(&piece[..length]),
                        }
                    }
                    seen.lock()
                        .unwrap()
                        .push(String::from_utf8_lossy(&request).into_owned());
                    let _ = socket.write_all(&answer).await;
                    tokio::time::sleep(open).await;
                });
            }
        });
        stub
    }

    /// Every request that reached it, heads and what came with them.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}
