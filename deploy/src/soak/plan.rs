//! Which fault comes next, for how long. Pure: the same seed and targets give the same faults.

use std::time::Duration;

use crate::workload::SplitMix64;

/// What is done to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SIGKILL; the supervisor starts it again.
    Kill,
    /// SIGSTOP, later SIGCONT.
    Pause,
    /// No datagram passes, either way.
    Cut,
    /// Datagrams are late, and some are lost.
    Slow,
    /// The client's address changes, as behind a router that forgot it.
    Rebind,
}

impl Kind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Pause => "SIGSTOP, then SIGCONT",
            Self::Cut => "link cut",
            Self::Slow => "link slow and lossy",
            Self::Rebind => "client address changed",
        }
    }
}

/// Process or link number so many of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Process(usize),
    Link(usize),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    pub target: Target,
    /// Zero where the fault is a moment.
    pub lasts: Duration,
    /// Of a slow link.
    pub delay: Duration,
    /// Of a slow link: datagrams lost, of 100.
    pub loss_percent: u64,
}

/// All faults, in rounds: a round does everything that is possible once, in random order, so that also a short
/// run has variety and a long one leaves nothing out.
#[derive(Debug)]
pub struct Plan {
    random: SplitMix64,
    processes: usize,
    links: usize,
    /// The longest fault.
    longest: Duration,
    round: Vec<(Kind, Target)>,
}

impl Plan {
    #[must_use]
    pub fn new(seed: u64, processes: usize, links: usize, longest: Duration) -> Self {
        Self {
            random: SplitMix64(seed),
            processes,
            links,
            longest,
            round: Vec::new(),
        }
    }

    /// Below what a fault may last, in even distribution; a fifth of it at least.
    fn duration(&mut self) -> Duration {
        let share = 20 + self.random.below(81);
        self.longest * u32::try_from(share).unwrap_or(100) / 100
    }

    fn begin_round(&mut self) {
        for process in 0..self.processes {
            let target = Target::Process(process);
            self.round.extend([(Kind::Kill, target), (Kind::Pause, target)]);
        }
        for link in 0..self.links {
            let target = Target::Link(link);
            self.round
                .extend([Kind::Cut, Kind::Slow, Kind::Rebind].map(|kind| (kind, target)));
        }
        // Fisher and Yates
        for at in (1..self.round.len()).rev() {
            let other = self.random.below(at as u64 + 1) as usize;
            self.round.swap(at, other);
        }
    }
}

impl Iterator for Plan {
    type Item = Fault;

    /// Endless, where there is any target.
    fn next(&mut self) -> Option<Fault> {
        if self.round.is_empty() {
            self.begin_round();
        }
        let (kind, target) = self.round.pop()?;
        let lasts = match kind {
            Kind::Kill | Kind::Rebind => Duration::ZERO,
            Kind::Pause | Kind::Cut | Kind::Slow => self.duration(),
        };
        let (delay, loss_percent) = match kind {
            Kind::Slow => (
                Duration::from_millis(20 + self.random.below(181)),
                1 + self.random.below(20),
            ),
            _ => (Duration::ZERO, 0),
        };
        Some(Fault {
            kind,
            target,
            lasts,
            delay,
            loss_percent,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(4);

    #[test]
    fn a_round_holds_every_fault_once_and_none_lasts_too_long() {
        let faults: Vec<_> = Plan::new(7, 5, 3, LONGEST).take(19).collect();
        let kinds: BTreeSet<_> = faults.iter().map(|fault| (fault.kind, fault.target)).collect();
        assert_eq!(kinds.len(), 5 * 2 + 3 * 3, "each once: {faults:?}");
        assert!(faults.iter().all(|fault| fault.lasts <= LONGEST));
        assert!(
            faults
                .iter()
                .filter(|fault| fault.kind == Kind::Pause)
                .all(|fault| fault.lasts >= LONGEST / 5)
        );
    }

    #[test]
    fn a_seed_repeats_its_faults_and_another_does_not() {
        let plan = |seed| Plan::new(seed, 5, 3, LONGEST).take(40).collect::<Vec<_>>();
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        assert_eq!(Plan::new(1, 0, 0, LONGEST).next(), None);
    }
}
