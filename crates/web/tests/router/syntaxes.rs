//! Instances in other transfer syntaxes than they are stored in.

use crate::support::{Gateway, fixture};
use crate::url_of;

const RLE: &str = "1.2.840.10008.1.2.5";

/// Of a segmentation of single bits, twice under different SOP Instance UIDs.
fn two_of_single_bits() -> [Vec<u8>; 2] {
    const UID: &[u8] = b"1.2.276.0.7230010.3.1.4.0.42154.1458337731.665796";
    let first = fixture("seg-liver-3-frames.dcm");
    let mut second = first.clone();
    let places: Vec<usize> =
        (0..second.len() - UID.len()).filter(|at| second[*at..].starts_with(UID)).collect();
    assert!(!places.is_empty(), "the fixture has another UID");
    for at in places {
        second[at + UID.len() - 1] = b'7';
    }
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_study_are_in_the_most_wanted_syntax_that_holds_their_samples() {
    let gateway = Gateway::new().await;
    let [first, second] = two_of_single_bits();
    let answer = gateway.store("/dicomweb/studies", &[&first, &second]).await;
    let study = url_of(&answer.json()["00081199"]["Value"][0]);
    let study = study.split("/series/").next().expect("a study").to_owned();
    // JPEG-LS holds no single bits; RLE does, and is wanted more than what is stored.
    let wanted = |syntax: &str, q: &str| {
        format!(r#"multipart/related; type="application/dicom"; transfer-syntax={syntax}; q={q}"#)
    };
    let accept =
        [wanted("1.2.840.10008.1.2.4.80", "1.0"), wanted(RLE, "0.6"), wanted("1.2.840.10008.1.2.1", "0.2")];
    let answer = gateway.get(&study, &accept.join(", ")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    let parts = answer.parts();
    assert_eq!(parts.len(), 2);
    for (head, _) in parts {
        assert!(head.contains(&format!("transfer-syntax={RLE}")), "{head}");
    }
}
