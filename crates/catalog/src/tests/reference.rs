//! What a search must answer, worked out plainly over lists in memory: no SQL, and nothing of the code it is to be compared
//! with. Slow on purpose.

use std::collections::{BTreeMap, BTreeSet};

use filmgate_model::{Tag, tags};

/// Of what the rows are, and of what an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Study,
    Series,
    Instance,
}

/// How an attribute is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Uids,
    Text,
    Codes,
    Name,
    Date,
    Time,
    Number,
}

/// An attribute that can be asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) path: &'static [Tag],
    pub(super) of: Of,
    pub(super) how: How,
}

const fn asked(path: &'static [Tag], of: Of, how: How) -> Asked {
    Asked { path, of, how }
}

pub(super) const ASKED: [Asked; 33] = [
    asked(&[tags::STUDY_INSTANCE_UID], Of::Study, How::Uids),
    asked(&[tags::STUDY_DATE], Of::Study, How::Date),
    asked(&[tags::STUDY_TIME], Of::Study, How::Time),
    asked(&[tags::ACCESSION_NUMBER], Of::Study, How::Text),
    asked(&[tags::REFERRING_PHYSICIAN_NAME], Of::Study, How::Name),
    asked(&[tags::PATIENT_NAME], Of::Study, How::Name),
    asked(&[tags::PATIENT_ID], Of::Study, How::Text),
    asked(&[tags::ISSUER_OF_PATIENT_ID], Of::Study, How::Text),
    asked(&[tags::PATIENT_BIRTH_DATE], Of::Study, How::Date),
    asked(&[tags::PATIENT_SEX], Of::Study, How::Codes),
    asked(&[tags::STUDY_ID], Of::Study, How::Text),
    asked(&[tags::STUDY_DESCRIPTION], Of::Study, How::Text),
    asked(&[tags::MODALITIES_IN_STUDY], Of::Series, How::Codes),
    asked(&[tags::SERIES_INSTANCE_UID], Of::Series, How::Uids),
    asked(&[tags::MODALITY], Of::Series, How::Codes),
    asked(&[tags::SERIES_NUMBER], Of::Series, How::Number),
    asked(&[tags::SERIES_DESCRIPTION], Of::Series, How::Text),
    asked(&[tags::SERIES_DATE], Of::Series, How::Date),
    asked(&[tags::SERIES_TIME], Of::Series, How::Time),
    asked(&[tags::BODY_PART_EXAMINED], Of::Series, How::Codes),
    asked(&[tags::PROTOCOL_NAME], Of::Series, How::Text),
    asked(&[tags::STATION_NAME], Of::Series, How::Text),
    asked(&[tags::PERFORMED_PROCEDURE_STEP_START_DATE], Of::Series, How::Date),
    asked(&[tags::PERFORMED_PROCEDURE_STEP_START_TIME], Of::Series, How::Time),
    asked(&[tags::SOP_INSTANCE_UID], Of::Instance, How::Uids),
    asked(&[tags::SOP_CLASS_UID], Of::Instance, How::Uids),
    asked(&[tags::SOP_CLASSES_IN_STUDY], Of::Instance, How::Uids),
    asked(&[tags::INSTANCE_NUMBER], Of::Instance, How::Number),
    asked(&[tags::NUMBER_OF_FRAMES], Of::Instance, How::Number),
    asked(&[tags::PATIENT_AGE], Of::Study, How::Text),
    asked(&[tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::REQUESTED_PROCEDURE_ID], Of::Series, How::Text),
    asked(&[tags::OPERATORS_NAME], Of::Series, How::Name),
    asked(&[tags::IMAGE_TYPE], Of::Instance, How::Codes),
];

