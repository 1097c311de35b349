//! Against a real server, told by the environment (`cargo xtask test`; `cargo xtask servers` for single tests).

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use aws_sdk_s3::{
    presigning::PresigningConfig,
    types::{BucketVersioningStatus, ObjectLockConfiguration, ObjectLockEnabled, VersioningConfiguration},
};

use super::*;

/// The server and who asks it.
pub(crate) struct Server {
    settings: S3Settings,
}

impl Server {
    /// `None` without one, which in CI is a failure.
    pub(crate) fn told() -> Option<Self> {
        let endpoint = told_by("FILMGATE_TEST_S3_ENDPOINT")?;
        let credentials = S3Credentials {
            access_key_id: told_by("FILMGATE_TEST_S3_ACCESS_KEY")?,
            secret_access_key: Secret::new(told_by("FILMGATE_TEST_S3_SECRET_KEY")?),
            session_token: None,
        };
        let region = told_by("FILMGATE_TEST_S3_REGION")?;
        Some(Self { settings: S3Settings { credentials, region, ..settings(endpoint) } })
    }

    fn client(&self) -> S3Client {
        S3Client::new(&self.settings).expect("a client")
    }

    /// A bucket of one's own, names in it below `prefix`.
    pub(crate) async fn bucket(&self, prefix: &str) -> S3Bucket {
        let bucket = self.make(false).await;
        let settings = S3Settings { prefix: prefix.to_owned(), ..self.settings.clone() };
        let client = S3Client::new(&settings).expect("a client");
        S3Bucket::new(&client, bucket, Role::Packs { require_object_lock: false })
    }

    async fn make(&self, locked: bool) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("u{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let make = self.client().quick().create_bucket().bucket(&name);
        make.object_lock_enabled_for_bucket(locked).send().await.expect("make a bucket");
        name
    }
}

fn told_by(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(value.is_some() || !in_ci, "{name} is not set: run the tests by `cargo xtask test`");
    value
}

fn settings(endpoint: String) -> S3Settings {
    S3Settings {
        endpoint: Some(endpoint),
        region: "us-east-1".into(),
        path_style: true,
        ca_pem: None,
        credentials: S3Credentials {
            access_key_id: "A".into(),
            secret_access_key: Secret::new("B"),
            session_token: None,
        },
        prefix: String::new(),
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(20),
        stall_timeout: Duration::from_secs(20),
        operation_timeout: Duration::from_secs(60),
        part_size_bytes: 6 << 20,
    }
}

