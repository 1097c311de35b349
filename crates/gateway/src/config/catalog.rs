//! Settings of the catalog: a file of this node's, or a PostgreSQL that several nodes of a site may share.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use filmgate_catalog::{AttributeOf, Attributes, PostgresOptions};
use filmgate_model::{VR, attribute_named, vr_of};
use serde::{Deserialize, Serialize, Serializer};

use super::{Error, milliseconds};

/// The catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Catalog {
    pub(crate) url: Url,
    pub(crate) password_file: PathBuf,
    pub(crate) connections_max: u32,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) statement_timeout_ms: u64,
    pub(crate) search_time_max_ms: u64,
    pub(crate) pages_bytes: u64,
    pub(crate) study_attributes: Vec<String>,
    pub(crate) series_attributes: Vec<String>,
    pub(crate) instance_attributes: Vec<String>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            url: Url::default(),
            password_file: PathBuf::new(),
            connections_max: 8,
            connect_timeout_ms: 10_000,
            statement_timeout_ms: 120_000,
            search_time_max_ms: 10_000,
            pages_bytes: 256 << 20,
            study_attributes: Vec::new(),
            series_attributes: Vec::new(),
            instance_attributes: Vec::new(),
        }
    }
}

/// Attributes of each kind that can be kept beside the columns.
const ATTRIBUTES_MAX: usize = 64;

/// Where a catalog is.
#[derive(Debug)]
pub(crate) enum Engine {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server.
    Postgres(PostgresOptions),
}

impl Catalog {
    /// Which engine, and where; `data_dir` is where the file lies unless the URL says otherwise.
    pub(crate) fn engine(&self, data_dir: &Path) -> Result<Engine, Error> {
        let url = self.url.0.as_str();
        if url.is_empty() {
            return Ok(Engine::Sqlite(data_dir.join("catalog.db")));
        }
        match url.split_once(':') {
            Some(("sqlite", path)) => Ok(Engine::Sqlite(path.trim_start_matches("//").into())),
            Some(("postgres" | "postgresql", _)) => Ok(Engine::Postgres(self.postgres()?)),
            _ => refuse("url", "a catalog is at sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned()),
        }
    }

    fn postgres(&self) -> Result<PostgresOptions, Error> {
        let password = if self.password_file.as_os_str().is_empty() {
            None
        } else {
            match std::fs::read_to_string(&self.password_file) {
                Ok(password) => Some(password.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    return refuse("password_file", format!("{}: {error}", self.password_file.display()));
                }
            }
        };
        Ok(PostgresOptions {
            password,
            connections_max: self.connections_max,
            connect_timeout: milliseconds(self.connect_timeout_ms),
            statement_timeout: milliseconds(self.statement_timeout_ms),
            ..PostgresOptions::new(&self.url.0)
        })
    }

    /// What is kept beside the catalog's columns.
    pub(crate) fn attributes(&self) -> Result<Attributes, Error> {
        let mut attributes = Attributes::default();
        for (key, of, names) in [
            ("study_attributes", AttributeOf::Study, &self.study_attributes),
            ("series_attributes", AttributeOf::Series, &self.series_attributes),
            ("instance_attributes", AttributeOf::Instance, &self.instance_attributes),
        ] {
            if names.len() > ATTRIBUTES_MAX {
                return refuse(key, format!("{ATTRIBUTES_MAX} attributes can be kept at most"));
            }
            for name in names {
                let path = attribute_named(name).filter(|path| path.len() <= 2);
                let Some((path, tag)) = path.and_then(|path| path.last().copied().map(|tag| (path, tag)))
                else {
                    return refuse(
                        key,
                        format!(
                            "{name} names no attribute: a keyword as PatientAge, a number as 00101010, or one within \
                             a sequence as RequestAttributesSequence.RequestedProcedureID is expected"
                        ),
                    );
                };
                // What is not text is not matched, nor what is written in one way or another. Of private attributes nobody
                // knows better than a short text.
                match vr_of(tag) {
                    None if tag.group() % 2 == 0 => {
                        return refuse(key, format!("{name} has no text to be kept"));
                    }
                    Some(VR::SQ | VR::OB | VR::OW | VR::OD | VR::OF | VR::OL | VR::OV | VR::UN) => {
                        return refuse(key, format!("{name} has no text to be kept"));
                    }
                    vr => attributes.keep(of, path, vr.unwrap_or(VR::LO)),
                }
            }
        }
        Ok(attributes)
    }

    /// Refuses an address that cannot be understood, one that patient data would travel to unencrypted, and a password
    /// that cannot be read.
    pub(super) fn check(&self, data_dir: &Path) -> Result<(), Error> {
        let engine = self.engine(data_dir)?;
        if self.connections_max < 2 {
            return refuse(
                "connections_max",
                "one that writes and one that reads are needed at least".into(),
            );
        }
        if self.search_time_max_ms == 0 {
            return refuse("search_time_max_ms", "with 0 no search would be answered".into());
        }
        self.attributes()?;
        if self.connect_timeout_ms == 0 || self.statement_timeout_ms == 0 {
            let key =
                if self.connect_timeout_ms == 0 { "connect_timeout_ms" } else { "statement_timeout_ms" };
            return refuse(key, "with 0 nothing could be asked".into());
        }
        match engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(options) => options.check().or_else(|error| refuse("url", error.to_string())),
        }
    }
}

