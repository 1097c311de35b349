//! A study as one zip file: Part 10 files as they came, a folder for each series. It is written while it is sent, so that
//! memory holds a chunk of one instance, however large the study.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::Arc,
};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_pipeline::{OpenRecord, Road};
use parking_lot::Mutex;
use zip::{CompressionMethod, ZipWriter, result::ZipError, write::SimpleFileOptions, write::StreamWriter};

use crate::{
    Error,
    dicomweb::wado::with_type,
    extract::Path,
    router::App,
    still_shown::StillShown,
    streaming::{self, Outlet, Stopped},
};

/// Letters of a name that no file system minds.
const NAME_CHARACTERS_MAX: usize = 64;

/// A study.
pub(crate) async fn study(State(app): State<App>, Path(study): Path<String>) -> Result<Response, Error> {
    let instances = app.road().catalog().instances_of_study(&study).await?;
    if instances.is_empty() {
        return Err(Error::NotFound("study"));
    }
    let road = Arc::clone(app.road());
    let names = names(&instances);
    let permit = app.retrieve_turn().await?;
    let stall = app.settings().retrieve_stall_timeout;
    let body = streaming::body(permit, stall, |outlet| send(road, instances, names, outlet)).await?;
    let mut response = with_type(body, "application/zip");
    let headers = response.headers_mut();
    // No patient is named by a file in a folder of downloads.
    let named = format!("attachment; filename=\"study-{}.zip\"", plain(&study));
    headers.extend(HeaderValue::from_str(&named).ok().map(|named| (header::CONTENT_DISPOSITION, named)));
    Ok(response)
}

/// Names in the zip file, each of its own: what is met as a UID may hold anything.
fn names(instances: &[Location]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut name = |instance: &Location| {
        let (series, sop) = (plain(&instance.series_instance_uid), plain(&instance.sop_instance_uid));
        let mut name = format!("{series}/{sop}.dcm");
        let mut copies = 1;
        while !taken.insert(name.to_ascii_lowercase()) {
            copies += 1;
            name = format!("{series}/{sop}-{copies}.dcm");
        }
        name
    };
    instances.iter().map(&mut name).collect()
}

fn plain(uid: &str) -> String {
    let letters = uid.chars().filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-'));
    let name: String = letters.take(NAME_CHARACTERS_MAX).collect();
    let name = name.trim_matches('.');
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

fn options() -> SimpleFileOptions {
    // Stored as they are: what is compressed in DICOM gains nothing, and the rest is asked for by a local network.
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true)
}

/// Where the zip file is written before it is sent.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    async fn send(&self, outlet: &Outlet) -> Result<(), Stopped> {
        let bytes = std::mem::take(&mut *self.0.lock());
        if !bytes.is_empty() {
            outlet.send(bytes).await?;
        }
        Ok(())
    }
}

async fn send(
    road: Arc<Road>,
    instances: Vec<Location>,
    names: Vec<String>,
    outlet: Outlet,
) -> Result<(), Stopped> {
    let written = Written::default();
    let mut zip = ZipWriter::new_stream(written.clone());
    let mut still_shown = StillShown::new(instances.iter().map(|instance| instance.record_id));
    for (instance, name) in instances.iter().zip(&names) {
        // Nothing leaves before the first chunk has opened.
        let begun = begin(&road, instance).await;
        if !still_shown.next(&road).await? {
            continue;
        }
        let (record, mut chunks) = begun?;
        zip.start_file(name, options()).map_err(broken)?;
        put(&mut zip, &record.file_head())?;
        let mut number = 0;
        while !chunks.is_empty() {
            for bytes in &chunks {
                put(&mut zip, bytes)?;
                written.send(&outlet).await?;
            }
            number += chunks.len();
            chunks = record.next_chunks(number).await?;
        }
    }
    drop(zip.finish().map_err(broken)?);
    written.send(&outlet).await
}

async fn begin(
    road: &Arc<Road>,
    instance: &Location,
) -> Result<(OpenRecord, Vec<Bytes>), filmgate_pipeline::Error> {
    let record = road.open_found(instance).await?;
    record.will_read(0..u64::MAX);
    let chunks = record.next_chunks(0).await?;
    Ok((record, chunks))
}

fn put(zip: &mut ZipWriter<StreamWriter<Written>>, bytes: &[u8]) -> Result<(), Error> {
    zip.write_all(bytes).map_err(|error| broken(error.into()))
}

/// It is written to memory, which does not fail; an instance of more than a zip file can hold does.
fn broken(error: ZipError) -> Error {
    tracing::error!(error = &error as &dyn std::error::Error, "a zip file cannot be written");
    Error::NotAcceptable("this study does not fit into a zip file".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_each_of_its_own() {
        assert_eq!(plain("1.2.840"), "1.2.840");
        assert_eq!(plain("../../etc/passwd"), "etcpasswd");
        assert_eq!(plain("王^小东"), "unnamed");
        assert_eq!(plain("..."), "unnamed");
        assert_eq!(plain(&"9".repeat(200)).len(), NAME_CHARACTERS_MAX);
    }

    #[test]
    fn what_is_written_is_a_zip_file_without_going_back() {
        let written = Written::default();
        let mut zip = ZipWriter::new_stream(written.clone());
        for name in ["1.2/1.dcm", "1.2/2.dcm"] {
            zip.start_file(name, options()).expect("started");
            put(&mut zip, name.as_bytes()).expect("written");
        }
        drop(zip.finish().expect("finished"));
        let bytes = std::mem::take(&mut *written.0.lock());
        let mut read = zip::ZipArchive::new(io::Cursor::new(bytes)).expect("a zip file");
        assert_eq!(read.len(), 2);
        let text = io::read_to_string(read.by_name("1.2/2.dcm").expect("its second")).expect("its text");
        assert_eq!(text, "1.2/2.dcm");
    }
}
