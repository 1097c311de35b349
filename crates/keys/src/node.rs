//! The node's name, in a file of its own: which data directory this is, whatever site it belongs to.

use std::{io, path::Path};

use filmgate_model::NodeId;
use filmgate_spool::{Disk, read_file, write_durably};

use crate::Error;

/// 32 digits, a space, 8 digits of their CRC-32C, a newline.
const NODE_FILE_BYTES: usize = 32 + 1 + 8 + 1;

/// Reads the node's name.
///
/// # Errors
/// [`Error::Missing`], [`Error::Damaged`], [`Error::Io`].
pub(crate) fn read_node(disk: &dyn Disk, folder: &Path) -> Result<NodeId, Error> {
    let path = folder.join("node");
    let damaged = || Error::Damaged { path: path.clone(), problem: "it is no node's name" };
    let bytes = read_file(disk, &path, NODE_FILE_BYTES as u64).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { what: "node's name", path: path.clone() },
        io::ErrorKind::FileTooLarge => damaged(),
        _ => Error::Io { doing: "read the node's name", path: path.clone(), source },
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
    let node: NodeId = text.split(' ').next().unwrap_or_default().parse().map_err(|_| damaged())?;
    if text == node_line(node) { Ok(node) } else { Err(damaged()) }
}

/// Writes the node's name durably.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_node(disk: &dyn Disk, folder: &Path, node: NodeId) -> Result<(), Error> {
    let path = folder.join("node");
    write_durably(disk, &path, node_line(node).as_bytes()).map_err(Error::io("write the node's name", path))
}

fn node_line(node: NodeId) -> String {
    let name = node.to_string();
    format!("{name} {:08x}\n", crc32c::crc32c(name.as_bytes()))
}
