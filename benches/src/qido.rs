//! `qido`: how long a search takes among many studies, in both databases. The catalog is filled by its own operations, as receipt
//! does it; what is searched is made up, by a seed, and so are the questions. Orthanc is asked the same.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use filmgate_catalog::{Catalog, CatalogOptions, PostgresOptions, Query, ReceivedInstance};
use filmgate_model::{
    Door, Facts, Identity, NodeId, Provenance, Random, RecordId, SiteId, Tag, Timestamp, tags,
};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, Executor};

use crate::{
    Places,
    machine::Machine,
    part10::CT_IMAGE,
    qido_orthanc::{self, Orthanc},
    qido_people::{Patient, hospital},
    report::{self, Table},
};

/// What a fresh server of `cargo xtask` is found by.
const POSTGRES: &str = "FILMGATE_TEST_POSTGRES_URL";
const SEED: u64 = 11;
const ROOT: &str = "1.2.826.0.1.3680043.10.1543.98";
/// Instances entered in one transaction, about.
const BATCH: usize = 2000;
/// Rows a viewer's list asks for.
pub(crate) const PAGE: u32 = 101;
const GOAL_MS: f64 = 25.0;
/// How many times as fast as Orthanc.
const GOAL_TIMES: f64 = 5.0;
const SITE: SiteId = SiteId([0x51; 16]);
const NODE: NodeId = NodeId([0x4e; 16]);
const DAY_MS: i64 = 86_400_000;
/// 2021-01-01; studies are of the five years after it.
const FIRST_DAY_MS: i64 = 1_609_459_200_000;
const DAYS: u64 = 1826;

#[derive(Debug, Args)]
pub(crate) struct Qido {
    #[command(flatten)]
    places: Places,
    /// Studies to make
    #[arg(long, default_value_t = 100_000)]
    studies: u64,
    /// Instances of each, about
    #[arg(long, default_value_t = 10)]
    instances: u64,
    /// Questions of each kind
    #[arg(long, default_value_t = 300)]
    questions: usize,
    /// One of them alone
    #[arg(long)]
    only: Option<Only>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    Sqlite,
    Postgresql,
    Orthanc,
}

/// Where a catalog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgresql,
}

#[derive(Debug, Serialize, Deserialize)]
struct Results {
    machine: Machine,
    studies: u64,
    instances: u64,
    databases: Vec<Database>,
    orthanc: Vec<qido_orthanc::Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Database {
    name: String,
    filled_seconds: f64,
    kinds: Vec<Row>,
}

/// One kind of question.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    kind: String,
    example: String,
    times: Times,
    /// The same questions, with an instance entered before each.
    while_entering: Times,
}

/// How long answers took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    questions: usize,
    /// Studies a question answers with, in the middle; up to a page.
    found: f64,
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
}

impl Times {
    pub(crate) fn of(mut took: Vec<Duration>, found: &[f64]) -> Self {
        took.sort_unstable();
        let at = |share: f64| -> f64 {
            let index = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len().max(1)) - 1;
            took.get(index).map_or(0.0, milliseconds)
        };
        Self {
            questions: took.len(),
            found: report::median(found),
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            max_ms: at(1.0),
        }
    }

    pub(crate) fn p50(&self) -> Duration {
        Duration::from_secs_f64(self.p50_ms / 1e3)
    }
}

/// What is asked.
pub(crate) struct Question {
    pub(crate) asked: Vec<(Tag, String)>,
    pub(crate) fuzzy: bool,
}

