//! Nodes speak to each other over TLS, each showing a certificate of the site's authority: what one of them holds the other
//! gives, and whoever comes with another certificate is refused and told of.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::certificates::{Authority, Issued, Usage};
use crate::support::dicom::{File, Image};
use crate::support::gateway::{Gateway, Home};
use crate::support::servers::Database;
use crate::support::{Dice, wait_for};

const SOON: Duration = Duration::from_secs(60);
/// So long that nothing is packed while the story lasts.
const NEVER_MS: u64 = 3_600_000;

/// Two nodes over one catalog and bucket, their web doors open to each other by certificate.
struct Secured {
    authority: Authority,
    holder: Home,
    reader: Home,
    /// For what is asked of the nodes themselves: plain, on this machine.
    _database: Database,
}

impl Secured {
    fn new() -> Option<Self> {
        let database = Database::make()?;
        let (holder, reader) = (Home::new(), Home::new());
        let authority = Authority::new(holder.path(), "hospital");
        let door = authority.issue("node-a.hospital", Usage::Server);
        let ours = authority.issue("node-a.client", Usage::Client);
        let holder = speaking(node(holder, &database), &authority, &door);
        let holder = coming_with(holder, &authority, &ours);
        // Of the site before the other joins.
        holder.serve().stop();
        let theirs = authority.issue("node-b.hospital", Usage::Client);
        let reader = node(reader, &database)
            .set("BUCKET__MAIN__PATH", holder.bucket_dir().display())
            .set("NODE__KEY_FILE", holder.key_path().display());
        let reader = coming_with(reader, &authority, &theirs);
        Some(Self { authority, holder, reader, _database: database })
    }

    /// Another certificate for the node that reads.
    fn reading_with(self, authority: &Authority, certificate: &Issued) -> Self {
        let reader = coming_with(self.reader, authority, certificate);
        Self { reader, ..self }
    }
}

fn node(home: Home, database: &Database) -> Home {
    home.set("CATALOG__URL", database.url())
        .set("PEERS__ANNOUNCE_MS", 200)
        .set("PEERS__ABSENT_AFTER_MS", 4000)
        .set("PEERS__REQUEST_TIMEOUT_MS", 5000)
}

/// Its web door speaks TLS and knows the nodes by their names; nobody else comes in.
fn speaking(home: Home, authority: &Authority, door: &Issued) -> Home {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    home.set("WEB__BIND", port)
        .set("PEERS__URL", format!("https://localhost:{}", port.port()))
        .set("WEB__OPEN_TO", "nobody")
        .set("WEB__TLS__ENABLED", true)
        .set("WEB__TLS__CERTIFICATE", door.certificate.display())
        .set("WEB__TLS__KEY", door.key.display())
        .set("WEB__TLS__CLIENT_CA", authority.certificate.display())
        .set("WEB__TLS__PEERS", "node-b.hospital")
}

/// What it shows the others, and whose certificates it believes.
fn coming_with(home: Home, authority: &Authority, ours: &Issued) -> Home {
    home.set("PEERS__CA", authority.certificate.display())
        .set("PEERS__CERTIFICATE", ours.certificate.display())
        .set("PEERS__KEY", ours.key.display())
}

fn images(study: u64, count: u64) -> Vec<Image> {
    let mut dice = Dice(study);
    (1..=count).map(|number| Image { samples: dice.bytes(9_000), ..Image::of_study(study, number) }).collect()
}

fn given(by: &Gateway, image: &Image) -> Result<File, String> {
    by.web.instance(&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid)
}

/// A gateway that holds images nothing else has, and the image nobody has read yet.
fn holding(secured: &Secured, study: u64) -> (Gateway, Vec<Image>) {
    let gateway = secured.holder.serve_with(&[("PACK__QUIET_MS", NEVER_MS), ("PACK__AGE_MS", NEVER_MS)]);
    let held = images(study, 3);
    let files: Vec<_> = held.iter().map(|image| image.write(secured.holder.path())).collect();
    secured.holder.send(&gateway, &files);
    (gateway, held)
}

