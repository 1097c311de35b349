//! Which presentation contexts are accepted, and with which transfer syntax.
//!
//! Storage SOP classes take every transfer syntax, private and unknown ones too: what arrives is kept as it arrives.
//! Of those proposed in one context, one is chosen:
//!
//! 1. the first of the configured preference that is proposed; else
//! 2. the requestor's first, since what it names first is what it need not transcode to; except that
//! 3. implicit, big endian or deflated give way to explicit VR little endian where that is proposed as well: implicit
//!    loses the VRs of private elements, deflated the offsets of frames, and every toolkit converts between them.

use std::collections::BTreeSet;

use filmgate_model::{part10, transfer_syntax::EXPLICIT_VR_BIG_ENDIAN, uids};

use crate::associate_pdu::is_uid;

/// The rules.
#[derive(Debug, Clone, Default)]
pub struct ContextPolicy {
    /// SOP classes taken for Storage beside the dictionary's.
    pub private_sop_classes: BTreeSet<String>,
    /// Transfer syntaxes chosen before the requestor's own order, best first.
    pub preferred_transfer_syntaxes: Vec<String>,
}

/// What becomes of a proposed context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted with this transfer syntax.
    Accept(String),
    /// The SOP class is not served here.
    AbstractSyntaxNotSupported,
    /// None of its transfer syntaxes can be.
    TransferSyntaxesNotSupported,
}

impl ContextPolicy {
    /// True when instances of the SOP class are stored here.
    #[must_use]
    pub fn is_storage(&self, sop_class_uid: &str) -> bool {
        part10::is_storage_sop_class(sop_class_uid) || self.private_sop_classes.contains(sop_class_uid)
    }

    /// Decides on one context.
    #[must_use]
    pub fn decide(&self, abstract_syntax: &str, transfer_syntaxes: &[String]) -> Verdict {
        let is_verification = abstract_syntax == uids::VERIFICATION;
        if !is_verification && !self.is_storage(abstract_syntax) {
            return Verdict::AbstractSyntaxNotSupported;
        }
        let usable = transfer_syntaxes.iter().map(String::as_str).filter(|syntax| is_uid(syntax));
        let usable: Vec<&str> = usable.filter(|syntax| !is_verification || is_plain(syntax)).collect();
        match self.choose(&usable) {
            Some(syntax) => Verdict::Accept(syntax.to_owned()),
            None => Verdict::TransferSyntaxesNotSupported,
        }
    }

    fn choose<'a>(&self, proposed: &[&'a str]) -> Option<&'a str> {
        let find = |wanted: &str| proposed.iter().copied().find(|syntax| *syntax == wanted);
        let preferred = self.preferred_transfer_syntaxes.iter().find_map(|syntax| find(syntax));
        let first = *proposed.first()?;
        let explicit = find(uids::EXPLICIT_VR_LITTLE_ENDIAN).filter(|_| gives_way(first));
        preferred.or(explicit).or(Some(first))
    }
}

/// The uncompressed syntaxes every implementation has (PS3.5 A.1, A.2, A.5 and the retired big endian).
fn is_plain(syntax: &str) -> bool {
    syntax == uids::EXPLICIT_VR_LITTLE_ENDIAN || gives_way(syntax)
}

fn gives_way(syntax: &str) -> bool {
    [uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
        .contains(&syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const IMPLICIT: &str = "1.2.840.10008.1.2";
    const EXPLICIT: &str = "1.2.840.10008.1.2.1";
    const BIG: &str = "1.2.840.10008.1.2.2";
    const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
    const PRIVATE: &str = "1.2.840.113619.5.2";

    fn decide(abstract_syntax: &str, syntaxes: &[&str]) -> Option<String> {
        let syntaxes: Vec<String> = syntaxes.iter().map(|syntax| (*syntax).to_owned()).collect();
        match ContextPolicy::default().decide(abstract_syntax, &syntaxes) {
            Verdict::Accept(syntax) => Some(syntax),
            _ => None,
        }
    }

    #[test]
    fn the_requestors_first_is_taken_unless_explicit_little_endian_does_better() {
        assert_eq!(decide(CT, &[JPEG_2000, EXPLICIT, IMPLICIT]).as_deref(), Some(JPEG_2000));
        assert_eq!(decide(CT, &[IMPLICIT, EXPLICIT, BIG]).as_deref(), Some(EXPLICIT));
        assert_eq!(decide(CT, &[BIG, IMPLICIT]).as_deref(), Some(BIG));
        assert_eq!(decide(CT, &[PRIVATE, EXPLICIT]).as_deref(), Some(PRIVATE));
        assert_eq!(decide(CT, &["no uid", IMPLICIT]).as_deref(), Some(IMPLICIT));
        assert_eq!(decide(CT, &[]), None);
    }

    #[test]
    fn a_preference_goes_first() {
        let policy = ContextPolicy {
            preferred_transfer_syntaxes: vec![JPEG_2000.to_owned(), IMPLICIT.to_owned()],
            ..ContextPolicy::default()
        };
        let proposed = [EXPLICIT.to_owned(), IMPLICIT.to_owned()];
        assert_eq!(policy.decide(CT, &proposed), Verdict::Accept(IMPLICIT.to_owned()));
    }

    #[test]
    fn other_classes_need_to_be_configured() {
        let mut policy = ContextPolicy::default();
        let proposed = [EXPLICIT.to_owned()];
        assert_eq!(policy.decide("1.2.3.4", &proposed), Verdict::AbstractSyntaxNotSupported);
        policy.private_sop_classes.insert("1.2.3.4".to_owned());
        assert_eq!(policy.decide("1.2.3.4", &proposed), Verdict::Accept(EXPLICIT.to_owned()));
    }

    #[test]
    fn verification_takes_the_usual_syntaxes_only() {
        assert_eq!(decide("1.2.840.10008.1.1", &[IMPLICIT]).as_deref(), Some(IMPLICIT));
        assert_eq!(decide("1.2.840.10008.1.1", &[JPEG_2000]), None);
    }
}
