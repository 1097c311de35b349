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
//! | `decode` | bytes to samples, a file for each family of transfer syntaxes |
//! | `encode` | samples to bytes, losing nothing, and what attributes become |
//! | `worker` | both in another process, for codecs that may crash |
//! | [`render`] | the picture of a frame, as JPEG or PNG |

mod decode;
mod encode;
mod error;
mod frame;
mod image;
pub mod render;
pub mod worker;

pub use decode::{FrameData, can_decode, decode};
pub use encode::{Attributes, HTJ2K_LOSSLESS, NativeFrames, attributes, encode};
pub use error::Error;
pub use frame::Frame;
pub use image::{FRAME_BYTES_MAX, ImagePixel, Photometric, Sample};
