//! The media type of frames in a transfer syntax (PS3.18 tables 8.7.3-2 and 8.7.3-5), and what frames can be given in.

use filmgate_model::{transfer_syntax, uids};
use filmgate_pipeline::{FrameSyntax, Imaged};

use super::{
    OCTET_STREAM,
    accept::{Accepted, Offer},
};
use crate::Error;

/// The media type of a frame in a transfer syntax.
pub(crate) fn media_type_of(transfer_syntax_uid: &str) -> &'static str {
    let number = transfer_syntax_uid.strip_prefix("1.2.840.10008.1.2.").unwrap_or_default();
    match number {
        "5" => "image/dicom-rle",
        "8.1" => "application/x-deflate",
        "4.50" | "4.51" | "4.57" | "4.70" => "image/jpeg",
        "4.80" | "4.81" => "image/jls",
        "4.90" | "4.91" => "image/jp2",
        "4.92" | "4.93" => "image/jpx",
        "4.110" | "4.111" | "4.112" => "image/jxl",
        "4.201" | "4.202" | "4.203" => "image/jphc",
        "4.100" | "4.100.1" | "4.101" | "4.101.1" => "video/mpeg",
        "4.102" | "4.102.1" | "4.103" | "4.103.1" | "4.104" | "4.104.1" | "4.105" | "4.105.1" | "4.106"
        | "4.106.1" | "4.107" | "4.108" => "video/mp4",
        _ => OCTET_STREAM,
    }
}

/// The syntax in which frames leave that are stored in one: native samples always as little endian.
pub(crate) fn syntax_of_stored(transfer_syntax_uid: &str) -> &str {
    match transfer_syntax::is_native(transfer_syntax_uid) {
        true => uids::EXPLICIT_VR_LITTLE_ENDIAN,
        false => transfer_syntax_uid,
    }
}

/// What the frames of an image can be made into.
pub(crate) fn made_of(imaged: &Imaged) -> &'static [&'static str] {
    match filmgate_pixels::can_decode(&imaged.transfer_syntax_uid) {
        true => FrameSyntax::encoded_of(&imaged.image),
        false => &[],
    }
}

/// What was chosen to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// In parts.
    pub(crate) multipart: bool,
    /// How the frames are had.
    pub(crate) syntax: FrameSyntax,
    /// Media type and transfer syntax of each.
    pub(crate) part_type: String,
    /// How much it is wanted, up to 1000.
    pub(crate) quality: u16,
}

/// Chooses the form of an answer of frames that are stored in one syntax and can be made into others; `single` where it may come
/// without parts.
///
/// # Errors
/// [`Error::NotAcceptable`], with what would be.
pub(crate) fn choose(
    accepted: &Accepted,
    stored: &str,
    made: &[&'static str],
    single: bool,
) -> Result<Chosen, Error> {
    let stored_as = syntax_of_stored(stored);
    let stored_type = media_type_of(stored_as);
    let others = made.iter().filter(|uid| **uid != stored_as).map(|uid| (*uid, FrameSyntax::As(uid)));
    let forms: Vec<_> = std::iter::once((stored_as, FrameSyntax::Stored)).chain(others).collect();
    let mut offers = Vec::with_capacity(4 * forms.len());
    for multipart in [true, false] {
        for (syntax, _) in forms.iter().filter(|_| multipart || single) {
            // Asked for as octets, answered as an image: whoever takes octets in that syntax is told what they are.
            for media_type in [media_type_of(syntax), OCTET_STREAM] {
                offers.push(Offer { multipart, media_type, transfer_syntax: Some(syntax) });
            }
        }
    }
    let Some(best) = accepted.best(&offers) else {
        return Err(Error::NotAcceptable(format!(
            r#"frames are answered as multipart/related; type="{stored_type}"; transfer-syntax={stored_as}, as {OCTET_STREAM} or in {}"#,
            made.join(", ")
        )));
    };
    let chosen = forms.iter().find(|(syntax, _)| best.transfer_syntax == Some(*syntax));
    let (syntax, how) = *chosen.unwrap_or(&forms[0]);
    Ok(Chosen {
        multipart: best.multipart,
        syntax: how,
        quality: accepted.quality(best),
        part_type: format!("{}; transfer-syntax={syntax}", media_type_of(syntax)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: &str = "1.2.840.10008.1.2.1";
    const J2K: &str = "1.2.840.10008.1.2.4.90";

    fn chosen(accept: &str, stored: &str) -> Option<(bool, FrameSyntax, String)> {
        let chosen = choose(&Accepted::parse(accept), stored, &FrameSyntax::ENCODED, true).ok()?;
        Some((chosen.multipart, chosen.syntax, chosen.part_type))
    }

    fn form(multipart: bool, syntax: FrameSyntax, part_type: &str) -> Option<(bool, FrameSyntax, String)> {
        Some((multipart, syntax, part_type.to_owned()))
    }

    #[test]
    fn frames_leave_as_stored_where_that_is_taken() {
        let jp2 = "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90";
        let native = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1";
        for accept in [
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "*/*",
            "",
            r#"multipart/related; type="image/jp2""#,
            "multipart/related; type=image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90",
        ] {
            assert_eq!(chosen(accept, J2K), form(true, FrameSyntax::Stored, jp2), "{accept}");
        }
        for stored in [LITTLE, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"] {
            let any = "multipart/related; type=application/octet-stream; transfer-syntax=*";
            assert_eq!(chosen(any, stored), form(true, FrameSyntax::Stored, native), "{stored}");
            let plain = "application/octet-stream";
            assert_eq!(chosen(plain, stored), form(false, FrameSyntax::Stored, native), "{stored}");
        }
    }

    #[test]
    fn what_is_not_stored_is_made() {
        let native = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1";
        let little = FrameSyntax::As(LITTLE);
        assert_eq!(
            chosen("multipart/related; type=application/octet-stream", J2K),
            form(true, little, native)
        );
        let lossless = FrameSyntax::As("1.2.840.10008.1.2.4.80");
        let jls = "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80";
        let octets =
            "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.80";
        for accept in ["multipart/related; type=image/jls", octets] {
            assert_eq!(chosen(accept, LITTLE), form(true, lossless, jls), "{accept}");
        }
        assert_eq!(chosen("multipart/related; type=image/jp2", LITTLE), None);
        assert_eq!(chosen("text/html", LITTLE), None);
    }

    #[test]
    fn what_cannot_be_made_of_the_samples_gives_way_to_what_can() {
        let accept = "multipart/related; type=image/jls; q=0.9, \
                      multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1; q=0.2";
        let made = [LITTLE, "1.2.840.10008.1.2.5"];
        let chosen = choose(&Accepted::parse(accept), LITTLE, &made, true).expect("acceptable");
        assert_eq!((chosen.syntax, chosen.quality), (FrameSyntax::Stored, 200));
    }

    #[test]
    fn weights_decide_and_the_stored_one_wins_among_equals() {
        let accept = "multipart/related; type=image/jls; q=0.2, \
                      multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1; q=0.7";
        let (_, syntax, _) = chosen(accept, J2K).expect("acceptable");
        assert_eq!(syntax, FrameSyntax::As(LITTLE));
        let equal = "multipart/related; type=image/jls, multipart/related; type=image/jp2";
        assert_eq!(chosen(equal, J2K).expect("acceptable").1, FrameSyntax::Stored);
    }
}
