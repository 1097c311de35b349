//! Pages of a person with a browser, and what they load.

use super::{
    Parameter, Reach, Route,
    route::{Operation, at, open, page},
};
use crate::{
    access::pages,
    status_page,
    viewer::{enter, ohif, pages as studies},
};

const STYLE: &[&str] = &["text/css"];
const SCRIPT: &[&str] = &["text/javascript"];

const ENTERED: &[Parameter] = &[
    Parameter::text("study", "Study Instance UID"),
    Parameter::text("accession", "Accession Number; one that several studies have leads to the list of them"),
    Parameter::words("lng", "the language of the viewer", &["zh", "en-US"]),
];

/// All of them.
pub(super) fn routes() -> Vec<Route> {
    vec![
        at("/").get(status_page::page, page("The status page")),
        at("/login").get(pages::login_page, open("The page to log in").gives(&["text/html"])),
        at("/set-up").get(pages::set_up_page, open("The page a set-up link leads to").gives(&["text/html"])),
        at("/studies").get(studies::studies, empty("The list of studies")),
        at("/view")
            .get(studies::view, empty("A study that the image viewer does not show, object by object")),
        at("/viewer").get(
            enter::enter,
            page("Leads to where a study is shown")
                .reaches(Reach::Readable)
                .asks(ENTERED)
                .answers_with(303, &[])
                .answers_with(404, &["text/html"]),
        ),
        at("/ohif").get(ohif::start, empty("Leads to the image viewer").answers_with(303, &[])),
        at("/ohif/").get(ohif::start, empty("Leads to the image viewer").answers_with(303, &[])),
        at("/ohif/app-config.js")
            .get(ohif::config, empty("How the image viewer is set up").gives(SCRIPT).refuses(&[404])),
        at("/ohif/{*path}").get(
            ohif::file,
            empty("A file of the image viewer, or its page").gives(&["*/*"]).answers_with(304, &[]),
        ),
        at("/assets/icon.svg").get(status_page::icon, open("The icon").gives(&["image/svg+xml"])),
        at("/assets/status.css").get(status_page::style, open("Style of the status page").gives(STYLE)),
        at("/assets/status.js").get(status_page::script, open("Script of the status page").gives(SCRIPT)),
        at("/assets/access.css").get(pages::style, open("Style of set-up and log-in").gives(STYLE)),
        at("/assets/access.js").get(pages::script, open("Script of set-up and log-in").gives(SCRIPT)),
        at("/assets/studies.css")
            .get(studies::studies_style, open("Style of the list of studies").gives(STYLE)),
        at("/assets/studies.js")
            .get(studies::studies_script, open("Script of the list of studies").gives(SCRIPT)),
        at("/assets/words.js")
            .get(studies::words_script, open("Words of the pages, in two languages").gives(SCRIPT)),
        at("/assets/view.js").get(studies::view_script, open("Script of a study's page").gives(SCRIPT)),
        at("/assets/view-objects.js")
            .get(studies::view_objects_script, open("How single objects are shown there").gives(SCRIPT)),
    ]
}

/// A page that has nothing of a study in it, or a file of one.
fn empty(summary: &'static str) -> Operation {
    page(summary).reaches(Reach::Nothing)
}