fn refuse<T>(key: &str, why: String) -> Result<T, Error> {
    Err(Error::Value { key: format!("catalog.{key}"), why })
}

/// An address that may hold a password, which is never shown.
#[derive(Clone, PartialEq, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Url(pub(crate) String);

impl Url {
    fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return self.0.clone() };
        let without_query = rest.split('?').next().unwrap_or_default();
        let shown = match without_query.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((name, _)) => format!("{name}:…@{host}"),
                None => format!("{user}@{host}"),
            },
            None => without_query.to_owned(),
        };
        // Parameters may hold a password as well.
        let parameters = if rest.contains('?') { "?…" } else { "" };
        format!("{scheme}://{shown}{parameters}")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.redacted())
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Catalog)) -> String {
        let mut settings = Catalog::default();
        change(&mut settings);
        settings.check(Path::new("/srv/filmgate")).expect_err("refused").to_string()
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key_and_shows_no_password() {
        for url in ["mysql://u:hush@h/d", "postgres://u:hush@[", "postgres://u:hush@db.example.org/d", "hush"]
        {
            let told = refused(|settings| settings.url = Url(url.into()));
            assert!(told.contains("catalog.url") && !told.contains("hush"), "{told}");
        }
        let plain = refused(|settings| settings.url = Url("postgres://u@db.example.org/d".into()));
        assert!(plain.contains("sslmode=verify-full"), "{plain}");
        let missing = refused(|settings| {
            settings.url = Url("postgres://u@127.0.0.1/d".into());
            settings.password_file = "/no/such/file".into();
        });
        assert!(missing.contains("catalog.password_file"), "{missing}");
        assert!(refused(|settings| settings.connections_max = 1).contains("connections_max"));
        assert!(refused(|settings| settings.statement_timeout_ms = 0).contains("statement_timeout_ms"));
        for name in ["PatientAgee", "RequestAttributesSequence", "PixelData", ""] {
            let told = refused(|settings| settings.study_attributes = vec![name.into()]);
            assert!(told.contains("catalog.study_attributes"), "{told}");
        }
    }

    #[test]
    fn attributes_are_named_as_in_a_query() {
        let settings = Catalog {
            study_attributes: vec!["PatientAge".into(), "PatientID".into()],
            instance_attributes: vec!["00080008".into(), "00091001".into()],
            ..Catalog::default()
        };
        settings.check(Path::new("/d")).expect("they can be kept");
        let kept = settings.attributes().expect("attributes");
        let paths: Vec<_> = kept.iter().map(filmgate_catalog::KeptAttribute::path_text).collect();
        // Beside those that are kept in any case; the patient ID has a column.
        assert_eq!(paths[2..], ["00101010", "00080008", "00091001"]);
    }

    #[test]
    fn an_address_is_a_file_or_a_server() {
        let engine = |url: &str| {
            let settings = Catalog { url: Url(url.into()), ..Catalog::default() };
            settings.check(Path::new("/d")).expect("it can be used");
            settings.engine(Path::new("/d")).expect("an engine")
        };
        for (url, file) in
            [("", "/d/catalog.db"), ("sqlite:///var/x.db", "/var/x.db"), ("sqlite:x.db", "x.db")]
        {
            assert!(matches!(engine(url), Engine::Sqlite(path) if path == Path::new(file)), "{url}");
        }
        for url in [
            "postgres://u:p@127.0.0.1:5433/d",
            "postgresql://u@localhost/d",
            "postgres:///d?host=/run/postgresql",
            "postgres://u@db.example.org/d?sslmode=verify-full",
        ] {
            assert!(matches!(engine(url), Engine::Postgres(_)), "{url}");
        }
    }

    #[test]
    fn a_password_comes_from_its_file_and_is_shown_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, "hush\n").expect("write");
        let url = Url("postgres://u:hush@127.0.0.1/d?password=hush".into());
        let settings = Catalog { url, password_file, ..Catalog::default() };
        let engine = settings.engine(Path::new("/d")).expect("an engine");
        assert!(matches!(&engine, Engine::Postgres(options) if options.password.as_deref() == Some("hush")));
        let shown = toml::to_string(&settings).expect("TOML");
        assert!(!format!("{settings:?}{engine:?}{shown}").contains("hush"), "{shown}");
        assert!(shown.contains("postgres://u:…@127.0.0.1/d"), "{shown}");
    }
}
