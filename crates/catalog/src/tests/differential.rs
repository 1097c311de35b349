//! Thousands of searches beside a plain reference: the files of the test data where there are any, patients made up beside
//! them, and questions about all of it. Rows, their order, pages and the word that there are more must be equal.

use std::{fmt::Write as _, io::Write as _, path::PathBuf};

use filmgate_model::{Facts, Identity, Provenance, Random, RecordId, Tag, VR, part10, tags};
use filmgate_seal::{RecordKey, RecordSealer, SealOptions};

use super::reference::{ASKED, Asked, How, Of, Question, Reference, Uids, Values};
use crate::{
    AttributeOf, AttributeValues, Attributes, Catalog, CatalogOptions, InstanceAttributes, PostgresOptions,
    Query, ReceivedInstance,
    suite::{
        options,
        postgres::TestDatabase,
        support::{NOW, provenance},
    },
};

const QUESTIONS: usize = 5000;
/// Another one is taken from `FILMGATE_TEST_SEED`.
const SEED: u64 = 20_261_130;
const STUDIES: u64 = 240;

const SURNAMES: [(&str, &str); 12] = [
    ("Wang", "王"),
    ("Li", "李"),
    ("Zhang", "张"),
    ("Liu", "刘"),
    ("Chen", "陈"),
    ("Ouyang", "欧阳"),
    ("Müller", ""),
    ("Großmann", ""),
    ("O'Brien", ""),
    ("van der Berg", ""),
    ("Lefèvre-Çelik", ""),
    ("KIM", "김"),
];
const GIVEN: [(&str, &str); 10] = [
    ("XiaoDong", "小东"),
    ("XiaoLi", "小丽"),
    ("Wei", "伟"),
    ("Fang", "芳"),
    ("Na", "娜"),
    ("Jun^M", "军"),
    ("Änne", "娜"),
    ("", ""),
    ("Hans Peter", "小"),
    ("Mary_50%!", "东"),
];
const IDS: [&str; 6] = ["P", "p", "A%", "A_", "病", "0"];
const DESCRIPTIONS: [&str; 7] = ["CT HEAD", "Head ct", "胸部平扫", "Thorax 50%", "T1_tse", "", "a,b"];
const MODALITIES: [&str; 5] = ["CT", "MR", "US", "SR", "ct"];
const DATES: [&str; 7] = ["20240131", "2024.02.01", "20240201", "20241231", "20250101", "", "19991231"];
const TIMES: [&str; 7] = ["0800", "080000", "10:30:00", "103000.5", "235959", "", "10"];

struct Made {
    instance: ReceivedInstance,
    values: Values,
    beside: Values,
}

struct Maker {
    random: Random,
    made: Vec<Made>,
}

