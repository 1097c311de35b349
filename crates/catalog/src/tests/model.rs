//! Searches against a model: random studies, random questions, and an answer worked out by hand beside the database's.

use filmgate_model::{Tag, tags};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

use super::{empty, memory, postgres};
use crate::{
    Catalog, Query,
    suite::{
        postgres::TestDatabase,
        support::{NOW, instance},
    },
};

/// What differs only in case, in accents, or in what LIKE would read as a pattern.
const IDS: [&str; 9] = ["", "A", "a", "ab", "A%", "A_b", "aXb", "ä", "A!b"];
const ID_PATTERNS: [&str; 11] = ["A", "a", "a*", "?", "A%", "A?b", "*b", "ä", "A!*", "a?b", "*"];
const NAMES: [&str; 7] = ["", "Wang^Xiao=王^小", "WANG^Li", "王^小丽", "Müller^Änne", "muller", "W%^x"];
const NAME_PATTERNS: [&str; 9] =
    ["wang*", "王*", "WANG^LI", "müller*", "Muller", "w%*", "=王*", "wang^?i", "*"];
const DATES: [&str; 5] = ["", "20240131", "20240201", "20241231", "2025.01.01"];
const DATE_RANGES: [&str; 6] = ["20240131", "20240131-20240201", "-20240201", "20240201-", "20250101", "*"];
const MODALITIES: [&str; 4] = ["CT", "MR", "ct", "OT"];
const MODALITY_LISTS: [&str; 5] = ["CT", "CT,MR", "ct", "C*", "US\\OT"];

#[derive(Debug, Clone)]
struct Study {
    patient_id: &'static str,
    name: &'static str,
    date: &'static str,
    modality: &'static str,
}

#[derive(Debug, Clone)]
struct Question {
    patient_id: Option<&'static str>,
    name: Option<&'static str>,
    date: Option<&'static str>,
    modality: Option<&'static str>,
    page: u32,
}

fn study() -> impl Strategy<Value = Study> {
    (select(&IDS), select(&NAMES), select(&DATES), select(&MODALITIES))
        .prop_map(|(patient_id, name, date, modality)| Study { patient_id, name, date, modality })
}

fn question() -> impl Strategy<Value = Question> {
    let maybe = |values: &'static [&'static str]| prop::option::weighted(0.4, select(values));
    (maybe(&ID_PATTERNS), maybe(&NAME_PATTERNS), maybe(&DATE_RANGES), maybe(&MODALITY_LISTS), 1..4_u32)
        .prop_map(|(patient_id, name, date, modality, page)| Question {
            patient_id,
            name,
            date,
            modality,
            page,
        })
}

/// `*` is any run of characters, `?` one.
fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skipped| glob(rest, &text[skipped..])),
        Some(('?', rest)) => !text.is_empty() && glob(rest, &text[1..]),
        Some((one, rest)) => text.first() == Some(one) && glob(rest, &text[1..]),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    pattern == "*" || (!text.is_empty() && glob(&characters(pattern), &characters(text)))
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    match pattern.strip_prefix('=') {
        _ if pattern == "*" => true,
        Some(second) => name.split('=').nth(1).is_some_and(|group| matches(second, group)),
        None => name.split('=').any(|group| matches(&pattern, group)),
    }
}

fn date_matches(range: &str, date: &str) -> bool {
    let date = date.replace('.', "");
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    range == "*"
        || (!date.is_empty() && (from.is_empty() || *date >= *from) && (to.is_empty() || *date <= *to))
}

fn modality_matches(asked: &str, modality: &str) -> bool {
    asked.split([',', '\\']).any(|one| matches(one, modality))
}

impl Question {
    fn is_answered_by(&self, study: &Study) -> bool {
        self.patient_id.is_none_or(|asked| matches(asked, study.patient_id))
            && self.name.is_none_or(|asked| name_matches(asked, study.name))
            && self.date.is_none_or(|asked| date_matches(asked, study.date))
            && self.modality.is_none_or(|asked| modality_matches(asked, study.modality))
    }

    fn query(&self) -> Query {
        let asked: [(Tag, Option<&str>); 4] = [
            (tags::PATIENT_ID, self.patient_id),
            (tags::PATIENT_NAME, self.name),
            (tags::STUDY_DATE, self.date),
            (tags::MODALITIES_IN_STUDY, self.modality),
        ];
        let asked = asked.into_iter().filter_map(|(tag, text)| Some((tag, text?)));
        asked.fold(Query::new(), |query, (tag, text)| query.matching(tag, text).expect("can be asked"))
    }
}

fn uid(number: usize) -> String {
    format!("1.2.{number}")
}

/// The UIDs a search answers with, the newest study date first, equal ones by UID from the end.
fn expected(studies: &[Study], question: &Question) -> Vec<String> {
    let all = studies.iter().enumerate().filter(|(_, study)| question.is_answered_by(study));
    let mut found: Vec<_> = all.map(|(number, study)| (study.date.replace('.', ""), uid(number))).collect();
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, uid)| uid).collect()
}

async fn check(catalog: &Catalog, studies: &[Study], questions: &[Question]) {
    let received: Vec<_> = (1..)
        .zip(studies.iter().enumerate())
        .map(|(record, (number, study))| {
            let facts = [
                (tags::PATIENT_ID, study.patient_id),
                (tags::PATIENT_NAME, study.name),
                (tags::STUDY_DATE, study.date),
                (tags::MODALITY, study.modality),
            ];
            instance(record, &uid(number), &format!("{}.1.1", uid(number)), &facts)
        })
        .collect();
    catalog.record_received(&received, NOW).await.expect("receive");
    for question in questions {
        let mut found = Vec::new();
        loop {
            let from = u32::try_from(found.len()).expect("a few");
            let page =
                catalog.search_studies(&question.query().page(question.page, from)).await.expect("search");
            found.extend(page.rows.into_iter().map(|row| row.study_instance_uid));
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected(studies, question), "{question:?}");
    }
}

fn cases() -> (impl Strategy<Value = Vec<Study>>, impl Strategy<Value = Vec<Question>>) {
    (prop::collection::vec(study(), 1..12), prop::collection::vec(question(), 1..8))
}

#[test]
fn searches_answer_as_the_model_does() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 128, ..ProptestConfig::default() });
    runner
        .run(&cases(), |(studies, questions)| {
            futures::executor::block_on(async { check(&memory().await, &studies, &questions).await });
            Ok(())
        })
        .expect("the model's answers");
}

#[test]
fn searches_in_postgresql_answer_as_the_model_does() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let Some(database) = runtime.block_on(TestDatabase::create()) else { return };
    let catalog = runtime.block_on(postgres::open(&database));
    let mut runner = TestRunner::new(ProptestConfig { cases: 48, ..ProptestConfig::default() });
    runner
        .run(&cases(), |(studies, questions)| {
            runtime.block_on(async {
                empty(&catalog).await;
                check(&catalog, &studies, &questions).await;
            });
            Ok(())
        })
        .expect("the model's answers");
    runtime.block_on(database.remove());
}
