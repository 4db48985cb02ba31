//! Which pairs of types were compared already. Schemas refer to themselves, so that a comparison must know what
//! it is in the midst of, and small texts can ask for very many comparisons.

use std::hash::Hash;

use hashbrown::HashSet;

use super::messages::Incompatibility;

/// How many pairs one check compares. A schema of a thousand fields needs a few thousand; only schemas that
/// are made to be hard come near it.
const MAX_COMPARISONS: usize = 200_000;
/// How deep a comparison goes. References make types deeper than their text; this bounds the stack.
const MAX_NESTING: usize = 250;
/// How many incompatibilities one check reports: enough for a person, and a bound for the answer.
pub(super) const MAX_FOUND: usize = 200;

/// What is known of a pair before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Compare it.
    New,
    /// Being compared, or found compatible: compatible unless something else is not.
    Holds,
    /// Found incompatible, and reported.
    Broken,
}

/// The pairs of one check.
#[derive(Debug)]
pub(super) struct Pairs<K> {
    holds: HashSet<K>,
    /// The order of `holds`: what was concluded inside a pair that turned out incompatible is forgotten.
    trail: Vec<K>,
    broken: HashSet<K>,
    comparisons: usize,
    depth: usize,
}

impl<K: Hash + Eq + Clone> Pairs<K> {
    pub fn new() -> Self {
        Self {
            holds: HashSet::new(),
            trail: Vec::new(),
            broken: HashSet::new(),
            comparisons: 0,
            depth: 0,
        }
    }

    /// Begins a pair when it is new. The answer's place goes to [`Self::end`].
    pub fn begin(&mut self, pair: &K) -> (Known, usize) {
        let place = self.trail.len();
        if self.holds.contains(pair) {
            return (Known::Holds, place);
        }
        if self.broken.contains(pair) {
            return (Known::Broken, place);
        }
        self.holds.insert(pair.clone());
        self.trail.push(pair.clone());
        (Known::New, place)
    }

    pub fn end(&mut self, pair: K, place: usize, compatible: bool) {
        if compatible {
            return;
        }
        for concluded in self.trail.drain(place..) {
            self.holds.remove(&concluded);
        }
        self.broken.insert(pair);
    }

    /// Counts a comparison, and the depth; `false` when there were too many or it is too deep, which is then
    /// reported. After `true`, [`Self::leave`] follows.
    pub fn enter(&mut self, path: &str, found: &mut Vec<Incompatibility>) -> bool {
        self.comparisons += 1;
        let too_complex = if self.comparisons > MAX_COMPARISONS {
            format!(
                "the schemas need more than {MAX_COMPARISONS} comparisons; make unions and combinations smaller"
            )
        } else if self.depth >= MAX_NESTING {
            format!(
                "the schemas' types refer to each other more than {MAX_NESTING} deep; make the chain shorter"
            )
        } else {
            self.depth += 1;
            return true;
        };
        found.push(Incompatibility::new("TOO_COMPLEX", path.to_owned(), too_complex));
        false
    }

    /// Counts work that is no comparison of types.
    pub fn cost(&mut self, steps: usize) {
        self.comparisons = self.comparisons.saturating_add(steps);
    }

    /// Is there no more to spend? Then loops over many pairs end: the answer is "too complex" already.
    pub fn is_spent(&self) -> bool {
        self.comparisons > MAX_COMPARISONS
    }

    pub fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}
