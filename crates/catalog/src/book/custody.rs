//! What binds a study, asked in the transaction that acts on it.

use filmgate_model::{FactId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        Connection, query,
        row::{get, id, time},
    },
};

/// Who does something, and why: kept for those who ask later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    /// Who: the name of a user, of a token, or of whoever sits at the terminal.
    pub who: String,
    /// Why.
    pub why: String,
}

impl Because {
    /// Refuses what says nothing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match (self.who.trim(), self.why.trim()) {
            ("", _) => Err(Error::Unsaid("who you are")),
            (_, "") => Err(Error::Unsaid("why")),
            _ => Ok(()),
        }
    }
}

/// Milliseconds of a year of the calendar, on average.
const YEAR_MS: i64 = 31_556_952_000;

impl Catalog {
    /// Whoever decides about the same study, on whatever node, waits until this transaction ends; what is read after this
    /// is what they left.
    pub(crate) async fn take_custody(&self, writer: &mut Connection, study: &str) -> Result<(), Error> {
        writer.lock_studies(self.site(), &[study]).await
    }

    /// Refuses to let anything that a deletion names go while a hold stands or a time to keep it is not over: the longest that
    /// any node of the site keeps every study, whoever deletes.
    pub(crate) async fn refuse_if_bound(
        &self,
        writer: &mut Connection,
        study: &str,
        deletion_id: FactId,
        retention_years: u32,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.refuse_if_held(writer, study).await?;
        let row = query(
            "SELECT keep_until, who, why FROM book_retention WHERE site_id = $1 AND study_instance_uid = $2",
        )
        .bind(self.site())
        .bind(study)
        .fetch_optional(&mut *writer)
        .await?;
        if let Some(row) = row {
            let keep_until = time(&row, "keep_until")?;
            if keep_until > at {
                let rule = format!("set by {}: {}", get::<&str>(&row, "who")?, get::<&str>(&row, "why")?);
                return Err(Error::Retained { study: study.to_owned(), keep_until, rule });
            }
        }
        let elsewhere = self.longest_rule(writer).await?.filter(|rule| rule.years > retention_years);
        let years = elsewhere.map_or(retention_years, |rule| rule.years);
        let keep_until = self.site_rule(writer, study, deletion_id, years).await?;
        if keep_until.is_some_and(|keep_until| keep_until > at) {
            let of = elsewhere.map_or_else(String::new, |rule| format!(" of node {}", rule.node_id));
            let rule = format!("setting retention.years = {years}{of}");
            let keep_until = keep_until.unwrap_or_default();
            return Err(Error::Retained { study: study.to_owned(), keep_until, rule });
        }
        Ok(())
    }

    async fn refuse_if_held(&self, writer: &mut Connection, study: &str) -> Result<(), Error> {
        let row = query(
            "SELECT hold_id, who, why, placed_at FROM book_holds
             WHERE site_id = $1 AND study_instance_uid = $2 AND released_at IS NULL ORDER BY placed_at LIMIT 1",
        )
        .bind(self.site())
        .bind(study)
        .fetch_optional(writer)
        .await?;
        let Some(row) = row else { return Ok(()) };
        Err(Error::Held {
            study: study.to_owned(),
            hold_id: FactId(id(&row, "hold_id")?),
            who: get(&row, "who")?,
            why: get(&row, "why")?,
            placed_at: time(&row, "placed_at")?,
        })
    }

    /// Until when the site keeps what a deletion names: its years counted from the date of the study or from receipt,
    /// whichever is later. `None` when it keeps nothing by rule.
    async fn site_rule(
        &self,
        writer: &mut Connection,
        study: &str,
        deletion_id: FactId,
        retention_years: u32,
    ) -> Result<Option<Timestamp>, Error> {
        if retention_years == 0 {
            return Ok(None);
        }
        let row = query(
            "SELECT (SELECT study_date FROM index_studies WHERE site_id = $1 AND study_instance_uid = $2) AS study_date,
                (SELECT MAX(i.received_at) FROM index_instances i
                 JOIN book_deletion_records r ON r.record_id = i.record_id WHERE r.deletion_id = $3) AS received_at",
        )
        .bind(self.site())
        .bind(study)
        .bind(deletion_id.as_bytes().as_slice())
        .fetch_one(writer)
        .await?;
        let of_study = get::<Option<&str>>(&row, "study_date")?.and_then(date_ms);
        let from = of_study.max(get::<Option<i64>>(&row, "received_at")?).unwrap_or_default();
        Ok(Some(Timestamp(from.saturating_add(i64::from(retention_years) * YEAR_MS))))
    }
}

/// Midnight of a date (VR DA), in milliseconds since 1970.
fn date_ms(date: &str) -> Option<i64> {
    let number = |range| date.get(range).and_then(|digits: &str| digits.parse::<i64>().ok());
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    if date.len() != 8 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days of the Gregorian calendar, the year beginning in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        assert_eq!(date_ms("19700101"), Some(0));
        assert_eq!(date_ms("20000301"), Some(951_868_800_000));
        assert_eq!(date_ms("20240229"), Some(1_709_164_800_000));
        for odd in ["", "2024", "20241301", "2024-1-1", "202401011"] {
            assert_eq!(date_ms(odd), None, "{odd}");
        }
    }
}
