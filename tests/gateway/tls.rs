//! TLS on both sides, with an authority that is made for the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use keyledger::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::stage::{Stage, charged, demo_data_api, released};

/// A directory with `ca.pem`, and `server.pem` and `server.key` for 127.0.0.1 and localhost.
pub struct Authority(tempfile::TempDir);

impl Authority {
    pub fn make() -> Authority {
        let authority = Authority(tempfile::tempdir().unwrap());
        let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
            -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem && \
            openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
            -keyout server.key -out server.csr && \
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext && \
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem";
        let made = Command::new("sh")
            .args(["-c", script])
            .current_dir(authority.0.path())
            .output();
        let made = made.expect("the openssl command is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        authority
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The lines of a `[gateway]` that speaks TLS itself.
    pub fn gateway(&self, upstream: &str) -> String {
        let (certificate, key) = (self.file("server.pem"), self.file("server.key"));
        format!(
            "upstream = \"{upstream}\"\n[gateway.tls]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    }
}

/// What curl says: status, version and body on lines of their own, its trailers and headers before them.
pub async fn curl(stage: &Stage, ca: &Path, options: &[&str], url: &str) -> (bool, String) {
    let authorization = format!("Authorization: Bearer {}", stage.secret);
    let asked = tokio::process::Command::new("curl")
        .args([
            "-sS",
            "-i",
            "-m",
            "20",
            "-H",
            &authorization,
            "-w",
            "\n%{http_code} %{http_version}",
        ])
        .arg("--cacert")
        .arg(ca)
        .args(options)
        .arg(url)
        .output()
        .await
        .unwrap();
    (
        asked.status.success(),
        String::from_utf8_lossy(&asked.stdout).into_owned(),
    )
}

#[tokio::test]
async fn tls_clients_speak_http_1_or_2_as_they_like() {
    let authority = Authority::make();
    let stage = Stage::configured(&authority.gateway(&format!("http://{}", demo_data_api().await)), "").await;
    let url = format!("https://{}/serp?q=a", stage.gateway);
    let ca = authority.file("ca.pem");
    for (option, version) in [("--http1.1", "200 1.1"), ("--http2", "200 2")] {
        let (_, told) = curl(&stage, &ca, &[option], &url).await;
        assert!(told.ends_with(version), "{told}");
        assert!(told.to_lowercase().contains("credits-charged: 0.5"), "{told}");
    }
    assert_eq!(stage.settled(2).await, [charged(1, "0.5"), charged(1, "0.5")]);
    let other = Authority::make();
    assert!(
        !curl(&stage, &other.file("ca.pem"), &[], &url).await.0,
        "the certificate is not the other's"
    );
    // Plain text on the TLS port is not an answer, and not the end of the gateway.
    let mut plain = super::raw::connect(stage.gateway).await;
    plain.write_all(b"GET /serp HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"));
    assert!(curl(&stage, &ca, &[], &url).await.0);
}

/// An upstream that speaks TLS and answers `ok`, after it has closed so many connections without a word.
async fn tls_upstream(authority: &Authority, mut unwilling: usize) -> std::net::SocketAddr {
    let text = format!("[gateway]\n{}", authority.gateway("http://a"));
    let tls = Config::parse(&text).unwrap().gateway.unwrap().tls.unwrap();
    let mut settings = Arc::unwrap_or_clone(tls.0);
    settings.alpn_protocols.clear();
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if unwilling > 0 {
                unwilling -= 1;
                continue;
            }
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else {
                    return;
                };
                let mut piece = [0; 4096];
                let _ = stream.read(&mut piece).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

#[tokio::test]
async fn tls_to_an_upstream_believes_only_the_given_authority() {
    let authority = Authority::make();
    let upstream = tls_upstream(&authority, 0).await;
    let config = |ca: &Path| {
        format!(
            "upstream = \"https://{upstream}\"\nupstream_ca_file = \"{}\"",
            ca.display()
        )
    };
    let stage = Stage::configured(&config(&authority.file("ca.pem")), "").await;
    let answer = stage.get("/serp").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!(stage.settled(1).await, [charged(1, "0.5")]);

    let other = Authority::make();
    let stage = Stage::configured(&config(&other.file("ca.pem")), "").await;
    let answer = stage.get("/serp").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-unreachable"));
    assert_eq!(stage.settled(1).await, [released("error")]);
}

#[tokio::test]
async fn tls_upstreams_that_were_not_reached_are_asked_once_more_and_no_oftener() {
    let authority = Authority::make();
    for (unwilling, method, status) in [(1, "GET", 200), (2, "GET", 502), (1, "POST", 502)] {
        let upstream = tls_upstream(&authority, unwilling).await;
        let ca = authority.file("ca.pem");
        let config = format!(
            "upstream = \"https://{upstream}\"\nupstream_ca_file = \"{}\"",
            ca.display()
        );
        let stage = Stage::configured(&config, "").await;
        let answer = stage.send(&stage.request(method, "/serp", "")).await;
        assert_eq!(answer.status, status, "{method} after {unwilling}");
    }
}

#[test]
fn tls_files_that_do_not_go_together_are_refused() {
    let (one, other) = (Authority::make(), Authority::make());
    let text = format!(
        "[gateway]\nupstream = \"http://a\"\n[gateway.tls]\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
        one.file("server.pem").display(),
        other.file("server.key").display()
    );
    let complaints = Config::parse(&text).unwrap_err();
    assert_eq!(complaints[0].place, "[gateway.tls] key_file");
    let told = format!(
        "{:?}",
        Config::parse(&format!("[gateway]\n{}", one.gateway("http://a"))).unwrap()
    );
    assert!(told.contains("ServerTls(..)"), "no key is in Debug: {told}");
}
