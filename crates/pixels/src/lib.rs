//! Pixels: from the bytes of a frame to its samples, from samples to a picture, and from one transfer syntax to another.
//!
//! Bytes in, bytes out: no file, no socket, no clock, no thread.
//!
//! Invariants:
//! - Any bytes end in samples or an [`Error`]; what is allocated is bounded by what the attributes of the image allow, never by
//!   what a codestream states.
//! - A frame decoded from a lossless syntax has the samples that were encoded, bit for bit.
//!
//! | module | what |
//! | --- | --- |
//! | `image` | what the attributes of an image say of its samples (PS3.3 C.7.6.3) |
//! | `frame` | the samples of one frame |

mod error;
mod frame;
mod image;

pub use error::Error;
pub use frame::Frame;
pub use image::{FRAME_BYTES_MAX, ImagePixel, Photometric, Sample};