impl Maker {
    fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.random.below(from.len() as u64) as usize]
    }

    fn one_in(&self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    fn add(&mut self, facts: Facts, provenance: Provenance, beside: Values) {
        let record_id = RecordId((self.made.len() as u128 + 1).to_be_bytes());
        let values = values_of(&facts);
        let instance = ReceivedInstance {
            record_id,
            identity: Identity::of(record_id, &facts, &provenance),
            facts,
            provenance,
            dataset_bytes: 1000,
            record_bytes: 500,
            dataset_sha256: [0; 32],
            pixel_digest: None,
            quarantine: None,
        };
        self.made.push(Made { instance, values, beside });
    }

    /// Every file that can be read as an instance.
    fn add_files(&mut self) -> usize {
        let named = std::env::var_os("FILMGATE_TEST_DATA").map(PathBuf::from);
        let folder =
            named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
        let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.tsv")) else {
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "no test data");
            return 0;
        };
        let before = self.made.len();
        for path in manifest.lines().skip(1).filter_map(|line| line.split('\t').next()) {
            let Ok(bytes) = std::fs::read(folder.join(path)) else { continue };
            let head = part10::read_file_head(&bytes).unwrap_or_default();
            let Some(dataset) = bytes.get(head.dataset_offset..) else { continue };
            let provenance = Provenance { received_at: NOW, ..Provenance::untold(&head.transfer_syntax_uid) };
            let key = RecordKey::from_bytes([0; 32]);
            let mut sealer =
                RecordSealer::new(RecordId([0; 16]), key, provenance.clone(), &SealOptions::default());
            let mut thrown_away = Vec::new();
            sealer.push(dataset, &mut thrown_away);
            let facts = sealer.finish(&mut thrown_away).facts;
            let identified = [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID];
            if identified.iter().all(|tag| facts.text(*tag).is_some()) {
                self.add(facts, provenance, Values::new());
            }
        }
        self.made.len() - before
    }

    fn add_patients(&mut self) {
        for study in 0..STUDIES {
            let name = self.name();
            let (id, date, time) = (self.id(), self.pick(&DATES).to_string(), self.pick(&TIMES).to_string());
            for series in 0..1 + self.random.below(3) {
                let modality = self.pick(&MODALITIES).to_string();
                for instance in 0..1 + self.random.below(3) {
                    self.add_one(study, series, instance, [&name, &id, &date, &time, &modality]);
                }
            }
        }
    }

    fn add_one(&mut self, study: u64, series: u64, instance: u64, said: [&str; 5]) {
        let [name, id, date, time, modality] = said;
        // Some UIDs come in two series of their study: only the first is served.
        let of = if self.one_in(12) { 0 } else { series };
        let number = if self.one_in(9) { String::new() } else { (instance + 3 * (series % 2)).to_string() };
        let mut facts = Facts::default();
        for (tag, value) in [
            (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192"),
            (tags::STUDY_INSTANCE_UID, &format!("1.2.{study}")),
            (tags::SERIES_INSTANCE_UID, &format!("1.2.{study}.{series}")),
            (tags::SOP_INSTANCE_UID, &format!("1.2.{study}.{of}.{instance}")),
            (tags::SOP_CLASS_UID, if modality == "SR" { "1.2.840.10008.5.1.4.1.1.88.11" } else { "1.2.3" }),
            (tags::PATIENT_NAME, if self.one_in(6) { "" } else { name }),
            (tags::PATIENT_ID, if self.one_in(6) { "" } else { id }),
            (tags::ISSUER_OF_PATIENT_ID, if self.one_in(2) { "HOSPITAL" } else { "" }),
            (tags::PATIENT_BIRTH_DATE, *self.pick(&DATES)),
            (tags::PATIENT_SEX, *self.pick(&["M", "F", "O", ""])),
            (tags::STUDY_DATE, date),
            (tags::STUDY_TIME, time),
            (tags::ACCESSION_NUMBER, &format!("{}{}", self.pick(&["ACC", "acc", "", "A"]), study / 3)),
            (tags::STUDY_ID, *self.pick(&["1", "01", "S*", ""])),
            (tags::STUDY_DESCRIPTION, *self.pick(&DESCRIPTIONS)),
            (tags::REFERRING_PHYSICIAN_NAME, &self.name()),
            (tags::MODALITY, modality),
            (tags::SERIES_NUMBER, &series.to_string()),
            (tags::SERIES_DESCRIPTION, *self.pick(&DESCRIPTIONS)),
            (tags::SERIES_DATE, *self.pick(&DATES)),
            (tags::SERIES_TIME, *self.pick(&TIMES)),
            (tags::BODY_PART_EXAMINED, *self.pick(&["HEAD", "CHEST", ""])),
            (tags::PROTOCOL_NAME, *self.pick(&DESCRIPTIONS)),
            (tags::STATION_NAME, *self.pick(&["CT1", "CT2", ""])),
            (tags::PERFORMED_PROCEDURE_STEP_START_DATE, *self.pick(&DATES)),
            (tags::PERFORMED_PROCEDURE_STEP_START_TIME, *self.pick(&TIMES)),
            (tags::INSTANCE_NUMBER, &number),
            (tags::NUMBER_OF_FRAMES, *self.pick(&["", "1", "30", "x"])),
        ] {
            facts.insert(tag, value.as_bytes());
        }
        let operator = self.name();
        let beside = [
            (tags::PATIENT_AGE, vec![format!("{:03}Y", self.random.below(4))]),
            (tags::REQUESTED_PROCEDURE_ID, vec![self.id(), self.id()]),
            (tags::OPERATORS_NAME, vec![operator]),
            (tags::IMAGE_TYPE, vec!["ORIGINAL".to_owned(), self.pick(&["AXIAL", "LOCALIZER"]).to_string()]),
        ];
        let stated = beside.into_iter().filter(|(_, values)| !values[0].is_empty() && !self.one_in(3));
        let beside = stated.collect();
        self.add(facts, provenance(1), beside);
    }

    fn name(&self) -> String {
        let ((latin, ideographic), (given, characters)) = (*self.pick(&SURNAMES), *self.pick(&GIVEN));
        match self.random.below(6) {
            0 if !ideographic.is_empty() => format!("{ideographic}^{characters}"),
            1 if !ideographic.is_empty() => format!("={ideographic}^{characters}"),
            2 => format!("{latin}^{given}={ideographic}^{characters}=phon"),
            3 => latin.to_uppercase(),
            _ if ideographic.is_empty() => format!("{latin}^{given}^^"),
            _ => format!("{latin}^{given}={ideographic}^{characters}"),
        }
    }

    fn id(&self) -> String {
        format!("{}{}", self.pick(&IDS), self.random.below(30))
    }

    fn question(&self, reference: &Reference, instances: &[Uids]) -> Question {
        let rows = *self.pick(&[Of::Study, Of::Study, Of::Series, Of::Instance]);
        let (study, series, _) = self.pick(instances).clone();
        let study = (rows != Of::Study && self.one_in(4)).then_some(study);
        let series = (study.is_some() && rows == Of::Instance && self.one_in(2)).then_some(series);
        let conditions = (0..self.random.below(4)).map(|_| {
            let asked = *self.pick(&ASKED);
            (asked, self.text(reference, &asked))
        });
        let mut conditions: Vec<(Asked, String)> = conditions.collect();
        conditions.sort_by_key(|(asked, _)| format!("{:?}", asked.path));
        conditions.dedup_by_key(|(asked, _)| asked.path);
        Question {
            rows,
            study,
            series,
            conditions,
            fuzzy: self.one_in(4),
            moments: self.one_in(4),
            limit: *self.pick(&[0, 1, 2, 5, 20, 10_000]),
            offset: *self.pick(&[0, 0, 0, 1, 7, 9999]),
        }
    }

    /// A value that something has, or a part of it, as a pattern, a list or a range.
    fn text(&self, reference: &Reference, asked: &Asked) -> String {
        let values = match asked.path {
            [tags::MODALITIES_IN_STUDY] => reference.values_of(tags::MODALITY),
            [tags::SOP_CLASSES_IN_STUDY] => reference.values_of(tags::SOP_CLASS_UID),
            [tags::STUDY_INSTANCE_UID] => vec!["1.2.1".to_owned(), "1.2.77".to_owned()],
            [tags::SERIES_INSTANCE_UID] => vec!["1.2.1.0".to_owned(), "1.2.7.1".to_owned()],
            [tags::SOP_INSTANCE_UID] => vec!["1.2.1.0.0".to_owned(), "1.2.7.1.0".to_owned()],
            path => reference.values_of(*path.last().expect("a path")),
        };
        // What is no date was received all the same, but cannot be asked for.
        let digits = |value: &String| value.chars().all(|one| one.is_ascii_digit() || one == '.');
        let values: Vec<String> = match asked.how {
            How::Date | How::Time => values.into_iter().filter(digits).collect(),
            _ => values,
        };
        if values.is_empty() || self.one_in(40) {
            return self.pick(&["", "*", "**"]).to_string();
        }
        let (one, other) = (self.pick(&values).clone(), self.pick(&values).clone());
        match asked.how {
            How::Uids => format!("{one},{other}"),
            How::Number => one,
            How::Date | How::Time => match self.random.below(5) {
                0 => one,
                1 => format!("{one}-"),
                2 => format!("-{one}"),
                _ => format!("{}-{}", one.as_str().min(other.as_str()), one.as_str().max(other.as_str())),
            },
            How::Codes if self.one_in(2) => format!("{one}{}{other}", self.pick(&[",", "\\"])),
            How::Codes | How::Text => self.pattern(&one),
            How::Name => {
                let group = self.pick(&one.split('=').collect::<Vec<_>>()).to_string();
                let name = if self.one_in(3) { one } else { group };
                match self.random.below(6) {
                    0 => self.pattern(&name.to_uppercase()),
                    1 => name.split('^').rev().collect::<Vec<_>>().join(" "),
                    2 => name.replace(['^', '='], ""),
                    _ => self.pattern(&name),
                }
            }
        }
    }

    fn pattern(&self, value: &str) -> String {
        let characters: Vec<char> = value.chars().collect();
        if characters.is_empty() {
            return "?".to_owned();
        }
        let from = self.random.below(characters.len() as u64) as usize;
        let to = from + 1 + self.random.below((characters.len() - from) as u64) as usize;
        let piece: String = characters[from..to].iter().collect();
        let start: String = characters[..to].iter().collect();
        match self.random.below(8) {
            0 => value.to_owned(),
            1 | 2 => format!("*{piece}*"),
            3 => format!("*{}*", characters[from]),
            4 => format!("{start}*"),
            5 => format!("*{}", characters[from..].iter().collect::<String>()),
            6 => characters.iter().enumerate().map(|(at, one)| if at == from { '?' } else { *one }).collect(),
            _ => format!("{}*{}", characters[0], characters[characters.len() - 1]),
        }
    }
}