impl Qido {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let machine = Machine::look(&self.places.work, &["postgres", "Orthanc"])?;
        let (studies, questions) =
            if self.places.quick { (2000, 20) } else { (self.studies, self.questions) };
        let folder = tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(&self.places.work)?;
        let hospital = hospital(&Random::seeded(SEED), studies);
        let runtime = tokio::runtime::Runtime::new()?;
        let mut databases = Vec::new();
        for (only, engine) in [(Only::Sqlite, Engine::Sqlite), (Only::Postgresql, Engine::Postgresql)] {
            if self.only.is_none_or(|asked| asked == only) {
                databases.push(runtime.block_on(self.measure(
                    engine,
                    folder.path(),
                    &hospital,
                    questions,
                ))?);
            }
        }
        let mut orthanc = Vec::new();
        if self.only.is_none_or(|asked| asked == Only::Orthanc) {
            orthanc = self.ask_orthanc(&hospital, questions)?;
        }
        let results = Results { machine, studies, instances: studies * self.instances, databases, orthanc };
        let partial = self.places.quick || self.only.is_some();
        report::publish(&self.places, "qido", partial, &results, &results.tables())
    }

    fn ask_orthanc(&self, hospital: &[Patient], questions: usize) -> Result<Vec<qido_orthanc::Row>> {
        report::progress(&format!("Orthanc: sending it {} studies", hospital.len()));
        let since = Instant::now();
        let orthanc = Orthanc::fill(&self.places.work, hospital)?;
        report::progress(&format!("filled in {:.1} s", since.elapsed().as_secs_f64()));
        let mut rows = Vec::new();
        for kind in &KINDS {
            let asked = kind.questions(hospital, questions + WARMING);
            let (warming, timed) = asked.split_at(WARMING.min(asked.len()));
            orthanc.ask(kind.name, warming)?;
            let row = orthanc.ask(kind.name, timed)?;
            report::progress(&format!("{row:?}"));
            rows.push(row);
        }
        orthanc.end()?;
        Ok(rows)
    }

    async fn measure(
        &self,
        which: Engine,
        folder: &Path,
        hospital: &[Patient],
        questions: usize,
    ) -> Result<Database> {
        let catalog = open(which, folder).await?;
        report::progress(&format!("{}: filling it with {} studies", catalog.engine_name(), hospital.len()));
        let since = Instant::now();
        self.fill(&catalog, hospital).await?;
        let filled_seconds = since.elapsed().as_secs_f64();
        report::progress(&format!("filled in {filled_seconds:.1} s"));
        if which == Engine::Postgresql {
            settle_postgres().await?;
        }
        let mut kinds = Vec::new();
        for kind in &KINDS {
            let row = ask(&catalog, hospital, kind, questions).await?;
            report::progress(&format!("{row:?}"));
            kinds.push(row);
        }
        let name = catalog.engine_name().to_owned();
        catalog.close().await?;
        Ok(Database { name, filled_seconds, kinds })
    }

    async fn fill(&self, catalog: &Catalog, hospital: &[Patient]) -> Result<()> {
        let random = Random::seeded(SEED + 1);
        let mut batch = Vec::with_capacity(BATCH + 64);
        let mut record = 0_u128;
        for (study, patient) in hospital.iter().enumerate() {
            for number in 0..self.instances {
                record += 1;
                batch.push(instance(record, study, patient, number, &random));
            }
            if batch.len() >= BATCH {
                catalog.record_received(&batch, Timestamp(FIRST_DAY_MS)).await?;
                batch.clear();
            }
        }
        catalog.record_received(&batch, Timestamp(FIRST_DAY_MS)).await?;
        Ok(())
    }
}

async fn open(which: Engine, folder: &Path) -> Result<Catalog> {
    let options = CatalogOptions::new(SITE, NODE);
    Ok(match which {
        Engine::Sqlite => Catalog::open(&folder.join("catalog.db"), &[7; 32], &options).await?,
        Engine::Postgresql => Catalog::connect(&PostgresOptions::new(postgres_url()?), &options).await?,
    })
}

fn postgres_url() -> Result<String> {
    std::env::var(POSTGRES).with_context(|| format!("{POSTGRES}: cargo xtask bench qido starts a server"))
}

/// What autovacuum does on its own within minutes of such a load.
async fn settle_postgres() -> Result<()> {
    let mut connection = sqlx::PgConnection::connect(&postgres_url()?).await?;
    connection.execute("VACUUM ANALYZE").await?;
    connection.close().await?;
    Ok(())
}