/// Dates, and the times that go with them.
const MOMENTS: [(Tag, Tag); 3] = [
    (tags::STUDY_DATE, tags::STUDY_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
];

/// What is asked of one search.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) rows: Of,
    pub(super) study: Option<String>,
    pub(super) series: Option<String>,
    pub(super) conditions: Vec<(Asked, String)>,
    pub(super) fuzzy: bool,
    pub(super) moments: bool,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

/// UIDs of study, series and instance, as far as a row has them.
pub(super) type Uids = (String, String, String);
/// Values by attribute; several where it may have several.
pub(super) type Values = BTreeMap<Tag, Vec<String>>;

/// Everything that was received.
#[derive(Debug, Default)]
pub(super) struct Reference {
    studies: BTreeMap<String, Values>,
    series: BTreeMap<(String, String), Values>,
    /// The one instance that answers for a UID of a study, with its series.
    instances: BTreeMap<(String, String), (String, Values)>,
    /// What is stated of instances by themselves, beside columns.
    stated: BTreeMap<Uids, Values>,
}

impl Reference {
    /// Takes one instance in the order of arrival, its values decoded and trimmed.
    pub(super) fn receive(&mut self, (study, series, sop): &Uids, values: &Values, beside: &Values) {
        let pick = |from: &Values, of: Of| -> Values {
            let wanted = ASKED.iter().filter(|asked| asked.of == of).filter_map(|asked| asked.path.last());
            wanted.filter_map(|tag| Some((*tag, from.get(tag)?.clone()))).collect()
        };
        let of_study = self.studies.entry(study.clone()).or_default();
        let is_new_patient =
            !of_study.contains_key(&tags::PATIENT_ID) && values.contains_key(&tags::PATIENT_ID);
        if is_new_patient {
            of_study.remove(&tags::ISSUER_OF_PATIENT_ID);
        } else if of_study.contains_key(&tags::PATIENT_ID) {
            // Whatever issuer comes now names another patient.
            of_study.entry(tags::ISSUER_OF_PATIENT_ID).or_default();
        }
        for from in [values, beside] {
            for (tag, value) in pick(from, Of::Study) {
                of_study.entry(tag).or_insert(value);
            }
        }
        let of_series = self.series.entry((study.clone(), series.clone())).or_default();
        for from in [values, beside] {
            for (tag, value) in pick(from, Of::Series) {
                of_series.entry(tag).or_insert(value);
            }
        }
        self.instances
            .entry((study.clone(), sop.clone()))
            .or_insert_with(|| (series.clone(), pick(values, Of::Instance)));
        let uids = (study.clone(), series.clone(), sop.clone());
        let of_instance = self.stated.entry(uids).or_default();
        for (tag, value) in pick(beside, Of::Instance) {
            of_instance.entry(tag).or_insert(value);
        }
    }

    /// All UIDs there are, for questions.
    pub(super) fn all_instances(&self) -> Vec<Uids> {
        let of = |((study, sop), (series, _)): (&(String, String), &(String, Values))| {
            (study.clone(), series.clone(), sop.clone())
        };
        self.instances.iter().map(of).collect()
    }

    /// Some value of an attribute that something has.
    pub(super) fn values_of(&self, tag: Tag) -> Vec<String> {
        let of_instances = self.instances.values().map(|(_, values)| values);
        let all =
            self.studies.values().chain(self.series.values()).chain(of_instances).chain(self.stated.values());
        let values: BTreeSet<String> = all.filter_map(|values| values.get(&tag)).flatten().cloned().collect();
        values.into_iter().collect()
    }

    /// The UIDs of a page's rows, and whether there are more.
    pub(super) fn answer(&self, question: &Question) -> (Vec<Uids>, bool) {
        let mut rows: Vec<Uids> = self
            .rows(question.rows)
            .into_iter()
            .filter(|row| question.study.as_ref().is_none_or(|study| row.0 == *study))
            .filter(|row| {
                question.rows == Of::Study || question.series.as_ref().is_none_or(|series| row.1 == *series)
            })
            .filter(|row| self.holds(question, row))
            .collect();
        rows.sort_by(|one, other| self.order(question.rows, one, other));
        let more = rows.len() > question.offset.saturating_add(question.limit);
        (rows.into_iter().skip(question.offset).take(question.limit).collect(), more)
    }

    fn rows(&self, of: Of) -> BTreeSet<Uids> {
        let all = self.instances.iter().map(|((study, sop), (series, _))| (study, series, sop));
        all.map(|(study, series, sop)| match of {
            Of::Study => (study.clone(), String::new(), String::new()),
            Of::Series => (study.clone(), series.clone(), String::new()),
            Of::Instance => (study.clone(), series.clone(), sop.clone()),
        })
        .collect()
    }

    fn order(&self, of: Of, one: &Uids, other: &Uids) -> std::cmp::Ordering {
        let first = |values: Option<&Values>, tag| {
            values.and_then(|values| values.get(&tag)).and_then(|values| values.first()).cloned()
        };
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0_i64);
        match of {
            Of::Study => {
                let key = |row: &Uids| {
                    let values = self.studies.get(&row.0);
                    let (date, time) = (first(values, tags::STUDY_DATE), first(values, tags::STUDY_TIME));
                    (date.unwrap_or_default(), time.unwrap_or_default(), row.0.clone())
                };
                key(other).cmp(&key(one))
            }
            Of::Series => {
                let key = |row: &Uids| {
                    let values = self.series.get(&(row.0.clone(), row.1.clone()));
                    (row.0.clone(), number(first(values, tags::SERIES_NUMBER)), row.1.clone())
                };
                key(one).cmp(&key(other))
            }
            Of::Instance => {
                let key = |row: &Uids| {
                    let values =
                        self.instances.get(&(row.0.clone(), row.2.clone())).map(|(_, values)| values);
                    (
                        row.0.clone(),
                        row.1.clone(),
                        number(first(values, tags::INSTANCE_NUMBER)),
                        row.2.clone(),
                    )
                };
                key(one).cmp(&key(other))
            }
        }
    }

    fn holds(&self, question: &Question, row: &Uids) -> bool {
        let paired = |tag: Tag| -> Option<(Tag, String, String)> {
            let (date, time) = MOMENTS.into_iter().find(|(date, time)| [*date, *time].contains(&tag))?;
            let text = |tag: Tag| {
                let (asked, text) = question.conditions.iter().find(|(asked, _)| asked.path == [tag])?;
                (!is_anything(asked, text, question.fuzzy)).then(|| text.clone())
            };
            question.moments.then_some(())?;
            Some((date, text(date)?, text(time)?))
        };
        question.conditions.iter().all(|(asked, text)| {
            let Some(tag) = asked.path.last() else { return true };
            if is_anything(asked, text, question.fuzzy) {
                return true;
            }
            let candidates = self.candidates(question.rows, asked, row);
            match paired(*tag) {
                Some((date, _, _)) if date != *tag => true,
                Some((date, dates, times)) => {
                    let time = MOMENTS.into_iter().find(|(of, _)| *of == date).map(|(_, time)| time);
                    candidates.iter().any(|values| {
                        let one =
                            |tag: Option<Tag>| values.get(&tag?).and_then(|values| values.first()).cloned();
                        is_within_moments(one(Some(date)), one(time), &dates, &times)
                    })
                }
                None => candidates.iter().any(|values| {
                    let values = values.get(tag).map_or(&[][..], Vec::as_slice);
                    values
                        .iter()
                        .any(|value| !value.is_empty() && is_match(asked.how, text, value, question.fuzzy))
                }),
            }
        })
    }

    /// Whatever of the attribute's level belongs to the row.
    fn candidates(&self, rows: Of, asked: &Asked, row: &Uids) -> Vec<&Values> {
        let of_all = [&[tags::MODALITIES_IN_STUDY][..], &[tags::SOP_CLASSES_IN_STUDY]].contains(&asked.path);
        let by_itself = asked.path.len() > 1
            || [tags::PATIENT_AGE, tags::OPERATORS_NAME, tags::IMAGE_TYPE].contains(&asked.path[0]);
        let same_series = |series: &str| of_all || rows == Of::Study || row.1 == series;
        match asked.of {
            Of::Study => self.studies.get(&row.0).into_iter().collect(),
            Of::Series => self
                .series
                .iter()
                .filter(|((study, series), _)| *study == row.0 && same_series(series))
                .filter(|((study, series), _)| by_itself || self.shows(study, series))
                .map(|(_, values)| values)
                .collect(),
            Of::Instance if by_itself => self
                .stated
                .iter()
                .filter(|((study, series, sop), _)| {
                    *study == row.0 && same_series(series) && (rows != Of::Instance || *sop == row.2)
                })
                .map(|(_, values)| values)
                .collect(),
            Of::Instance => self
                .instances
                .iter()
                .filter(|((study, sop), (series, _))| {
                    *study == row.0
                        && same_series(series)
                        && (of_all || rows != Of::Instance || *sop == row.2)
                })
                .map(|(_, (_, values))| values)
                .collect(),
        }
    }

    fn shows(&self, study: &str, series: &str) -> bool {
        self.instances.iter().any(|((of, _), (within, _))| of == study && within == series)
    }
}

