//! The recovery sheet.

use super::*;

/// The lines as they are printed, without the check of a line being right for another line.
fn printed(sheet: &Sheet, passphrase: Option<&str>) -> Vec<String> {
    sheet.lines(passphrase, &Random::seeded(5))
}

#[test]
fn a_sheet_brings_back_the_key_file() {
    let site = Site::new(1);
    let ring = site.create();
    let sheet = ring.sheet(&site.kek).expect("a sheet");
    let lines = printed(&sheet, None);
    let text = lines.join("\n");
    let back = Sheet::of_lines(&text, None).expect("as printed");
    assert_eq!(back.site_id, ring.site_id());
    let path = site.folder.path().join("again.key");
    back.key_file().expect("a key file").save(&path).expect("save");
    assert!(matches!(back.key_file().expect("a key file").save(&path), Err(Error::Exists(_))));
    let kek = Kek::load_file(&path).expect("load");
    let joined = Site { kek, ..Site::new(2) };
    let object = ring.site_object();
    let disk = Arc::new(RealDisk);
    let joined = KeyRing::join(disk, &joined.keys(), &joined.kek, &object, &joined.clock, &joined.random)
        .expect("join");
    assert_eq!(joined.site_id(), ring.site_id());

    // As hands type: small letters, O for 0, L for 1, dashes, any order.
    let mut typed: Vec<String> = lines
        .iter()
        .map(|line| line.to_lowercase().replace('0', "o").replace('1', "l").replace("  ", " - "))
        .collect();
    for (typed, line) in typed.iter_mut().zip(&lines) {
        typed.replace_range(..2, &line[..2]);
    }
    typed.reverse();
    assert_eq!(Sheet::of_lines(&typed.join("\n\n"), None).expect("as typed").site_id, ring.site_id());
}

#[test]
fn a_slip_of_the_pen_is_found_on_its_line() {
    let site = Site::new(1);
    let lines = printed(&site.create().sheet(&site.kek).expect("a sheet"), None);
    let (mut slips, mut missed) = (0, 0);
    for number in 0..lines.len() {
        for place in 4..lines[number].len() {
            let letter = lines[number].as_bytes()[place];
            if letter == b' ' {
                continue;
            }
            let mut typed = lines.clone();
            typed[number].replace_range(place..=place, if letter == b'A' { "B" } else { "A" });
            slips += 1;
            match Sheet::of_lines(&typed.join("\n"), None).err() {
                Some(SheetError::Line(told)) => assert_eq!(told, number + 1),
                _ => missed += 1,
            }
        }
        let without: Vec<_> = lines
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
            .map(|(_, line)| line.clone())
            .collect();
        assert_eq!(Sheet::of_lines(&without.join("\n"), None).err(), Some(SheetError::Missing(number + 1)));
    }
    // A checksum of ten bits finds any one wrong letter: no two differ by five bits in a row alone.
    assert_eq!(missed, 0, "of {slips}");
    assert_eq!(Sheet::of_lines("", None).err(), Some(SheetError::Missing(1)));
    assert_eq!(Sheet::of_lines("rubbish", None).err(), Some(SheetError::Line(1)));
}

#[test]
fn a_passphrase_guards_a_sheet_and_site_keys_go_under_another_keeper() {
    let site = Site::new(1);
    let ring = site.create();
    let study = ring.new_study_key().expect("make");
    let next = ring.site_with_new_key(&site.kek).expect("seal");
    ring.take_site(&site.kek, &next).expect("take");
    let sheet = ring.site_sheet().expect("a sheet");
    let text = printed(&sheet, Some("correct horse")).join("\n");
    assert!(Sheet::needs_passphrase(&text).expect("reads"));
    assert_eq!(Sheet::of_lines(&text, None).err(), Some(SheetError::Passphrase));
    assert_eq!(Sheet::of_lines(&text, Some("wrong horse")).err(), Some(SheetError::Passphrase));
    let back = Sheet::of_lines(&text, Some("correct horse")).expect("opens");
    assert!(back.key_file().is_none());

    let empty = Site::new(2);
    let restored = KeyRing::restore(
        Arc::new(RealDisk),
        &empty.keys(),
        &empty.kek,
        &back,
        7,
        &empty.clock,
        &empty.random,
    )
    .expect("restore");
    assert_eq!((restored.site_id(), restored.site_object().generation()), (ring.site_id(), 7));
    let object = ring.study_key_object(study).expect("object").1;
    restored.adopt_study_key(&object).expect("under the first site key");
    assert_eq!(*restored.study_key(study).expect("key"), *ring.study_key(study).expect("key"));
}
