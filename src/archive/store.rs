//! Keeping segments' files: putting one, reading it whole, and reading a part.
//!
//! Promise: a file that was put is on the disk, or with the store, when the answer comes. It is never changed, and never
//! removed.
//!
//! Not here: what is in the files, and whether it is what it was.

use std::time::Duration;

use super::directory::Directory;
use super::environment::Environment;
use super::object_store::ObjectStore;
use super::place::{BadPlace, Place};

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Place(#[from] BadPlace),
    #[error("there is no such file")]
    Absent,
    #[error("the store refuses it: {why}")]
    Refused { why: String },
    #[error("the store cannot be reached: {why}")]
    Unreachable { why: String },
    #[error("{0}")]
    Disk(#[from] std::io::Error),
}

/// A part is a megabyte or two.
const PART_WITHIN: Duration = Duration::from_secs(10);

/// A place that is open.
#[derive(Debug, Clone)]
pub(super) enum Store {
    Directory(Directory),
    Objects(Box<ObjectStore>),
}

impl Store {
    pub(super) fn open(place: &Place, environment: &Environment) -> Result<Store, StoreError> {
        Ok(match place {
            Place::Directory(path) => Store::Directory(Directory::at(path.clone())),
            Place::Bucket(bucket) => Store::Objects(Box::new(ObjectStore::open(bucket, environment)?)),
        })
    }

    pub(super) async fn put(&self, name: &str, file: Vec<u8>) -> Result<(), StoreError> {
        match self {
            Store::Directory(directory) => directory.put(name, file).await,
            Store::Objects(objects) => objects.put(name, file).await,
        }
    }

    pub(super) async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        match self {
            Store::Directory(directory) => directory.read(name, None).await,
            Store::Objects(objects) => objects.read(name, None).await,
        }
    }

    /// `bytes` bytes from `at` on; fewer where the file ends before. Somebody waits for them, but not for ever.
    pub(super) async fn read_part(&self, name: &str, at: u64, bytes: u64) -> Result<Vec<u8>, StoreError> {
        let reading = async {
            match self {
                Store::Directory(directory) => directory.read(name, Some((at, bytes))).await,
                Store::Objects(objects) => objects.read(name, Some((at, bytes))).await,
            }
        };
        tokio::time::timeout(PART_WITHIN, reading).await.unwrap_or_else(|_| {
            let why = format!("no answer within {} s", PART_WITHIN.as_secs());
            Err(StoreError::Unreachable { why })
        })
    }
}
