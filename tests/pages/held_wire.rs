//! A wire to Postgres that can hold back its answers, so that a test can count rounds: what is asked before anything is
//! answered is one round, whatever the machine's speed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone)]
pub struct HeldWire {
    pub address: SocketAddr,
    now: Arc<Mutex<Now>>,
    /// Answers of this round and those before go through.
    through: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Now {
    round: u64,
    /// Statements of the round.
    asked: u64,
}

/// A round has begun, and nothing was added to it for so long.
const QUIET: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(20);

impl HeldWire {
    pub async fn to(server: SocketAddr) -> HeldWire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = HeldWire {
            address: listener.local_addr().unwrap(),
            now: Arc::default(),
            through: Arc::new(watch::Sender::new(u64::MAX)),
        };
        let accepting = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let of_last = Arc::new(Mutex::new(0));
                tokio::spawn(accepting.clone().ask(from_client, to_server, Arc::clone(&of_last)));
                tokio::spawn(accepting.clone().answer(from_server, to_client, of_last));
            }
        });
        wire
    }

    /// Passes the client's messages on, and notes in which round each statement is run. A statement that is prepared, or a
    /// ping of the pool, is none.
    async fn ask(self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf, of_last: Arc<Mutex<u64>>) {
        const BIND: u8 = b'B';
        let mut begun = false;
        loop {
            // The first message of a connection has no kind.
            let mut message = Vec::new();
            if begun {
                let Ok(kind) = client.read_u8().await else { return };
                message.push(kind);
            }
            let Ok(length) = client.read_u32().await else { return };
            message.extend(length.to_be_bytes());
            let mut rest = vec![0; usize::try_from(length).unwrap() - 4];
            if client.read_exact(&mut rest).await.is_err() {
                return;
            }
            message.extend(rest);
            if begun && message[0] == BIND {
                let mut now = self.now.lock().unwrap();
                now.asked += 1;
                *of_last.lock().unwrap() = now.round;
            }
            begun = true;
            if server.write_all(&message).await.is_err() {
                return;
            }
        }
    }

    /// Passes the server's bytes on as soon as the round of the connection's last statement may be answered.
    async fn answer(self, mut server: OwnedReadHalf, mut client: OwnedWriteHalf, of_last: Arc<Mutex<u64>>) {
        let mut through = self.through.subscribe();
        let mut bytes = vec![0; 64 << 10];
        loop {
            let Ok(read @ 1..) = server.read(&mut bytes).await else {
                return;
            };
            let round = *of_last.lock().unwrap();
            through.wait_for(|through| *through >= round).await.unwrap();
            if client.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    }

    /// How many rounds something takes from its beginning to its end, and the statements of each.
    pub async fn rounds<T>(&self, of: impl Future<Output = T>) -> (T, Vec<u64>) {
        self.calm().await;
        let mut of = std::pin::pin!(of);
        let mut rounds = Vec::new();
        let end = loop {
            let round = {
                let mut now = self.now.lock().unwrap();
                now.round += 1;
                now.asked = 0;
                now.round
            };
            // What was asked in the round before is answered now, and nothing else.
            self.through.send_replace(round - 1);
            let asked = tokio::time::timeout(PATIENCE, async {
                tokio::select! {
                    end = &mut of => Err(end),
                    asked = self.whole_round() => Ok(asked),
                }
            });
            match asked.await.expect("neither an end nor a statement") {
                Ok(asked) => rounds.push(asked),
                Err(end) => break end,
            }
        };
        self.through.send_replace(u64::MAX);
        (end, rounds)
    }

    /// Waits until nothing is asked that was begun before.
    async fn calm(&self) {
        const CALM: Duration = Duration::from_millis(100);
        let mut before = None;
        loop {
            let asked = Some(self.now.lock().unwrap().asked);
            if asked == before {
                return;
            }
            before = asked;
            tokio::time::sleep(CALM).await;
        }
    }

    async fn whole_round(&self) -> u64 {
        let mut before = 0;
        loop {
            tokio::time::sleep(QUIET).await;
            let asked = self.now.lock().unwrap().asked;
            if asked > 0 && asked == before {
                return asked;
            }
            before = asked;
        }
    }
}
