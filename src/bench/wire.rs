//! One HTTP connection of a load, kept alive.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HOST;
use http::response::Parts;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

#[derive(Debug)]
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    connection: JoinHandle<()>,
}

impl Wire {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Wire> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        let connection = tokio::spawn(async move {
            // How a connection of a benchmark ends is nobody's concern.
            let _ = connection.await;
        });
        Ok(Wire {
            sender,
            host: HeaderValue::from_str(&address.to_string())?,
            connection,
        })
    }

    /// Sends a request to a path and reads the whole answer.
    pub(super) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> anyhow::Result<(Parts, Bytes)> {
        self.sender.ready().await?;
        request.headers_mut().insert(HOST, self.host.clone());
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok((head, body.collect().await?.to_bytes()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
