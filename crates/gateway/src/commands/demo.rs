//! `filmgate demo`: the whole road on this machine, with the sample studies.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use filmgate_model::{AeTitle, InstanceState};
use filmgate_pipeline::Road;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::{runtime, send, serve::Doors};
use crate::{
    config::{self, Settings},
    failure, logging,
};

/// Who the samples come from.
const SENDER: &str = "DEMO_CT";
/// Studies shown.
const STUDIES_MAX: u32 = 100;
/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// DICOM files to send, or folders with such; may be given several times.
    #[arg(long, value_name = "PATH", default_value = "fixtures/dicom")]
    samples: Vec<PathBuf>,
    /// Data directory of the demonstration.
    #[arg(long, value_name = "DIR", default_value = "target/demo/data")]
    data_dir: PathBuf,
    /// End when the samples are verified instead of serving on.
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    for samples in &arguments.samples {
        anyhow::ensure!(
            samples.exists(),
            "there is no file or folder {}; name one by --samples",
            samples.display()
        );
    }
    if let Some(folder) = arguments.data_dir.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    }
    let settings = settings(arguments)?;
    logging::start(&settings.log)?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    runtime()?.block_on(async move {
        let doors = Doors::open(&settings, metrics).await?;
        let web = doors.running().web;
        failure::print(&format!(
            "Filmgate takes studies at {} (AE title {}) and answers at http://{web}/",
            doors.running().dicom,
            settings.dicom.aet
        ));
        send_samples(&settings, doors.running().dicom.to_string(), arguments.samples.clone()).await?;
        let verified = follow(doors.road()).await?;
        tell_what_next(&settings, doors.road(), &web.to_string(), &doors.running().dicom.to_string()).await?;
        if arguments.once {
            doors.stop().await;
            return Ok(if verified { failure::DONE } else { failure::SOME_FAILED });
        }
        failure::print(&format!("Ctrl-C ends it; the data stays in {}.", shown(&settings.node.data_dir)));
        doors.until_stopped().await
    })
}

/// The defaults with a quick hand for packing, on free ports where the usual ones are taken.
fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    let mut settings = config::load(None, std::env::vars())?;
    settings.node.data_dir.clone_from(&arguments.data_dir);
    settings.dicom.known_callers.insert(SENDER.parse::<AeTitle>()?);
    settings.pack.quiet_ms = 1_000;
    settings.log.filter = "warn".into();
    for address in [&mut settings.dicom.bind, &mut settings.web.bind] {
        if std::net::TcpListener::bind(*address).is_err() {
            address.set_port(0);
        }
    }
    Ok(settings)
}

async fn send_samples(settings: &Settings, to: String, samples: Vec<PathBuf>) -> anyhow::Result<()> {
    let (aec, aet) = (settings.dicom.aet.clone(), SENDER.parse()?);
    let sent = filmgate_model::compute(move || send::send_paths(&to, &aec, &aet, samples)).await??;
    anyhow::ensure!(sent != failure::COULD_NOT_RUN, "no association with ourselves");
    Ok(())
}

/// Shows a line per study until everything is verified or apart; true when nothing else is left.
async fn follow(road: &Arc<Road>) -> anyhow::Result<bool> {
    let bars = MultiProgress::new();
    let mut lines: BTreeMap<String, ProgressBar> = BTreeMap::new();
    loop {
        let mut under_way = false;
        for study in road.catalog().study_progress(STUDIES_MAX).await? {
            let instances: u64 = study.records.values().sum();
            let verified = study.records.get(&InstanceState::Verified).copied().unwrap_or(0);
            let line = lines.entry(study.study_instance_uid.clone()).or_insert_with(|| study_line(&bars));
            line.set_length(instances);
            line.set_position(verified);
            line.set_message(study.study_instance_uid.clone());
            if verified == instances && !line.is_finished() {
                line.finish();
                tell_study(&bars, verified, &study.study_instance_uid);
            }
            under_way |= verified < instances;
        }
        let states = road.catalog().counts_by_state().await?;
        let of = |state| states.get(&state).copied().unwrap_or(0);
        let moving = [
            InstanceState::Received,
            InstanceState::Packed,
            InstanceState::Uploaded,
            InstanceState::Retrying,
        ];
        if !under_way && !lines.is_empty() && moving.into_iter().all(|state| of(state) == 0) {
            return Ok(of(InstanceState::Damaged) == 0);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where nobody watches bars, a line says that a study is safe.
fn tell_study(bars: &MultiProgress, instances: u64, study_instance_uid: &str) {
    if bars.is_hidden() {
        failure::print(&format!("  verified {instances:>4} of {instances:<4} study {study_instance_uid}"));
    }
}

fn study_line(bars: &MultiProgress) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(0));
    if let Ok(style) = ProgressStyle::with_template("  verified {bar:24} {pos:>4}/{len:<4} study {msg}") {
        bar.set_style(style);
    }
    bar
}

async fn tell_what_next(settings: &Settings, road: &Arc<Road>, web: &str, dicom: &str) -> anyhow::Result<()> {
    let studies = road.catalog().study_progress(STUDIES_MAX).await?;
    let instances: u64 = studies.iter().flat_map(|study| study.records.values()).sum();
    let study = studies.first().map(|study| study.study_instance_uid.clone()).unwrap_or_default();
    let (aet, data_dir) = (&settings.dicom.aet, shown(&settings.node.data_dir));
    let has_viewer = !settings.viewer.path.as_os_str().is_empty();
    let viewer =
        if has_viewer { ", and the image viewer" } else { " (cargo xtask viewer makes the image viewer)" };
    failure::print(&format!(
        "\n{} studies with {instances} instances are sealed, packed, uploaded and verified.\n\n\
         Open   http://{web}/                                  status page\n\
         Open   http://{web}/studies                           studies{viewer}\n\
         Ask    http://{web}/dicomweb/studies                  QIDO-RS\n\
         Fetch  http://{web}/dicomweb/studies/{study}/metadata\n\n\
         Try    target/release/filmgate send {dicom} YOUR_FILES --aec {aet} --aet {SENDER}\n\
         Try    FILMGATE__NODE__DATA_DIR={data_dir} target/release/filmgate export --study {study} --out target/demo/export\n\
         Try    FILMGATE__NODE__DATA_DIR={data_dir} target/release/filmgate verify --deep\n",
        studies.len(),
    ));
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
