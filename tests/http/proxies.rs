//! Real nginx and real Caddy with the example files, before the demo data API.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use keyledger::tokens::Role;
use keyledger_events::base62_secret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::client::{Answer, Client};
use super::stage::{Stage, id_of, secret_of};
use crate::harness::{nobody, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Nginx,
    Caddy,
}

/// A customer, a proxy, and the data API behind it.
struct Site {
    stage: Stage,
    account: String,
    key: String,
    secret: String,
    listen: SocketAddr,
    through: Client,
    direct: Client,
    _running: Child,
    _directory: TempDir,
}

fn binary(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"];
    let mut found = folders.iter().map(|folder| Path::new(folder).join(name));
    found
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("this test needs {name}: run `make setup`"))
}

async fn demo_data_api() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(demo_data_api::serve(
        listener,
        Default::default(),
        std::future::pending(),
    ));
    address
}

impl Server {
    /// The example file, with this test's addresses.
    fn start(self, directory: &Path, listen: SocketAddr, api: SocketAddr, upstream: SocketAddr, token: &str) -> Child {
        let example = match self {
            Server::Nginx => include_str!("../../examples/forward-auth/nginx.conf"),
            Server::Caddy => include_str!("../../examples/forward-auth/Caddyfile"),
        };
        let config = example
            .replace("127.0.0.1:8088", &listen.to_string())
            .replace("127.0.0.1:8080", &api.to_string())
            .replace("127.0.0.1:9000", &upstream.to_string())
            .replace("klt_TOKEN", token);
        let file = directory.join("config");
        fs::write(&file, config).unwrap();
        fs::create_dir(directory.join("temp")).unwrap();
        let mut command = match self {
            Server::Nginx => {
                let mut command = Command::new(binary("nginx"));
                // One process, so that ending it leaves no worker behind.
                command.args(["-e", "stderr", "-g", "master_process off;", "-p"]);
                command.arg(directory).arg("-c").arg(&file);
                command
            }
            Server::Caddy => {
                let mut command = Command::new(binary("caddy"));
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
                command
            }
        };
        let log = fs::File::create(directory.join("log")).unwrap();
        command
            .env("KEYLEDGER_FORWARD_AUTH", token)
            .envs(["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"].map(|name| (name, directory)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }
}

impl Site {
    async fn behind(server: Server, credits: &str) -> Site {
        Site::with_token(server, credits, None).await
    }

    async fn with_token(server: Server, credits: &str, token: Option<String>) -> Site {
        let stage = Stage::open().await;
        let (account, made) = stage.customer(credits).await;
        let (_, right) = stage.tokens.create(Role::Metering, "proxy").await.unwrap();
        let token = token.unwrap_or_else(|| right.expose_text_to_its_maker().to_owned());
        let (listen, upstream) = (nobody(), demo_data_api().await);
        let directory = tempfile::tempdir().unwrap();
        let running = server.start(directory.path(), listen, stage.address, upstream, &token);
        until("the proxy listens", async || TcpStream::connect(listen).await.is_ok()).await;
        Site {
            account,
            key: id_of(&made["key"]).to_owned(),
            secret: secret_of(&made).to_owned(),
            listen,
            through: Client::new(listen, None),
            direct: Client::new(upstream, None),
            stage,
            _running: running,
            _directory: directory,
        }
    }

    async fn get(&self, target: &str, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.secret);
        let mut headers = more.to_vec();
        headers.push(("authorization", &bearer));
        self.through.send(Method::GET, target, &headers, "").await
    }

    /// How many requests reached the data API, this one not counted.
    async fn forwarded(&self) -> u64 {
        self.direct.get("/echo").await.json(200)["requests"].as_u64().unwrap() - 1
    }

    async fn charged(&self, expected: &str) {
        let path = format!("{}/balance", self.account);
        until("it is charged, and nothing is held", async || {
            let answer = self.stage.operator.get(&path).await;
            let balance: Value = serde_json::from_str(&answer.text).unwrap();
            balance["charged"] == expected && balance["reserved"] == "0"
        })
        .await;
    }

    /// Reads an answer for so long, and hangs up. How many bytes came.
    async fn read_for(&self, target: &str, patience: Duration) -> usize {
        let mut socket = TcpStream::connect(self.listen).await.unwrap();
        let secret = &self.secret;
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-API-Key: {secret}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(patience, socket.read_to_end(&mut bytes)).await;
        bytes.len()
    }

    /// Waits until holds were given back for these causes, in this order.
    async fn released(&self, causes: &[&str]) {
        let path = format!("{}/events?limit=100", self.account);
        until("the holds are given back", async || {
            let page: Value = self.stage.operator.get(&path).await.json(200);
            let events = page["items"].as_array().unwrap().iter();
            let told: Vec<&str> = events
                .filter(|event| event["type"] == "keyledger.CreditsReleased.v1")
                .map(|event| event["data"]["cause"].as_str().unwrap())
                .collect();
            told == causes
        })
        .await;
    }

    /// The text of another key, which is for one endpoint.
    async fn key_for(&self, endpoint: &str) -> String {
        let body = serde_json::json!({"name": "Scoped", "scopes": [endpoint]});
        let made = self.stage.operator.post(&format!("{}/keys", self.account), body).await;
        secret_of(&made.json(201)).to_owned()
    }

    async fn delete_key(&self) {
        let path = format!("{}/keys/{}", self.account, self.key);
        self.stage.operator.delete(&path).await.json(200);
    }
}

const SPOOFED: [(&str, &str); 17] = [
    ("x-keyledger-account", "evil"),
    ("x-keyledger-key", "evil"),
    ("x-keyledger-environment", "evil"),
    ("x_keyledger_account", "evil"),
    ("x-keyledger-forward-auth", "evil"),
    ("forwarded", "for=evil"),
    ("x-real-ip", "evil"),
    ("x-http-method", "EVIL"),
    ("x-http-method-override", "evil"),
    ("x-method-override", "evil"),
    ("x-original-url", "/evil"),
    ("x-rewrite-url", "/evil"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded_uri", "/evil"),
    ("x-forwarded-port", "evil"),
    ("x-forwarded-scheme", "evil"),
    ("x-original_url", "/evil"),
];

async fn spoofed_headers_do_not_arrive(server: Server) {
    let site = Site::behind(server, "10").await;
    let answer = site.get("/echo?a=1", &SPOOFED).await;
    let seen = answer.json(200);
    assert!(!answer.text.to_lowercase().contains("evil"), "{}", answer.text);
    assert!(!answer.text.contains(&site.secret), "the key arrived");
    let account = seen["headers"]["x-keyledger-account"][0].as_str().unwrap();
    assert!(site.account.ends_with(account));
    assert_eq!(seen["headers"]["x-keyledger-key"][0], site.key.as_str());
    assert_eq!(seen["headers"]["x-keyledger-environment"][0], "live");
}

async fn refusals_are_told_and_not_forwarded(server: Server) {
    let poor = Site::behind(server, "0.4").await;
    assert_eq!(poor.get("/serp?q=a", &[]).await.problem(402), "insufficient-credits");
    assert_eq!(poor.get("/nothing", &[]).await.problem(404), "unpriced");
    assert_eq!(poor.get("//serp", &[]).await.problem(400), "bad-path");
    let stranger = poor.through.get("/serp?q=a").await;
    assert_eq!(stranger.problem(401), "key-missing");
    let elsewhere = poor.key_for("conversions").await;
    let shown = [("x-api-key", elsewhere.as_str())];
    let out_of_scope = poor.through.send(Method::GET, "/serp?q=a", &shown, "").await;
    assert_eq!(out_of_scope.problem(403), "key-scope");
    poor.delete_key().await;
    assert_eq!(poor.get("/serp?q=a", &[]).await.problem(401), "key-deleted");
    assert_eq!(poor.forwarded().await, 0);
}

async fn nothing_is_forwarded_without_a_ledger_or_a_right_token(server: Server, forged: u16, away: u16) {
    let unknown = base62_secret("klt_", [7; 32]);
    let site = Site::with_token(server, "10", Some(unknown)).await;
    assert_eq!(site.get("/serp?q=a", &[]).await.status, forged);
    assert_eq!(site.forwarded().await, 0);
    let site = Site::behind(server, "10").await;
    assert_eq!(site.get("/serp?q=a", &[]).await.status, 200);
    site.stage.stop.cancel();
    until("nobody listens", async || {
        TcpStream::connect(site.stage.address).await.is_err()
    })
    .await;
    assert_eq!(site.get("/serp?q=a", &[]).await.status, away);
    assert_eq!(site.forwarded().await, 1);
}

#[tokio::test]
async fn forward_auth_nginx_charges_what_was_delivered() {
    let site = Site::behind(Server::Nginx, "10").await;
    let answer = site.get("/serp?q=a", &[]).await;
    assert!(answer.json(200)["results"].is_array());
    assert_eq!(answer.header("credits-remaining"), "9.5");
    site.charged("0.5").await;
    assert_eq!(site.get("/serp?q=a&fail=500", &[]).await.status, 500);
    assert_eq!(site.get("/serp?q=a&fail=202", &[]).await.status, 202);
    site.charged("0.5").await;
    site.get("/conversions", &[]).await.json(200);
    site.charged("1").await;
}

#[tokio::test]
async fn forward_auth_nginx_tops_up_what_came_beyond_a_hold() {
    let site = Site::behind(Server::Nginx, "10").await;
    let answer = site.get("/ai-visibility/acme?header_count=5", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("credits-remaining")), (200, "9"));
    site.charged("2.5").await;
    site.get("/ai-visibility/acme?header_count=1", &[]).await.json(200);
    site.charged("3").await;
}

#[tokio::test]
async fn forward_auth_nginx_gives_back_what_did_not_arrive_whole() {
    let site = Site::behind(Server::Nginx, "10").await;
    let broken_off = site.read_for("/serp?q=a&cut=1", Duration::from_secs(10)).await;
    assert!(broken_off > 0);
    site.released(&["error"]).await;
    let stream = "/serp?q=a&stream=1&chunks=20&chunk_ms=100";
    site.read_for(stream, Duration::from_millis(300)).await;
    site.released(&["error", "client-gone"]).await;
    site.get("/serp?q=a&fail=202", &[]).await.json(202);
    site.released(&["error", "client-gone", "queued"]).await;
    site.get("/serp?q=a&stream=1&chunk_ms=5", &[]).await.json(200);
    site.charged("0.5").await;
}

#[tokio::test]
async fn forward_auth_caddy_charges_at_once() {
    let site = Site::behind(Server::Caddy, "10").await;
    site.get("/conversions", &[]).await.json(200);
    site.charged("0.5").await;
    // A price that waits is held until the data API settles.
    let seen = site.get("/echo", &[]).await.json(200);
    let header = |name: &str| seen["headers"][name][0].as_str().unwrap().to_owned();
    let path = format!(
        "{}/reservations/{}/charge",
        site.account,
        header("x-keyledger-reservation")
    );
    site.stage.operator.post(&path, serde_json::json!({})).await.json(200);
    site.charged("1").await;
}

#[tokio::test]
async fn forward_auth_nginx_passes_no_spoofed_header() {
    spoofed_headers_do_not_arrive(Server::Nginx).await;
}

#[tokio::test]
async fn forward_auth_caddy_passes_no_spoofed_header() {
    spoofed_headers_do_not_arrive(Server::Caddy).await;
}

#[tokio::test]
async fn forward_auth_nginx_tells_refusals() {
    refusals_are_told_and_not_forwarded(Server::Nginx).await;
}

#[tokio::test]
async fn forward_auth_caddy_tells_refusals() {
    refusals_are_told_and_not_forwarded(Server::Caddy).await;
}

async fn limits_are_told(server: Server) {
    let site = Site::behind(server, "10").await;
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(site.get("/limited", &[]).await);
    }
    let denied = answers
        .iter()
        .find(|answer| answer.status == 429)
        .expect("two at once and one a second pass");
    assert_eq!(denied.problem(429), "rate-limited");
    assert_eq!(denied.header("retry-after"), "1");
    assert!(denied.header("ratelimit").starts_with("\"endpoint\";r=0;"));
}

#[tokio::test]
async fn forward_auth_nginx_tells_limits() {
    limits_are_told(Server::Nginx).await;
}

#[tokio::test]
async fn forward_auth_caddy_tells_limits() {
    limits_are_told(Server::Caddy).await;
}

#[tokio::test]
async fn forward_auth_nginx_fails_closed() {
    nothing_is_forwarded_without_a_ledger_or_a_right_token(Server::Nginx, 503, 503).await;
}

#[tokio::test]
async fn forward_auth_caddy_fails_closed() {
    nothing_is_forwarded_without_a_ledger_or_a_right_token(Server::Caddy, 403, 502).await;
}
