//! A disk under a write-ahead log: transactions are visible at once, durable after a sync.
//!
//! The log is pages: those of a transaction, then one that says that it is whole. In a crash, each page that was not
//! synced may be on disk, or not, or half of it. Recovery looks at nothing but the pages that it finds, and
//! `whole-commits` compares what it made of them with what was once written: a commit counts as a whole or not at all.

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

    /// The power fails, or a sync does: what was not synced may be there or not. An error says which commit was
    /// half applied.
    #[must_use = "a promise may be broken"]
    pub fn crash(&mut self, rng: &mut StdRng, faults: &mut Faults) -> Result<(), String> {
        let commits = std::mem::take(&mut self.unsynced);
        let left = what_is_left(&pages_of(&commits), rng);
        let recovered = recover(&left);
        faults.disk_writes_lost += left.iter().filter(|left| **left == Left::Nothing).count() as u64;
        faults.disk_writes_torn += left.iter().filter(|left| **left == Left::Half).count() as u64;
        let hole = left.iter().position(|left| !matches!(left, Left::Whole(_)));
        let behind = &left[hole.unwrap_or(left.len())..];
        faults.disk_writes_reordered += u64::from(behind.iter().any(|left| matches!(left, Left::Whole(_))));
        let whole: usize = commits[..recovered.len().min(commits.len())]
            .iter()
            .map(|commit| commit.len() + 1)
            .sum();
        let beyond = left.iter().skip(whole).any(|left| *left != Left::Nothing);
        faults.commits_rolled_back += u64::from(beyond);

        for at in recovered.iter().flatten() {
            self.durable.apply(&commits[at.commit][at.write]);
        }
        self.visible = self.durable.clone();
        whole_commits(&commits, &recovered)
    }
}

/// Where a write belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    commit: usize,
    write: usize,
}

/// A page of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Write(At),
    /// The commit is whole.
    Commit,
}

/// What a crash has left of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Whole(Page),
    /// Its checksum is wrong.
    Half,
    Nothing,
}

fn pages_of<W>(commits: &[Vec<W>]) -> Vec<Page> {
    let pages = |(commit, writes): (usize, &Vec<W>)| {
        let writes = (0..writes.len()).map(move |write| Page::Write(At { commit, write }));
        writes.chain([Page::Commit]).collect::<Vec<_>>()
    };
    commits.iter().enumerate().flat_map(pages).collect()
}

/// All of it lost; cut off somewhere, in the middle of a page perhaps; or any of them, as caches please.
fn what_is_left(pages: &[Page], rng: &mut StdRng) -> Vec<Left> {
    let end = rng.random_range(0..=pages.len());
    let (kind, half) = (rng.random_range(0..3), rng.random_bool(0.5));
    let left = |(at, page): (usize, &Page)| match kind {
        0 => Left::Nothing,
        1 if at < end => Left::Whole(*page),
        1 if at == end && half => Left::Half,
        1 => Left::Nothing,
        _ => match rng.random_range(0..10) {
            0 => Left::Half,
            1 | 2 => Left::Nothing,
            _ => Left::Whole(*page),
        },
    };
    pages.iter().enumerate().map(left).collect()
}

/// Reads the log as far as its pages are good, and takes each commit whose last page it has read.
fn recover(left: &[Left]) -> Vec<Vec<At>> {
    let (mut commits, mut open) = (Vec::new(), Vec::new());
    for page in left {
        match page {
            Left::Whole(Page::Write(at)) => open.push(*at),
            Left::Whole(Page::Commit) => commits.push(std::mem::take(&mut open)),
            // what comes behind may be anything
            Left::Half | Left::Nothing => break,
        }
    }
    commits
}

/// What was recovered is the first commits, each with all of its writes.
fn whole_commits<W>(commits: &[Vec<W>], recovered: &[Vec<At>]) -> Result<(), String> {
    for (commit, found) in recovered.iter().enumerate() {
        let len = commits.get(commit).map_or(0, Vec::len);
        let all = (0..len).map(|write| At { commit, write });
        if !all.eq(found.iter().copied()) {
            return Err(format!(
                "of {len} writes of commit {commit}, recovery found {found:?}"
            ));
        }
    }
    Ok(())
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
            disk.crash(&mut StdRng::seed_from_u64(seed), &mut faults)
                .expect("whole commits");
            assert_eq!(disk.visible().0, disk.durable().0);
            ends.insert(disk.visible().0.clone());
        }
        let all = [vec![1, 2], vec![1, 2, 3, 4], vec![1, 2, 3, 4, 5, 6]];
        assert_eq!(ends, all.into_iter().collect());
        assert!(
            faults.disk_writes_torn > 50
                && faults.disk_writes_reordered > 50
                && faults.disk_writes_lost > 500
                && faults.commits_rolled_back > 50
        );
    }

    #[test]
    fn a_half_applied_commit_is_found() {
        let commits = [vec!['a', 'b'], vec!['c']];
        let at = |commit, write| At { commit, write };
        let whole = [vec![at(0, 0), at(0, 1)], vec![at(1, 0)]];
        assert_eq!(whole_commits(&commits, &whole), Ok(()));
        assert_eq!(whole_commits(&commits, &whole[..1]), Ok(()));
        assert!(
            whole_commits(&commits, &[vec![at(0, 0)]]).is_err(),
            "a page is missing"
        );
        assert!(
            whole_commits(&commits, &whole[1..]).is_err(),
            "a commit is missing"
        );
        let mixed = [vec![at(0, 0), at(0, 1), at(1, 0)]];
        assert!(whole_commits(&commits, &mixed).is_err(), "two in one");
    }
}