fn is_anything(asked: &Asked, text: &str, fuzzy: bool) -> bool {
    let text = text.trim_matches(' ');
    text.chars().all(|character| character == '*')
        || asked.how == How::Name && if fuzzy { words_of(text).is_empty() } else { groups(text).is_empty() }
}

fn is_match(how: How, text: &str, value: &str, fuzzy: bool) -> bool {
    let text = text.trim_matches(' ');
    let listed = || text.split([',', '\\']).any(|one| one.trim() == value);
    match how {
        How::Uids => listed(),
        How::Codes if !text.contains(['*', '?']) => listed(),
        How::Codes | How::Text => glob(text, value),
        How::Name if fuzzy => is_fuzzy_match(text, value),
        How::Name => is_name_match(text, value),
        How::Date => is_within(&text.replace('.', ""), value, ""),
        How::Time => is_within(&text.replace(':', ""), value, "235959.999999"),
        How::Number => text.parse::<i64>().ok() == value.parse().ok(),
    }
}

/// `*` is any run of characters, `?` one.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // reached[n]: the pattern so far can stand for the first n characters.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for one in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match one {
                '*' => reached[at] || (at > 0 && next[at - 1]),
                '?' => at > 0 && reached[at - 1],
                other => at > 0 && reached[at - 1] && text[at - 1] == other,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

