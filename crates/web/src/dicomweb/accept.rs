//! What a client accepts (PS3.18 8.7.5; RFC 9110 12.5.1), and how well an answer fits it.

use axum::http::{HeaderMap, header::ACCEPT};
use filmgate_model::uids;

use super::media_type::{MediaType, split_outside_quotes};

/// Ranges read of one request; what stands behind is left unread.
const RANGES_MAX: usize = 64;

/// The weight of what is wanted most.
pub(crate) const QUALITY_MAX: u16 = 1000;

/// One answer that could be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer<'a> {
    /// In a `multipart/related` body.
    pub(crate) multipart: bool,
    /// The media type, of each part when in parts.
    pub(crate) media_type: &'a str,
    /// The transfer syntax its bytes are in, where that is told.
    pub(crate) transfer_syntax: Option<&'a str>,
}

/// What a client accepts; nothing said accepts everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    /// The media type; that of the parts when `multipart`. May be `*/*` or `type/*`.
    essence: String,
    /// In parts; `None` when either will do.
    multipart: Option<bool>,
    transfer_syntax: Syntax,
    /// 0 to 1000.
    quality: u16,
}

/// The transfer syntax a range asks for (PS3.18 8.7.3.5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Syntax {
    /// None is named: the media type's default.
    Default,
    /// `*`: the one it is stored in will do.
    Any,
    /// This one.
    Named(String),
}

impl Syntax {
    fn of(parameter: Option<&str>) -> Self {
        match parameter {
            None | Some("") => Self::Default,
            Some("*") => Self::Any,
            Some(uid) => Self::Named(uid.to_owned()),
        }
    }

    /// How closely it names an offer's; `None` when it does not cover it.
    fn specificity(&self, media_type: &str, offered: Option<&str>) -> Option<u8> {
        match (self, offered) {
            (Self::Named(asked), Some(offered)) => (asked == offered).then_some(1),
            // Of the types that hold any syntax the default is explicit VR little endian (PS3.18 table 8.7.3-4). The others are each
            // of one family: whatever it is stored in is of it.
            (Self::Default, Some(offered)) if HOLDS_ANY.contains(&media_type) => {
                (offered == uids::EXPLICIT_VR_LITTLE_ENDIAN).then_some(0)
            }
            _ => Some(0),
        }
    }
}

/// Media types that can hold any transfer syntax.
const HOLDS_ANY: [&str; 2] = [super::DICOM, super::OCTET_STREAM];

impl Accepted {
    /// What a request accepts: its `accept` query parameter (PS3.18 8.3.3.1) before its header.
    pub(crate) fn of(headers: &HeaderMap, query: &[(String, String)]) -> Self {
        let asked = query.iter().find(|(name, _)| name == "accept").map(|(_, value)| value.clone());
        let text = asked.unwrap_or_else(|| {
            let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            values.collect::<Vec<_>>().join(",")
        });
        Self::parse(&text)
    }

    /// Reads an `Accept` header's value.
    pub(crate) fn parse(text: &str) -> Self {
        let ranges = split_outside_quotes(text, ',').into_iter().take(RANGES_MAX).filter_map(Range::parse);
        let mut ranges: Vec<_> = ranges.collect();
        if text.trim().is_empty() {
            ranges.push(Range::anything());
        }
        Self(ranges)
    }

    /// How much an answer is wanted: 0 (not at all) to 1000, by the most specific range that covers it.
    pub(crate) fn quality(&self, offer: Offer<'_>) -> u16 {
        let covering = self.0.iter().filter_map(|range| Some((range.specificity(offer)?, range.quality)));
        covering
            .max_by_key(|&(specificity, quality)| (specificity, quality))
            .map_or(0, |(_, quality)| quality)
    }

    /// The best of several answers, the earlier of equals; `None` when none is wanted.
    pub(crate) fn best<'a>(&self, offers: &[Offer<'a>]) -> Option<Offer<'a>> {
        let wanted = offers.iter().copied().filter(|offer| self.quality(*offer) > 0);
        // max_by_key gives the last of equals.
        wanted.rev().max_by_key(|offer| self.quality(*offer))
    }

    /// True when a single part of one of these media types is wanted (`application/json` for DICOM JSON and so on).
    pub(crate) fn accepts_any(&self, media_types: &[&str]) -> bool {
        let single = |media_type| Offer { multipart: false, media_type, transfer_syntax: None };
        media_types.iter().any(|media_type| self.quality(single(media_type)) > 0)
    }
}

impl Range {
    fn anything() -> Self {
        Self { essence: "*/*".into(), multipart: None, transfer_syntax: Syntax::Any, quality: QUALITY_MAX }
    }

    fn parse(text: &str) -> Option<Self> {
        let media_type = MediaType::parse(text)?;
        let quality = media_type.parameter("q").map_or(Some(QUALITY_MAX), quality)?;
        let mut syntax = media_type.parameter("transfer-syntax").map(str::to_owned);
        let mut range = Self { multipart: Some(false), quality, ..Self::anything() };
        match media_type.essence.as_str() {
            "multipart/related" | "multipart/*" => {
                range.multipart = Some(true);
                // `type="image/jls; transfer-syntax=UID"` is met as well as the parameter beside it.
                if let Some(inner) = media_type.parameter("type").and_then(MediaType::parse) {
                    syntax = syntax.or_else(|| inner.parameter("transfer-syntax").map(str::to_owned));
                    range.essence = inner.essence;
                }
            }
            "*/*" => range.multipart = None,
            essence => range.essence = essence.to_owned(),
        }
        if syntax.is_some() || HOLDS_ANY.contains(&range.essence.as_str()) {
            range.transfer_syntax = Syntax::of(syntax.as_deref());
        }
        Some(range)
    }