/// Whether the reader lists what the holder has, which it does from their catalog, whoever it is to the holder.
fn listed(reader: &Gateway, images: &[Image]) {
    wait_for("the other node lists what came", SOON, || {
        images.iter().all(|image| reader.records_of(&image.sop_instance_uid).len() == 1).then_some(())
    });
}

#[test]
fn what_one_node_holds_the_other_reads_over_mutual_tls() {
    let Some(secured) = Secured::new() else { return };
    let (mut holder, held) = holding(&secured, 9_501);
    holder.expect_log("a request was refused");
    let mut reader = secured.reader.serve();
    reader.expect_log("a request was refused");
    listed(&reader, &held);
    for image in &held {
        let file = given(&reader, image).unwrap_or_else(|why| panic!("{}: {why}", image.sop_instance_uid));
        assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
    }
    // It was the certificate that let it in: without one the same door opens to nobody.
    let nobody = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(
            ureq::tls::TlsConfig::builder()
                .disable_verification(true)
                .unversioned_rustls_crypto_provider(std::sync::Arc::new(
                    rustls::crypto::aws_lc_rs::default_provider(),
                ))
                .build(),
        )
        .build();
    let asked = ureq::Agent::from(nobody).get(format!("https://{}/api/status", holder.web.address())).call();
    assert_eq!(asked.expect("an answer").status(), 401);
    reader.stop();
    holder.kill();
}

/// Of another authority, out of date, or of this one under a name no node has: each is refused, told of at the door, and said to
/// be held by the other node at the one that asked.
#[test]
fn a_peer_that_cannot_be_believed_is_refused_and_told() {
    let Some(secured) = Secured::new() else { return };
    let (mut holder, held) = holding(&secured, 9_502);
    for expected in ["tls-refused", "a request was refused"] {
        holder.expect_log(expected);
    }
    let foreign = Authority::new(secured.holder.path(), "elsewhere").issue("node-b.hospital", Usage::Client);
    let expired = secured.authority.issue_expired("node-b.hospital", Usage::Client);
    let other = secured.authority.issue("CT_1", Usage::Client);
    let hospital = Authority::new(secured.holder.path(), "unknown");
    let mut secured = secured;
    for (certificate, told) in
        [(&foreign, "authority not known here"), (&expired, "has expired"), (&other, "a request was refused")]
    {
        let ca = secured.authority.certificate.clone();
        let before = holder.log().matches(told).count();
        secured.reader = secured
            .reader
            .set("PEERS__CA", ca.display())
            .set("PEERS__CERTIFICATE", certificate.certificate.display())
            .set("PEERS__KEY", certificate.key.display());
        let mut reader = secured.reader.serve();
        reader.expect_log("held by node");
        listed(&reader, &held);
        let refused = given(&reader, &held[0]).expect_err("nothing is given");
        assert!(refused.contains("503") || refused.contains("held by node"), "{told}: {refused}");
        wait_for(&format!("the door says {told:?}"), SOON, || {
            (holder.log().matches(told).count() > before).then_some(())
        });
        reader.stop();
    }

    // The other way round: a door whose certificate the one that asks does not believe.
    let right = secured.authority.issue("node-b.hospital", Usage::Client);
    let secured = secured.reading_with(&hospital, &right);
    let mut reader = secured.reader.serve();
    reader.expect_log("held by node");
    listed(&reader, &held);
    given(&reader, &held[0]).expect_err("it gives nothing away to a stranger");
    reader.stop();

    // And with what it should have had all along, it reads.
    let ca = secured.authority.certificate.clone();
    let reader = secured.reader.set("PEERS__CA", ca.display());
    let reader = reader.serve();
    let file = given(&reader, &held[0]).expect("it is given");
    assert!(file.dataset() == held[0].dataset());
    reader.stop();
    holder.kill();
}
