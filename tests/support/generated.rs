//! Instances that are larger than anyone would keep in a file: made while they are sent.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::Dice;
use super::dicom::{EXPLICIT_LE, File, element};
use super::gateway::Gateway;
use super::wire::{CONTEXT, P_DATA, Reaction, Wire, p_data, pdu_head, store_command};

/// Enhanced CT Image Storage.
pub(crate) const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";
const ROWS: u16 = 512;
const FRAME_BYTES: usize = ROWS as usize * ROWS as usize * 2;
const FRAGMENT_BYTES: usize = 64 * 1024;

/// A multi-frame image: the same ramp under noise in every frame, each begun at another sample.
pub(crate) struct Generated {
    pub(crate) sop_instance_uid: String,
    head: Vec<u8>,
    frame: Vec<u8>,
    frames: usize,
}

impl Generated {
    /// One of so many frames of 512 KiB.
    pub(crate) fn new(number: u64, frames: usize) -> Self {
        let root = format!("1.2.826.0.1.3680043.10.1543.900.{number}");
        let sop_instance_uid = format!("{root}.1.1");
        let mut head = Vec::new();
        element(&mut head, 0x0008_0016, b"UI", ENHANCED_CT.as_bytes());
        element(&mut head, 0x0008_0018, b"UI", sop_instance_uid.as_bytes());
        element(&mut head, 0x0008_0060, b"CS", b"CT");
        element(&mut head, 0x0010_0010, b"PN", b"Phantom^Long");
        element(&mut head, 0x0010_0020, b"LO", format!("LONG{number}").as_bytes());
        element(&mut head, 0x0020_000D, b"UI", root.as_bytes());
        element(&mut head, 0x0020_000E, b"UI", format!("{root}.1").as_bytes());
        element(&mut head, 0x0028_0002, b"US", &1_u16.to_le_bytes());
        element(&mut head, 0x0028_0004, b"CS", b"MONOCHROME2");
        element(&mut head, 0x0028_0008, b"IS", frames.to_string().as_bytes());
        element(&mut head, 0x0028_0010, b"US", &ROWS.to_le_bytes());
        element(&mut head, 0x0028_0011, b"US", &ROWS.to_le_bytes());
        element(&mut head, 0x0028_0100, b"US", &16_u16.to_le_bytes());
        element(&mut head, 0x0028_0101, b"US", &12_u16.to_le_bytes());
        element(&mut head, 0x0028_0102, b"US", &11_u16.to_le_bytes());
        element(&mut head, 0x0028_0103, b"US", &0_u16.to_le_bytes());
        element(&mut head, 0x7FE0_0010, b"OW", &[]);
        let length = u32::try_from(frames * FRAME_BYTES).expect("pixel data below 4 GiB");
        let at = head.len() - 4;
        head[at..].copy_from_slice(&length.to_le_bytes());
        let mut dice = Dice(number);
        let sample = |index: usize| ((index / 300 % 4000) as u64 + dice.below(32)) as u16;
        let frame = (0..FRAME_BYTES / 2).map(sample).flat_map(u16::to_le_bytes).collect();
        Self { sop_instance_uid, head, frame, frames }
    }

    pub(crate) fn dataset_bytes(&self) -> u64 {
        (self.head.len() + self.frames * FRAME_BYTES) as u64
    }

    /// The dataset, piece by piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let frames = (0..self.frames).flat_map(|number| {
            let (tail, front) = self.frame.split_at(number * 9973 * 2 % FRAME_BYTES);
            [front, tail].into_iter().flat_map(|part| part.chunks(FRAGMENT_BYTES))
        });
        std::iter::once(self.head.as_slice()).chain(frames)
    }

    /// SHA-256 of the dataset.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        self.pieces().for_each(|piece| digest.update(piece));
        digest.finalize().into()
    }

    /// Sends it by C-STORE over an association of its own.
    pub(crate) fn send(&self, address: &str) -> Reaction {
        let mut wire = Wire::associate(address, ENHANCED_CT, EXPLICIT_LE);
        wire.offer(&p_data(CONTEXT, 3, &store_command(1, ENHANCED_CT, &self.sop_instance_uid)));
        let mut out = Vec::with_capacity(FRAGMENT_BYTES + 12);
        for piece in self.pieces() {
            out.clear();
            pdu_head(&mut out, P_DATA, piece.len() + 6);
            out.extend_from_slice(&(piece.len() as u32 + 2).to_be_bytes());
            out.extend_from_slice(&[CONTEXT, 0]);
            out.extend_from_slice(piece);
            wire.send(&out).expect("the gateway takes it");
        }
        wire.offer(&p_data(CONTEXT, 2, &[]));
        let reaction = wire.reaction();
        wire.release();
        reaction
    }

    /// SHA-256 of the dataset as the gateway gives it back.
    pub(crate) fn digest_kept_by(&self, gateway: &Gateway) -> [u8; 32] {
        let records = gateway.records_of(&self.sop_instance_uid);
        let record = records.first().unwrap_or_else(|| panic!("no record of {}", self.sop_instance_uid));
        let mut body = gateway.web.stream(&format!("/api/records/{}", record.record_id));
        // The file's head is short, and the dataset long.
        let mut start = Vec::new();
        body.by_ref().take(4096).read_to_end(&mut start).expect("the beginning of the file");
        let file = File::new(start);
        let mut digest = Sha256::new();
        digest.update(file.dataset());
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = file.dataset().len() as u64;
        loop {
            match body.read(&mut buffer).expect("the rest of the file") {
                0 => break,
                read => {
                    bytes += read as u64;
                    digest.update(&buffer[..read]);
                }
            }
        }
        assert_eq!(bytes, self.dataset_bytes());
        digest.finalize().into()
    }
}
