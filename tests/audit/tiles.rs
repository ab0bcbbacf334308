//! The log over HTTP, as tools read it that are not ours.

use std::collections::BTreeMap;
use std::io::Read as _;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use keyledger::audit::sealer::{self, SealerOptions, Signers};
use keyledger_events::{Event, Position, Shard};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Tile, TileHashReader, TileReader};

use super::stage::{key, verifier};
use crate::http::stage::Stage;
use crate::ledger::customer::Customer;
use crate::projector::appended::{append, uses};

/// Fetches anything with any headers.
async fn fetch(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> (StatusCode, hyper::HeaderMap, Bytes) {
    let pool: Pool<HttpConnector, Empty<Bytes>> = Pool::builder(TokioExecutor::new()).build_http();
    let mut request = Request::get(format!("http://{}{path}", stage.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = pool.request(request.body(Empty::new()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

/// A stage whose log has so many events more than its customer needs, and is sealed.
async fn sealed(count: usize) -> (Stage, tempfile::TempDir) {
    let stage = Stage::open().await;
    let customer = Customer::open(&stage.ledger, "10").await;
    let events: Vec<Event> = uses(customer.key, count);
    let head = append(&stage.harness, customer.account, events).await;
    let state = seal(&stage, head).await;
    (stage, state)
}

/// Seals a stage's log with the usual key, up to an event and what comes after it.
pub async fn seal(stage: &Stage, up_to: Position) -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let options = SealerOptions {
        tree: stage.harness.tree(),
        signers: Signers::new(&[key(1)], Shard(0)).unwrap(),
        state_dir: state.path().to_owned(),
        bus: None,
        witnesses: Vec::new(),
        committed: None,
    };
    sealer::start(options, stage.harness.stop.child_token());
    crate::harness::until("it is sealed", async || {
        let latest = stage.harness.tree().store().latest().await.unwrap();
        latest.is_some_and(|latest| latest.size >= up_to.0)
    })
    .await;
    state
}

/// Tiles that were fetched, for an implementation that is not ours and knows nothing of waiting.
struct Fetched(BTreeMap<String, Vec<u8>>);

impl TileReader for Fetched {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.0[&path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// C2SP leaves the height out of the address: it is always 8.
fn path(tile: &Tile) -> String {
    tile.path()
        .replacen("tile/8/data/", "tile/entries/", 1)
        .replacen("tile/8/", "tile/", 1)
}

#[tokio::test]
async fn another_implementation_finds_every_event_in_the_tiles() {
    let (stage, _state) = sealed(1_500).await;
    let (status, headers, note) = fetch(&stage, "/tlog/0/checkpoint", &[]).await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (StatusCode::OK, "text/plain; charset=utf-8")
    );
    let note = Note::from_bytes(&note).unwrap();
    let known = StandardVerifier::new(&verifier(1).to_string()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(known)])).unwrap();
    let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
    let size = checkpoint.size();
    assert_eq!(
        (checkpoint.origin(), size),
        ("ledger.example/0", stage.harness.log().head().await.unwrap().position.0)
    );
    let mut tiles = BTreeMap::new();
    for tile in Tile::new_tiles(8, 0, size) {
        let (status, headers, bytes) = fetch(&stage, &format!("/tlog/0/{}", path(&tile)), &[]).await;
        assert_eq!(status, StatusCode::OK, "{}", path(&tile));
        assert!(headers["cache-control"].to_str().unwrap().contains("immutable"));
        tiles.insert(path(&tile), bytes.to_vec());
    }
    let reader = Fetched(tiles);
    let hashes = TileHashReader::new(size, *checkpoint.hash(), &reader);
    let token = format!("Bearer {}", stage.operator_token.1);
    let mut index = 0;
    for bundle in 0..size.div_ceil(256) {
        let width = u32::try_from((size - bundle * 256).min(256)).unwrap();
        let address = format!("/tlog/0/{}", path(&Tile::new(8, 0, bundle, width, true)));
        let (status, headers, packed) = fetch(
            &stage,
            &address,
            &[("authorization", &token), ("accept-encoding", "gzip")],
        )
        .await;
        assert_eq!(
            (status, headers["content-encoding"].to_str().unwrap()),
            (StatusCode::OK, "gzip")
        );
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed.as_ref())
            .read_to_end(&mut bytes)
            .unwrap();
        let (_, _, plain) = fetch(&stage, &address, &[("authorization", &token)]).await;
        assert_eq!(plain, bytes);
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
            let proof = tlog_tiles::prove_record(size, index, &hashes).unwrap();
            tlog_tiles::check_record(&proof, size, *checkpoint.hash(), index, tlog_tiles::record_hash(entry)).unwrap();
            index += 1;
            rest = after;
        }
    }
    assert_eq!(index, size);
}

#[tokio::test]
async fn who_may_not_read_the_log_gets_its_hashes_and_no_event() {
    let (stage, _state) = sealed(300).await;
    let open = [
        ("/tlog/0/checkpoint", 200),
        ("/tlog/0/tile/0/000", 200),
        ("/tlog/0/tile/1/000.p/1", 200),
    ];
    let closed = [
        ("/tlog/0/tile/entries/000", 401),
        ("/tlog/1/checkpoint", 404),
        ("/tlog/%FF/checkpoint", 404),
        ("/tlog/0/tile/%FF", 404),
        ("/tlog/0/tile/0/001", 404),
        ("/tlog/0/tile/0/x001/000", 404),
        ("/tlog/0/tile/1/000", 404),
        ("/tlog/0/tile/0/1", 404),
        ("/tlog/0/tile/0/001.p/255", 404),
        ("/tlog/0/tile/7/x999/x999/x999/x999/x999/999", 404),
    ];
    for (path, expected) in open.into_iter().chain(closed) {
        assert_eq!(fetch(&stage, path, &[]).await.0, expected, "{path}");
    }
    let bad = fetch(
        &stage,
        "/tlog/0/tile/entries/000",
        &[("authorization", "Bearer klt_no")],
    )
    .await;
    assert_eq!(bad.0, 401);
}

#[tokio::test]
async fn a_proof_as_json_is_one_that_can_be_checked() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let (stage, _state) = sealed(600).await;
    let proof = stage.operator.get("/v1/proofs/inclusion?position=77").await.json(200);
    let text = |pointer: &str| proof.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let hash = |text: &str| -> [u8; 32] { STANDARD.decode(text).unwrap().try_into().unwrap() };
    let path: Vec<[u8; 32]> = proof["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| hash(h.as_str().unwrap()))
        .collect();
    let sealed = super::stage::believed(&text("/checkpoint/note"), &verifier(1));
    let leaf = keyledger_events::leaf_hash(text("/event").as_bytes());
    assert_eq!(hash(&text("/leaf")), leaf);
    assert!(keyledger::audit::merkle::includes(
        &sealed.root,
        sealed.size,
        76,
        leaf,
        &path
    ));
    let size = sealed.size;
    let same = stage
        .operator
        .get(&format!("/v1/proofs/consistency?from={size}"))
        .await
        .json(200);
    assert_eq!(same["proof"].as_array().unwrap().len(), 0);
    let latest = stage.operator.get("/v1/checkpoints/latest").await.json(200);
    assert_eq!(latest["size"], size);
    let listed = stage.operator.get("/v1/checkpoints?limit=1").await.json(200);
    assert!(listed["items"][0]["size"].as_u64().unwrap() <= size);
    for (bad, status) in [
        ("/v1/proofs/inclusion?position=0", 404),
        ("/v1/proofs/inclusion?position=99999", 404),
        ("/v1/proofs/inclusion?position=1&shard=7", 404),
        ("/v1/proofs/inclusion?position=1&size=3", 422),
        ("/v1/proofs/inclusion", 422),
        ("/v1/proofs/consistency?from=3", 422),
        ("/v1/proofs/consistency?from=x", 422),
        ("/v1/checkpoints?cursor=x", 400),
        ("/v1/checkpoints?from=1&cursor=x", 400),
    ] {
        assert_eq!(stage.operator.get(bad).await.status, status, "{bad}");
    }
}