/// Two series of a study; what the facts are of does not matter to a search.
fn instance(record: u128, study: usize, patient: &Patient, number: u64, random: &Random) -> ReceivedInstance {
    let record_id = RecordId(record.to_be_bytes());
    let series = number % 2;
    let mut facts = Facts::default();
    for (tag, value) in [
        (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192"),
        (tags::SOP_CLASS_UID, CT_IMAGE),
        (tags::SOP_INSTANCE_UID, &format!("{ROOT}.3.{record}")),
        (tags::STUDY_INSTANCE_UID, &format!("{ROOT}.1.{study}")),
        (tags::SERIES_INSTANCE_UID, &format!("{ROOT}.2.{study}.{series}")),
        (tags::STUDY_DATE, &patient.date),
        (tags::STUDY_TIME, &patient.time),
        (tags::ACCESSION_NUMBER, &patient.accession),
        (tags::MODALITY, patient.modality),
        (tags::STUDY_DESCRIPTION, patient.description),
        (tags::SERIES_DESCRIPTION, patient.description),
        (tags::REFERRING_PHYSICIAN_NAME, patient.referring),
        (tags::PATIENT_NAME, &patient.name),
        (tags::PATIENT_ID, &patient.id),
        (tags::PATIENT_BIRTH_DATE, "19700101"),
        (tags::PATIENT_SEX, "O"),
        (tags::SERIES_NUMBER, &series.to_string()),
        (tags::INSTANCE_NUMBER, &number.to_string()),
    ] {
        facts.insert(tag, value.as_bytes());
    }
    let provenance = Provenance {
        received_at: Timestamp(FIRST_DAY_MS),
        door: Door::CStore,
        calling_ae: "CT_1".to_owned(),
        called_ae: "FILMGATE".to_owned(),
        peer: "192.0.2.1:11112".to_owned(),
        node: NODE,
        ..Provenance::untold("1.2.840.10008.1.2.1")
    };
    ReceivedInstance {
        record_id,
        identity: Identity::of(record_id, &facts, &provenance),
        facts,
        provenance,
        dataset_bytes: 527_000,
        record_bytes: 120_000,
        dataset_sha256: random.array(),
        pixel_digest: Some(random.array()),
        quarantine: None,
    }
}

/// A kind of question: what makes one, from some study.
struct Kind {
    name: &'static str,
    fuzzy: bool,
    of: fn(&Patient, &Random) -> Vec<(Tag, String)>,
}

impl Kind {
    /// The same questions for whoever is asked.
    fn questions(&self, hospital: &[Patient], count: usize) -> Vec<Question> {
        let random = Random::seeded(SEED + 2);
        let question = |_| {
            let patient = &hospital[random.below(hospital.len() as u64) as usize];
            Question { asked: (self.of)(patient, &random), fuzzy: self.fuzzy }
        };
        (0..count).map(question).collect()
    }
}

const KINDS: [Kind; 13] = [
    Kind { name: "the newest", fuzzy: false, of: |_, _| Vec::new() },
    Kind {
        name: "name contains, Latin",
        fuzzy: false,
        of: |patient, random| vec![(tags::PATIENT_NAME, contains(&patient.latin_piece(random)))],
    },
    Kind {
        name: "name contains, one Chinese character",
        fuzzy: false,
        of: |patient, random| vec![(tags::PATIENT_NAME, contains(&patient.chinese_piece(random, 1)))],
    },
    Kind {
        name: "name contains, two Chinese characters",
        fuzzy: false,
        of: |patient, random| vec![(tags::PATIENT_NAME, contains(&patient.chinese_piece(random, 2)))],
    },
    Kind {
        name: "name, fuzzy, two words",
        fuzzy: true,
        of: |patient, _| vec![(tags::PATIENT_NAME, patient.words())],
    },
    Kind {
        name: "dates of a month, newest 100",
        fuzzy: false,
        of: |_, random| vec![(tags::STUDY_DATE, month(random))],
    },
    Kind {
        name: "modality and dates of a month",
        fuzzy: false,
        of: |patient, random| {
            vec![(tags::MODALITIES_IN_STUDY, patient.modality.to_owned()), (tags::STUDY_DATE, month(random))]
        },
    },
    Kind {
        name: "modality",
        fuzzy: false,
        of: |patient, _| vec![(tags::MODALITIES_IN_STUDY, patient.modality.to_owned())],
    },
    Kind {
        name: "accession number",
        fuzzy: false,
        of: |patient, _| vec![(tags::ACCESSION_NUMBER, patient.accession.clone())],
    },
    Kind {
        name: "accession number contains",
        fuzzy: false,
        of: |patient, random| {
            vec![(tags::ACCESSION_NUMBER, contains(&piece(&patient.accession, 4 + random.below(5), random)))]
        },
    },
    Kind { name: "patient ID", fuzzy: false, of: |patient, _| vec![(tags::PATIENT_ID, patient.id.clone())] },
    Kind {
        name: "patient ID contains",
        fuzzy: false,
        of: |patient, random| {
            vec![(tags::PATIENT_ID, contains(&piece(&patient.id, 3 + random.below(5), random)))]
        },
    },
    Kind {
        name: "name, modality and dates of a year",
        fuzzy: false,
        of: |patient, random| {
            let year = 2021 + random.below(5);
            vec![
                (tags::PATIENT_NAME, contains(&patient.latin_piece(random))),
                (tags::MODALITIES_IN_STUDY, patient.modality.to_owned()),
                (tags::STUDY_DATE, format!("{year}0101-{year}1231")),
            ]
        },
    },
];

fn contains(piece: &str) -> String {
    format!("*{piece}*")
}

/// So many characters of a text, from somewhere in it.
pub(crate) fn piece(text: &str, characters: u64, random: &Random) -> String {
    let all: Vec<char> = text.chars().collect();
    let length = (characters as usize).min(all.len());
    let from = random.below((all.len() - length + 1) as u64) as usize;
    all[from..from + length].iter().collect()
}

fn month(random: &Random) -> String {
    let from = random.below(DAYS - 30);
    format!("{}-{}", day(from), day(from + 30))
}

/// `YYYYMMDD` of a day of the five years.
pub(crate) fn day(number: u64) -> String {
    let text = Timestamp(FIRST_DAY_MS + DAY_MS * number as i64).to_string();
    text.chars().filter(char::is_ascii_digit).take(8).collect()
}

pub(crate) const fn days() -> u64 {
    DAYS
}

/// Asks twice: while nothing is entered, and with an instance that arrives before each question.
async fn ask(catalog: &Catalog, hospital: &[Patient], kind: &Kind, questions: usize) -> Result<Row> {
    let questions = kind.questions(hospital, questions + WARMING);
    let times = answers(catalog, &questions, None).await.with_context(|| kind.name)?;
    let entered = (&hospital[0], Random::seeded(SEED + 3));
    let while_entering = answers(catalog, &questions, Some(entered)).await.with_context(|| kind.name)?;
    let texts = questions.last().map(|last| last.asked.iter().map(|(_, text)| text.as_str()));
    let example = texts.into_iter().flatten().collect::<Vec<_>>().join(" & ");
    Ok(Row { kind: kind.name.to_owned(), example, times, while_entering })
}

async fn answers(
    catalog: &Catalog,
    questions: &[Question],
    entered: Option<(&Patient, Random)>,
) -> Result<Times> {
    let (mut took, mut found) = (Vec::with_capacity(questions.len()), Vec::with_capacity(questions.len()));
    // The first few warm what would be warm.
    for (number, Question { asked, fuzzy }) in questions.iter().enumerate() {
        let mut query = Query::new().fuzzy(*fuzzy);
        for (tag, text) in asked {
            query = query.matching(*tag, text)?;
        }
        let query = query.page(PAGE, 0);
        if let Some((patient, random)) = &entered {
            let record = u128::from_be_bytes(random.array());
            let arrives = instance(record, ENTERED_STUDY, patient, 0, random);
            catalog.record_received(&[arrives], Timestamp(FIRST_DAY_MS)).await?;
        }
        let since = Instant::now();
        let page = catalog.search_studies(&query).await?;
        let elapsed = since.elapsed();
        ensure!(page.rows.len() <= PAGE as usize, "a page is too long");
        if number >= WARMING {
            took.push(elapsed);
            found.push(page.rows.len() as f64);
        }
    }
    Ok(Times::of(took, &found))
}

/// The study of what arrives meanwhile.
const ENTERED_STUDY: usize = usize::MAX;
const WARMING: usize = 5;

fn milliseconds(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Results {
    fn tables(&self) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "{} (UTC). {}, {} cores, {:.0} GB, Linux {}, {}. Load before: {:.1}.\n\n{} studies, {} instances; pages of {PAGE} rows.\n",
            machine.measured_at,
            machine.cpu,
            machine.cores,
            machine.memory_bytes as f64 / 1e9,
            machine.kernel,
            machine.file_system,
            machine.load_before,
            self.studies,
            self.instances,
        );
        for database in &self.databases {
            let rate = self.instances as f64 / database.filled_seconds;
            text += &format!(
                "\n**{}**: filled in {:.0} s, {rate:.0} instances a second.\n\n",
                database.name, database.filled_seconds
            );
            let mut table = Table::new(&[
                "asked",
                "such as",
                "rows",
                "p50 ms",
                "p95 ms",
                "most ms",
                "goal: p95 ≤ 25 ms",
                "while instances arrive: p50 ms",
                "p95 ms",
                "Orthanc: rows",
                "p50 ms",
                "p95 ms",
                "times as fast, by p50",
                "goal: ≥ 5 ×",
            ]);
            for row in &database.kinds {
                let times = &row.times;
                let mut cells = vec![
                    row.kind.clone(),
                    format!("`{}`", row.example),
                    format!("{:.0}", times.found),
                    format!("{:.2}", times.p50_ms),
                    format!("{:.2}", times.p95_ms),
                    format!("{:.2}", times.max_ms),
                    verdict(times.p95_ms <= GOAL_MS),
                    format!("{:.2}", row.while_entering.p50_ms),
                    format!("{:.2}", row.while_entering.p95_ms),
                ];
                let other = self.orthanc.iter().find(|other| other.kind == row.kind);
                cells.extend(other.map_or_else(Default::default, |other| {
                    let faster = other.times.p50_ms / times.p50_ms;
                    let finds = other.times.found > 0.0;
                    [
                        format!("{:.0}", other.times.found),
                        format!("{:.0}", other.times.p50_ms),
                        format!("{:.0}", other.times.p95_ms),
                        format!("{faster:.1} ×"),
                        if finds { verdict(faster >= GOAL_TIMES) } else { "finds none".to_owned() },
                    ]
                }));
                table.row(&cells);
            }
            text += &table.text();
        }
        text
    }
}

fn verdict(met: bool) -> String {
    if met { "met" } else { "**missed**" }.to_owned()
}
