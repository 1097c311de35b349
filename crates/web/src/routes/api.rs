//! Our own API: for the command line, our pages, other nodes, and those who watch.

use super::{
    Parameter, Reach, Route, openapi,
    route::{Operation, admin, at, open, operate, read},
};
use crate::{
    access::pages,
    api, callers, custody, health, keys, metrics, peer,
    viewer::{pages as studies, progress, zip},
};

const PASSWORD: Parameter =
    Parameter::text("password", "the administrator's password, 12 characters at least").required();
const LOG_IN: &[Parameter] = &[
    Parameter::text("password", "the administrator's password"),
    Parameter::text("token", "in its place a token"),
];
const SECRET: Parameter = Parameter::text("secret", "the secret of the link").required();
const NAME: Parameter = Parameter::text("name", "what people call the token").required();
const STUDY: Parameter = Parameter::text("study", "Study Instance UID");

const NEW_TOKEN: &[Parameter] = &[
    NAME,
    Parameter::several(
        "scopes",
        "what it is good for: read, store, operate, admin, or read:UID for a single study",
    )
    .required(),
    Parameter::whole("lifetime_ms", "milliseconds until it ends; without, it does not", 0, u64::MAX >> 11),
];

const CALLER_CHANGE: &[Parameter] = &[
    Parameter::words(
        "change",
        "allow, deny or forget a caller; learn whoever calls for a time; allow those that were learned",
        &["allow", "deny", "forget", "learn", "learned"],
    )
    .required(),
    Parameter::text("calling_ae", "the calling AE title; not for learn and learned"),
    Parameter::several("addresses", "allow: where it calls from, addresses or networks; none for anywhere"),
    Parameter::text("called_ae", "allow: the only AE title it may call"),
    Parameter::text("fingerprint", "allow: SHA-256 of the certificate it must show"),
    Parameter::text("common_name", "allow: the common name its certificate must have"),
    Parameter::whole(
        "associations_max",
        "allow: its associations at a time; 0 for the usual",
        0,
        u32::MAX as u64,
    ),
    Parameter::whole("for_ms", "learn: milliseconds", 0, u64::MAX >> 11),
];

const CUSTODY_CHANGE: &[Parameter] = &[
    Parameter::words(
        "change",
        "what is to be done",
        &[
            "place-hold",
            "release-hold",
            "retain",
            "request-deletion",
            "request-shredding",
            "confirm-deletion",
            "cancel-deletion",
            "repack",
        ],
    )
    .required(),
    Parameter::text("as", "who says so; heard of this very machine alone"),
    STUDY,
    Parameter::text("instance", "request-deletion: SOP Instance UID; without, the whole study"),
    Parameter::text("hold", "release-hold: its id"),
    Parameter::text("deletion", "confirm-deletion, cancel-deletion: its id"),
    Parameter::whole("until", "retain: milliseconds since 1970-01-01", 0, u64::MAX >> 11),
    Parameter::flag("new_key", "repack: under a key of its own"),
    Parameter::text("why", "the reason, for whoever asks later"),
];

const ROTATION: &[Parameter] = &[
    Parameter::flag("finish", "ends the change that was begun"),
    Parameter::flag("now", "without waiting for the time of grace"),
];

const RECORDS_PAGE: &[Parameter] = &[
    Parameter::pattern("after", "the last record of the page before", "^[0-9a-fA-F]{32}$"),
    Parameter::whole("limit", "records of this page", 0, api::RECORDS_MAX as u64),
];

/// All of them.
pub(super) fn routes() -> Vec<Route> {
    [access(), records(), custody_and_keys(), nodes_and_watchers(), viewer()].into_iter().flatten().collect()
}

