//! The DICOM JSON model (PS3.18 annex F), written as the elements of a dataset go by.

use std::{fmt::Display, io::Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::{
    Facts,
    text::{Charset, Hint},
};

/// Writes one dataset as a JSON object. Sequences nest by calls, not by recursion; every begun one must be ended.
///
/// Text comes out as UTF-8 whatever it was, and Specific Character Set says so.
#[derive(Debug)]
pub struct JsonWriter {
    out: Vec<u8>,
    /// In what the text of the dataset and of each open item is.
    charsets: Vec<Stated>,
    /// What is known of text besides what is stated.
    hint: Hint,
    /// The dataset's own text was told from what is known of it; what it states does not change that.
    told: bool,
    /// True when the next member of the open object or array needs a comma before it.
    comma: bool,
}

/// A value of Specific Character Set, and what it comes to.
#[derive(Debug, Clone, Default)]
struct Stated {
    value: Vec<u8>,
    charset: Charset,
}

impl Default for JsonWriter {
    fn default() -> Self {
        Self {
            out: vec![b'{'],
            charsets: vec![Stated::default()],
            hint: Hint::default(),
            told: false,
            comma: false,
        }
    }
}

impl JsonWriter {
    /// Writes the dataset these facts are of: its text is read as theirs is.
    #[must_use]
    pub fn of(facts: &Facts, hint: Hint) -> Self {
        let value = facts.raw(tags::SPECIFIC_CHARACTER_SET).unwrap_or_default().to_vec();
        let charsets = vec![Stated { value, charset: facts.charset_by(hint) }];
        Self { charsets, hint, told: true, ..Self::default() }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// One element with its value as it stands in the dataset, numbers little endian; padding and splitting are done here.
    pub fn element(&mut self, tag: Tag, vr: VR, value: &[u8]) {
        // Group lengths and file meta information have no place in the model (PS3.18 F.2.2).
        if tag.element() == 0 || tag.group() <= 0x0002 {
            return;
        }
        if tag == tags::SPECIFIC_CHARACTER_SET {
            self.state(value);
            return self.member(tag, vr, |out| out.extend_from_slice(br#","Value":["ISO_IR 192"]"#));
        }
        self.name(tag, vr);
        let charset = self.charsets.last().map(|stated| stated.charset).unwrap_or_default();
        write_value(&mut self.out, vr, value, charset);
        self.out.push(b'}');
    }

    /// One element whose value is fetched from elsewhere.
    pub fn bulk(&mut self, tag: Tag, vr: VR, uri: &str) {
        self.member(tag, vr, |out| {
            out.extend_from_slice(br#","BulkDataURI":"#);
            write_string(out, uri);
        });
    }

    /// One element that is written in this model already.
    pub fn written(&mut self, tag: Tag, element: &[u8]) {
        self.separate();
        self.out.push(b'"');
        push_hex(&mut self.out, &tag.group().to_be_bytes());
        push_hex(&mut self.out, &tag.element().to_be_bytes());
        self.out.extend_from_slice(b"\":");
        self.out.extend_from_slice(element);
    }

    /// Begins a sequence.
    pub fn begin_sequence(&mut self, tag: Tag) {
        self.name(tag, VR::SQ);
        self.out.extend_from_slice(br#","Value":["#);
        self.comma = false;
    }

    /// Ends the open sequence.
    pub fn end_sequence(&mut self) {
        self.out.extend_from_slice(b"]}");
        self.comma = true;
    }

    /// Begins an item of the open sequence.
    pub fn begin_item(&mut self) {
        self.separate();
        self.out.push(b'{');
        // An item without a character set of its own has its parent's (PS3.5 7.5.3).
        self.charsets.push(self.charsets.last().cloned().unwrap_or_default());
        self.comma = false;
    }

    /// Ends the open item.
    pub fn end_item(&mut self) {
        self.out.push(b'}');
        self.charsets.pop();
        self.comma = true;
    }

    /// The whole object.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }

    /// Takes Specific Character Set of the dataset or the open item.
    fn state(&mut self, value: &[u8]) {
        let alone = self.charsets.len() == 1;
        if let Some(stated) = self.charsets.last_mut()
            && !(self.told && alone)
            && stated.value != value
        {
            *stated = Stated { value: value.to_vec(), charset: Charset::of(value, [], self.hint) };
        }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    fn name(&mut self, tag: Tag, vr: VR) {
        self.separate();
        self.out.push(b'"');
        push_hex(&mut self.out, &tag.group().to_be_bytes());
        push_hex(&mut self.out, &tag.element().to_be_bytes());
        self.out.extend_from_slice(br#"":{"vr":""#);
        self.out.extend_from_slice(vr.to_string().as_bytes());
        self.out.push(b'"');
    }

    fn member(&mut self, tag: Tag, vr: VR, value: impl FnOnce(&mut Vec<u8>)) {
        self.name(tag, vr);
        value(&mut self.out);
        self.out.push(b'}');
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // What JSON has to escape is seldom there (RFC 8259 section 7).
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        return out.push(b'"');
    }
    // Writing into memory does not fail, and every &str is valid JSON text.
    let _ = serde_json::to_writer(out, text);
}

/// `,"Value":[…]` or `,"InlineBinary":"…"`; nothing for an empty value.
fn write_value(out: &mut Vec<u8>, vr: VR, value: &[u8], charset: Charset) {
    if value.is_empty() {
        return;
    }
    match vr {
        VR::OB | VR::OW | VR::OD | VR::OF | VR::OL | VR::OV | VR::UN => {
            out.extend_from_slice(br#","InlineBinary":""#);
            let start = out.len();
            out.resize(start + base64::encoded_len(value.len(), true).unwrap_or(0), 0);
            // There is just room enough.
            let _ = STANDARD.encode_slice(value, out.get_mut(start..).unwrap_or_default());
            out.push(b'"');
        }
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD | VR::AT => {
            let words = value.chunks_exact(word_bytes(vr));
            write_list(out, words, |out, word| write_number(out, vr, word));
        }
        _ => write_text(out, vr, &charset.decode(vr, value).text),
    }
}

fn write_text(out: &mut Vec<u8>, vr: VR, text: &str) {
    let trimmed = match vr {
        // Leading spaces are significant in these, and a backslash does not separate values (PS3.5 6.2).
        VR::ST | VR::LT | VR::UT | VR::UR => text.trim_end_matches([' ', '\0']),
        _ => text.trim_matches([' ', '\0']),
    };
    if trimmed.is_empty() {
        return;
    }
    match vr {
        VR::ST | VR::LT | VR::UT | VR::UR => write_list(out, std::iter::once(trimmed), write_string_or_null),
        VR::PN => write_list(out, trimmed.split('\\'), write_name),
        VR::IS | VR::DS => write_list(out, trimmed.split('\\'), write_decimal),
        _ => write_list(out, trimmed.split('\\'), |out, part| {
            write_string_or_null(out, part.trim_matches([' ', '\0']))
        }),
    }
}

fn write_list<T>(out: &mut Vec<u8>, values: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    out.extend_from_slice(br#","Value":["#);
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(b']');
}

/// An empty value among several is null (PS3.18 F.2.5).
fn write_string_or_null(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() { out.extend_from_slice(b"null") } else { write_string(out, text) }
}

/// A person name by its component groups (PS3.18 F.2.2, PS3.5 6.2.1.1).
fn write_name(out: &mut Vec<u8>, name: &str) {
    let groups = name.split('=').map(|group| group.trim_matches([' ', '\0']).trim_end_matches('^'));
    let named = ["Alphabetic", "Ideographic", "Phonetic"].into_iter().zip(groups);
    let mut comma = false;
    out.push(b'{');
    for (group, text) in named.filter(|(_, text)| !text.is_empty()) {
        if comma {
            out.push(b',');
        }
        comma = true;
        write_string(out, group);
        out.push(b':');
        write_string(out, text);
    }
    out.push(b'}');
}

/// IS and DS are numbers where they are numbers; what is not stays readable as a string (PS3.18 F.2.3.1).
fn write_decimal(out: &mut Vec<u8>, part: &str) {
    let part = part.trim_matches([' ', '\0']);
    if let Ok(integer) = part.parse::<i64>() {
        return write_display(out, integer);
    }
    match part.parse::<f64>() {
        Ok(number) if number.is_finite() => write_display(out, number),
        _ => write_string_or_null(out, part),
    }
}

fn word_bytes(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW => 2,
        VR::UL | VR::SL | VR::FL | VR::AT | VR::OF | VR::OL => 4,
        VR::FD | VR::UV | VR::SV | VR::OD | VR::OV => 8,
        _ => 1,
    }
}

fn write_display(out: &mut Vec<u8>, number: impl Display) {
    // Writing into memory does not fail.
    let _ = write!(out, "{number}");
}

/// One binary number as JSON text.
fn write_number(out: &mut Vec<u8>, vr: VR, word: &[u8]) {
    let mut bytes = [0; 8];
    let word_bytes = word.len().min(8);
    bytes[..word_bytes].copy_from_slice(&word[..word_bytes]);
    let [a, b, c, d, ..] = bytes;
    match vr {
        VR::US => write_display(out, u16::from_le_bytes([a, b])),
        VR::SS => write_display(out, i16::from_le_bytes([a, b])),
        VR::UL => write_display(out, u32::from_le_bytes([a, b, c, d])),
        VR::SL => write_display(out, i32::from_le_bytes([a, b, c, d])),
        VR::UV => write_display(out, u64::from_le_bytes(bytes)),
        VR::SV => write_display(out, i64::from_le_bytes(bytes)),
        VR::FL => {
            // By its shortest decimal form, not widened: 0.1 stays 0.1.
            let single = f32::from_le_bytes([a, b, c, d]);
            if single.is_finite() { write_display(out, single) } else { write_float(out, single.into()) }
        }
        VR::FD => write_float(out, f64::from_le_bytes(bytes)),
        // An attribute tag is a group and an element, each little endian.
        _ => {
            out.push(b'"');
            push_hex(out, &[b, a, d, c]);
            out.push(b'"');
        }
    }
}

/// Floats that JSON has no number for are strings (PS3.18 F.2.3.1).
fn write_float(out: &mut Vec<u8>, number: f64) {
    match number {
        number if number.is_nan() => out.extend_from_slice(br#""NaN""#),
        number if number == f64::INFINITY => out.extend_from_slice(br#""inf""#),
        number if number == f64::NEG_INFINITY => out.extend_from_slice(br#""-inf""#),
        number => write_display(out, number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut JsonWriter)) -> serde_json::Value {
        let mut writer = JsonWriter::default();
        write(&mut writer);
        serde_json::from_slice(&writer.finish()).expect("valid JSON")
    }

    #[test]
    fn values_follow_their_vr() {
        let json = written(|json| {
            json.element(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"GB18030 ");
            json.element(tags::IMAGE_TYPE, VR::CS, b"ORIGINAL\\\\AXIAL ");
            json.element(tags::PATIENT_NAME, VR::PN, b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab");
            json.element(tags::PIXEL_SPACING, VR::DS, b"0.50\\bad ");
            json.element(tags::INSTANCE_NUMBER, VR::IS, b"007");
            json.element(tags::ROWS, VR::US, &[0, 2]);
            json.element(tags::STUDY_ID, VR::SH, b"  ");
            json.element(tags::IMAGE_COMMENTS, VR::LT, b"5\" disk,\r\nC:\\images\x01");
            json.element(tags::FRAME_INCREMENT_POINTER, VR::AT, &[0x18, 0, 0x63, 0x10]);
            json.element(tags::ICC_PROFILE, VR::OB, &[1, 2, 3]);
            json.bulk(tags::PIXEL_DATA, VR::OW, "bulkdata/7FE00010");
        });
        assert_eq!(json["00080005"]["Value"][0], "ISO_IR 192");
        assert_eq!(json["00080008"]["Value"], serde_json::json!(["ORIGINAL", null, "AXIAL"]));
        assert_eq!(json["00100010"]["Value"][0]["Ideographic"], "王^小东");
        assert_eq!(json["00280030"]["Value"], serde_json::json!([0.5, "bad"]));
        assert_eq!(json["00200013"]["Value"][0], 7);
        assert_eq!(json["00280010"]["Value"][0], 512);
        assert_eq!(json["00200010"], serde_json::json!({"vr": "SH"}));
        assert_eq!(json["00204000"]["Value"][0], "5\" disk,\r\nC:\\images\u{1}");
        assert_eq!(json["00280009"]["Value"][0], "00181063");
        assert_eq!(json["00282000"]["InlineBinary"], "AQID");
        assert_eq!(json["7FE00010"]["BulkDataURI"], "bulkdata/7FE00010");
    }

    #[test]
    fn sequences_nest_and_items_have_their_own_character_set() {
        let json = written(|json| {
            json.element(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 100");
            json.begin_sequence(tags::REQUEST_ATTRIBUTES_SEQUENCE);
            json.begin_item();
            json.element(tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 192");
            json.element(tags::STUDY_DESCRIPTION, VR::LO, "头颅".as_bytes());
            json.end_item();
            json.begin_item();
            json.element(tags::STUDY_DESCRIPTION, VR::LO, b"Sch\xe4del");
            json.end_item();
            json.end_sequence();
            json.element(tags::STUDY_DESCRIPTION, VR::LO, b"\xe4");
        });
        let items = &json["00400275"]["Value"];
        assert_eq!(items[0]["00081030"]["Value"][0], "头颅");
        assert_eq!(items[1]["00081030"]["Value"][0], "Schädel");
        assert_eq!(json["00081030"]["Value"][0], "ä");
    }

    #[test]
    fn floats_without_a_number_are_strings() {
        let json = written(|json| {
            json.element(tags::REAL_WORLD_VALUE_SLOPE, VR::FD, &f64::NAN.to_le_bytes());
            json.element(tags::EXAMINED_BODY_THICKNESS, VR::FL, &0.1f32.to_le_bytes());
        });
        assert_eq!(json["00409225"]["Value"][0], "NaN");
        assert_eq!(json["00109431"]["Value"][0], 0.1);
    }
}
