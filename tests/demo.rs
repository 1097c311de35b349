//! `filmgate demo`, as `cargo xtask demo` starts it: what it sent is safe, and is seen in the browser.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::browser::{self, PIXELS, Visit};
use crate::support::cloud::Cloud;
use crate::support::gateway::Home;
use crate::support::test_data::{self, Sample};
use crate::support::web::Web;
use crate::support::{root, wait_for};
use crate::viewer::{DRAWN, sample};

const DEADLINE: Duration = Duration::from_secs(180);

/// A demonstration that goes on; killed when dropped.
struct Demo {
    child: Child,
    web: Web,
    said: Receiver<String>,
}

impl Demo {
    /// Starts one with these samples beside the repository's, and waits until all of them are safe.
    fn start(home: &Home, samples: &[PathBuf]) -> Self {
        let mut command = home.filmgate(&["demo", "--data-dir"]);
        command.arg(home.data_dir()).arg("--samples").arg(root().join("fixtures/dicom"));
        for sample in samples {
            command.arg("--samples").arg(sample);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("start filmgate demo");
        let (saying, said) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(saying.send(line))));
        let mut demo = Self { child, web: Web::new(""), said };
        let address = demo.waits_for("and answers at http://");
        let address = address.split("http://").nth(1).expect("an address").trim_end_matches('/');
        demo.web = Web::new(address);
        demo.waits_for("are sealed, packed, uploaded and verified");
        demo.waits_for("Ctrl-C ends it");
        demo
    }

    /// The line that says this.
    fn waits_for(&self, fragment: &str) -> String {
        let began = Instant::now();
        let mut before = Vec::new();
        loop {
            let left = DEADLINE.saturating_sub(began.elapsed());
            match self.said.recv_timeout(left) {
                Ok(line) if line.contains(fragment) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("no {fragment:?}: {error}\n{}", before.join("\n")),
            }
        }
    }

    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("Ctrl-C");
        let status =
            wait_for("the demonstration ends", DEADLINE, || self.child.try_wait().expect("its status"));
        assert!(status.success(), "it ended with {status}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The paths of what the visits are of.
fn shown(samples: &[Sample]) -> Vec<PathBuf> {
    let series = ["ct-series/", "mr-series/"];
    let is_shown = |sample: &&Sample| {
        series.iter().any(|series| sample.name.starts_with(series))
            || DRAWN.iter().any(|(_, path)| *path == sample.name)
    };
    samples.iter().filter(is_shown).map(|sample| sample.path.clone()).collect()
}

fn is_safe(web: &Web, study: &str) {
    let progress: Value = web.get(&format!("/api/studies/{study}/progress"), "application/json").ok().json();
    assert_eq!(progress["arrived"], progress["verified"], "{progress}");
}

#[test]
fn what_the_demonstration_sent_is_seen_in_the_browser() {
    let (Some(samples), Some(viewer)) = (test_data::samples(), browser::viewer()) else { return };
    let home = Home::new().set("VIEWER__PATH", viewer);
    let demo = Demo::start(&home, &shown(&samples));
    let visit = |(name, path): &(&str, &str)| {
        let study = &sample(&samples, path).study_instance_uid;
        is_safe(&demo.web, study);
        Visit::to(format!("demo-{name}"), format!("/viewer?study={study}"), PIXELS)
    };
    let mut visits: Vec<Visit> = DRAWN.iter().map(visit).collect();
    visits.push(Visit::to("demo-list", "/studies", ".study .safe"));
    visits.push(Visit::to("demo-status", "/", "main"));
    let Some(seen) = browser::visit(&demo.web, &visits) else { return };
    for seen in &seen {
        seen.well();
    }
    demo.stop();
}

/// The demonstration of a site with a bucket of S3, whose packs leave this machine as soon as they are safe there.
#[test]
fn a_study_of_the_demonstration_that_is_only_in_s3_is_seen() {
    let (Some(samples), Some(viewer)) = (test_data::samples(), browser::viewer()) else { return };
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.set(Home::new(), "MAIN").keeps_no_packs().set("VIEWER__PATH", viewer);
    let demo = Demo::start(&home, &shown(&samples));
    wait_for("no pack is left on the local disk", DEADLINE, || {
        let status: Value = demo.web.get("/api/status", "application/json").ok().json();
        (status["spool"]["packs_bytes"] == 0).then_some(())
    });
    cloud.proxy.forget();
    let study = &sample(&samples, "ct-series/").study_instance_uid;
    let visit = Visit::to("demo-only-in-s3", format!("/viewer?study={study}"), PIXELS);
    let Some(seen) = browser::visit(&demo.web, &[visit]) else { return };
    seen[0].well();
    assert!(cloud.pack_reads() > 0, "what was shown came from elsewhere");
    demo.stop();
}