fn access() -> Vec<Route> {
    vec![
        at("/api/session").get(pages::session, open("Whether who asks is known").gives_json()),
        at("/api/login").post(
            pages::log_in,
            open("Logs the administrator in, or the bearer of a token, by a cookie")
                .takes_json(LOG_IN)
                .gives_json()
                .refuses(&[403, 429]),
        ),
        at("/api/logout").post(pages::log_out, open("Logs out").gives_json()),
        at("/api/set-up").post(
            pages::set_up,
            open("Sets the administrator's password by a set-up link")
                .takes_json(&[SECRET, PASSWORD])
                .gives_json()
                .refuses(&[403, 429]),
        ),
        at("/api/set-up-link").post(pages::set_up_link, admin("Makes a set-up link").gives_json()),
        at("/api/tokens")
            .get(pages::tokens, admin("Every token there is or was").gives_json())
            .post(pages::create_token, admin("Makes a token").takes_json(NEW_TOKEN).gives_json()),
        at("/api/tokens/revoke").post(
            pages::revoke_token,
            admin("Makes a token good for nothing").takes_json(&[NAME]).gives_json(),
        ),
    ]
}

fn records() -> Vec<Route> {
    vec![
        at("/api/openapi.json").get(openapi::show, read("This document").gives_json()),
        at("/api/status").get(api::status, read("How the gateway stands").gives_json()),
        at("/api/records")
            .get(api::records, read("Every record as it stands, by its id").asks(RECORDS_PAGE).gives_json()),
        at("/api/records/{record}").get(
            api::record_file,
            read("A record as a Part 10 file, whatever its state").gives(&["application/dicom"]),
        ),
        at("/api/studies/{study}/records").get(
            api::study_records,
            read("Every record of a study: variants, conflicts and quarantined ones too").gives_json(),
        ),
        at("/api/verify").post(
            api::verify,
            operate("Looks at every record: that it opens")
                .asks(&[Parameter::flag("deep", "that every byte of it does")])
                .gives_json(),
        ),
    ]
}

fn custody_and_keys() -> Vec<Route> {
    vec![
        at("/api/ae")
            .get(
                callers::show,
                operate("Rules of callers, and callers that wait for a decision").gives_json(),
            )
            .post(callers::change, admin("Changes who may associate").takes_json(CALLER_CHANGE).gives_json()),
        at("/api/custody")
            .get(custody::show, operate("Holds, retention and deletions").asks(&[STUDY]).gives_json())
            .post(
                custody::change,
                operate("Changes them").takes_json(CUSTODY_CHANGE).gives_json().refuses(&[409]),
            ),
        at("/api/shredded").get(
            custody::shredded,
            operate("How far the destruction of keys is, place by place").asks(&[STUDY]).gives_json(),
        ),
        at("/api/keys/rotation").post(
            keys::rotate,
            admin("Begins a change of the site key, or its end").takes_json(ROTATION).gives_json(),
        ),
    ]
}

fn nodes_and_watchers() -> Vec<Route> {
    const SEALED: &[&str] = &["*/*"];
    const RANGE: &[Parameter] =
        &[Parameter::header("Range", "one range of bytes, such as bytes=0-99").required()];
    vec![
        at("/api/peer/records/{record}/sealed").get(
            peer::sealed,
            read("A range of a sealed record, for another node of the site")
                .asks(RANGE)
                .answers_with(206, SEALED),
        ),
        at("/api/peer/records/{record}/key").get(
            peer::key,
            read("The sealed key of a record, for another node of the site")
                .asks(RANGE)
                .answers_with(206, SEALED),
        ),
        at("/healthz").get(health::alive, open("The process answers").gives(&["text/plain"])),
        at("/readyz").get(
            health::ready,
            open("Whether the catalog answers and the journal takes instances")
                .gives_json()
                .answers_with(503, &["application/json"]),
        ),
        at("/metrics").get(metrics::render, read("What is measured, for Prometheus").gives(&["text/plain"])),
    ]
}

fn viewer() -> Vec<Route> {
    vec![
        at("/api/viewer").get(
            studies::viewer,
            read("Whether the image viewer is there").reaches(Reach::Nothing).gives_json(),
        ),
        at("/api/progress").get(
            progress::studies,
            read("How much of each study is here, and safe")
                .reaches(Reach::Readable)
                .asks(&[Parameter::several("study", "Study Instance UIDs")])
                .gives_json(),
        ),
        at("/api/studies/{study}/progress")
            .get(progress::study, of_study("How much of a study is here, and safe").gives_json()),
        at("/api/studies/{study}/zip")
            .get(zip::study, of_study("A study as a zip file").gives(&["application/zip"])),
    ]
}

/// For who may read the study of its path.
fn of_study(summary: &'static str) -> Operation {
    read(summary).reaches(Reach::Study)
}
