//! A server's answers in the bucket's words.

use std::{io, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::Error;

/// What a failed request means for who made it; `name` is what it was about.
pub(super) fn told<E>(name: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(service) = &error else {
        // Nothing was answered, or nothing that could be read: it may have happened.
        return Error::Unavailable { reason: chain(&error), retry_after: None };
    };
    let (status, retry_after) = (service.raw().status().as_u16(), retry_after(service.raw()));
    let metadata = service.err().meta();
    let code = metadata.code().unwrap_or_default();
    let said = format!("{status} {code} {}", metadata.message().unwrap_or_default()).trim().to_owned();
    classify(name, status, code, said, retry_after)
}

fn classify(name: &str, status: u16, code: &str, said: String, retry_after: Option<Duration>) -> Error {
    let denied = |said: String| Error::Denied(io::Error::other(said));
    match (status, code) {
        (_, "NoSuchUpload") => Error::UploadGone(name.to_owned()),
        (_, "NoSuchBucket") => denied(format!("there is no such bucket: {said}")),
        (_, "RequestTimeTooSkewed") => denied(format!("the clocks differ, set ours right: {said}")),
        (_, "QuotaExceeded" | "StorageFull" | "XMinioStorageFull") | (507, _) => {
            Error::NoSpace(io::Error::other(said))
        }
        (_, "RequestTimeout") => Error::Unavailable { reason: said, retry_after },
        (_, "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch") => {
            Error::Changed(name.to_owned())
        }
        (404, _) => Error::NotFound(name.to_owned()),
        (412, _) | (409, "ConditionalRequestConflict") => Error::Exists(name.to_owned()),
        (401 | 403, _) => denied(said),
        (408 | 409 | 429, _) => Error::Unavailable { reason: said, retry_after },
        (400..=499 | 501, _) => Error::Rejected(said),
        _ => Error::Unavailable { reason: said, retry_after },
    }
}

/// How long the server asks to be left alone, in whole seconds (RFC 9110 10.2.3); a date is not heeded.
fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn chain<E: std::error::Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    let kind = match error {
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::DispatchFailure(_) => "no connection, or one that broke",
        SdkError::ResponseError(_) => "an answer that cannot be read",
        _ => "the request could not be made",
    };
    let mut said = kind.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_cases_to_act_on() {
        let of = |status, code| classify("v1/pack/0", status, code, format!("{status} {code}"), None);
        assert!(matches!(of(404, "NoSuchKey"), Error::NotFound(_)));
        assert!(matches!(of(404, "NoSuchBucket"), Error::Denied(_)));
        assert!(matches!(of(404, "NoSuchUpload"), Error::UploadGone(_)));
        assert!(matches!(of(412, "PreconditionFailed"), Error::Exists(_)));
        assert!(matches!(of(400, "BadDigest"), Error::Changed(_)));
        assert!(matches!(of(400, "InvalidRequest"), Error::Rejected(_)));
        assert!(matches!(of(501, "NotImplemented"), Error::Rejected(_)));
        assert!(matches!(of(403, "QuotaExceeded"), Error::NoSpace(_)));
        assert!(matches!(of(507, ""), Error::NoSpace(_)));
        for code in ["SignatureDoesNotMatch", "AccessDenied", "RequestTimeTooSkewed"] {
            assert!(matches!(of(403, code), Error::Denied(_)), "{code}");
            assert!(!of(403, code).is_unclear());
        }
        for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (429, ""), (400, "RequestTimeout")]
        {
            assert!(of(status, code).is_unclear(), "{status} {code}");
        }
        let later = classify("x", 503, "SlowDown", String::new(), Some(Duration::from_secs(7)));
        assert_eq!(later.retry_after(), Some(Duration::from_secs(7)));
    }
}
