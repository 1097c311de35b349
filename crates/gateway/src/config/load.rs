//! Reading the settings: defaults, file, environment, in this order.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::Settings;

const PREFIX: &str = "FILMGATE__";

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read the configuration file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("{name}: {why}")]
    Environment { name: String, why: String },
    #[error("setting {key}: {why}")]
    Value { key: String, why: String },
    #[error("{0}")]
    Shape(String),
}

/// Settings from the defaults, `file` when given, and the environment.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Error> {
    let mut table = Table::try_from(Settings::defaults()).map_err(|error| Error::Shape(error.to_string()))?;
    if let Some(path) = file {
        let text =
            fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let told = |message: String| Error::File { path: path.to_owned(), message };
        // Read on its own first, so that a message names the line of the file.
        toml::from_str::<Settings>(&text).map_err(|error| told(error.to_string()))?;
        let given: Table = text.parse().map_err(|error: toml::de::Error| told(error.to_string()))?;
        merge(&mut table, given);
    }
    let mut variables: Vec<_> = environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    for (name, value) in variables {
        set(&mut table, &name, &value)?;
    }
    let settings: Settings = Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| Error::Shape(error.to_string().trim().to_owned()))?;
    settings.check()?;
    Ok(settings)
}

/// A placement that is not in the file has its defaults, whose types say how a variable's text is read.
fn new_section(steps: &[&str]) -> Table {
    let placement = matches!(steps, ["bucket", _]).then(|| Table::try_from(super::Bucket::default()).ok());
    placement.flatten().unwrap_or_default()
}

fn merge(base: &mut Table, given: Table) {
    for (key, value) in given {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(given)) => merge(base, given),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Sets one key from a variable; the default's type says how its text is read.
fn set(table: &mut Table, name: &str, text: &str) -> Result<(), Error> {
    let told = |why: String| Error::Environment { name: name.to_owned(), why };
    let path = name.trim_start_matches(PREFIX).to_ascii_lowercase();
    let mut steps: Vec<&str> = path.split("__").collect();
    let key = steps.pop().unwrap_or_default();
    let mut open = table;
    for step in &steps {
        // Placements and private syntaxes have names of their own; a new one begins empty.
        let entry = open.entry((*step).to_owned()).or_insert_with(|| Value::Table(new_section(&steps)));
        open = entry.as_table_mut().ok_or_else(|| told(format!("{step} is a value, not a section")))?;
    }
    let value = match open.get(key) {
        Some(Value::Integer(_)) => {
            Value::Integer(text.trim().parse().map_err(|_| told(format!("{text:?} is not a whole number")))?)
        }
        Some(Value::Boolean(_)) => Value::Boolean(
            text.trim().parse().map_err(|_| told(format!("{text:?} is neither true nor false")))?,
        ),
        // As in the file, or plainly with commas.
        Some(Value::Array(_)) if text.trim_start().starts_with('[') => {
            let list: Table =
                format!("list = {text}").parse().map_err(|_| told(format!("{text:?} is no list")))?;
            list.get("list").cloned().unwrap_or_else(|| Value::Array(Vec::new()))
        }
        Some(Value::Array(_)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        Some(Value::Table(_)) => return Err(told("this is a section, not a value".into())),
        Some(_) => Value::String(text.to_owned()),
        None if steps.len() > 1 => Value::String(text.to_owned()),
        None => return Err(told("there is no such setting; `filmgate config show` lists all".into())),
    };
    open.insert(key.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        load(None, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_environment_sets_every_kind_of_value() {
        let settings = from_environment(&[
            ("FILMGATE__NODE__DATA_DIR", "/srv/x"),
            ("FILMGATE__DICOM__BIND", "127.0.0.1:0"),
            ("FILMGATE__DICOM__ACCEPT_UNKNOWN_CALLERS", "true"),
            ("FILMGATE__DICOM__KNOWN_CALLERS", "CT_1, MR_2"),
            ("FILMGATE__DICOM__PRIVATE_SOP_CLASSES", "[\"1.2.3\", \"1.2.4\"]"),
            ("FILMGATE__PACK__QUIET_MS", "200"),
            ("FILMGATE__BUCKET__MAIN__PATH", "/srv/b"),
            ("FILMGATE__BUCKET__SECOND__PATH", "/srv/c"),
            ("FILMGATE__BUCKET__SECOND__READ_TIMEOUT_MS", "700"),
            ("OTHER", "ignored"),
        ])
        .expect("settings");
        assert_eq!(settings.node.data_dir, Path::new("/srv/x"));
        assert!(settings.dicom.accept_unknown_callers);
        assert_eq!(settings.dicom.known_callers.len(), 2);
        assert!(settings.dicom.private_sop_classes.contains("1.2.4"));
        assert_eq!(settings.pack.quiet_ms, 200);
        assert_eq!(settings.bucket.len(), 2);
        assert_eq!(settings.bucket["second"].read_timeout_ms, 700);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for (name, value) in [
            ("FILMGATE__DICOM__NO_SUCH", "1"),
            ("FILMGATE__NO_SUCH__KEY", "1"),
            ("FILMGATE__PACK__QUIET_MS", "soon"),
            ("FILMGATE__DICOM__ACCEPT_UNKNOWN_CALLERS", "perhaps"),
            ("FILMGATE__DICOM__AET", "A TITLE THAT IS TOO LONG"),
            ("FILMGATE__WEB__BIND", "0.0.0.0:80"),
        ] {
            assert!(from_environment(&[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn a_file_overrides_the_defaults_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("filmgate.toml");
        fs::write(&path, "[dicom]\naet = \"GATE\"\n[bucket.main]\npath = \"/b\"\n").expect("write");
        let settings = load(Some(&path), std::iter::empty()).expect("settings");
        assert_eq!(settings.dicom.aet.as_str(), "GATE");
        assert_eq!(settings.dicom.max_pdu_bytes, 131_072);
        fs::write(&path, "[dicom]\naett = \"GATE\"\n").expect("write");
        let refused = load(Some(&path), std::iter::empty()).expect_err("refused").to_string();
        assert!(refused.contains("aett"), "{refused}");
    }
}
