//! What searches need of a study's text beside the text: names folded, their words, and the gram table.

use std::collections::BTreeSet;

use super::batch;
use crate::{
    Catalog, Error,
    engine::{AssertSqlSafe, Connection, Row, query, row::get},
    search::{
        fold::{folded, words},
        grams::{Field, of_text, of_words},
    },
};

/// The version of all this. A migration that sets `folded_by` to 0 has it made anew.
pub(super) const FOLDED_BY: i64 = 1;
/// Studies folded in one transaction.
const STUDIES_AT_ONCE: u32 = 500;
/// Rows of one statement, of few sizes, so that each stays prepared.
const GRAMS_AT_ONCE: [usize; 4] = [8, 16, 32, 64];

impl Catalog {
    /// Folds studies that an older version entered.
    pub(crate) async fn fold_studies(&self) -> Result<(), Error> {
        self.engine
            .run("fold the text of studies", async {
                let mut writer = self.engine.writer().await?;
                loop {
                    let rows = query(
                        "SELECT * FROM index_studies WHERE site_id = $1 AND folded_by = 0
                         ORDER BY study_number LIMIT $2",
                    )
                    .bind(self.site())
                    .bind(STUDIES_AT_ONCE)
                    .fetch_all(&mut writer)
                    .await?;
                    if rows.is_empty() {
                        return Ok(());
                    }
                    let mut transaction = writer.begin().await?;
                    for row in &rows {
                        fold(&mut transaction, self.site(), row).await?;
                    }
                    transaction.commit().await?;
                }
            })
            .await
    }
}

async fn fold(writer: &mut Connection, site: &[u8], row: &Row) -> Result<(), Error> {
    let number: i64 = get(row, "study_number")?;
    let patient: Option<&str> = get(row, "patient_name")?;
    let referring: Option<&str> = get(row, "referring_physician_name")?;
    query(
        "UPDATE index_studies SET patient_name_folded = $1, patient_name_words = $2, referring_folded = $3,
            referring_words = $4, folded_by = $5
         WHERE study_number = $6",
    )
    .bind(patient.map(folded))
    .bind(patient.map(words))
    .bind(referring.map(folded))
    .bind(referring.map(words))
    .bind(FOLDED_BY)
    .bind(number)
    .execute(&mut *writer)
    .await?;
    enter_grams(writer, site, number, patient.map(words).as_deref(), row).await
}

/// Enters the grams of a study: of the words of its patient's name, and of the text in its row.
pub(super) async fn enter_grams(
    writer: &mut Connection,
    site: &[u8],
    study_number: i64,
    words: Option<&str>,
    row: &Row,
) -> Result<(), Error> {
    let mut grams: BTreeSet<(i64, String)> = BTreeSet::new();
    let mut add = |field: Field, of: BTreeSet<String>| {
        grams.extend(of.into_iter().map(|gram| (field as i64, gram)));
    };
    if let Some(words) = words {
        add(Field::Name, of_words(words));
    }
    for (field, column) in [
        (Field::PatientId, "patient_id"),
        (Field::AccessionNumber, "accession_number"),
        (Field::StudyDescription, "study_description"),
    ] {
        if let Some(text) = get::<Option<&str>>(row, column)? {
            add(field, of_text(text));
        }
    }
    let grams: Vec<_> = grams.into_iter().collect();
    for run in grams.chunks(GRAMS_AT_ONCE[GRAMS_AT_ONCE.len() - 1]) {
        insert(writer, site, study_number, run).await?;
    }
    Ok(())
}

/// The last gram fills up to a size that stays prepared.
async fn insert(
    writer: &mut Connection,
    site: &[u8],
    study_number: i64,
    grams: &[(i64, String)],
) -> Result<(), Error> {
    let size = GRAMS_AT_ONCE.iter().find(|size| **size >= grams.len()).copied().unwrap_or(grams.len());
    let text = "INSERT INTO index_grams (site_id, field, gram, study_number)
         SELECT $1, v.column1, v.column2, $2 FROM (VALUES {rows}) AS v WHERE TRUE
         ON CONFLICT (site_id, field, gram, study_number) DO NOTHING";
    let filled = grams.iter().chain(std::iter::repeat_n(grams.last(), size).flatten()).take(size);
    let insert = query(AssertSqlSafe(batch::over_rows(writer, text, 2, size)));
    let insert = filled.fold(insert, |insert, (field, gram)| insert.bind(*field).bind(gram));
    insert.bind(site).bind(study_number).execute(writer).await?;
    Ok(())
}
