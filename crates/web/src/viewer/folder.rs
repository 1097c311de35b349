//! A prepared viewer on disk: what is in it stands in its manifest, and nothing else is ever served.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "manifest-of-files.json";
/// Where the page begins; without it there is no viewer.
const INDEX: &str = "index.html";
/// More files than any version of it has.
const FILES_MAX: usize = 10_000;

/// A folder that is no prepared viewer, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum ViewerFolderError {
    /// A file of it cannot be read.
    #[error("read {name}")]
    Read {
        /// Its name in the folder.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Its manifest is none.
    #[error("its manifest cannot be understood")]
    Manifest(#[from] serde_json::Error),
    /// A file is not what the manifest says.
    #[error("{0} is not the file that was prepared")]
    Changed(String),
    /// The manifest names what cannot be served.
    #[error("its manifest names {0:?}")]
    Named(String),
}

/// The files of a prepared viewer.
#[derive(Debug)]
pub struct ViewerFolder {
    folder: PathBuf,
    version: String,
    files: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Manifest {
    version: String,
    files: Vec<Entry>,
}

/// A file of the viewer.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) plain: Form,
    /// Its media type.
    pub(super) content_type: String,
    /// Compressed forms, by content coding.
    encodings: BTreeMap<String, Form>,
    /// Its name holds its hash.
    pub(super) immutable: bool,
    /// It makes functions of text: the worker that decodes images.
    pub(super) eval: bool,
}

/// Bytes of a file, as they are or compressed.
#[derive(Debug, Deserialize)]
pub(super) struct Form {
    path: String,
    /// How many.
    pub(super) bytes: u64,
    /// SHA-256 of them.
    pub(super) sha256: String,
}

impl ViewerFolder {
    /// Reads the manifest and every file it names, once: what is served later is what was prepared.
    ///
    /// # Errors
    /// When the folder holds no prepared viewer, or one that was changed.
    pub fn open(folder: &Path) -> Result<Self, ViewerFolderError> {
        let Manifest { version, files } = serde_json::from_slice(&read(folder, MANIFEST)?)?;
        if files.len() > FILES_MAX {
            return Err(ViewerFolderError::Named(format!("{} files", files.len())));
        }
        let mut known = BTreeMap::new();
        for entry in files {
            check(folder, &entry.plain)?;
            for form in entry.encodings.values() {
                check(folder, form)?;
            }
            known.insert(entry.plain.path.clone(), entry);
        }
        if !known.contains_key(INDEX) {
            return Err(ViewerFolderError::Named(format!("no {INDEX}")));
        }
        Ok(Self { folder: folder.to_owned(), version, files: known })
    }

    /// The viewer's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A file by its path below `/ohif/`. The page itself stands for every path that names no file: it finds its own way.
    pub(super) fn find(&self, path: &str) -> Option<&Entry> {
        let names_file = path.rsplit('/').next().unwrap_or_default().contains('.');
        self.files.get(path).or_else(|| if names_file { None } else { self.files.get(INDEX) })
    }

    /// Where bytes of an entry are.
    pub(super) fn path_of(&self, form: &Form) -> PathBuf {
        self.folder.join(&form.path)
    }
}

impl Entry {
    /// The form that fits what a client takes (RFC 9110 12.5.3), with its content coding.
    pub(super) fn form(&self, accept_encoding: &str) -> (&Form, Option<&'static str>) {
        let taken = |coding| {
            let mut weights = accept_encoding.split(',').filter_map(|part| {
                let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
                name.trim().eq_ignore_ascii_case(coding).then_some(parameters)
            });
            weights.next().is_some_and(|parameters| !is_zero(parameters))
        };
        for coding in ["br", "gzip"] {
            if let Some(form) = self.encodings.get(coding).filter(|_| taken(coding)) {
                return (form, Some(coding));
            }
        }
        (&self.plain, None)
    }
}

/// A weight that says "not this".
fn is_zero(parameters: &str) -> bool {
    let quality = parameters.trim().strip_prefix("q=").and_then(|quality| quality.trim().parse::<f32>().ok());
    quality.is_some_and(|quality| quality <= 0.0)
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ViewerFolderError> {
    fs::read(folder.join(name)).map_err(|source| ViewerFolderError::Read { name: name.to_owned(), source })
}

fn check(folder: &Path, form: &Form) -> Result<(), ViewerFolderError> {
    let plain = form.path.split('/').all(|step| !step.is_empty() && !step.starts_with('.'));
    if !plain || form.path.contains(['\\', '\0']) {
        return Err(ViewerFolderError::Named(form.path.clone()));
    }
    let bytes = read(folder, &form.path)?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() as u64 != form.bytes || digest != form.sha256 {
        return Err(ViewerFolderError::Changed(form.path.clone()));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    fn form(path: &str, bytes: &[u8]) -> serde_json::Value {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "path": path, "bytes": bytes.len(), "sha256": digest })
    }

    /// A viewer of three files in a folder.
    pub(in crate::viewer) fn prepare(folder: &Path) {
        let files = [
            ("index.html", "text/html; charset=utf-8", "<!doctype html>", false, false),
            ("a.bundle.0123456789abcdef.js", "text/javascript; charset=utf-8", "1;", true, false),
            ("w.bundle.fedcba9876543210.js", "text/javascript; charset=utf-8", "2;", true, true),
        ];
        let mut entries = Vec::new();
        for (path, content_type, text, immutable, eval) in files {
            fs::write(folder.join(path), text).expect("written");
            let mut entry = form(path, text.as_bytes());
            entry["content_type"] = content_type.into();
            entry["immutable"] = immutable.into();
            entry["eval"] = eval.into();
            entry["encodings"] = json!({});
            if immutable {
                let compressed = format!("{path}.br");
                fs::write(folder.join(&compressed), "shorter").expect("written");
                entry["encodings"]["br"] = form(&compressed, b"shorter");
            }
            entries.push(entry);
        }
        let manifest = json!({ "name": "OHIF", "version": "1.2.3", "made_by": "x", "files": entries });
        fs::write(folder.join(MANIFEST), manifest.to_string()).expect("written");
    }

    #[test]
    fn what_is_not_as_it_was_prepared_is_not_served() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(ViewerFolder::open(folder.path()), Err(ViewerFolderError::Read { .. })));
        prepare(folder.path());
        assert_eq!(ViewerFolder::open(folder.path()).expect("a viewer").version(), "1.2.3");
        fs::write(folder.path().join("index.html"), "<!doctype HTML>").expect("written");
        let error = ViewerFolder::open(folder.path()).expect_err("changed").to_string();
        assert!(error.contains("index.html"), "{error}");
    }

    #[test]
    fn a_path_leads_to_its_file_and_any_other_name_to_the_page() {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        let viewer = ViewerFolder::open(folder.path()).expect("a viewer");
        let found = |path| viewer.find(path).map(|entry| entry.plain.path.as_str());
        assert_eq!(found("a.bundle.0123456789abcdef.js"), Some("a.bundle.0123456789abcdef.js"));
        assert_eq!(found("viewer"), Some("index.html"));
        assert_eq!(found(""), Some("index.html"));
        for missing in ["b.bundle.js", "../index.html", "manifest-of-files.json", "x/y.wasm"] {
            assert_eq!(found(missing), None, "{missing}");
        }
    }

    #[test]
    fn a_browser_gets_what_it_takes() {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        let viewer = ViewerFolder::open(folder.path()).expect("a viewer");
        let script = viewer.find("a.bundle.0123456789abcdef.js").expect("a script");
        for (accepted, coding) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("br;q=0.5", Some("br")),
            ("br;q=0, gzip", None),
            ("gzip", None),
            ("", None),
        ] {
            assert_eq!(script.form(accepted).1, coding, "{accepted}");
        }
    }
}