/// What the columns keep, decoded and trimmed.
fn values_of(facts: &Facts) -> Values {
    let numbers = [tags::SERIES_NUMBER, tags::INSTANCE_NUMBER, tags::NUMBER_OF_FRAMES];
    let tags = ASKED.iter().filter_map(|asked| asked.path.last().map(|tag| (*tag, asked.how)));
    let value = |tag: Tag, how: How| {
        if numbers.contains(&tag) {
            return Some(facts.integer(tag)?.to_string()).filter(|_| {
                tag != tags::NUMBER_OF_FRAMES || facts.integer(tag).is_some_and(|frames| frames >= 0)
            });
        }
        let text = facts.text(tag)?.replace('\0', "");
        Some(match how {
            How::Date => text.replace('.', ""),
            How::Time => text.replace(':', ""),
            _ => text,
        })
        .filter(|text| !text.is_empty())
    };
    let mut values: Values = tags.filter_map(|(tag, how)| Some((tag, vec![value(tag, how)?]))).collect();
    if let Some(modality) = values.get(&tags::MODALITY).cloned() {
        values.insert(tags::MODALITIES_IN_STUDY, modality);
    }
    // Facts have it, but no column has.
    values.remove(&tags::PATIENT_AGE);
    values
}

fn attributes() -> Attributes {
    let mut attributes = Attributes::default();
    attributes.keep(AttributeOf::Study, vec![tags::PATIENT_AGE], VR::AS);
    attributes.keep(AttributeOf::Series, vec![tags::OPERATORS_NAME], VR::PN);
    attributes.keep(AttributeOf::Instance, vec![tags::IMAGE_TYPE], VR::CS);
    attributes
}

