//! Tiles and checkpoints in Postgres.

use std::time::Duration;

use keyledger_events::{Shard, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

use super::edge::{self, FullTile, TILE_BITS};
use crate::audit::merkle::{Hash, Node};
use crate::log::{ReadError, bigint, time_column, timestamp};

/// What is kept of one shard's tree. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TileStore {
    pool: PgPool,
    shard: Shard,
}

/// The tiles could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the tiles cannot be reached: {0}")]
    Unreachable(#[from] sqlx::Error),
    #[error("the tiles did not answer within {limit_s} s")]
    TimedOut { limit_s: u64 },
    #[error("the tiles hold what they cannot: {what}")]
    Corrupt { what: &'static str },
}

/// A checkpoint as it was signed and published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCheckpoint {
    pub size: u64,
    pub root: Hash,
    /// The signed note. Witnesses' signatures are not in it.
    pub note: String,
    pub made_at: Timestamp,
    /// Witnesses' lines under it, each with its newline.
    pub cosignatures: Vec<String>,
}

impl SealedCheckpoint {
    /// The note with what witnesses put under it.
    pub fn whole_note(&self) -> String {
        let mut note = self.note.clone();
        self.cosignatures.iter().for_each(|line| note.push_str(line));
        note
    }
}

/// A statement that takes longer has lost its connection without being told.
const ANSWER_SECONDS_MAX: u64 = 5;

async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), asked).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::TimedOut {
            limit_s: ANSWER_SECONDS_MAX,
        }),
    }
}

fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt {
        what: "a hash of another length",
    })
}

fn unsigned(column: i64) -> Result<u64, StoreError> {
    u64::try_from(column).map_err(|_| StoreError::Corrupt {
        what: "a negative number",
    })
}

fn checkpoint(row: &PgRow) -> Result<SealedCheckpoint, StoreError> {
    let cosignatures: Option<Vec<String>> = row.try_get("cosignatures")?;
    Ok(SealedCheckpoint {
        size: unsigned(row.try_get("size")?)?,
        root: hash(row.try_get("root")?)?,
        note: row.try_get("note")?,
        made_at: timestamp(row.try_get("made_at")?).map_err(|_: ReadError| StoreError::Corrupt {
            what: "a time outside 1970 to 9999",
        })?,
        cosignatures: cosignatures.unwrap_or_default(),
    })
}

/// Of a log that is mostly quiet: whoever is not among these has left.
const LAST_SIGNATURES: i64 = 300;
/// Signatures looked at for the checkpoint that all witnesses have signed.
const SIGNED_LOOKED_AT: i64 = 20_000;

macro_rules! checkpoints {
    ($rest:literal) => {
        concat!(
            "select c.size, c.root, c.note, c.made_at,
                 (select array_agg(s.line order by s.witness) from audit_cosignatures s
                  where s.shard = c.shard and s.size = c.size) as cosignatures
             from audit_checkpoints c where c.shard = $1 ",
            $rest
        )
    };
}

macro_rules! insert_tiles {
    () => {
        "insert into audit_tiles (shard, level, index, hashes, root)
         select $1, w.* from unnest($2::smallint[], $3::bigint[], $4::bytea[], $5::bytea[]) as w
         on conflict on constraint audit_tiles_pkey do nothing"
    };
}

/// Tiles as they are sent.
struct Columns<'a> {
    levels: Vec<i16>,
    indices: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    roots: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(tiles: &'a [FullTile]) -> Columns<'a> {
        Columns {
            levels: tiles.iter().map(|tile| tile.level.into()).collect(),
            indices: tiles.iter().map(|tile| bigint(tile.index)).collect(),
            hashes: tiles.iter().map(|tile| tile.hashes.concat()).collect(),
            roots: tiles.iter().map(|tile| tile.root.as_slice()).collect(),
        }
    }
}

impl TileStore {
    pub fn new(pool: PgPool, shard: Shard) -> TileStore {
        TileStore { pool, shard }
    }

    fn shard_column(&self) -> i16 {
        i16::try_from(self.shard.0).unwrap_or(i16::MAX)
    }

