//! A race of creators: publishing rests on exactly one of any number of them winning, and some stores let two win.
//!
//! Invariant: leaves nothing behind but the mark that it was passed.

use bytes::Bytes;
use futures::future::join_all;
use uuid::Uuid;

use crate::base::{Error, Result};

use super::{Created, Store};

/// Creators of one file.
pub const RACERS: usize = 8;
/// How often they race.
const RACES: usize = 4;
/// The mark of a store that passed.
const MARK: &str = "_huopan/store.json";

/// Races creators on a store that does not carry the mark yet.
pub(super) async fn once(store: &Store) -> Result<()> {
    if store.get(MARK).await?.is_some() {
        return Ok(());
    }
    race(store).await?;
    let mark = format!("{{\"conditional_create\":true,\"probed_by\":\"huopan {}\"}}\n", env!("CARGO_PKG_VERSION"));
    // Whoever was first says the same.
    let (Created::Done | Created::Exists) = store.create(MARK, mark.into()).await?;
    Ok(())
}

/// Races creators of one file, a few times, and clears up.
pub(super) async fn race(store: &Store) -> Result<()> {
    let name = Uuid::now_v7();
    for number in 0..RACES {
        let path = format!("_huopan/probe-{name}-{number}");
        let raced = run(store, &path).await;
        store.delete(&path).await?;
        raced?;
        if store.get(&path).await?.is_some() {
            return Err(unfit(format!("`{path}` is still there after it was deleted")));
        }
    }
    Ok(())
}

/// One race.
async fn run(store: &Store, path: &str) -> Result<()> {
    let racer = |number: usize| {
        let (store, path) = (store.clone(), path.to_owned());
        async move { (number, store.create(&path, bytes(number)).await) }
    };
    let racers = (0..RACERS).map(|number| tokio::spawn(racer(number)));
    let mut winners = Vec::new();
    for ended in join_all(racers).await {
        let (number, created) = ended.map_err(|source| Error::internal("a creator ended early").caused_by(source))?;
        if created? == Created::Done {
            winners.push(number);
        }
    }
    let [winner] = winners[..] else {
        return Err(unfit(format!("of {RACERS} creators of one file {} won instead of one", winners.len())));
    };
    if store.get(path).await?.as_ref() == Some(&bytes(winner)) {
        return Ok(());
    }
    Err(unfit("a file that was created does not hold what its creator wrote".to_owned()))
}

fn unfit(message: String) -> Error {
    Error::config(format!("this store cannot hold a lake: {message}")).with_hint(
        "publishing needs conditional creates (`If-None-Match: *`): use AWS S3, MinIO, SeaweedFS, Ceph or another \
         store that keeps them, or a local disk",
    )
}

fn bytes(number: usize) -> Bytes {
    Bytes::from(format!("huopan probe, creator {number}\n"))
}
