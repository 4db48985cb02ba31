//! The policies by themselves, and a spool without a disk that follows them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 16 << 20;
const KEEP: NonZeroU64 = NonZeroU64::new(4).expect("positive");
const ALL: [WhenFull; 5] = [
    WhenFull::Block,
    WhenFull::Reject,
    WhenFull::DropOldest,
    WhenFull::DropNewest,
    WhenFull::Thin { keep: KEEP },
];

fn ask(when_full: WhenFull, need: u64) -> Ask {
    Ask {
        when_full,
        need,
        thinned: false,
        victims: when_full == WhenFull::DropOldest,
    }
}

#[test]
fn policies_are_named_as_the_configuration_names_them() {
    let keep = DEFAULT_THIN_KEEP;
    for (word, policy) in [
        ("block", WhenFull::Block),
        ("reject", WhenFull::Reject),
        ("drop_oldest", WhenFull::DropOldest),
        ("drop_newest", WhenFull::DropNewest),
        ("thin", WhenFull::Thin { keep }),
    ] {
        assert_eq!(word.parse(), Ok(policy));
    }
    assert_eq!("drop".parse::<WhenFull>(), Err(UnknownPolicy));
    assert_eq!("urgent".parse::<Priority>(), Err(UnknownPriority));
}

#[test]
fn a_full_spool_does_what_the_policy_says() {
    let budget = Budget::new(LIMIT);
    let full = Usage {
        pages: budget.for_rows() - 100,
        wal: 1 << 20,
    };
    let decide = |when_full, need| budget.decide(ask(when_full, need), full);
    for policy in [WhenFull::Block, WhenFull::Reject] {
        assert_eq!(decide(policy, 100), Decision::Admit);
        assert_eq!(decide(policy, 101), Decision::Refuse);
    }
    assert_eq!(decide(WhenFull::DropOldest, 101), Decision::Evict { bytes: 1 });
    assert_eq!(decide(WhenFull::DropNewest, 101), Decision::DropNew);
    assert_eq!(
        decide(WhenFull::Thin { keep: KEEP }, 100),
        Decision::Thin { keep: KEEP }
    );
}

#[test]
fn thinning_begins_before_the_room_ends_and_then_all_is_dropped() {
    let budget = Budget::new(LIMIT);
    let thin = ask(WhenFull::Thin { keep: KEEP }, 1_000);
    let half = Usage {
        pages: budget.for_rows() / 2,
        wal: 0,
    };
    assert_eq!(budget.decide(thin, half), Decision::Admit);
    let tight = Usage {
        pages: budget.for_rows() * 15 / 16,
        wal: 0,
    };
    assert_eq!(budget.decide(thin, tight), Decision::Thin { keep: KEEP });
    let thinned = Ask {
        thinned: true,
        ..thin
    };
    assert_eq!(budget.decide(thinned, tight), Decision::Admit);
    let full = Usage {
        pages: budget.for_rows(),
        wal: 0,
    };
    assert_eq!(budget.decide(thinned, full), Decision::DropNew);
}

#[test]
fn room_for_drop_records_is_left_when_events_have_none_and_ends_too() {
    let budget = Budget::new(LIMIT);
    let asked = ask(WhenFull::DropNewest, 1_000);
    let end = Usage {
        pages: budget.for_records(),
        wal: 0,
    };
    assert_eq!(budget.decide(asked, end), Decision::Refuse, "it cannot be named");
    assert!(
        budget.for_records() - budget.for_rows() > 400 << 10,
        "thousands of records"
    );
}

#[test]
fn a_wal_that_cannot_be_checkpointed_takes_room() {
    let stuck = Usage { pages: 0, wal: LIMIT };
    let decision = Budget::new(LIMIT).decide(ask(WhenFull::Block, 1), stuck);
    assert_eq!(decision, Decision::Refuse);
}

#[test]
fn what_never_fits_is_too_large_whatever_the_policy() {
    let budget = Budget::new(LIMIT);
    for policy in ALL {
        assert_eq!(
            budget.decide(ask(policy, budget.max_group() + 1), Usage::default()),
            Decision::TooLarge { limit: LIMIT / 16 }
        );
    }
}

fn policies() -> impl Strategy<Value = StreamPolicy> {
    let priority = prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
    (prop::sample::select(&ALL[..]), priority).prop_map(|(when_full, priority)| StreamPolicy {
        when_full,
        priority,
        max_age: None,
    })
}

/// What became of one append in the spool without a disk.
#[derive(Debug, PartialEq)]
enum Fate {
    Stored,
    Dropped,
    Refused,
}

