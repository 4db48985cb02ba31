//! A disk under a write-ahead log: transactions are visible at once, durable after a sync.
//!
//! In a crash, any subset of the writes that were not synced may be on disk. Recovery is that of a log with
//! checksums: it reads as far as nothing is missing, and takes whole transactions only.

use rand::RngExt;
use rand::rngs::StdRng;

use super::faults::Faults;

/// What is stored.
pub(super) trait Image: Clone + Default {
    type Write: Clone;
    fn apply(&mut self, write: &Self::Write);
}

#[derive(Debug)]
pub(super) struct Disk<I: Image> {
    durable: I,
    visible: I,
    /// Transactions since the last sync.
    unsynced: Vec<Vec<I::Write>>,
}

impl<I: Image> Disk<I> {
    pub fn new() -> Self {
        Self::holding(I::default())
    }

    pub fn holding(image: I) -> Self {
        Self {
            durable: image.clone(),
            visible: image,
            unsynced: Vec::new(),
        }
    }

    /// What the program sees.
    pub fn visible(&self) -> &I {
        &self.visible
    }

    /// What survives everything.
    pub fn durable(&self) -> &I {
        &self.durable
    }

    pub fn transaction(&mut self, writes: Vec<I::Write>) {
        writes.iter().for_each(|write| self.visible.apply(write));
        self.unsynced.push(writes);
    }

    pub fn sync(&mut self) {
        for write in self.unsynced.drain(..).flatten() {
            self.durable.apply(&write);
        }
    }

    /// The power fails, or a sync does: what was not synced may be there or not.
    pub fn crash(&mut self, rng: &mut StdRng, faults: &mut Faults) {
        // each transaction is its writes and one commit frame
        let frames: usize = self.unsynced.iter().map(|writes| writes.len() + 1).sum();
        let survives: Vec<bool> = match rng.random_range(0..3) {
            0 => vec![false; frames],
            1 => {
                let end = rng.random_range(0..=frames);
                (0..frames).map(|frame| frame < end).collect()
            }
            _ => (0..frames).map(|_| rng.random_bool(0.7)).collect(),
        };
        let readable = survives.iter().take_while(|survives| **survives).count();
        faults.disk_writes_lost += survives.iter().filter(|survives| !**survives).count() as u64;
        faults.disk_writes_reordered += u64::from(survives[readable..].contains(&true));
        let (mut at, mut torn) = (0, false);
        for writes in std::mem::take(&mut self.unsynced) {
            let end = at + writes.len() + 1;
            if end <= readable {
                writes.iter().for_each(|write| self.durable.apply(write));
            } else {
                torn |= at < readable;
            }
            at = end;
        }
        faults.disk_writes_torn += u64::from(torn);
        self.visible = self.durable.clone();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[derive(Clone, Default)]
    struct Numbers(Vec<u32>);

    impl Image for Numbers {
        type Write = u32;
        fn apply(&mut self, write: &u32) {
            self.0.push(*write);
        }
    }

    #[test]
    fn a_crash_leaves_whole_transactions_in_order_and_everything_that_was_synced() {
        let mut faults = Faults::default();
        let mut ends = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let mut disk = Disk::<Numbers>::new();
            disk.transaction(vec![1, 2]);
            disk.sync();
            disk.transaction(vec![3, 4]);
            disk.transaction(vec![5, 6]);
            disk.crash(&mut StdRng::seed_from_u64(seed), &mut faults);
            assert_eq!(disk.visible().0, disk.durable().0);
            ends.insert(disk.visible().0.clone());
        }
        let all = [vec![1, 2], vec![1, 2, 3, 4], vec![1, 2, 3, 4, 5, 6]];
        assert_eq!(ends, all.into_iter().collect());
        assert!(
            faults.disk_writes_torn > 50
                && faults.disk_writes_reordered > 50
                && faults.disk_writes_lost > 500
        );
    }
}
