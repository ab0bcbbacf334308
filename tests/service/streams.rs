//! The gateway's memory while a large answer passes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::process::{Customer, Service, Site};

const GIB: usize = 1 << 30;

/// Answers each connection's one request with `x`s: as many as the query says.
async fn large_answers() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut piece = vec![0; 4096];
                let length = socket.read(&mut piece).await.unwrap_or_default();
                let asked = String::from_utf8_lossy(&piece[..length]).into_owned();
                let size = asked
                    .split(['=', ' '])
                    .nth(2)
                    .and_then(|size| size.parse::<usize>().ok());
                let mut left = size.unwrap_or_default();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\nConnection: close\r\n\r\n");
                let _ = socket.write_all(head.as_bytes()).await;
                let block = vec![b'x'; 256 << 10];
                while left > 0 {
                    let next = left.min(block.len());
                    if socket.write_all(&block[..next]).await.is_err() {
                        return;
                    }
                    left -= next;
                }
            });
        }
    });
    address
}

fn gateway(service: &Service) -> SocketAddr {
    service.gateway.trim_start_matches("http://").parse().unwrap()
}

/// The bytes of an answer's body.
async fn download(service: &Service, customer: &Customer, size: usize) -> usize {
    let mut socket = TcpStream::connect(gateway(service)).await.unwrap();
    let secret = &customer.secret;
    let request =
        format!("GET /serp?size={size} HTTP/1.1\r\nHost: a\r\nX-API-Key: {secret}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut piece = vec![0; 256 << 10];
    let mut head = Vec::new();
    let mut body = 0;
    loop {
        let length = socket.read(&mut piece).await.unwrap();
        if length == 0 {
            return body;
        }
        if body > 0 {
            body += length;
            continue;
        }
        head.extend_from_slice(&piece[..length]);
        if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            assert!(head.starts_with(b"HTTP/1.1 200"));
            body = head.len() - at - 4;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_gibibyte_pass_in_constant_memory() {
    let site = Site::start().await;
    site.stand_before(large_answers().await);
    let service = site.serve_logging("warn").await;
    let operator = site.operator(&service);
    let customer = Customer::open(&operator, "100").await;
    for _ in 0..20 {
        assert_eq!(download(&service, &customer, 16 << 20).await, 16 << 20);
    }
    let before = service.memory_kib("VmHWM");
    assert_eq!(download(&service, &customer, GIB).await, GIB);
    let after = service.memory_kib("VmHWM");
    println!("most memory before and after 1 GiB: {before} KiB, {after} KiB");
    assert!(after * 10 <= before * 11, "{before} KiB, then {after} KiB");
    let balance = customer.path("/balance");
    crate::harness::until("every download is charged", async || {
        operator.get(&balance).await.text("/charged") == "10.5"
    })
    .await;
}