    /// How closely the range names an offer; `None` when it does not cover it.
    fn specificity(&self, offer: Offer<'_>) -> Option<u8> {
        if self.multipart.is_some_and(|multipart| multipart != offer.multipart) {
            return None;
        }
        let named = match self.essence.as_str() {
            "*/*" => 0,
            essence if essence == offer.media_type => 2,
            essence => {
                let kind = essence.strip_suffix("/*")?;
                (offer.media_type.split('/').next() == Some(kind)).then_some(1)?
            }
        };
        let syntax = self.transfer_syntax.specificity(offer.media_type, offer.transfer_syntax)?;
        Some(u8::from(self.multipart.is_some()) + 2 * named + 8 * syntax)
    }
}

/// A weight of RFC 9110 12.4.2 in thousandths.
fn quality(text: &str) -> Option<u16> {
    let weight: f32 = text.trim().parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * f32::from(QUALITY_MAX)).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = "1.2.840.10008.1.2.1";

    fn parts(media_type: &str) -> Offer<'_> {
        Offer { multipart: true, media_type, transfer_syntax: Some(STORED) }
    }

    fn single(media_type: &str) -> Offer<'_> {
        Offer { multipart: false, media_type, transfer_syntax: Some(STORED) }
    }

    #[test]
    fn the_forms_that_clients_send_are_understood() {
        for (accept, multipart, alone) in [
            ("", true, true),
            ("*/*", true, true),
            (r#"multipart/related; type="application/dicom""#, true, false),
            (r#"multipart/related; type="application/dicom"; transfer-syntax=*"#, true, false),
            ("multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1", true, false),
            (
                r#"multipart/related; type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1""#,
                true,
                false,
            ),
            (
                r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50"#,
                false,
                false,
            ),
            ("multipart/related", true, false),
            ("multipart/related; type=application/octet-stream", false, false),
            ("application/dicom", false, true),
            ("application/dicom; transfer-syntax=*", false, true),
            ("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50", false, false),
            ("application/*", false, true),
            ("image/jpeg, */*;q=0.1", true, true),
            ("*/*;q=0", false, false),
            ("nonsense", false, false),
        ] {
            let accepted = Accepted::parse(accept);
            assert_eq!(accepted.quality(parts("application/dicom")) > 0, multipart, "{accept}");
            assert_eq!(accepted.quality(single("application/dicom")) > 0, alone, "{accept}");
        }
    }

    #[test]
    fn without_a_syntax_the_default_is_meant() {
        let compressed = |media_type| Offer {
            multipart: true,
            media_type,
            transfer_syntax: Some("1.2.840.10008.1.2.4.90"),
        };
        for (accept, media_type, covered) in [
            ("multipart/related; type=application/dicom", "application/dicom", false),
            ("multipart/related; type=application/dicom; transfer-syntax=*", "application/dicom", true),
            ("multipart/related; type=application/octet-stream", "application/octet-stream", false),
            ("multipart/related; type=image/jp2", "image/jp2", true),
            ("multipart/related; type=image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91", "image/jp2", false),
            ("multipart/related", "application/dicom", true),
            ("*/*", "image/jp2", true),
        ] {
            let quality = Accepted::parse(accept).quality(compressed(media_type));
            assert_eq!(quality > 0, covered, "{accept}");
        }
    }

    #[test]
    fn several_syntaxes_are_each_accepted() {
        let accepted = Accepted::parse(
            r#"multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50,
               multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1;q=0.5"#,
        );
        assert_eq!(accepted.quality(parts("application/dicom")), 500);
    }

    #[test]
    fn the_best_answer_wins_and_the_first_of_equals() {
        let offers = [parts("application/dicom"), single("application/dicom")];
        let best = |accept| Accepted::parse(accept).best(&offers).map(|offer| offer.multipart);
        assert_eq!(best("*/*"), Some(true));
        assert_eq!(best("application/dicom"), Some(false));
        assert_eq!(best("*/*;q=0.1, application/dicom"), Some(false));
        assert_eq!(
            best("application/dicom;q=0.2, multipart/related; type=application/dicom;q=0.3"),
            Some(true)
        );
        assert_eq!(best("text/html"), None);
    }

    #[test]
    fn a_specific_refusal_beats_a_general_welcome() {
        let accepted = Accepted::parse("*/*, application/dicom+json;q=0");
        assert!(!accepted.accepts_any(&["application/dicom+json"]));
        assert!(accepted.accepts_any(&["application/json"]));
    }

    #[test]
    fn the_query_parameter_goes_before_the_header() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "application/dicom+json".parse().expect("a header value"));
        let query = [("accept".to_owned(), "application/dicom".to_owned())];
        assert!(Accepted::of(&headers, &query).quality(single("application/dicom")) > 0);
        assert_eq!(Accepted::of(&headers, &[]).quality(single("application/dicom")), 0);
    }
}
