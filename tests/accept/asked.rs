//! What a client can write into Accept, and what it means by it: all forms of PS3.18 8.7.5, and those that programs send.

/// Explicit VR little endian.
pub(super) const LITTLE: &str = "1.2.840.10008.1.2.1";
pub(super) const OCTETS: &str = "application/octet-stream";
pub(super) const DICOM: &str = "application/dicom";

/// Every transfer syntax that is asked for by its name.
pub(super) const SYNTAXES: [&str; 25] = [
    "1.2.840.10008.1.2",
    LITTLE,
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.107",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.8.1",
];

/// Media types of frames, and what each holds (PS3.18 tables 8.7.3-2 and 8.7.3-5).
pub(super) const FAMILIES: [(&str, &[&str]); 10] = [
    (OCTETS, &SYNTAXES),
    (
        "image/jpeg",
        &[
            "1.2.840.10008.1.2.4.50",
            "1.2.840.10008.1.2.4.51",
            "1.2.840.10008.1.2.4.57",
            "1.2.840.10008.1.2.4.70",
        ],
    ),
    ("image/jls", &["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"]),
    ("image/jp2", &["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"]),
    ("image/jpx", &["1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"]),
    ("image/jphc", &["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"]),
    ("image/jxl", &["1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"]),
    ("image/dicom-rle", &["1.2.840.10008.1.2.5"]),
    ("application/x-deflate", &["1.2.840.10008.1.2.8.1"]),
    ("video/mp4", &["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107"]),
];

/// The transfer syntax that a range of Accept names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Unsaid,
    Any,
    Named(&'static str),
}

/// What would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    This {
        parts: bool,
        media_type: &'static str,
        syntax: Syntax,
    },
    /// `image/*` and the like, not in parts.
    Kind(&'static str),
    /// In parts, of whatever type.
    Parts,
    Anything,
}

/// A header, and what would do: the best first.
#[derive(Debug, Clone)]
pub(super) struct Accept {
    pub(super) header: String,
    pub(super) wants: Vec<Want>,
}

impl Accept {
    fn new(header: impl Into<String>, wants: &[Want]) -> Self {
        Self { header: header.into(), wants: wants.to_vec() }
    }

    fn of(want: Want) -> Self {
        Self::new(text(want), &[want])
    }

    /// These, each less than the one before; the last stands first.
    fn by_weight(wants: &[Want]) -> Self {
        let weighed = wants.iter().enumerate().rev();
        let ranges: Vec<String> = weighed
            .map(|(place, want)| format!("{};q={:.1}", text(*want), 0.9 - 0.2 * place as f64))
            .collect();
        Self::new(ranges.join(", "), wants)
    }
}

fn text(want: Want) -> String {
    match want {
        Want::This { parts, media_type, syntax } => {
            let syntax = match syntax {
                Syntax::Unsaid => String::new(),
                Syntax::Any => "; transfer-syntax=*".to_owned(),
                Syntax::Named(uid) => format!("; transfer-syntax={uid}"),
            };
            match parts {
                true => format!("multipart/related; type=\"{media_type}\"{syntax}"),
                false => format!("{media_type}{syntax}"),
            }
        }
        Want::Kind(kind) => format!("{kind}/*"),
        Want::Parts => "multipart/related".to_owned(),
        Want::Anything => "*/*".to_owned(),
    }
}

const fn this(parts: bool, media_type: &'static str, syntax: Syntax) -> Want {
    Want::This { parts, media_type, syntax }
}

/// What browsers send for a page, and nothing of it is ours but the rest.
const FOR_PAGES: [&str; 2] = [
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
];

/// What browsers send for `<img src>`: Chromium, Firefox, Safari; the last says that it takes PNG before any other picture.
const FOR_IMAGES: [&str; 4] = [
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "image/jxl;q=0,image/avif,image/webp,image/*,*/*;q=0.8",
    "image/avif,image/webp,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "image/webp,image/avif,image/heic,image/heic-sequence,video/*;q=0.8,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
];

fn for_pages() -> impl Iterator<Item = Accept> {
    FOR_PAGES.into_iter().map(|header| Accept::new(header, &[Want::Anything]))
}

fn for_images() -> impl Iterator<Item = Accept> {
    FOR_IMAGES.into_iter().map(|header| Accept::new(header, &[Want::Kind("image"), Want::Anything]))
}

fn nothing_of(headers: &[&str]) -> impl Iterator<Item = Accept> {
    headers.iter().map(|header| Accept::new(*header, &[]))
}

/// Of whole instances.
pub(super) fn instances() -> Vec<Accept> {
    let named = SYNTAXES.map(Syntax::Named);
    let syntaxes: Vec<Syntax> = [Syntax::Unsaid, Syntax::Any].into_iter().chain(named).collect();
    let mut all: Vec<Accept> = Vec::new();
    for parts in [true, false] {
        all.extend(syntaxes.iter().map(|syntax| Accept::of(this(parts, DICOM, *syntax))));
    }
    let parts = |uid| this(true, DICOM, Syntax::Named(uid));
    let [jpeg_ls, video] = ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.107"].map(parts);
    all.extend([
        Accept::of(Want::Anything),
        Accept::of(Want::Parts),
        Accept::by_weight(&[jpeg_ls, parts(LITTLE)]),
        Accept::by_weight(&[parts(LITTLE), jpeg_ls]),
        Accept::by_weight(&[video, this(true, DICOM, Syntax::Any)]),
        Accept::by_weight(&[video, this(false, DICOM, Syntax::Named(LITTLE)), parts(LITTLE)]),
        Accept::new(
            format!("multipart/related; type=\"{DICOM}; transfer-syntax={LITTLE}\""),
            &[parts(LITTLE)],
        ),
        // As dicomweb-client writes it.
        Accept::new("multipart/related; type=\"*/*\"", &[Want::Parts]),
        Accept::new(
            "Multipart/Related; Type=application/dicom; Transfer-Syntax=*",
            &[this(true, DICOM, Syntax::Any)],
        ),
        Accept::new("multipart/related;q=0, */*", &[this(false, DICOM, Syntax::Any)]),
        Accept::new(format!("{DICOM};q=0, */*;q=0.3"), &[Want::Parts]),
        Accept::new("application/*", &[this(false, DICOM, Syntax::Any)]),
    ]);
    all.extend(for_pages());
    all.extend(nothing_of(&["text/html", "*/*;q=0", "image/png", "application/dicom+json", "what is this"]));
    all
}

