//! A native frame, deflated (PS3.5 A.4.13, RFC 1951).

use flate2::{Decompress, FlushDecompress, Status};

use crate::{Error, Frame, ImagePixel, decode::native, error::malformed};

pub(super) fn decode(image: &ImagePixel, bytes: &[u8]) -> Result<Frame, Error> {
    let wanted = native::stored_bytes(image) as usize;
    // One more than a frame has shows that there is more.
    let mut inflated = Vec::with_capacity(wanted + 1);
    let mut inflate = Decompress::new(false);
    let status = inflate.decompress_vec(bytes, &mut inflated, FlushDecompress::Finish);
    match status {
        Err(error) => Err(malformed(format!("a deflated frame does not inflate: {error}"))),
        // A frame of odd length may be padded before it is deflated.
        Ok(Status::StreamEnd) => native::decode_inner(image, &inflated),
        Ok(_) if inflated.len() > wanted => native::decode_inner(image, &inflated),
        Ok(_) => Err(malformed(format!("a deflated frame ends after {} of {wanted} bytes", inflated.len()))),
    }
}