fn token(token: &str) -> ProbeToken {
    let now = aws_sdk_s3::primitives::DateTime::from(std::time::UNIX_EPOCH).to_millis();
    // Far ahead of every lock that an earlier run set, and of the server's own clock.
    ProbeToken { token: token.into(), at_ms: now.expect("a time") + 4_000_000_000_000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_finds_what_a_server_does_and_leaves_nothing() {
    let Some(server) = Server::told() else { return };
    let bucket = server.bucket("").await;
    let probe = bucket.probe(&token("a0")).await.expect("probe").expect("found out");
    // Ceph RGW 16: STORAGE.md of the project's notes, and here.
    let found = Probe {
        checks_sha256: false,
        checks_md5: true,
        honours_conditions: true,
        keeps_versions: false,
        locks_objects: false,
    };
    assert_eq!(probe, found);
    assert_eq!(bucket.list("").await.expect("list"), []);
    let keys = S3Bucket { role: Role::Keys, ..bucket.clone() };
    keys.probe(&token("a1")).await.expect("fit for keys");
    let locked = S3Bucket { role: Role::Packs { require_object_lock: true }, ..bucket };
    let refused = locked.probe(&token("a2")).await.expect_err("no lock").to_string();
    assert!(refused.contains("require_object_lock"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_not_put_where_they_would_stay() {
    let Some(server) = Server::told() else { return };
    let client = server.client();
    let (versioned, locked) = (server.make(false).await, server.make(true).await);
    set_versioning(&client, &versioned, BucketVersioningStatus::Enabled).await;
    for (name, what) in [(&versioned, "keeps versions"), (&locked, "keeps versions")] {
        let refused = S3Bucket::new(&client, name, Role::Keys).probe(&token("b0")).await;
        let refused = refused.expect_err("unfit").to_string();
        assert!(refused.contains(what) && refused.contains("keys_bucket"), "{refused}");
    }
    let packs = S3Bucket::new(&client, &versioned, Role::Packs { require_object_lock: false });
    let probe = packs.probe(&token("b1")).await.expect("probe").expect("found out");
    assert!(probe.keeps_versions && !probe.locks_objects);
}

async fn set_versioning(client: &S3Client, bucket: &str, status: BucketVersioningStatus) {
    let versioning = VersioningConfiguration::builder().status(status).build();
    let put = client.quick().put_bucket_versioning().bucket(bucket).versioning_configuration(versioning);
    put.send().await.expect("set versioning");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone_with_every_version() {
    let Some(server) = Server::told() else { return };
    let client = server.client();
    let name = server.make(false).await;
    set_versioning(&client, &name, BucketVersioningStatus::Enabled).await;
    let packs = S3Bucket::new(&client, &name, Role::Packs { require_object_lock: false });
    let pack = Source::from_bytes(&b"a pack"[..]);
    packs.put("v1/pack/1", &pack).await.expect("put");
    packs.put("v1/pack/2", &pack).await.expect("put");
    let versions = || async {
        let listed = client.quick().list_object_versions().bucket(&name).prefix("v1/pack/").send().await;
        let listed = listed.expect("list versions");
        (listed.versions().len(), listed.delete_markers().len())
    };
    assert_eq!(versions().await, (2, 0));
    packs.delete("v1/pack/1").await.expect("delete, nothing known of the bucket yet");
    assert_eq!(versions().await, (1, 0));
    // Versions made before it was suspended stay as well.
    set_versioning(&client, &name, BucketVersioningStatus::Suspended).await;
    let probe = packs.probe(&token("d0")).await.expect("probe").expect("found out");
    assert!(probe.keeps_versions);
    packs.delete("v1/pack/2").await.expect("delete");
    assert_eq!(versions().await, (0, 0));
    packs.delete("v1/pack/2").await.expect("delete what is gone");
    let keys = S3Bucket::new(&client, &name, Role::Keys).probe(&token("d1")).await;
    assert!(keys.expect_err("unfit").to_string().contains("keeps versions"));
}

/// A lock is believed when a deletion was refused, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_tried() {
    let Some(server) = Server::told() else { return };
    let client = server.client();
    let name = server.make(true).await;
    let lock = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
    let put = client.quick().put_object_lock_configuration().bucket(&name).object_lock_configuration(lock);
    put.send().await.expect("lock a bucket");
    let packs = S3Bucket::new(&client, &name, Role::Packs { require_object_lock: true });
    let probe = packs.probe(&token("c0")).await.expect("fit").expect("found out");
    assert!(probe.locks_objects && probe.keeps_versions);
    assert_eq!(packs.list("").await.expect("list").len(), 1, "the locked one stays for its seconds");
}

/// What a request says of where it goes, and that the server takes it so. Names below localhost are not found everywhere, so
/// it is passed on by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_named_in_the_path_or_in_the_hosts_name() {
    let Some(server) = Server::told() else { return };
    let bucket = server.bucket("").await;
    bucket.put("v1/pack/0", &Source::from_bytes("a pack")).await.expect("put");
    let address = server.settings.endpoint.clone().expect("an endpoint").replace("http://", "");
    let endpoint = format!("http://{}", address.replace("127.0.0.1", "localhost"));
    for path_style in [true, false] {
        let settings = S3Settings { endpoint: Some(endpoint.clone()), path_style, ..server.settings.clone() };
        let client = S3Client::new(&settings).expect("a client");
        let expires = PresigningConfig::expires_in(Duration::from_secs(60)).expect("a time");
        let get =
            client.quick().get_object().bucket(&bucket.bucket).key("v1/pack/0").presigned(expires).await;
        let get = get.expect("a signed request");
        let (host, target) = get.uri().trim_start_matches("http://").split_once('/').expect("a path");
        assert_eq!(host.starts_with(&format!("{}.localhost:", bucket.bucket)), !path_style, "{host}");
        assert_eq!(target.starts_with(&format!("{}/v1/pack/0?", bucket.bucket)), path_style, "{target}");
        assert_eq!(target.starts_with("v1/pack/0?"), !path_style, "{target}");
        let mut stream = TcpStream::connect(address.trim_end_matches('/')).expect("connect");
        write!(stream, "GET /{target} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains(" 200 ") && answer.ends_with("\r\n\r\na pack"), "{path_style}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_apart() {
    let nobody = S3Client::new(&settings("http://127.0.0.1:9".into())).expect("a client");
    let away = S3Bucket::new(&nobody, "none", Role::Keys).head("v1/key/0").await.expect_err("away");
    assert!(away.is_unclear(), "{away}");
    let broken = S3Settings { ca_pem: Some(b"no certificate".to_vec()), ..settings("https://x".into()) };
    assert!(matches!(S3Client::new(&broken), Err(Error::Setting { key: "ca_file", .. })));
    assert!(
        !format!("{:?}", S3Settings { ..settings("x".into()) }).contains("\"B\""),
        "secrets are not shown"
    );
    let Some(server) = Server::told() else { return };
    let none = S3Bucket::new(&server.client(), "no-such-bucket-here", Role::Keys);
    let refused = none.put("v1/key/0", &Source::from_bytes("x")).await.expect_err("no bucket");
    assert!(matches!(refused, Error::Denied(_)), "{refused}");
    let stranger = S3Settings {
        credentials: S3Credentials {
            secret_access_key: Secret::new("wrong"),
            ..server.settings.credentials.clone()
        },
        ..server.settings.clone()
    };
    let client = S3Client::new(&stranger).expect("a client");
    let bucket = server.make(false).await;
    let refused = S3Bucket::new(&client, bucket, Role::Keys).list("").await.expect_err("a stranger");
    assert!(matches!(refused, Error::Denied(_)), "{refused}");
}
