//! The document of our own API and of DICOMweb, as other people's programs read it: one that checks the document, and one that asks
//! for everything it describes.

use std::time::Duration;

use crate::support::dicom::Image;
use crate::support::gateway::Home;
use crate::support::peers;
use crate::support::process::finish;

const DEADLINE: Duration = Duration::from_secs(60);
/// Values made up for each operation, unless `FILMGATE_TEST_API_EXAMPLES` says otherwise.
const EXAMPLES: &str = "10";

#[test]
fn a_validator_takes_the_document() {
    let home = Home::new();
    let gateway = home.serve();
    let mut validator = peers::python("openapi.py", &[&gateway.web.url("/api/openapi.json")]);
    let said = finish(&mut validator, DEADLINE).ended(0).json();
    assert_eq!(said["openapi"], "3.1.0", "{said}");
    assert!(said["operations"].as_u64().is_some_and(|operations| operations > 65), "{said}");
    gateway.stop();
}

/// No made-up value leads to a failure of the server, nor to an answer that the document does not tell of.
#[test]
fn every_answer_is_one_that_the_document_tells_of() {
    let home = Home::new();
    let mut gateway = home.serve();
    // Made-up tokens are tried.
    gateway.expect_log("a wrong password, link or token");
    let image = Image::of_study(1, 1);
    gateway.web.store(&[&image.file()]).ok();
    gateway.settled(1);
    let made = home.run(&["token", "create", "conform", "--scope", "admin", "--json"]).ended(0).json();
    let token = made["token"].as_str().expect("a token");
    let told = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let (examples, seed) = (told("FILMGATE_TEST_API_EXAMPLES", EXAMPLES), told("FILMGATE_TEST_SEED", "1"));
    let url = gateway.web.url("/api/openapi.json");
    let mut asking = peers::python("conform.py", &[&url, token, &examples, &seed]);
    asking.args([image.study_instance_uid, image.series_instance_uid, image.sop_instance_uid]);
    finish(&mut asking, 60 * DEADLINE).ended(0);
    gateway.stop();
}