    /// The hashes of whole subtrees out of full tiles, in their order; `None` where the tile is not there.
    pub(super) async fn hashes(&self, nodes: &[Node]) -> Result<Vec<Option<Hash>>, StoreError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let (mut levels, mut indices, mut offsets, mut lengths) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for node in nodes {
            let inside = node.level % TILE_BITS;
            let first = node.index << inside;
            levels.push(i16::from(node.level / TILE_BITS));
            indices.push(bigint(first >> TILE_BITS));
            // A tile's bytes begin at 1 in SQL. Both fit: a tile has 8,192 bytes.
            let in_tile = i32::try_from(first % edge::TILE_HASHES).unwrap_or(0);
            offsets.push(in_tile * 32 + 1);
            lengths.push(32_i32 << inside);
        }
        in_time(async {
            let rows = sqlx::query(
                "select substring(t.hashes from w.first for w.length) as hashes
                 from unnest($2::smallint[], $3::bigint[], $4::integer[], $5::integer[])
                     with ordinality as w (level, index, first, length, n)
                 left join audit_tiles t on t.shard = $1 and t.level = w.level and t.index = w.index
                 order by w.n",
            )
            .bind(self.shard_column())
            .bind(&levels)
            .bind(&indices)
            .bind(&offsets)
            .bind(&lengths)
            .fetch_all(&self.pool)
            .await?;
            let root = |row: &PgRow| match row.try_get::<Option<&[u8]>, _>("hashes")? {
                None => Ok(None),
                Some(bytes) => {
                    let hashes: Vec<Hash> = bytes.chunks(32).map(hash).collect::<Result<_, _>>()?;
                    Ok(Some(edge::root_of(&hashes)))
                }
            };
            rows.iter().map(root).collect()
        })
        .await
    }

    /// The roots of the tiles that stand right below the edge of the tree of `size` leaves.
    pub(super) async fn edge_roots(&self, size: u64) -> Result<Vec<(u8, u64, Hash)>, StoreError> {
        let (mut levels, mut firsts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (level, indices) in edge::tiles_below_edge(size) {
            levels.push(i16::from(level));
            firsts.push(bigint(indices.start));
            ends.push(bigint(indices.end));
        }
        in_time(async {
            let rows = sqlx::query(
                "select t.level, t.index, t.root
                 from unnest($2::smallint[], $3::bigint[], $4::bigint[]) as w (level, first, beyond)
                 join audit_tiles t on t.shard = $1 and t.level = w.level and t.index >= w.first and t.index < w.beyond
                 order by t.level, t.index",
            )
            .bind(self.shard_column())
            .bind(&levels)
            .bind(&firsts)
            .bind(&ends)
            .fetch_all(&self.pool)
            .await?;
            let root = |row: &PgRow| {
                let level: i16 = row.try_get("level")?;
                let level = u8::try_from(level).map_err(|_| StoreError::Corrupt {
                    what: "a level beyond the tree",
                })?;
                Ok((level, unsigned(row.try_get("index")?)?, hash(row.try_get("root")?)?))
            };
            rows.iter().map(root).collect()
        })
        .await
    }

    /// The hashes of full tiles, by level and index, in their order; `None` where one is not there.
    pub async fn tiles(&self, names: &[(u8, u64)]) -> Result<Vec<Option<Vec<Hash>>>, StoreError> {
        let levels: Vec<i16> = names.iter().map(|(level, _)| i16::from(*level)).collect();
        let indices: Vec<i64> = names.iter().map(|(_, index)| bigint(*index)).collect();
        in_time(async {
            let rows = sqlx::query(
                "select t.hashes from unnest($2::smallint[], $3::bigint[]) with ordinality as w (level, index, n)
                 left join audit_tiles t on t.shard = $1 and t.level = w.level and t.index = w.index
                 order by w.n",
            )
            .bind(self.shard_column())
            .bind(&levels)
            .bind(&indices)
            .fetch_all(&self.pool)
            .await?;
            let hashes = |row: &PgRow| match row.try_get::<Option<&[u8]>, _>("hashes")? {
                None => Ok(None),
                Some(bytes) => bytes.chunks(32).map(hash).collect::<Result<_, _>>().map(Some),
            };
            rows.iter().map(hashes).collect()
        })
        .await
    }

    /// Writes full tiles. Those that are there already stay: somebody else made them.
    pub async fn keep(&self, tiles: &[FullTile]) -> Result<(), StoreError> {
        let columns = Columns::of(tiles);
        in_time(async {
            sqlx::query(insert_tiles!())
                .bind(self.shard_column())
                .bind(&columns.levels)
                .bind(&columns.indices)
                .bind(&columns.hashes)
                .bind(&columns.roots)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }

    /// Keeps a checkpoint that is signed, and the tiles that became full under it, in one statement. What is there
    /// already stays: another sealer made the same.
    pub async fn publish(&self, sealed: &SealedCheckpoint, tiles: &[FullTile]) -> Result<(), StoreError> {
        let columns = Columns::of(tiles);
        in_time(async {
            sqlx::query(concat!(
                "with made as (",
                insert_tiles!(),
                ") insert into audit_checkpoints (shard, size, root, note, made_at) values ($1, $6, $7, $8, $9)
                 on conflict on constraint audit_checkpoints_pkey do nothing"
            ))
            .bind(self.shard_column())
            .bind(&columns.levels)
            .bind(&columns.indices)
            .bind(&columns.hashes)
            .bind(&columns.roots)
            .bind(bigint(sealed.size))
            .bind(sealed.root.as_slice())
            .bind(&sealed.note)
            .bind(time_column(sealed.made_at))
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// Keeps a witness's line under a checkpoint, its first one.
    pub async fn cosign(&self, size: u64, witness: &str, line: &str) -> Result<(), StoreError> {
        in_time(async {
            sqlx::query(
                "insert into audit_cosignatures (shard, size, witness, line, received_at) values ($1, $2, $3, $4, now())
                 on conflict on constraint audit_cosignatures_pkey do nothing",
            )
            .bind(self.shard_column())
            .bind(bigint(size))
            .bind(witness)
            .bind(line)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    /// The newest checkpoint.
    pub async fn latest(&self) -> Result<Option<SealedCheckpoint>, StoreError> {
        in_time(async {
            let row = sqlx::query(checkpoints!("order by c.size desc limit 1"))
                .bind(self.shard_column())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(checkpoint).transpose()
        })
        .await
    }

    /// The first checkpoint that has so many events at least.
    pub async fn covering(&self, size: u64) -> Result<Option<SealedCheckpoint>, StoreError> {
        in_time(async {
            let row = sqlx::query(checkpoints!("and c.size >= $2 order by c.size limit 1"))
                .bind(self.shard_column())
                .bind(bigint(size))
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(checkpoint).transpose()
        })
        .await
    }

    /// How many witnesses signed a checkpoint within the last day of the log's sealing, or one of the last that any signed.
    pub async fn witnesses(&self) -> Result<u64, StoreError> {
        in_time(async {
            let many: i64 = sqlx::query_scalar(
                "select count(distinct witness) from audit_cosignatures where shard = $1 and size >= least(
                     coalesce((select size from audit_checkpoints where shard = $1 and made_at > (
                                   select max(made_at) from audit_checkpoints where shard = $1) - interval '1 day'
                               order by made_at limit 1), 0),
                     coalesce((select min(size) from (select size from audit_cosignatures where shard = $1
                                                      order by size desc limit $2) last), 0))",
            )
            .bind(self.shard_column())
            .bind(LAST_SIGNATURES)
            .fetch_one(&self.pool)
            .await?;
            Ok(u64::try_from(many).unwrap_or(0))
        })
        .await
    }

    /// The first checkpoint that has so many events at least, and so many witnesses' signatures, if it is not far from there: else
    /// the newest.
    pub async fn witnessed(&self, size: u64, witnesses: u64) -> Result<Option<SealedCheckpoint>, StoreError> {
        in_time(async {
            for one_way in [
                checkpoints!(
                    "and c.size = (select near.size from (
                         select size from audit_cosignatures where shard = $1 and size >= $2 order by size limit $4) near
                         group by near.size having count(*) >= $3 order by near.size limit 1)"
                ),
                checkpoints!(
                    "and c.size = (select last.size from (
                         select size from audit_cosignatures where shard = $1 and size >= $2 order by size desc limit $4) last
                         group by last.size having count(*) >= $3 order by last.size desc limit 1)"
                ),
            ] {
                let row = sqlx::query(one_way)
                    .bind(self.shard_column())
                    .bind(bigint(size))
                    .bind(bigint(witnesses))
                    .bind(SIGNED_LOOKED_AT)
                    .fetch_optional(&self.pool)
                    .await?;
                if row.is_some() {
                    return row.as_ref().map(checkpoint).transpose();
                }
            }
            Ok(None)
        })
        .await
    }

    /// At most `limit` checkpoints of more than `after` events, the smallest first.
    pub async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<SealedCheckpoint>, StoreError> {
        in_time(async {
            let rows = sqlx::query(checkpoints!("and c.size > $2 order by c.size limit $3"))
                .bind(self.shard_column())
                .bind(bigint(after))
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(checkpoint).collect()
        })
        .await
    }
}
