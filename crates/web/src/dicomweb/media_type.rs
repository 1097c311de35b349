//! Media types as headers write them (RFC 9110 8.3.1, RFC 2045 5.1), read leniently: values with a `/` are met
//! unquoted, and DICOMweb clients put a whole media type into the `type` parameter.

/// Bytes of one header that are looked at.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// A media type with its parameters; type, subtype and parameter names are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// `type/subtype`.
    pub(crate) essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads one media type; `None` when there is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.get(..HEADER_BYTES_MAX.min(text.len()))?;
        let mut pieces = split_outside_quotes(text, ';').into_iter();
        let essence = pieces.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !token(kind) || !token(subtype) {
            return None;
        }
        let parameters = pieces.filter_map(parameter).collect();
        Some(Self { essence, parameters })
    }

    /// A parameter's value, unquoted.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

fn parameter(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim().to_ascii_lowercase(), unquoted(value.trim())))
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        out.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    out
}

/// The parts of a header value between separators that stand outside quoted strings.
pub(crate) fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_bare_values_read_alike() {
        for text in [
            r#"Multipart/Related; type="application/dicom"; Boundary="a;b\"c""#,
            r#"multipart/related;TYPE=application/dicom;boundary="a;b\"c""#,
        ] {
            let read = MediaType::parse(text).expect("a media type");
            assert_eq!(read.essence, "multipart/related");
            assert_eq!(read.parameter("type"), Some("application/dicom"));
            assert_eq!(read.parameter("boundary"), Some("a;b\"c"));
            assert_eq!(read.parameter("start"), None);
        }
    }

    #[test]
    fn what_is_no_media_type_is_none() {
        for text in ["", "text", "/", "a/", " ; q=1", "a b/c"] {
            assert_eq!(MediaType::parse(text), None, "{text:?}");
        }
    }
}
