//! An upstream that does what each request's query says: any status, and any way to end a body.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How a body ends. The last one is the client's doing: the upstream sends half and waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Whole,
    WholeChunked,
    Short,
    ShortChunked,
    Reset,
    Stalled,
    ClientGone,
}

impl End {
    pub const ALL: [End; 7] = [
        End::Whole,
        End::WholeChunked,
        End::Short,
        End::ShortChunked,
        End::Reset,
        End::Stalled,
        End::ClientGone,
    ];

    fn named(name: &str) -> Option<End> {
        End::ALL.into_iter().find(|end| format!("{end:?}") == name)
    }
}

/// What to ask for, so that the upstream answers so.
pub fn target(status: u16, end: End) -> String {
    format!("/serp?status={status}&end={end:?}")
}

pub const HALF: &str = "the first half, ";
pub const REST: &str = "and the rest";

/// Starts one. A request whose query it does not know gets its connection closed without an answer.
pub async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
    address
}

/// Answers one request after the other, until an answer ends badly.
async fn answer(mut socket: TcpStream) {
    let mut bytes = Vec::new();
    loop {
        let Some(head) = read_head(&mut socket, &mut bytes).await else {
            return;
        };
        let Some((status, end)) = asked(&head) else {
            return;
        };
        if !send(&mut socket, status, end).await {
            return;
        }
    }
}

async fn read_head(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    let mut piece = [0; 4096];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return String::from_utf8(std::mem::replace(bytes, rest)).ok();
        }
        let length = socket.read(&mut piece).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&piece[..length]);
    }
}

fn asked(head: &str) -> Option<(u16, End)> {
    let query = head.split(' ').nth(1)?.split_once('?')?.1;
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    Some((value("status")?.parse().ok()?, End::named(value("end")?)?))
}

/// Whether the connection may go on.
async fn send(socket: &mut TcpStream, status: u16, end: End) -> bool {
    let chunked = matches!(end, End::WholeChunked | End::ShortChunked);
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", HALF.len() + REST.len())
    };
    let part = |text: &str| {
        if chunked {
            format!("{:x}\r\n{text}\r\n", text.len())
        } else {
            text.to_owned()
        }
    };
    let begun = format!("HTTP/1.1 {status} So\r\n{framing}\r\n\r\n{}", part(HALF));
    let rest = part(REST);
    // A status without a body ends the answer at its head: what would follow belongs to nobody.
    let bodiless = matches!(status, 204 | 304);
    let last = if chunked { "0\r\n\r\n" } else { "" };
    let sent = match end {
        End::Whole | End::WholeChunked => socket.write_all(format!("{begun}{rest}{last}").as_bytes()).await,
        End::Short | End::ShortChunked | End::Reset | End::Stalled | End::ClientGone => {
            socket.write_all(begun.as_bytes()).await
        }
    };
    match end {
        End::Whole | End::WholeChunked => return sent.is_ok() && !bodiless,
        End::Short | End::ShortChunked => {}
        End::Reset => {
            // The half has to be there first, or it would go down with the connection.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = socket.set_zero_linger();
        }
        End::Stalled | End::ClientGone => {
            // Until the gateway gives up.
            let _ = tokio::time::timeout(Duration::from_secs(20), socket.read(&mut [0; 1])).await;
        }
    }
    false
}