/// Of frames and bulk data.
pub(super) fn frames() -> Vec<Accept> {
    let mut all = Vec::new();
    for parts in [true, false] {
        for (media_type, holds) in FAMILIES {
            let named = holds.iter().map(|uid| Syntax::Named(uid));
            let syntaxes = [Syntax::Unsaid, Syntax::Any].into_iter().chain(named);
            all.extend(syntaxes.map(|syntax| Accept::of(this(parts, media_type, syntax))));
        }
    }
    let parts = |media_type, uid| this(true, media_type, Syntax::Named(uid));
    let jpeg_ls = parts("image/jls", "1.2.840.10008.1.2.4.80");
    let stored = this(true, OCTETS, Syntax::Any);
    all.extend([
        Accept::of(Want::Anything),
        Accept::of(Want::Parts),
        // As dicomweb-client writes it.
        Accept::new("multipart/related; type=\"*/*\"", &[Want::Parts]),
        // As OHIF writes it.
        Accept::new("multipart/related; type=application/octet-stream; transfer-syntax=*", &[stored]),
        // As Orthanc writes it.
        Accept::new(
            format!("multipart/related; type=\"{OCTETS}; transfer-syntax={LITTLE}\""),
            &[parts(OCTETS, LITTLE)],
        ),
        Accept::by_weight(&[jpeg_ls, parts(OCTETS, LITTLE)]),
        Accept::by_weight(&[parts(OCTETS, LITTLE), jpeg_ls]),
        Accept::by_weight(&[parts("image/jpx", "1.2.840.10008.1.2.4.92"), stored]),
        Accept::by_weight(&[
            parts("image/jphc", "1.2.840.10008.1.2.4.201"),
            parts("image/dicom-rle", "1.2.840.10008.1.2.5"),
            parts(OCTETS, LITTLE),
        ]),
    ]);
    all.extend(for_pages());
    all.extend(for_images());
    all.extend(nothing_of(&["text/html", "*/*;q=0", "application/dicom+json", "image/gif", DICOM]));
    all
}

/// Of pictures.
pub(super) fn pictures() -> Vec<Accept> {
    let [jpeg, png] = ["image/jpeg", "image/png"].map(|media_type| this(false, media_type, Syntax::Unsaid));
    let mut all = vec![
        Accept::of(jpeg),
        Accept::of(png),
        Accept::of(Want::Kind("image")),
        Accept::of(Want::Anything),
        Accept::of(this(true, "image/jpeg", Syntax::Unsaid)),
        Accept::of(this(true, "image/png", Syntax::Unsaid)),
        Accept::by_weight(&[jpeg, png]),
        Accept::by_weight(&[png, jpeg]),
        Accept::new("image/gif, image/png;q=0.1", &[png]),
        Accept::new("image/jpeg;q=0, image/*", &[png]),
    ];
    all.extend(for_pages());
    all.extend(for_images());
    all.extend(nothing_of(&[
        "text/html",
        "image/jp2",
        "image/gif",
        DICOM,
        "multipart/related; type=\"image/gif\"",
    ]));
    all
}

/// Of metadata.
pub(super) fn metadata() -> Vec<Accept> {
    let json = this(false, "application/dicom+json", Syntax::Unsaid);
    let mut all = vec![
        Accept::of(json),
        Accept::new("application/json", &[json]),
        Accept::new("application/dicom+json, application/json;q=0.5", &[json]),
        Accept::new(
            "multipart/related; type=\"application/dicom+xml\", application/dicom+json;q=0.2",
            &[json],
        ),
        Accept::of(Want::Anything),
        Accept::of(Want::Kind("application")),
    ];
    all.extend(for_pages());
    all.extend(nothing_of(&[
        "text/html",
        "multipart/related; type=\"application/dicom+xml\"",
        DICOM,
        "image/*",
    ]));
    all
}
