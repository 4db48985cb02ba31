//! Groups by their keys. A reader who says which values the keys have is not made to look at every group of every
//! window: the values are numbers in the view's interners, found once, and then each window is asked for them.

use super::filter::Filter;
use super::groups::Groups;
use crate::view::Scalar;

/// More combinations of values are looked for among a window's groups, one by one.
const MAX_PROBES: usize = 64;

/// What is known of the keys that a reader wants, of groups in memory.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    /// For each key the numbers of the values that it may have; `None` where it may have any.
    keys: Vec<Option<Vec<u32>>>,
    /// An overflow group, whose keys are all NULL, would pass.
    overflow: bool,
}

impl Pinned {
    /// `None` when no filter names values of keys.
    pub fn of(groups: &Groups, filters: &[(usize, &Filter<'_>)]) -> Option<Self> {
        let mut keys: Vec<Option<Vec<u32>>> = vec![None; groups.key_count()];
        for (key, filter) in filters {
            let Some(values) = filter.candidates() else {
                continue;
            };
            let mut ids: Vec<u32> = values
                .iter()
                .filter_map(|value| groups.find_key(*key, value))
                .collect();
            ids.sort_unstable();
            ids.dedup();
            if let Some(others) = &keys[*key] {
                ids.retain(|id| others.contains(id));
            }
            keys[*key] = Some(ids);
        }
        let overflow = filters.iter().all(|(_, filter)| filter.keeps(&Scalar::Null));
        keys.iter()
            .any(Option::is_some)
            .then_some(Self { keys, overflow })
    }

    /// The combinations of values, when each key has some and there are few.
    pub fn combinations(&self) -> Option<Vec<Vec<u32>>> {
        let mut all: Vec<Vec<u32>> = vec![Vec::new()];
        for ids in &self.keys {
            let ids = ids.as_ref()?;
            if all.len() * ids.len() > MAX_PROBES {
                return None;
            }
            let longer = all.iter().flat_map(|known| {
                ids.iter().map(move |id| {
                    let mut longer = known.clone();
                    longer.push(*id);
                    longer
                })
            });
            all = longer.collect();
        }
        Some(all)
    }

    pub fn takes_overflow(&self) -> bool {
        self.overflow
    }

    /// Whether a group with these numbers of values may pass.
    pub fn takes(&self, key: &[u32]) -> bool {
        let mut pairs = self.keys.iter().zip(key);
        pairs.all(|(ids, id)| ids.as_ref().is_none_or(|ids| ids.contains(id)))
    }
}
