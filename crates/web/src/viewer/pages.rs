//! The list of studies, and the page of one study. Both ask our own DICOMweb for everything they show; nothing of a
//! patient is in the pages themselves.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{Html, IntoResponse},
};
use serde_json::{Value, json};

use crate::router::App;

const STUDIES: &str = include_str!("../assets/studies.html");
const STUDIES_STYLE: &str = include_str!("../assets/studies.css");
const STUDIES_SCRIPT: &str = include_str!("../assets/studies.js");
const VIEW: &str = include_str!("../assets/view.html");
const VIEW_SCRIPT: &str = include_str!("../assets/view.js");
const VIEW_OBJECTS_SCRIPT: &str = include_str!("../assets/view-objects.js");
const WORDS_SCRIPT: &str = include_str!("../assets/words.js");
const MISSING: &str = include_str!("../assets/missing.html");

/// As of every page, and this one frames a document (of its own origin) and plays what it has fetched.
const VIEW_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; media-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The list of studies.
pub(crate) async fn studies() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-cache")], Html(STUDIES))
}

/// A study, object by object.
pub(crate) async fn view() -> impl IntoResponse {
    let policy = HeaderValue::from_static(VIEW_POLICY);
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Html(VIEW))
}

/// What is shown where a link leads to no study.
pub(crate) fn missing() -> impl IntoResponse {
    Html(MISSING)
}

/// Style of both.
pub(crate) async fn studies_style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", STUDIES_STYLE)
}

/// Script of the list.
pub(crate) async fn studies_script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", STUDIES_SCRIPT)
}

/// Script of a study's page.
pub(crate) async fn view_script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", VIEW_SCRIPT)
}

/// How single objects are shown there.
pub(crate) async fn view_objects_script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", VIEW_OBJECTS_SCRIPT)
}

/// Words of both, in two languages, and how DICOM JSON is read.
pub(crate) async fn words_script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", WORDS_SCRIPT)
}

/// Whether the image viewer is there.
pub(crate) async fn viewer(State(app): State<App>) -> Json<Value> {
    let version = app.viewer().map(|viewer| viewer.version().to_owned());
    Json(json!({ "installed": version.is_some(), "version": version }))
}

fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPTS: [&str; 4] = [STUDIES_SCRIPT, VIEW_SCRIPT, VIEW_OBJECTS_SCRIPT, WORDS_SCRIPT];

    /// The pages' policy forbids what stands inline, so that nothing there would run or show; and what came with a study
    /// is only ever text.
    #[test]
    fn nothing_stands_inline_and_nothing_is_made_of_text() {
        for page in [STUDIES, VIEW, MISSING] {
            assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" onclick"));
            let external = page.matches(r#"<script src="/assets/"#).count();
            assert_eq!(page.matches("<script").count(), external);
            assert!(!page.contains("://"), "something comes from elsewhere");
        }
        for script in SCRIPTS {
            for made in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", ".style"]
            {
                assert!(!script.contains(made), "{made}");
            }
        }
    }

    /// Every element the scripts fill is on its page.
    #[test]
    fn the_scripts_find_what_they_fill() {
        for (page, script) in [(STUDIES, STUDIES_SCRIPT), (VIEW, VIEW_SCRIPT)] {
            let names = script.split("part(\"").skip(1).filter_map(|rest| rest.split('"').next());
            for name in names {
                assert!(page.contains(&format!("id=\"{name}\"")), "no element {name}");
            }
        }
    }

    /// Every word a page or script asks for is there in both languages.
    #[test]
    fn every_word_is_there() {
        let asked = |text: &str, before: &str| {
            text.split(before)
                .skip(1)
                .filter_map(|rest| rest.split('"').next().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let mut words = Vec::new();
        for page in [STUDIES, VIEW] {
            words.extend(asked(page, "data-word=\""));
            words.extend(asked(page, "data-hint=\""));
        }
        for script in SCRIPTS {
            words.extend(asked(script, "word(\""));
        }
        assert!(words.len() > 40);
        for word in words {
            let listed =
                WORDS_SCRIPT.lines().any(|line| line.trim_start().starts_with(&format!("\"{word}\": [")));
            assert!(listed, "{word} has no words");
        }
    }
}
