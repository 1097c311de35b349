//! A file's bytes: what the page cache shows, what the disk has, and every content in between.

use std::collections::{BTreeMap, BTreeSet};

use filmgate_model::Random;

const BLOCK: usize = 4096;
pub(crate) const SECTOR: usize = 512;

type Versions = BTreeMap<u64, Vec<Vec<u8>>>;

#[derive(Default)]
pub(crate) struct Inode {
    /// Blocks of this file are written once between two writes of its first block.
    write_once: bool,
    pub(crate) cache: Vec<u8>,
    durable: Vec<u8>,
    /// Every content a block had since it was last synced, oldest first.
    dirty: Versions,
    /// The same of blocks that a failed sync took for clean: no later sync writes them.
    lost: Versions,
    /// Blocks written since the last sync.
    written: BTreeSet<u64>,
    /// Blocks synced since the first block was last written.
    settled: BTreeSet<u64>,
}

impl Inode {
    pub(crate) fn new(write_once: bool) -> Self {
        Self { write_once, ..Self::default() }
    }

    /// Puts bytes into the page cache; says which block broke the write-once rule.
    pub(crate) fn write(&mut self, bytes: &[u8], offset: usize) -> Result<(), u64> {
        let end = offset + bytes.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        if let Some(to) = self.cache.get_mut(offset..end) {
            to.copy_from_slice(bytes);
        }
        if offset == 0 {
            self.settled.clear();
            self.written.clear();
        }
        let mut broken = Ok(());
        for block in (offset / BLOCK) as u64..end.div_ceil(BLOCK) as u64 {
            if self.write_once && self.settled.contains(&block) {
                broken = Err(block);
            }
            self.written.insert(block);
            let mut versions = self.lost.remove(&block).unwrap_or_default();
            versions.extend(self.dirty.remove(&block).unwrap_or_default());
            versions.push(block_of(&self.cache, block));
            self.dirty.insert(block, versions);
        }
        broken
    }

    pub(crate) fn sync(&mut self) {
        self.durable.resize(self.cache.len(), 0);
        for (block, _) in std::mem::take(&mut self.dirty) {
            put_block(&mut self.durable, block, &block_of(&self.cache, block));
        }
        self.settled.append(&mut self.written);
    }

    /// What a failed sync may leave: blocks written, dropped from the cache, still dirty, or taken for clean.
    pub(crate) fn fail_sync(&mut self, random: &Random) {
        self.durable.resize(self.cache.len().max(self.durable.len()), 0);
        for (block, versions) in std::mem::take(&mut self.dirty) {
            match random.below(4) {
                0 => put_block(&mut self.durable, block, &block_of(&self.cache, block)),
                1 => {
                    put_block(&mut self.cache, block, &block_of(&self.durable, block));
                    self.lost.insert(block, versions);
                }
                2 => _ = self.dirty.insert(block, versions),
                _ => _ = self.lost.insert(block, versions),
            }
        }
        self.written.clear();
    }

    pub(crate) fn lose_unsynced(&mut self, random: &Random) {
        let mut unsynced = std::mem::take(&mut self.lost);
        unsynced.append(&mut self.dirty);
        if self.cache.len() > self.durable.len() {
            let grown = (self.cache.len() - self.durable.len()) as u64;
            let kept = match random.below(4) {
                0 => 0,
                1 => random.below(grown),
                _ => grown,
            };
            self.durable.resize(self.durable.len() + kept as usize, 0);
        }
        for (block, mut versions) in unsynced {
            versions.insert(0, block_of(&self.durable, block));
            put_block(&mut self.durable, block, &survivor(&versions, random));
        }
        self.cache = self.durable.clone();
        self.written.clear();
    }

    /// A new length counts as a write of the blocks it changes.
    pub(crate) fn cut_off(&mut self, length: usize) {
        let first = self.cache.len().min(length) / BLOCK;
        let last = self.cache.len().max(length).div_ceil(BLOCK);
        self.cache.resize(length, 0);
        for block in first as u64..last as u64 {
            self.dirty.entry(block).or_default().push(block_of(&self.cache, block));
        }
    }
}

/// What is left of a block that was being written.
fn survivor(versions: &[Vec<u8>], random: &Random) -> Vec<u8> {
    let any = || versions.get(random.below(versions.len() as u64) as usize).cloned().unwrap_or_default();
    match random.below(10) {
        0..=3 => versions.last().cloned().unwrap_or_default(),
        4..=5 => versions.first().cloned().unwrap_or_default(),
        6..=8 => {
            let mut mixed = any();
            for sector in (0..BLOCK).step_by(SECTOR) {
                let from = any();
                if let (Some(to), Some(from)) =
                    (mixed.get_mut(sector..sector + SECTOR), from.get(sector..sector + SECTOR))
                {
                    to.copy_from_slice(from);
                }
            }
            mixed
        }
        _ => {
            let mut garbage = vec![0; BLOCK];
            random.fill(&mut garbage);
            garbage
        }
    }
}

/// A block of a file, zeros behind its end.
fn block_of(bytes: &[u8], block: u64) -> Vec<u8> {
    let start = (block as usize * BLOCK).min(bytes.len());
    let mut content = bytes.iter().copied().skip(start).take(BLOCK).collect::<Vec<_>>();
    content.resize(BLOCK, 0);
    content
}

/// Puts a block back as far as the file goes.
fn put_block(bytes: &mut [u8], block: u64, content: &[u8]) {
    let start = (block as usize * BLOCK).min(bytes.len());
    let end = (start + BLOCK).min(bytes.len());
    if let (Some(to), Some(from)) = (bytes.get_mut(start..end), content.get(..end - start)) {
        to.copy_from_slice(from);
    }
}
