//! The document of our own API and of DICOMweb, as other people's programs read it.

use std::time::Duration;

use crate::support::gateway::Home;
use crate::support::peers;
use crate::support::process::finish;

const DEADLINE: Duration = Duration::from_secs(60);

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
