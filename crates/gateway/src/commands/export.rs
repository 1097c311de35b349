//! `filmgate export`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use filmgate_model::RecordId;
use filmgate_pipeline::{Exported, FileNames, Road};
use serde_json::{Value, json};
use ureq::http::HeaderMap;

use super::{SettingsFrom, local::Local, runtime};
use crate::{build, failure};

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFrom,
    #[command(flatten)]
    what: What,
    /// Folder to write to; it is made when it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// One line of JSON per instance.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Every instance of a study, by its Study Instance UID.
    #[arg(long, value_name = "UID")]
    study: Option<String>,
    /// One record.
    #[arg(long, value_name = "ID")]
    record: Option<RecordId>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    let mut export = Export::new(arguments)?;
    match Local::find(&settings)? {
        Some(gateway) => export.fetch_from_gateway(&gateway)?,
        None => runtime()?.block_on(async {
            let gateway = build::open(&settings).await?;
            export.write_from_directory(&gateway.road).await
        })?,
    }
    Ok(export.finish())
}

struct Export<'a> {
    arguments: &'a Arguments,
    names: FileNames,
    written: u64,
    failed: u64,
}

impl<'a> Export<'a> {
    fn new(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let out = &arguments.out;
        fs::create_dir_all(out).with_context(|| format!("make the folder {}", out.display()))?;
        Ok(Self { arguments, names: FileNames::default(), written: 0, failed: 0 })
    }

    async fn write_from_directory(&mut self, road: &Arc<Road>) -> anyhow::Result<()> {
        let records = match &self.arguments.what {
            What { record: Some(record_id), .. } => vec![*record_id],
            What { study, .. } => {
                let listed = road.catalog().records_of_study(study.as_deref().unwrap_or_default()).await?;
                listed.into_iter().map(|record| record.record_id).collect()
            }
        };
        for record_id in records {
            let written = self.write_opened(road, record_id).await;
            self.tell(record_id, written);
        }
        Ok(())
    }

    async fn write_opened(
        &mut self,
        road: &Arc<Road>,
        record_id: RecordId,
    ) -> anyhow::Result<(PathBuf, Exported)> {
        let opened = road.open(record_id).await?;
        let path = self.path(&opened.identity().sop_instance_uid, record_id);
        let mut file = unfinished(&path)?;
        let exported = opened.write_file(&mut file).await?;
        finish(file, &path)?;
        Ok((path, exported))
    }

    fn fetch_from_gateway(&mut self, gateway: &Local) -> anyhow::Result<()> {
        let records = match &self.arguments.what {
            What { record: Some(record_id), .. } => vec![*record_id],
            What { study, .. } => {
                let path = format!("/api/studies/{}/records", study.as_deref().unwrap_or_default());
                let Some(listed) = gateway.stream(&path)? else { return Ok(()) };
                let listed: Value = serde_json::from_reader(listed.into_body().into_reader())?;
                let ids = listed.as_array().into_iter().flatten().filter_map(|row| row["record_id"].as_str());
                ids.map(str::parse).collect::<Result<_, _>>()?
            }
        };
        for record_id in records {
            let written = self.fetch(gateway, record_id);
            self.tell(record_id, written);
        }
        Ok(())
    }

    fn fetch(&mut self, gateway: &Local, record_id: RecordId) -> anyhow::Result<(PathBuf, Exported)> {
        let response = gateway.stream(&format!("/api/records/{record_id}"))?;
        let response = response.ok_or_else(|| anyhow::anyhow!("no such record is known"))?;
        let exported = exported_of(record_id, response.headers())?;
        let path = self.path(&exported.sop_instance_uid, record_id);
        let mut file = unfinished(&path)?;
        let copied = io::copy(&mut response.into_body().into_reader(), &mut file)?;
        let expected = exported.dataset_offset_bytes + exported.dataset_bytes;
        anyhow::ensure!(copied == expected, "the gateway sent {copied} bytes of {expected}");
        finish(file, &path)?;
        Ok((path, exported))
    }

    fn path(&mut self, sop_instance_uid: &str, record_id: RecordId) -> PathBuf {
        self.arguments.out.join(self.names.name(sop_instance_uid, record_id))
    }

    fn tell(&mut self, record_id: RecordId, written: anyhow::Result<(PathBuf, Exported)>) {
        match written {
            Ok((path, exported)) => {
                self.written += 1;
                if self.arguments.json {
                    let mut line = json!(exported);
                    line["path"] = json!(path);
                    failure::print_json(&line);
                }
            }
            Err(error) => {
                self.failed += 1;
                failure::eprint(&format!("filmgate: record {record_id}: {error:#}"));
            }
        }
    }

    fn finish(self) -> u8 {
        let Self { written, failed, .. } = self;
        if written + failed == 0 {
            failure::eprint("filmgate: no such study is known; `filmgate status` shows what is");
            return failure::COULD_NOT_RUN;
        }
        if !self.arguments.json {
            failure::print(&format!(
                "{written} instances written to {}, {failed} failed",
                self.arguments.out.display()
            ));
        }
        if failed > 0 { failure::SOME_FAILED } else { failure::DONE }
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("dcm.unfinished")
}

fn unfinished(path: &Path) -> anyhow::Result<File> {
    let beside = beside(path);
    File::create(&beside).with_context(|| format!("write {}", beside.display()))
}

/// A file has its name only when it is whole.
fn finish(mut file: File, path: &Path) -> anyhow::Result<()> {
    file.flush()?;
    fs::rename(beside(path), path).with_context(|| format!("write {}", path.display()))
}

fn exported_of(record_id: RecordId, headers: &HeaderMap) -> anyhow::Result<Exported> {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let number =
        |name: &str| text(name).parse().with_context(|| format!("the gateway's answer has no {name}"));
    Ok(Exported {
        record_id,
        study_instance_uid: text("x-filmgate-study-instance-uid"),
        sop_instance_uid: text("x-filmgate-sop-instance-uid"),
        dataset_offset_bytes: number("x-filmgate-dataset-offset")?,
        dataset_bytes: number("x-filmgate-dataset-bytes")?,
        dataset_sha256: text("x-filmgate-dataset-sha256"),
    })
}
