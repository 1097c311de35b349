//! A server of OpenBao, on loopback, with its store in a folder: it can be stopped and started again.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use filmgate_keys::{Kek, SecretFile, TransitKek, TransitLogin, TransitSettings};
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Bao {
    folder: TempDir,
    program: String,
    port: u16,
    cluster_port: u16,
    child: Mutex<Option<Child>>,
    unseal: String,
    root: String,
}

impl Bao {
    /// Up, unsealed, with a transit key `filmgate`; `None` where there is no OpenBao.
    pub(crate) fn start() -> Option<Self> {
        let program = super::told("FILMGATE_TEST_BAO")?;
        // Another test has put it there already, perhaps.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let [port, cluster_port] = free_ports();
        let folder = tempfile::tempdir().expect("a folder");
        let (root, unseal) = (String::new(), String::new());
        let mut bao = Self { folder, program, port, cluster_port, child: Mutex::default(), unseal, root };
        std::fs::create_dir(bao.path("store")).expect("a folder for its store");
        std::fs::write(bao.path("bao.hcl"), bao.configuration()).expect("its configuration");
        bao.run();
        let made = bao.must("PUT", "sys/init", &json!({ "secret_shares": 1, "secret_threshold": 1 }));
        bao.unseal = made["keys"][0].as_str().expect("a key").to_owned();
        bao.root = made["root_token"].as_str().expect("a token").to_owned();
        bao.unseal();
        bao.must("POST", "sys/mounts/transit", &json!({ "type": "transit" }));
        bao.must("POST", "transit/keys/filmgate", &json!({}));
        std::fs::write(bao.path("token"), format!("{}\n", bao.root)).expect("the token's file");
        Some(bao)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configuration(&self) -> String {
        let (store, port, cluster_port) = (self.path("store"), self.port, self.cluster_port);
        format!(
            r#"
            storage "raft" {{ path = "{}", node_id = "one" }}
            listener "tcp" {{
              address = "127.0.0.1:{port}"
              cluster_address = "127.0.0.1:{cluster_port}"
              tls_disable = true
            }}
            api_addr = "http://127.0.0.1:{port}"
            cluster_addr = "http://127.0.0.1:{cluster_port}"
            "#,
            store.display()
        )
    }

    fn run(&self) {
        let mut server = Command::new(&self.program);
        server.args(["server", "-config"]).arg(self.path("bao.hcl"));
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        *self.child.lock().expect("the server") = Some(child.expect("start OpenBao"));
        let started = Instant::now();
        while self.ask("GET", "sys/seal-status", &Value::Null).is_none() {
            assert!(started.elapsed() < SOON, "OpenBao does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn unseal(&self) {
        self.must("PUT", "sys/unseal", &json!({ "key": self.unseal }));
        let started = Instant::now();
        while self.ask("GET", "sys/mounts", &Value::Null).is_none_or(|(status, _)| status != 200) {
            assert!(started.elapsed() < SOON || self.root.is_empty(), "OpenBao stays sealed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stopped; what it keeps stays.
    pub(crate) fn stop(&self) {
        if let Some(mut child) = self.child.lock().expect("the server").take() {
            child.kill().expect("stop OpenBao");
            child.wait().expect("stopped");
        }
    }

    /// Started again: sealed, as after every start.
    pub(crate) fn start_again(&self) {
        self.run();
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}/v1/{path}", self.port))
            .header("X-Vault-Token", &self.root)
            .body(if body.is_null() { String::new() } else { body.to_string() });
        let mut answer = agent.run(request.expect("a request")).ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        Some((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// An answer that is a success. A server that has just started may have to find out first that it is the only one,
    /// and may close a connection while it does.
    pub(crate) fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.ask(method, path, body);
            let is_waiting = match &answer {
                Some((status, body)) if *status < 300 => return body.clone(),
                Some((status, body)) => *status == 500 && body.to_string().contains("not active"),
                None => true,
            };
            assert!(is_waiting && started.elapsed() < SOON, "{method} {path}: {answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn settings(&self) -> TransitSettings {
        TransitSettings {
            address: format!("http://127.0.0.1:{}", self.port),
            mount: "transit".to_owned(),
            key: "filmgate".to_owned(),
            namespace: String::new(),
            ca_file: None,
            login: TransitLogin::Token(SecretFile::new(self.path("token"))),
            timeout: Duration::from_secs(5),
        }
    }

    pub(crate) fn kek(&self) -> Kek {
        kek(self.settings())
    }
}

fn free_ports() -> [u16; 2] {
    let bound = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    bound.each_ref().map(|listener| listener.local_addr().expect("its address").port())
}

pub(crate) fn kek(settings: TransitSettings) -> Kek {
    Kek::Transit(Box::new(TransitKek::new(settings).expect("settings")))
}

impl Drop for Bao {
    fn drop(&mut self) {
        self.stop();
    }
}
