//! How a partition takes the place of the one exported before.
//!
//! | target | how | what a reader sees meanwhile |
//! |---|---|---|
//! | folder | written beside, then renamed: the old one away, the new one in its place | the old one, for a moment none, the new one |
//! | bucket | `_SUCCESS` is removed, new files come, the manifest changes, old files go, `_SUCCESS` comes back | without `_SUCCESS`: a mixture |
//!
//! One export writes to a partition at a time. What a broken one left behind, the next one removes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::base::{Error, Result};
use crate::store::Store;

use super::{Manifest, Partition};

/// Says what the partition is.
const MANIFEST: &str = "_manifest.json";
/// Says that the partition is whole.
const SUCCESS: &str = "_SUCCESS";

/// A partition that is being written.
#[derive(Debug)]
pub struct Place {
    /// Where it will stand.
    at: String,
    /// Where it is written.
    folder: String,
}

/// The manifest of the partition that stands there whole; `None`: there is none.
///
/// # Errors
/// `Storage` when the target cannot be read.
pub async fn standing(target: &Store, partition: &Partition<'_>) -> Result<Option<Manifest>> {
    let folder = partition.folder();
    if target.get(&format!("{folder}/{SUCCESS}")).await?.is_none() {
        return Ok(None);
    }
    let manifest = target.get(&format!("{folder}/{MANIFEST}")).await?;
    Ok(manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Makes room for a partition.
///
/// # Errors
/// `Storage` when the target cannot be written.
pub async fn begin(target: &Store, partition: &Partition<'_>) -> Result<Place> {
    let at = partition.folder();
    if target.folder().is_none() {
        target.delete(&format!("{at}/{SUCCESS}")).await?;
        return Ok(Place { folder: at.clone(), at });
    }
    let (parent, name) = at.rsplit_once('/').unwrap_or(("", at.as_str()));
    let place = Place { folder: format!("{parent}/.{name}.new"), at: at.clone() };
    for leftover in [place.folder.clone(), place.old()] {
        remove(target, &leftover).await?;
    }
    target.prepare_folder(&place.folder)?;
    Ok(place)
}

impl Place {
    /// Where its files are to be written.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    fn old(&self) -> String {
        let (parent, name) = self.at.rsplit_once('/').unwrap_or(("", self.at.as_str()));
        format!("{parent}/.{name}.old")
    }

    /// Puts it in its place: the files that `manifest` names are there.
    ///
    /// # Errors
    /// `Storage` when the target cannot be written.
    pub async fn finish(&self, target: &Store, manifest: &Manifest) -> Result<()> {
        let before = target.get(&format!("{}/{MANIFEST}", self.at)).await?;
        let before: Option<Manifest> = before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut bytes = serde_json::to_vec_pretty(manifest)
            .map_err(|source| Error::internal("a manifest cannot be written as JSON").caused_by(source))?;
        bytes.push(b'\n');
        target.put_durable(&format!("{}/{MANIFEST}", self.folder), bytes.into()).await?;
        if target.folder().is_none() {
            let is_old = |path: &str| {
                let name = path.strip_prefix(&self.at).and_then(|path| path.strip_prefix('/'));
                let kept = |name: &str| name == MANIFEST || manifest.files.iter().any(|file| file.name == name);
                name.is_some_and(|name| !kept(name))
            };
            // A listing may be late: what the manifest before named goes by its name.
            let named = before.into_iter().flat_map(|before| before.files);
            let named = named.map(|file| format!("{}/{}", self.at, file.name));
            let listed = target.list(&self.at).await?.into_iter().map(|meta| meta.path);
            for path in listed.chain(named).filter(|path| is_old(path)).collect::<BTreeSet<_>>() {
                target.delete(&path).await?;
            }
        }
        target.put_durable(&format!("{}/{SUCCESS}", self.folder), Bytes::new()).await?;
        if let Some(root) = target.folder() {
            let (new, at, old) = (root.join(&self.folder), root.join(&self.at), root.join(self.old()));
            let failed = |source| Error::storage(format!("cannot write `{}`", at.display())).caused_by(source);
            swap(&new, &at, &old).map_err(failed)?;
            remove(target, &self.old()).await?;
        }
        Ok(())
    }
}

/// Puts the folder `new` in the place of `at`, which becomes `old`.
fn swap(new: &Path, at: &Path, old: &Path) -> io::Result<()> {
    match fs::rename(at, old) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(source),
        _ => fs::rename(new, at)?,
    }
    match at.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

async fn remove(target: &Store, folder: &str) -> Result<()> {
    let Some(path) = target.folder().map(|root| root.join(folder)) else { return Ok(()) };
    let shown: PathBuf = path.clone();
    let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(path)).await;
    match removed.map_err(io::Error::other).and_then(|removed| removed) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::storage(format!("cannot remove `{}`", shown.display())).caused_by(source))
        }
        _ => Ok(()),
    }
}
