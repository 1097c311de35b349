//! What is changed of the published build so that it is served under `/ohif/`, by a strict policy, with nothing of it
//! reaching for another host. Every change is counted: a version that differs stops here, not in a hospital.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const BOOT: &str = include_str!("boot.js");

/// Not served. Models and runtime of tools that fetch them from a public hub, whole-slide microscopy, service workers and
/// log-in by other means than ours, examples, and pages that load scripts from elsewhere.
const LEFT_OUT: [&str; 15] = [
    "ort",
    "dicom-microscopy-viewer",
    "customizations",
    "sw.js",
    "init-service-worker.js",
    "google.js",
    "oidc-client.min.js",
    "es6-shim.min.js",
    "polyfill.min.js",
    "silent-refresh.html",
    "_headers",
    "_redirects",
    "serve.json",
    // The gateway answers with its own.
    "app-config.js",
    "assets/browserconfig.xml",
];

/// A text that is replaced by another, so many times in all files of a kind.
struct Change {
    from: &'static str,
    to: &'static str,
    times: usize,
}

const fn change(from: &'static str, to: &'static str, times: usize) -> Change {
    Change { from, to, times }
}

/// Where chunks, workers and WebAssembly are loaded from: the page's bundle and those of seven workers.
const BUNDLES: [Change; 2] = [
    change(r#"__webpack_require__.p = "/";"#, r#"__webpack_require__.p = "/ohif/";"#, 8),
    // Words of ours beside those that come with it; they are loaded before it starts.
    change(
        r#".A.addLocales = addLocales;"#,
        r#".A.addLocales = addLocales; if (window.filmgateWords) { addLocales(window.filmgateWords); }"#,
        1,
    ),
];
const STYLES: [Change; 1] = [change("url(/", "url(/ohif/", 5)];
const MANIFESTS: [Change; 1] = [change(r#""/assets/"#, r#""/ohif/assets/"#, 13)];
const PAGE: [Change; 8] = [
    change(
        r#"<script>console.time("scriptToView"),window.PUBLIC_URL="/"</script>"#,
        r#"<script src="/boot.js"></script>"#,
        1,
    ),
    change(
        r#"<script>function browserImportFunction(n){return import(n)}window.PUBLIC_URL="/"</script>"#,
        "",
        1,
    ),
    change(
        r#"<script rel="preload" as="script" type="module" src="/init-service-worker.js"></script>"#,
        "",
        1,
    ),
    change(r#"<meta name="msapplication-config" content="/assets/browserconfig.xml">"#, "", 1),
    change(r#"href="/"#, r#"href="/ohif/"#, 28),
    change(r#"src="/"#, r#"src="/ohif/"#, 3),
    change(r#"content="/"#, r#"content="/ohif/"#, 1),
    change("<title>OHIF Viewer</title>", "<title>Filmgate 阅片</title>", 1),
];

/// All of it, in the folder of the published build.
pub(super) fn all(dist: &Path) -> Result<()> {
    for name in LEFT_OUT {
        leave_out(&dist.join(name))?;
    }
    ensure!(with_ending(dist, ".map")?.is_empty(), "there are source maps where none were");
    replace(&bundles(dist)?, &BUNDLES)?;
    replace(&with_ending(dist, ".css")?, &STYLES)?;
    let manifests = ["manifest.json", "assets/manifest.webapp", "assets/yandex-browser-manifest.json"];
    replace(&manifests.map(|name| dist.join(name)), &MANIFESTS)?;
    replace(&[dist.join("index.html")], &PAGE)?;
    fs::write(dist.join("boot.js"), BOOT).context("write boot.js")?;
    stands_alone(&dist.join("index.html"))
}

/// The bundles at the top of the build.
pub(super) fn bundles(dist: &Path) -> Result<Vec<PathBuf>> {
    let scripts = with_ending(dist, ".js")?;
    Ok(scripts.into_iter().filter(|path| path.to_string_lossy().contains(".bundle.")).collect())
}

fn leave_out(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("leave out {}, which this version does not have", path.display()))
}

fn with_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("look into {}", folder.display()))? {
        let path = entry.context("look at a file of the viewer")?.path();
        if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Makes each change in all the files, and fails when one was not there as often as it must be.
fn replace(files: &[PathBuf], changes: &[Change]) -> Result<()> {
    let mut found = vec![0; changes.len()];
    for file in files {
        let mut text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        for (change, found) in changes.iter().zip(&mut found) {
            *found += text.matches(change.from).count();
            text = text.replace(change.from, change.to);
        }
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    for (change, found) in changes.iter().zip(found) {
        ensure!(
            found == change.times,
            "{:?} stands in the viewer {found} times, not {}: this version is built otherwise, look at what changed",
            change.from,
            change.times
        );
    }
    Ok(())
}

/// No script stands inline, and none comes from elsewhere.
fn stands_alone(page: &Path) -> Result<()> {
    let text = fs::read_to_string(page).context("read the viewer's page")?;
    let scripts = text.matches("<script").count();
    ensure!(scripts == text.matches(r#"src="/ohif/"#).count(), "a script of the viewer's page stands inline");
    ensure!(!text.contains("://"), "the viewer's page names another host");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_not_there_as_often_as_it_was_is_told() {
        let folder = std::env::temp_dir().join(format!("filmgate-prepare-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("a.css");
        fs::write(&file, "url(/x) url(/y)").expect("written");
        let error = replace(std::slice::from_ref(&file), &STYLES).expect_err("two are not five").to_string();
        assert!(error.contains("2 times, not 5"), "{error}");
        assert!(replace(std::slice::from_ref(&file), &[change("/ohif/", "/viewer/", 2)]).is_ok());
        assert_eq!(fs::read_to_string(&file).expect("read"), "url(/viewer/x) url(/viewer/y)");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
