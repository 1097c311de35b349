//! The names in the files of the test data that have them in other character sets, as facts and as DICOM JSON say them.

use filmgate_model::{json::JsonWriter, part10, tags, text::Hint};
use filmgate_seal::{SealOptions, Value, Visitor, visit};

use crate::{corpus, support::*};

/// File, then Patient's Name as it reads.
const NAMES: &[(&str, &str)] = &[
    ("charsets/gb18030-chinese.dcm", "Wang^XiaoDong=王^小东"),
    ("charsets/iso-2022-ir-13-87-japanese.dcm", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ("charsets/iso-2022-ir-149-korean-cr.dcm", "김희중"),
    ("charsets/iso-2022-ir-149-korean.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
    ("charsets/iso-2022-ir-58-chinese.dcm", "Zhang^XiaoDong=张^小东"),
    ("charsets/iso-2022-ir-87-japanese-cr.dcm", "やまだ^たろう"),
    ("charsets/iso-2022-ir-87-japanese.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("charsets/iso-ir-100-french-multi.dcm", "Buc^Jérôme"),
    ("charsets/iso-ir-100-german.dcm", "Äneas^Rüdiger"),
    ("charsets/iso-ir-126-greek.dcm", "Διονυσιος"),
    ("charsets/iso-ir-127-arabic.dcm", "قباني^لنزار"),
    ("charsets/iso-ir-138-hebrew.dcm", "שרון^דבורה"),
    ("charsets/iso-ir-144-russian.dcm", "Люкceмбypг"),
    ("charsets/iso-ir-192-utf8-chinese.dcm", "Wang^XiaoDong=王^小東"),
    ("derived/charset-gb18030-four-byte.dcm", "Ouyang^Na=欧阳^娜㐀"),
    ("derived/charset-gbk.dcm", "Zhang^San=张^三"),
    ("derived/charset-utf8-chinese.dcm", "Li^Lei=李^雷"),
];

struct Writer(JsonWriter);

impl Visitor for Writer {
    fn element(&mut self, tag: filmgate_model::Tag, vr: filmgate_model::VR, value: Value<'_>) {
        if let Value::Bytes(bytes) = value {
            self.0.element(tag, vr, bytes);
        }
    }

    fn sequence_start(&mut self, tag: filmgate_model::Tag) {
        self.0.begin_sequence(tag);
    }

    fn item_start(&mut self) {
        self.0.begin_item();
    }

    fn item_end(&mut self) {
        self.0.end_item();
    }

    fn sequence_end(&mut self) {
        self.0.end_sequence();
    }
}

fn sealed(bytes: &[u8]) -> Sealed {
    let head = part10::read_file_head(bytes).expect("a file with a head");
    seal_in(&bytes[head.dataset_offset..], &head.transfer_syntax_uid, &SealOptions::default(), &[1000])
}

fn json(sealed: &Sealed) -> serde_json::Value {
    let mut writer = Writer(JsonWriter::of(&sealed.table.facts, Hint::default()));
    visit(&sealed.table, &sealed.header_bytes(), &mut writer).expect("visits");
    serde_json::from_slice(&writer.0.finish()).expect("JSON")
}

/// The groups of a name as JSON has them, joined again.
fn name(json: &serde_json::Value) -> String {
    let groups =
        ["Alphabetic", "Ideographic", "Phonetic"].map(|group| json[group].as_str().unwrap_or_default());
    groups.join("=").trim_end_matches('=').to_owned()
}

#[test]
fn names_of_real_files_read_right() {
    let Some(folder) = corpus::folder() else { return };
    for (path, expected) in NAMES {
        let sealed = sealed(&std::fs::read(folder.join(path)).expect("a file of the test data"));
        // Some end with the `=` of a third group that is empty.
        let text = sealed.table.facts.text(tags::PATIENT_NAME).expect("a name");
        assert_eq!(text.trim_end_matches('='), *expected, "{path}");
        assert_eq!(name(&json(&sealed)["00100010"]["Value"][0]), *expected, "{path}");
    }
}

#[test]
fn several_values_and_items_read_right() {
    let Some(folder) = corpus::folder() else { return };
    let read =
        |path: &str| json(&sealed(&std::fs::read(folder.join(path)).expect("a file of the test data")));
    for (path, first) in [
        ("charsets/iso-ir-100-french-multi.dcm", "Buc^Jérôme"),
        ("charsets/iso-2022-ir-149-korean-cr.dcm", "김희중"),
    ] {
        let names = read(path)["00101001"]["Value"].clone();
        let names: Vec<String> = names.as_array().expect("names").iter().map(name).collect();
        assert_eq!(names, [first, first], "{path}");
    }
    let gbk = read("derived/charset-gbk.dcm");
    assert_eq!(gbk["00080080"]["Value"][0], "测试医院");
    assert_eq!(gbk["00081030"]["Value"][0], "头部平扫");
    assert_eq!(read("derived/charset-gb18030-four-byte.dcm")["00081030"]["Value"][0], "胸部正位片");
}
