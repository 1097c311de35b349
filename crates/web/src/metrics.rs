//! For Prometheus: what every crate recorded, and how the road stands at this moment.

use std::fmt::Write;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::IntoResponse,
};
use filmgate_pipeline::Status;

use crate::router::App;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is measured, as text.
pub(crate) async fn render(State(app): State<App>) -> impl IntoResponse {
    let mut text = app.web.metrics.render();
    match app.road().status().await {
        Ok(status) => text.push_str(&gauges(&status)),
        // What was recorded is worth having all the more.
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "metrics lack the state of the road")
        }
    }
    ([(header::CONTENT_TYPE, HeaderValue::from_static(TEXT))], text)
}

fn gauges(status: &Status) -> String {
    let mut text = String::new();
    head(&mut text, "filmgate_instances", "gauge", "Instances in each state.");
    for (state, count) in &status.states {
        line(&mut text, &format!("filmgate_instances{{state=\"{state}\"}}"), *count);
    }
    let age_ms = status.oldest_unverified_at.map_or(0, |since| status.at.since(since).as_millis() as u64);
    for (name, help, value) in [
        ("filmgate_oldest_unverified_age_seconds", "Age of the oldest instance not verified.", age_ms / 1000),
        ("filmgate_waiting_instances", "Instances not verified yet.", status.waiting.instances),
        ("filmgate_waiting_bytes", "Bytes of datasets not verified yet.", status.waiting.dataset_bytes),
        ("filmgate_spool_bytes_max", "What the journal may take.", status.spool.bytes_max),
        ("filmgate_spool_used_bytes", "What the journal takes.", status.spool.used_bytes),
        ("filmgate_spool_uncommitted_bytes", "Of instances still arriving.", status.spool.uncommitted_bytes),
        ("filmgate_disk_free_bytes", "Free on the disk of the packs.", status.spool.disk_free_bytes),
        ("filmgate_packs_bytes", "Packs on the local disk.", status.spool.packs_bytes),
        ("filmgate_cached_bytes", "Kept of packs that are elsewhere.", status.spool.cached_bytes),
        ("filmgate_accepting", "1 when associations are accepted.", u64::from(status.spool.accepting)),
        (
            "filmgate_retrying_packs",
            "Packs that wait for another try (50 at most).",
            status.retrying.len() as u64,
        ),
        ("filmgate_alarms", "Alarms that nobody cleared (50 at most).", status.alarms.len() as u64),
    ] {
        head(&mut text, name, "gauge", help);
        line(&mut text, name, value);
    }
    let dropped = "filmgate_copies_dropped_total";
    head(&mut text, dropped, "counter", "Arrivals dropped because the same bytes are kept.");
    line(&mut text, dropped, status.copies_dropped);
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, value: u64) {
    let _ = writeln!(text, "{name} {value}");
}
