//! Reading over a link: PDVs out of PDUs, bytes out of the transport, within the deadline in force.

use std::{
    io::{self, IoSliceMut},
    time::{Duration, Instant},
};

use super::{INVALID_PARAMETER, Incoming, Link, is_timeout};
use crate::{
    error::Error,
    pdu::{self, Fragment, PDV_HEADER_BYTES},
    transport::Transport,
};

/// Bytes read ahead of what is asked for: PDU headers and commands, not datasets.
pub(super) const READ_AHEAD_BYTES: usize = 8 * 1024;
/// Of these, what may follow a fragment read straight into the caller's buffer: the next headers, little more, since
/// what lands here is copied once more.
const SPILL_BYTES: usize = 1024;
/// Body bytes of a control PDU read at a time: a declared length is never allocated.
const BODY_STEP_BYTES: usize = 8 * 1024;

impl<T: Transport> Link<T> {
    pub(super) fn discard_some(&mut self) -> Result<(), Error> {
        self.ahead_start = self.ahead_end;
        self.fill().map(|_| ())
    }

    /// Reads over what is left of the P-DATA-TF under way.
    pub(crate) fn discard_pdu(&mut self) -> Result<(), Error> {
        let fragment = self.fragment.take().map_or(0, |fragment| fragment.remaining_bytes);
        let mut left = u64::from(self.pdu_remaining_bytes) + u64::from(fragment);
        self.pdu_remaining_bytes = 0;
        while left > 0 {
            if self.buffered() == 0 {
                self.fill()?;
            }
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffered());
            self.ahead_start += step;
            left -= step as u64;
        }
        Ok(())
    }

    /// The fragment under way; begins the next one, across P-DATA-TF PDUs, when there is none.
    /// `None` when a release was requested instead.
    pub(crate) fn fragment(&mut self) -> Result<Option<Fragment>, Error> {
        loop {
            if let Some(fragment) = self.fragment {
                return Ok(Some(fragment));
            }
            if self.pdu_remaining_bytes == 0 {
                match self.next_pdu()? {
                    Incoming::Data => continue,
                    Incoming::ReleaseRequest => return Ok(None),
                    _ => return Err(Error::Protocol { what: "unexpected PDU among data" }),
                }
            }
            self.begin_fragment()?;
        }
    }

    fn begin_fragment(&mut self) -> Result<(), Error> {
        let whole = self.pdu_remaining_bytes;
        if (whole as usize) < PDV_HEADER_BYTES {
            return Err(self.invalid(INVALID_PARAMETER, "P-DATA-TF too short for a PDV"));
        }
        let mut header = [0; PDV_HEADER_BYTES];
        self.read_exact(&mut header)?;
        let Some(fragment) = pdu::decode_pdv_header(header, whole) else {
            return Err(self.invalid(INVALID_PARAMETER, "PDV length disagrees with its PDU"));
        };
        self.pdu_remaining_bytes = whole - PDV_HEADER_BYTES as u32 - fragment.remaining_bytes;
        self.fragment = Some(fragment);
        Ok(())
    }

    /// Ends the fragment under way, its bytes being read.
    pub(crate) fn end_fragment(&mut self) {
        self.fragment = None;
    }

    /// Bytes of the fragment under way, into the front of `buffer`: what was read ahead, or else straight from the
    /// transport. 0 only when the fragment is empty or `buffer` is.
    pub(crate) fn read_fragment(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Some(fragment) = self.fragment else { return Ok(0) };
        let wanted = buffer.len().min(fragment.remaining_bytes as usize);
        let Some(place) = buffer.get_mut(..wanted).filter(|place| !place.is_empty()) else { return Ok(0) };
        let read = if self.buffered() > 0 {
            self.take_buffered(place)
        } else {
            self.read_through(place, wanted == fragment.remaining_bytes as usize)?
        };
        let remaining_bytes = fragment.remaining_bytes.saturating_sub(read as u32);
        self.fragment = Some(Fragment { remaining_bytes, ..fragment });
        Ok(read)
    }

    pub(super) fn buffered(&self) -> usize {
        self.ahead_end - self.ahead_start
    }

    fn take_buffered(&mut self, place: &mut [u8]) -> usize {
        let length = place.len().min(self.buffered());
        place[..length].copy_from_slice(&self.ahead[self.ahead_start..self.ahead_start + length]);
        self.ahead_start += length;
        length
    }

    /// Reads into `place`, nothing being buffered; with `spill`, bytes past it go to the read-ahead buffer.
    fn read_through(&mut self, place: &mut [u8], spill: bool) -> Result<usize, Error> {
        let length = place.len();
        let read = self.read_some(Some(place), if spill { SPILL_BYTES } else { 0 })?;
        self.ahead_start = 0;
        self.ahead_end = read.saturating_sub(length);
        Ok(read.min(length))
    }

    fn fill(&mut self) -> Result<usize, Error> {
        let read = self.read_some(None, READ_AHEAD_BYTES)?;
        self.ahead_start = 0;
        self.ahead_end = read;
        Ok(read)
    }

    pub(super) fn read_exact(&mut self, mut place: &mut [u8]) -> Result<(), Error> {
        while !place.is_empty() {
            if self.buffered() == 0 {
                self.fill()?;
            }
            let taken = self.take_buffered(place);
            place = &mut place[taken..];
        }
        Ok(())
    }

    pub(super) fn read_body(&mut self, length: u32) -> Result<Vec<u8>, Error> {
        let length = length as usize;
        let mut body = Vec::new();
        while body.len() < length {
            let start = body.len();
            body.resize(length.min(start + BODY_STEP_BYTES), 0);
            self.read_exact(&mut body[start..])?;
        }
        Ok(body)
    }

    /// One read of at least a byte within the deadline in force; its end is an event of the machine.
    fn read_some(&mut self, place: Option<&mut [u8]>, ahead: usize) -> Result<usize, Error> {
        let empty: &mut [u8] = &mut [];
        let place = place.unwrap_or(empty);
        loop {
            let allowed = self.time_allowed();
            if allowed.is_zero() {
                return Err(self.out_of_time());
            }
            if self.read_timeout != Some(allowed) {
                let set = self.transport.set_read_timeout(Some(allowed));
                set.map_err(|source| Error::Io { doing: "set a time limit", source })?;
                self.read_timeout = Some(allowed);
            }
            let ahead = &mut self.ahead[..ahead];
            let began = Instant::now();
            let read = if place.is_empty() {
                self.transport.read(ahead)
            } else if ahead.is_empty() {
                self.transport.read(place)
            } else {
                self.transport.read_vectored(&mut [IoSliceMut::new(place), IoSliceMut::new(ahead)])
            };
            match read {
                Ok(0) => return Err(self.closed()),
                Ok(read) => return self.keep_pace(began.elapsed(), read).map(|()| read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => self.nothing_came(allowed, began.elapsed())?,
                Err(source) => {
                    let _ = self.closed();
                    return Err(Error::Io { doing: "read from the peer", source });
                }
            }
        }
    }
    /// A read ran out after `waited`. No error when the kernel's timer was early, or when the limit was short of the
    /// message's window by rounding.
    fn nothing_came(&mut self, allowed: Duration, waited: Duration) -> Result<(), Error> {
        match self.deadline() {
            Some(deadline) if Instant::now() < deadline => Ok(()),
            None if self.progress.is_some() && allowed < self.limits.idle => self.keep_pace(waited, 0),
            _ => Err(self.out_of_time()),
        }
    }
}
