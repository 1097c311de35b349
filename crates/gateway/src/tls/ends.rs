//! Until when certificates and revocation lists are good, so that a person hears of it before a door closes.
//!
//! Read out of DER by hand as in `certificate`; anything odd has no end that could be told.

use std::path::PathBuf;

use filmgate_model::Timestamp;

use super::certificate::{VERSION, element};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const DAY_MS: i64 = 86_400_000;

/// What a door stands on, until its time is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ending {
    /// When: of all in the file, the first to end.
    pub(crate) ends_at: Timestamp,
    /// What.
    pub(crate) what: &'static str,
    /// Its file.
    pub(crate) path: PathBuf,
}

/// When a certificate is good no more (RFC 5280 4.1.2.5).
pub(super) fn of_certificate(der: &[u8]) -> Option<Timestamp> {
    let (_, whole, _) = element(der)?;
    let (_, mut rest, _) = element(whole)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, not_after) = element(validity)?;
    time(not_after)
}

/// When the next list is due (RFC 5280 5.1.2.5); `None` for a list that does not say.
pub(super) fn of_list(der: &[u8]) -> Option<Timestamp> {
    let (_, whole, _) = element(der)?;
    let (_, mut rest, _) = element(whole)?;
    if rest.first() == Some(&INTEGER) {
        rest = element(rest)?.2;
    }
    // Signature, issuer, this update.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    time(rest)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, which is all that RFC 5280 allows; years of two digits are those from 1950.
fn time(der: &[u8]) -> Option<Timestamp> {
    let (tag, text, _) = element(der)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year = number(text.get(..2)?)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (number(text.get(..4)?)?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day) = (part(0)?, part(2)?);
    let seconds = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    let fits = rest.len() == 10 && (1..=12).contains(&month) && (1..=31).contains(&day) && seconds <= 86_400;
    fits.then(|| Timestamp(days(year, month, day) * DAY_MS + seconds * 1000))
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Days of the Gregorian calendar since 1970, the year beginning in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("parameters");
        params.not_after = rcgen::date_time_ymd(year, 3, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    /// Years from 2050 on are written in the other form.
    #[test]
    fn the_end_of_a_certificate_is_found() {
        for (year, at) in [(2000, "2000-03-01"), (2049, "2049-03-01"), (2124, "2124-03-01")] {
            let ends_at = of_certificate(&certificate(year)).expect("an end").to_string();
            assert_eq!(ends_at, format!("{at}T00:00:00.000Z"));
        }
    }

    #[test]
    fn whatever_is_broken_has_no_end_and_no_panic() {
        let whole = certificate(2040);
        for length in 0..whole.len() {
            assert_eq!(of_certificate(&whole[..length.min(60)]), None);
            let mut flipped = whole.clone();
            flipped[length] ^= 0x80;
            of_certificate(&flipped);
            of_list(&flipped);
            of_list(&whole[..length]);
        }
        let odd = |text: &[u8]| time(&[&[UTC_TIME, u8::try_from(text.len()).expect("short")], text].concat());
        for text in
            [&b"250101000000"[..], b"25010100000Z", b"2501010000000Z", b"251301000000Z", b"+50101000000Z"]
        {
            assert_eq!(odd(text), None, "{text:?}");
        }
        assert_eq!(odd(b"700101000001Z"), Some(Timestamp(1000)));
    }
}
