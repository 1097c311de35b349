//! The mark of a data directory that another node takes over: `adopted.json`. From its first version on nobody serves the
//! directory any more.

use std::{io, path::Path};

use anyhow::Context;
use filmgate_model::NodeId;
use filmgate_spool::{RealDisk, read_file, write_durably};
use serde::{Deserialize, Serialize};

const FILE: &str = "adopted.json";
/// How its form is told from later ones.
const VERSION: u32 = 0;
/// Its bytes at most.
const BYTES_MAX: u64 = 4096;

/// Who takes a directory over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct By {
    version: u32,
    /// The node that does.
    pub(crate) node_id: NodeId,
    /// Nothing of the directory is needed any more.
    pub(crate) done: bool,
}

/// Who takes the directory over; `None` when nobody does.
pub(crate) fn by(dir: &Path) -> anyhow::Result<Option<By>> {
    let path = dir.join(FILE);
    let bytes = match read_file(&RealDisk, &path, BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("read {}", path.display()))?,
    };
    let by: By = serde_json::from_slice(&bytes).with_context(|| format!("understand {}", path.display()))?;
    anyhow::ensure!(by.version == VERSION, "{} is of version {}", path.display(), by.version);
    Ok(Some(by))
}

/// Marks it; durable when this returns.
pub(crate) fn mark(dir: &Path, node_id: NodeId, done: bool) -> anyhow::Result<()> {
    let path = dir.join(FILE);
    let bytes = serde_json::to_vec(&By { version: VERSION, node_id, done })?;
    write_durably(&RealDisk, &path, &bytes).with_context(|| format!("write {}", path.display()))
}

/// Refuses a directory whose records are another node's.
pub(crate) fn refuse(dir: &Path) -> anyhow::Result<()> {
    match by(dir)? {
        Some(By { node_id, .. }) => anyhow::bail!(
            "data directory {} was adopted by node {node_id}, which has its records now; use another one",
            dir.display()
        ),
        None => Ok(()),
    }
}