/// One lane a stream; blocks are sizes.
#[derive(Debug, Default)]
struct Sim {
    policies: Vec<StreamPolicy>,
    held: BTreeMap<usize, Vec<u64>>,
    evicted: BTreeMap<usize, u64>,
}

impl Sim {
    fn usage(&self) -> Usage {
        Usage {
            pages: self.held.values().flatten().sum(),
            wal: 0,
        }
    }

    fn append(&mut self, stream: usize, need: u64, budget: Budget) -> Fate {
        let policy = self.policies[stream];
        let candidates = self.held.keys().map(|&lane| Candidate {
            lane: LaneId(lane as i64),
            policy: self.policies[lane],
            own: lane == stream,
        });
        let order = eviction_order(policy, candidates.collect::<Vec<_>>());
        let mut ask = Ask {
            when_full: policy.when_full,
            need,
            thinned: false,
            victims: !order.is_empty(),
        };
        loop {
            match budget.decide(ask, self.usage()) {
                Decision::Admit => {
                    self.held.entry(stream).or_default().push(ask.need);
                    return Fate::Stored;
                }
                Decision::Thin { keep } => {
                    ask.thinned = true;
                    ask.need = ask.need.div_ceil(keep.get());
                }
                Decision::Evict { bytes } => ask.victims = self.evict(&order, bytes, policy, stream),
                Decision::DropNew => return Fate::Dropped,
                Decision::Refuse => return Fate::Refused,
                Decision::TooLarge { .. } => panic!("never that large"),
            }
        }
    }

    fn evict(&mut self, order: &[LaneId], bytes: u64, asking: StreamPolicy, stream: usize) -> bool {
        let mut freed = 0;
        for (place, lane) in order.iter().map(|lane| lane.0 as usize).enumerate() {
            while freed < bytes && self.held.get(&lane).is_some_and(|blocks| !blocks.is_empty()) {
                let given = self.policies[lane];
                assert!(
                    given.when_full.is_droppable(),
                    "a stream that must lose nothing lost"
                );
                assert!(lane == stream || given.priority < asking.priority);
                let earlier = order[..place].iter().map(|lane| lane.0 as usize);
                for earlier in earlier {
                    assert!(
                        self.held.get(&earlier).is_none_or(Vec::is_empty),
                        "{earlier} before {lane}"
                    );
                }
                freed += self.held.get_mut(&lane).expect("held").remove(0);
                *self.evicted.entry(lane).or_default() += 1;
            }
        }
        freed > 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pages in use plus the largest WAL plus all else never exceed the limit, whatever was admitted before.
    #[test]
    fn admitted_bytes_fit_the_limit(limit in 4u64 << 20..1 << 40, pages in 0u64..1 << 40, need in 0u64..16 << 20) {
        let budget = Budget::new(limit);
        let other_pages = 2 * budget.max_commands() as u64 * PAGES_PER_COMMAND;
        let largest_wal = budget.checkpoint_at() + budget.max_group() + other_pages;
        let beside = largest_wal + budget.standby() + WAL_INDEX;
        let usage = Usage { pages, wal: 0 };
        if budget.decide(ask(WhenFull::Block, need), usage) == Decision::Admit {
            prop_assert!(pages + need + beside + budget.records() <= limit);
        }
        if budget.record_fits(usage) {
            prop_assert!(pages + beside <= limit);
        }
        prop_assert!(budget.tight() > budget.max_group(), "what fits before thinning begins fits whole");
    }

    /// Over random appends: the room is kept, what must lose nothing loses nothing, the lowest priority loses
    /// first, and a policy that accepts whatever comes refuses nothing.
    #[test]
    fn streams_give_way_in_order(
        policies in prop::collection::vec(policies(), 4),
        appends in prop::collection::vec((0usize..4, 1_000u64..900_000), 60..120),
    ) {
        let budget = Budget::new(LIMIT);
        let mut sim = Sim { policies, ..Sim::default() };
        for (stream, need) in appends {
            let policy = sim.policies[stream];
            let fate = sim.append(stream, need, budget);
            prop_assert!(sim.usage().pages <= budget.for_rows());
            match policy.when_full {
                WhenFull::DropNewest | WhenFull::Thin { .. } => prop_assert_ne!(fate, Fate::Refused),
                WhenFull::Block | WhenFull::Reject | WhenFull::DropOldest => prop_assert_ne!(fate, Fate::Dropped),
            }
        }
        for (&lane, &blocks) in &sim.evicted {
            prop_assert!(blocks == 0 || sim.policies[lane].when_full.is_droppable());
        }
    }
}
