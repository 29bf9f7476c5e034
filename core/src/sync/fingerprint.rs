//! Sums of the set by ranges of targets.
//!
//! A tree with sixteen branches over the bits of the targets. A cell contains the sum of the
//! entries below it, and gets branches once these are more than [`MAX_LEAF`]. Sums of smaller
//! ranges are computed from the entries themselves, which the tree does not store; it takes 2 to 16
//! bytes per entry.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::id::Target;
use crate::sync::entry::Version;
use crate::sync::prefix::{MAX_PREFIX_BITS, Prefix, nibble};

/// Maximum number of entries below a cell without branches.
pub const MAX_LEAF: u32 = 64;
/// A cell loses its branches when its entries have become this few.
const MERGE: u32 = MAX_LEAF / 2;
const FANOUT: usize = 16;
const MAX_DEPTH: u8 = MAX_PREFIX_BITS / 4;

/// The sum of digests modulo 2^256, and their number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum {
    limbs: [u64; 4],
    count: u32,
}

impl Sum {
    /// Number of entries.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Adds an entry.
    pub fn add(&mut self, digest: &[u8; 32]) {
        self.join(&Self::of(digest));
    }

    /// Removes an entry.
    pub fn remove(&mut self, digest: &[u8; 32]) {
        let other = Self::of(digest);
        let mut borrow = false;
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            let (less, first) = limb.overflowing_sub(other);
            let (less, second) = less.overflowing_sub(u64::from(borrow));
            *limb = less;
            borrow = first || second;
        }
        self.count = self.count.wrapping_sub(1);
    }

    /// Adds the entries of another set.
    pub fn join(&mut self, other: &Self) {
        let mut carry = false;
        for (limb, other) in self.limbs.iter_mut().zip(other.limbs) {
            let (more, first) = limb.overflowing_add(other);
            let (more, second) = more.overflowing_add(u64::from(carry));
            *limb = more;
            carry = first || second;
        }
        self.count = self.count.wrapping_add(other.count);
    }

    fn of(digest: &[u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(digest.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Self { limbs, count: 1 }
    }

    /// The fingerprint of one session: SHA-256(salt ‖ sum ‖ count).
    #[must_use]
    pub fn fingerprint(&self, salt: &[u8; 8]) -> [u8; 32] {
        let mut bytes = [0; 44];
        bytes[..8].copy_from_slice(salt);
        for (to, limb) in bytes[8..40]
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .zip(self.limbs)
        {
            *to = limb.to_le_bytes();
        }
        bytes[40..].copy_from_slice(&self.count.to_be_bytes());
        Sha256::digest(bytes).into()
    }
}

/// A [`Sum`] and the branches; flat, which saves a sixth of the memory.
#[derive(Clone, Copy, Default, Debug)]
struct Cell {
    limbs: [u64; 4],
    count: u32,
    /// Index of the block of its branches plus one; 0 for none.
    block: u32,
}

impl Cell {
    const fn sum(&self) -> Sum {
        Sum {
            limbs: self.limbs,
            count: self.count,
        }
    }

    fn set(&mut self, sum: Sum) {
        self.limbs = sum.limbs;
        self.count = sum.count;
    }

    fn add(&mut self, digest: &[u8; 32]) {
        let mut sum = self.sum();
        sum.add(digest);
        self.set(sum);
    }

    fn remove(&mut self, digest: &[u8; 32]) {
        let mut sum = self.sum();
        sum.remove(digest);
        self.set(sum);
    }
}

/// Sums of a set by ranges of targets. The tree does not store the entries: methods that need them
/// take a function that returns the entries from a target on, in order.
#[derive(Clone, Default, Debug)]
pub struct FingerprintTree {
    root: Cell,
    blocks: Vec<[Cell; FANOUT]>,
    free: Vec<u32>,
}

impl PartialEq for FingerprintTree {
    /// Whether both have the same entries; the branches may differ by history.
    fn eq(&self, other: &Self) -> bool {
        self.total() == other.total()
    }
}

impl Eq for FingerprintTree {}

impl FingerprintTree {
    /// The sum of all entries.
    #[must_use]
    pub const fn total(&self) -> Sum {
        self.root.sum()
    }

    /// Memory that the tree occupies, in bytes.
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.blocks.capacity() * size_of::<[Cell; FANOUT]>() + self.free.capacity() * 4
    }

    /// Adds an entry that `entries` already returns.
    pub fn insert<I: Iterator<Item = (Target, Version)>>(
        &mut self,
        target: &Target,
        version: &Version,
        entries: impl Fn(Target) -> I,
    ) {
        let digest = version.digest(target);
        let mut at = None;
        for depth in 0..=MAX_DEPTH {
            let Some(cell) = self.cell_mut(at) else {
                return;
            };
            cell.add(&digest);
            if cell.block == 0 {
                return self.split(at, depth, target, entries);
            }
            at = Some((cell.block, nibble(target.as_bytes(), depth)));
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, target: &Target, version: &Version) {
        let digest = version.digest(target);
        let mut path = SmallVec::<[_; 8]>::new();
        let mut at = None;
        for depth in 0..=MAX_DEPTH {
            let Some(cell) = self.cell_mut(at) else {
                break;
            };
            cell.remove(&digest);
            if cell.block == 0 {
                break;
            }
            path.push(at);
            at = Some((cell.block, nibble(target.as_bytes(), depth)));
        }
        // From the bottom up, so that no cell without branches has any below it.
        while let Some(at) = path.pop() {
            let Some(cell) = self.cell_mut(at) else {
                break;
            };
            if cell.count > MERGE {
                break;
            }
            let block = core::mem::take(&mut cell.block);
            self.free.push(block);
        }
    }

    /// Returns the sum of a range. `work` is increased by the number of hashes and steps.
    pub fn sum<I: Iterator<Item = (Target, Version)>>(
        &self,
        prefix: &Prefix,
        entries: impl Fn(Target) -> I,
        work: &mut usize,
    ) -> Sum {
        let whole = prefix.bits() / 4;
        let mut cell = &self.root;
        for depth in 0..whole {
            *work += 1;
            let Some(block) = self.block(cell.block) else {
                return Self::sum_entries(prefix, cell, entries, work);
            };
            cell = &block[prefix.nibble(depth)];
        }
        let rest = prefix.bits() % 4;
        if rest == 0 {
            return cell.sum();
        }
        let Some(block) = self.block(cell.block) else {
            return Self::sum_entries(prefix, cell, entries, work);
        };
        let first = prefix.nibble(whole);
        let mut sum = Sum::default();
        for cell in &block[first..first + (FANOUT >> rest)] {
            *work += 1;
            sum.join(&cell.sum());
        }
        sum
    }

    /// Returns the sum of a range below a cell without branches.
    fn sum_entries<I: Iterator<Item = (Target, Version)>>(
        prefix: &Prefix,
        cell: &Cell,
        entries: impl Fn(Target) -> I,
        work: &mut usize,
    ) -> Sum {
        let mut sum = Sum::default();
        if cell.count == 0 {
            return sum;
        }
        for (target, version) in entries(prefix.first()) {
            if !prefix.contains(&target) {
                break;
            }
            *work += 2;
            sum.add(&version.digest(&target));
        }
        sum
    }

    /// Gives branches to the cell at `at`, which contains `target` and has one entry too many, and
    /// to the cells below it that still have too many.
    fn split<I: Iterator<Item = (Target, Version)>>(
        &mut self,
        mut at: Option<(u32, usize)>,
        from: u8,
        target: &Target,
        entries: impl Fn(Target) -> I,
    ) {
        for depth in from..MAX_DEPTH {
            let full = self.cell_mut(at).is_some_and(|cell| cell.count > MAX_LEAF);
            if !full {
                return;
            }
            let mut cells = [Cell::default(); FANOUT];
            let bytes = target.as_bytes();
            let within = |other: &Target| {
                (0..depth).all(|depth| nibble(other.as_bytes(), depth) == nibble(bytes, depth))
            };
            let prefix = Prefix::of(target, depth * 4);
            for (other, version) in entries(prefix.first()).take_while(|(other, _)| within(other)) {
                let cell = &mut cells[nibble(other.as_bytes(), depth)];
                cell.add(&version.digest(&other));
            }
            let block = if let Some(block) = self.free.pop() {
                if let Some(place) = self.blocks.get_mut(block as usize - 1) {
                    *place = cells;
                }
                block
            } else {
                self.blocks.push(cells);
                u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
            };
            if let Some(cell) = self.cell_mut(at) {
                cell.block = block;
            }
            at = Some((block, nibble(bytes, depth)));
        }
    }

    fn block(&self, block: u32) -> Option<&[Cell; FANOUT]> {
        let place = (block as usize).checked_sub(1)?;
        self.blocks.get(place)
    }

    /// The cell at an index of a block, or the root.
    fn cell_mut(&mut self, at: Option<(u32, usize)>) -> Option<&mut Cell> {
        match at {
            None => Some(&mut self.root),
            Some((block, place)) => {
                let block = self.blocks.get_mut((block as usize).checked_sub(1)?)?;
                block.get_mut(place)
            }
        }
    }
}