fn groups(name: &str) -> Vec<String> {
    let group = |group: &str| {
        let components: Vec<String> =
            group.split('^').map(|one| one.trim().chars().flat_map(char::to_lowercase).collect()).collect();
        let last = components.iter().rposition(|one| !one.is_empty()).map_or(0, |last| last + 1);
        components[..last].join("^")
    };
    let groups: Vec<String> = name.split('=').map(group).collect();
    let last = groups.iter().rposition(|one| !one.is_empty()).map_or(0, |last| last + 1);
    groups[..last].to_vec()
}

/// Without `=`, some run of neighbouring groups must match; with it, the groups from the first one on.
fn is_name_match(text: &str, name: &str) -> bool {
    let (asked, name) = (groups(text), groups(name));
    if asked.is_empty() {
        return true;
    }
    let runs = |from: usize| (from..name.len()).map(move |to| (from, to));
    if text.contains('=') {
        let asked: Vec<&str> = asked.iter().map(|one| if one.is_empty() { "*" } else { one }).collect();
        return runs(0).any(|(from, to)| glob(&asked.join("="), &name[from..=to].join("=")));
    }
    (0..name.len()).flat_map(runs).any(|(from, to)| glob(&asked[0], &name[from..=to].join("=")))
}

fn simple(text: &str) -> String {
    let lower: String = text.chars().flat_map(char::to_lowercase).collect();
    let accents = [
        ("ü", "u"),
        ("ä", "a"),
        ("ö", "o"),
        ("é", "e"),
        ("ß", "ss"),
        ("ô", "o"),
        ("ç", "c"),
        ("è", "e"),
        ("ê", "e"),
        ("à", "a"),
        ("å", "a"),
        ("ñ", "n"),
    ];
    accents.iter().fold(lower, |text, (from, to)| text.replace(from, to))
}

