//! The page a person opens first: how every instance stands on its road. It holds no patient data.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse},
};

const PAGE: &str = include_str!("assets/status.html");
const STYLE: &str = include_str!("assets/status.css");
const SCRIPT: &str = include_str!("assets/status.js");
const ICON: &str = include_str!("assets/icon.svg");

/// The page itself; it asks `/api/status` for everything it shows.
pub(crate) async fn page() -> impl IntoResponse {
    (asked_again(), Html(PAGE))
}

/// Its style.
pub(crate) async fn style() -> impl IntoResponse {
    (asked_again(), content_type("text/css; charset=utf-8"), STYLE)
}

/// Its script.
pub(crate) async fn script() -> impl IntoResponse {
    (asked_again(), content_type("text/javascript; charset=utf-8"), SCRIPT)
}

/// Its icon.
pub(crate) async fn icon() -> impl IntoResponse {
    (asked_again(), content_type("image/svg+xml"), ICON)
}

fn content_type(value: &'static str) -> [(HeaderName, HeaderValue); 1] {
    [(header::CONTENT_TYPE, HeaderValue::from_static(value))]
}

/// A new version of the gateway brings a new page.
fn asked_again() -> [(HeaderName, HeaderValue); 1] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page's policy forbids what stands inline, so that nothing there would run or show.
    #[test]
    fn nothing_stands_inline() {
        assert!(!PAGE.contains("style="));
        assert!(!PAGE.contains("<style"));
        assert!(!PAGE.contains(" onclick") && !PAGE.contains(" onload"));
        let ours = r#"<script src="/assets/status.js" defer></script>"#;
        assert_eq!(PAGE.matches("<script").count(), PAGE.matches(ours).count());
        assert!(!SCRIPT.contains("innerHTML"));
    }

    /// Every element the script fills is on the page.
    #[test]
    fn the_script_finds_what_it_fills() {
        let names = SCRIPT.split("part(\"").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(PAGE.contains(&format!("id=\"{name}\"")), "no element {name}");
        }
    }
}