async fn enter(catalog: &Catalog, made: &[Made]) {
    for run in made.chunks(97) {
        let received: Vec<_> = run.iter().map(|made| made.instance.clone()).collect();
        catalog.record_received(&received, NOW).await.expect("receive");
    }
    let kept = attributes();
    let stated = |made: &Made| InstanceAttributes {
        study_instance_uid: made.instance.identity.study_instance_uid.clone(),
        series_instance_uid: made.instance.identity.series_instance_uid.clone(),
        sop_instance_uid: made.instance.identity.sop_instance_uid.clone(),
        attributes: kept
            .iter()
            .filter_map(|kept| {
                let values = made.beside.get(kept.path.last()?)?;
                let values = (0..).zip(values.iter().cloned()).collect();
                Some(AttributeValues { attribute: kept.clone(), values })
            })
            .collect(),
    };
    for run in made.chunks(97) {
        let stated: Vec<_> = run.iter().map(stated).collect();
        catalog.record_attributes(&stated).await.expect("attributes");
    }
}

fn query(catalog: &Catalog, question: &Question) -> Query {
    let mut query = catalog.query().fuzzy(question.fuzzy).combining_dates_and_times(question.moments);
    query.study_instance_uid = question.study.clone();
    query.series_instance_uid = question.series.clone();
    for (asked, text) in &question.conditions {
        query = query.matching_path(asked.path, text).expect("can be asked");
    }
    assert!(query.ignored().is_empty(), "{question:?}");
    query.page(question.limit as u32, question.offset as u32)
}

