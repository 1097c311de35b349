//! The list of a prepared viewer's files: what the gateway serves, and knows to be whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const NAME: &str = "manifest-of-files.json";

/// What the worker that decodes images has in it: it makes functions of text, so its policy must let it.
const DECODER: &str = "decodeTask";

/// What a file's ending says: its media type, and whether it is worth compressing.
const TYPES: [(&str, &str, bool); 11] = [
    ("css", "text/css; charset=utf-8", true),
    ("html", "text/html; charset=utf-8", true),
    ("ico", "image/x-icon", false),
    ("js", "text/javascript; charset=utf-8", true),
    ("json", "application/json", true),
    ("png", "image/png", false),
    ("svg", "image/svg+xml", true),
    ("txt", "text/plain; charset=utf-8", true),
    ("wasm", "application/wasm", true),
    ("webapp", "application/manifest+json", true),
    ("woff2", "font/woff2", false),
];

/// Media type of a file, and whether it is worth compressing; `None` for an ending nobody has thought of.
pub(super) fn content_type(file: &Path) -> Option<(&'static str, bool)> {
    let ending = file.extension()?.to_str()?;
    TYPES.iter().find(|(listed, ..)| *listed == ending).map(|(_, media_type, text)| (*media_type, *text))
}

/// Every file below the folder, but for compressed forms and the list itself, sorted.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("look into {}", folder.display()))? {
            let path = entry.context("look at a file of the viewer")?.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if !matches!(ending, "br" | "gz") && !path.ends_with(NAME) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// True when the folder holds a viewer that was made just so.
pub(super) fn is_made_by(folder: &Path, made_by: &str) -> bool {
    let list = fs::read(folder.join(NAME)).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    list.is_some_and(|list| list["made_by"] == made_by)
}

/// Writes the list.
pub(super) fn write(folder: &Path, version: &str, made_by: &str) -> Result<()> {
    let mut entries = Vec::new();
    for file in files(folder)? {
        entries.push(entry(folder, &file)?);
    }
    let decoders = entries.iter().filter(|entry| entry["eval"] == true).count();
    ensure!(decoders == 1, "{decoders} files of the viewer are the worker that decodes, not 1");
    let list = json!({ "name": "OHIF", "version": version, "made_by": made_by, "files": entries });
    let mut text = serde_json::to_string_pretty(&list)?;
    text.push('\n');
    fs::write(folder.join(NAME), text).context("write the list of the viewer's files")?;
    let bytes: u64 = entries.iter().filter_map(|entry| entry["bytes"].as_u64()).sum();
    println!("the viewer has {} files, {bytes} bytes before compression", entries.len());
    Ok(())
}

fn entry(folder: &Path, file: &Path) -> Result<Value> {
    let path = file.strip_prefix(folder).context("name a file of the viewer")?.display().to_string();
    let (media_type, _) =
        content_type(file).with_context(|| format!("{path}: nothing says what type such a file is"))?;
    let bytes = fs::read(file).with_context(|| format!("read {path}"))?;
    let mut encodings = serde_json::Map::new();
    for (encoding, ending) in [("br", "br"), ("gzip", "gz")] {
        let compressed = PathBuf::from(format!("{}.{ending}", file.display()));
        if let Ok(bytes) = fs::read(&compressed) {
            encodings.insert(encoding.to_owned(), form(&format!("{path}.{ending}"), &bytes));
        }
    }
    let mut entry = form(&path, &bytes);
    entry["content_type"] = media_type.into();
    entry["encodings"] = encodings.into();
    entry["immutable"] = is_named_by_content(&path).into();
    let is_script = path.ends_with(".js") && !path.starts_with("app.");
    entry["eval"] = (is_script && String::from_utf8_lossy(&bytes).contains(DECODER)).into();
    Ok(entry)
}

fn form(path: &str, bytes: &[u8]) -> Value {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "path": path, "bytes": bytes.len(), "sha256": digest })
}

/// True for a name that holds a hash, so that other content has another name.
fn is_named_by_content(path: &str) -> bool {
    let mut parts = path.split('.');
    parts.any(|part| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_hash_in_its_name_is_known() {
        for (path, named) in [
            ("app.bundle.0f6159c501addfe9.js", true),
            ("5130ccb17e3f3f5b.wasm", true),
            ("app.bundle.css", false),
            ("781.css", false),
            ("index.html", false),
            ("boot.js", false),
        ] {
            assert_eq!(is_named_by_content(path), named, "{path}");
        }
        assert_eq!(content_type(Path::new("a/b.wasm")), Some(("application/wasm", true)));
        assert_eq!(content_type(Path::new("a/b.exe")), None);
    }
}