const BETWEEN_WORDS: [char; 10] = ['=', '^', ' ', '-', ',', '.', '\'', '’', '·', '・'];

fn words_of(text: &str) -> Vec<String> {
    let words = simple(text);
    let words = words.split(BETWEEN_WORDS).filter(|word| word.chars().any(|one| !"*?".contains(one)));
    words.map(str::to_owned).collect()
}

/// Every word begins a word, or a group in one piece; behind an asterisk, or without an alphabet, it stands anywhere. With
/// wildcards, it is looked for in all of them in their row.
fn is_fuzzy_match(text: &str, name: &str) -> bool {
    let groups: Vec<String> =
        groups(name).iter().map(|group| simple(group).replace(BETWEEN_WORDS, " ")).collect();
    let in_one_piece = groups.iter().filter(|group| group.contains(' ')).map(|group| group.replace(' ', ""));
    let row: Vec<String> = groups.iter().cloned().chain(in_one_piece).collect();
    let row = format!(" {} ", row.join(" "));
    words_of(text).iter().all(|word| {
        let anywhere = word.starts_with('*') || word.chars().any(|one| one > '\u{2e7f}');
        if word.contains(['*', '?']) {
            let before = if anywhere { "*" } else { "* " };
            return glob(&format!("{before}{word}*"), &row);
        }
        let target = |target: &str| if anywhere { target.contains(word) } else { target.starts_with(word) };
        row.split(' ').any(target)
    })
}

fn is_within(range: &str, value: &str, rest: &str) -> bool {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let to_end = format!("{}{}", to.trim(), rest.get(to.trim().len()..).unwrap_or_default());
    (from.trim().is_empty() || value >= from.trim()) && (to.trim().is_empty() || value <= to_end.as_str())
}

fn is_within_moments(date: Option<String>, time: Option<String>, dates: &str, times: &str) -> bool {
    let dates = dates.trim().replace('.', "");
    let times = times.trim().replace(':', "");
    let (first, last) = dates.split_once('-').unwrap_or((&dates, &dates));
    let (from, to) = times.split_once('-').unwrap_or((&times, &times));
    let Some(date) = date.filter(|date| !date.is_empty()) else { return false };
    let begins = first.is_empty()
        || date.as_str() > first
        || (date == first && (from.is_empty() || time.as_deref().is_some_and(|time| time >= from)));
    let last_moment = format!("{to}{}", "235959.999999".get(to.len()..).unwrap_or_default());
    let ends = last.is_empty()
        || date.as_str() < last
        || (date == last
            && (to.is_empty() || time.as_deref().is_some_and(|time| time <= last_moment.as_str())));
    begins && ends
}

#[test]
fn the_reference_says_what_the_standard_does() {
    assert!(glob("a*c?", "abbcd") && !glob("a*c?", "abbc") && glob("*", ""));
    assert!(
        is_name_match("wang^*", "Wang^XiaoDong=王^小东") && is_name_match("王*", "Wang^XiaoDong=王^小东")
    );
    assert!(
        is_name_match("=王^小东", "Wang^XiaoDong=王^小东")
            && !is_name_match("=wang*", "Wang^XiaoDong=王^小东")
    );
    assert!(is_fuzzy_match("dong 王", "Wang^Dong=王^小东") && is_fuzzy_match("王小东", "Wang^Dong=王^小东"));
    assert!(is_fuzzy_match("anne mull", "Müller^Änne") && !is_fuzzy_match("nne", "Müller^Änne"));
    let within = |time: Option<&str>| {
        is_within_moments(Some("20240102".into()), time.map(str::to_owned), "20240101-20240102", "0800-1000")
    };
    assert!(within(Some("0700")) && within(Some("100059")) && !within(Some("1101")) && !within(None));
}