async fn found(catalog: &Catalog, question: &Question) -> (Vec<Uids>, bool) {
    let query = query(catalog, question);
    let none = String::new;
    match question.rows {
        Of::Study => {
            let page = catalog.search_studies(&query).await.expect("search");
            let uids = page.rows.into_iter().map(|row| (row.study_instance_uid, none(), none()));
            (uids.collect(), page.more)
        }
        Of::Series => {
            let page = catalog.search_series(&query).await.expect("search");
            assert!(page.rows.iter().all(|row| row.study.is_some() == question.study.is_none()));
            let uids =
                page.rows.into_iter().map(|row| (row.study_instance_uid, row.series_instance_uid, none()));
            (uids.collect(), page.more)
        }
        Of::Instance => {
            let page = catalog.search_instances(&query).await.expect("search");
            assert!(page.rows.iter().all(|row| row.series.is_some() == question.series.is_none()));
            let uids = |row: crate::InstanceRow| {
                (row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid)
            };
            (page.rows.into_iter().map(uids).collect(), page.more)
        }
    }
}

async fn compare(catalog: &Catalog) {
    let seed = std::env::var("FILMGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let mut maker = Maker { random: Random::seeded(seed), made: Vec::new() };
    let files = maker.add_files();
    maker.add_patients();
    enter(catalog, &maker.made).await;
    let mut reference = Reference::default();
    for Made { instance, values, beside } in &maker.made {
        let identity = &instance.identity;
        let uids = (
            identity.study_instance_uid.clone(),
            identity.series_instance_uid.clone(),
            identity.sop_instance_uid.clone(),
        );
        let mut values = values.clone();
        for (tag, uid) in [
            (tags::STUDY_INSTANCE_UID, &uids.0),
            (tags::SERIES_INSTANCE_UID, &uids.1),
            (tags::SOP_INSTANCE_UID, &uids.2),
            (tags::SOP_CLASS_UID, &identity.sop_class_uid),
            (tags::SOP_CLASSES_IN_STUDY, &identity.sop_class_uid),
        ] {
            values.insert(tag, vec![uid.clone()]);
        }
        reference.receive(&uids, &values, beside);
    }
    let instances = reference.all_instances();
    let (mut empty, mut differing) = (0, String::new());
    for number in 0..QUESTIONS {
        let question = maker.question(&reference, &instances);
        let (expected, answered) = (reference.answer(&question), found(catalog, &question).await);
        empty += usize::from(expected.0.is_empty());
        if expected != answered && differing.len() < 20_000 {
            let _ =
                writeln!(differing, "{number}: {question:?}\n expected {expected:?}\n answered {answered:?}");
        }
    }
    // Straight to the descriptor: the test harness keeps what a passing test prints.
    let _ = writeln!(
        std::io::stderr(),
        "{}: seed {seed}, {} instances ({files} of files), {QUESTIONS} questions, {empty} with nothing to answer",
        catalog.engine_name(),
        maker.made.len(),
    );
    assert!(differing.is_empty(), "seed {seed}\n{differing}");
}

#[tokio::test]
async fn searches_in_sqlite_answer_as_the_reference_does() {
    let options = CatalogOptions { attributes: attributes(), ..options() };
    compare(&Catalog::in_memory(&options).await.expect("a catalog")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_in_postgresql_answer_as_the_reference_does() {
    let Some(database) = TestDatabase::create().await else { return };
    let options = CatalogOptions { attributes: attributes(), ..options() };
    let catalog = Catalog::connect(&PostgresOptions::new(database.url()), &options).await.expect("a catalog");
    compare(&catalog).await;
    drop(catalog);
    database.remove().await;
}
