//! zstd with contexts that are kept, and an entropy-only way to use it.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, ParamSwitch, compress_bound};

use crate::error::{Error, malformed};

/// A level so fast that no match is ever found; what is left of a frame is its entropy coding.
const LEVEL_WITHOUT_MATCHES: i32 = -131_072;
/// A level that finds what repeats plainly, at the least cost.
const LEVEL_OF_GLANCE: i32 = -5;

/// How a frame is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    level: i32,
    /// Without matches zstd would leave literals as they are unless told otherwise.
    literals: ParamSwitch,
}

/// One context each for both directions: they are hundreds of kilobytes, so there is one of each per thread.
#[derive(Default)]
pub(super) struct Zstd {
    compressor: Option<(Way, CCtx<'static>)>,
    decompressor: Option<DCtx<'static>>,
    scratch: Vec<u8>,
}

impl Zstd {
    /// Appends `raw` as one frame. False, with nothing appended, when it does not shrink.
    pub(super) fn compress(&mut self, raw: &[u8], level: i32, out: &mut Vec<u8>) -> bool {
        self.append(raw, Way { level, literals: ParamSwitch::Auto }, out)
    }

    /// The same by entropy coding alone, without looking for anything that repeats.
    pub(super) fn compress_entropy(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        self.append(raw, Way { level: LEVEL_WITHOUT_MATCHES, literals: ParamSwitch::Enable }, out)
    }

    /// What `raw` would shrink to at a glance; `None` when it would not.
    pub(super) fn glance(&mut self, raw: &[u8]) -> Option<usize> {
        self.frame(raw, Way { level: LEVEL_OF_GLANCE, literals: ParamSwitch::Auto })
    }

    fn append(&mut self, raw: &[u8], way: Way, out: &mut Vec<u8>) -> bool {
        let shrank = self.frame(raw, way).is_some();
        if shrank {
            out.extend_from_slice(&self.scratch);
        }
        shrank
    }

    /// Makes a frame in the scratch and gives its length; `None` when it is no shorter than `raw`.
    fn frame(&mut self, raw: &[u8], way: Way) -> Option<usize> {
        let (was, mut context) = match self.compressor.take() {
            Some((was, context)) => (Some(was), context),
            None => (None, CCtx::try_create()?),
        };
        if was != Some(way) {
            context.set_parameter(CParameter::CompressionLevel(way.level)).ok()?;
            context.set_parameter(CParameter::LiteralCompressionMode(way.literals)).ok()?;
        }
        self.scratch.clear();
        // Room for whatever comes out, so that what comes out does not depend on the room.
        self.scratch.reserve_exact(compress_bound(raw.len()));
        let done = context.compress2(&mut self.scratch, raw);
        self.compressor = Some((way, context));
        (done.is_ok() && self.scratch.len() < raw.len()).then_some(self.scratch.len())
    }

    /// Replaces the content of `raw` by that of a frame of `raw_bytes`, which must be bounded already.
    pub(super) fn decompress(
        &mut self,
        packed: &[u8],
        raw_bytes: usize,
        raw: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let damaged = malformed("zstd frame", "does not decompress to its stated length");
        let mut context = self.decompressor.take().or_else(DCtx::try_create).ok_or(damaged.clone())?;
        raw.clear();
        raw.reserve_exact(raw_bytes);
        let done = context.decompress(raw, packed);
        self.decompressor = Some(context);
        if done.is_ok() && raw.len() == raw_bytes { Ok(()) } else { Err(damaged) }
    }
}
