//! The lake: can it be written, read and cleared, and do creators of one file race rightly?
//!
//! Publishing rests on the last of these: of any number of creators exactly one may win.
//!
//! Invariant: leaves nothing behind.

use std::path::Path;

use bytes::Bytes;
use futures::future::join_all;

use crate::base::{Error, Result};
use crate::store::{Created, Store};

use super::super::{Surroundings, new_run_id};
use crate::base::time::beijing_day;

/// Creators of one file.
pub(super) const RACERS: usize = 8;
/// How often they race.
const RACES: usize = 4;

pub(super) async fn examine(root: &Path, around: &Surroundings<'_>) -> Result<Store> {
    let store = Store::open(root)?;
    let run_id = new_run_id(around, beijing_day(around.clock.now()));
    for race in 0..RACES {
        let path = format!("_huopan/doctor-{run_id}-{race}");
        let raced = run(&store, &path).await;
        store.delete(&path).await?;
        raced?;
    }
    let left: Vec<String> = store.list("_huopan").await?.into_iter().map(|file| file.path).collect();
    match left.iter().find(|path| path.contains(&run_id.to_string())) {
        None => Ok(store),
        Some(path) => Err(Error::storage(format!("`{path}` is still there after it was deleted")).with_hint(UNFIT)),
    }
}

const UNFIT: &str = "this file system does not keep what publishing needs: put the lake on a local disk";

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
        let message = format!("of {RACERS} creators of one file {} won instead of one", winners.len());
        return Err(Error::storage(message).with_hint(UNFIT));
    };
    if store.get(path).await?.as_ref() == Some(&bytes(winner)) {
        return Ok(());
    }
    Err(Error::storage("a file that was created does not hold what its creator wrote").with_hint(UNFIT))
}

fn bytes(number: usize) -> Bytes {
    Bytes::from(format!("huopan doctor, creator {number}\n"))
}
