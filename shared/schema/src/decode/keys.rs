//! From a key to its field, without hashing where the row's keys come in the order of the row before.

use std::collections::HashMap;

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

use super::scan::{Cursor, ScanError, Text};

/// Position of a field in a [`KeyTable`].
pub(super) type FieldNo = usize;

/// The next member of a row.
#[derive(Debug)]
pub(super) enum Member<'a> {
    Field(FieldNo),
    Unknown(Text<'a>),
    End,
}

/// Known keys, with the order in which they were last seen.
#[derive(Debug)]
pub(super) struct KeyTable {
    by_name: HashMap<Box<str>, FieldNo, DefaultHashBuilder>,
    /// `"name":` as it most likely stands in the text; empty for a name that JSON would escape.
    patterns: Vec<Box<[u8]>>,
    /// What followed field i-1 the last time; at 0, what came first.
    successors: Vec<FieldNo>,
    /// 0 at the start of a row, else the number of the last field, plus one.
    last: usize,
    scratch: String,
}

impl KeyTable {
    pub(super) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut table = Self {
            by_name: HashMap::default(),
            patterns: Vec::new(),
            successors: vec![0],
            last: 0,
            scratch: String::new(),
        };
        for name in names {
            table.add(name);
        }
        table
    }

    pub(super) fn add(&mut self, name: &str) -> FieldNo {
        let field = self.patterns.len();
        let plain = name
            .bytes()
            .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
        let pattern = if plain {
            format!("\"{name}\":").into_bytes()
        } else {
            Vec::new()
        };
        self.by_name.insert(name.into(), field);
        self.patterns.push(pattern.into());
        self.successors.push(field + 1);
        field
    }

    pub(super) fn start_row(&mut self) {
        self.last = 0;
    }

    /// Steps over the next key and its colon; `first` is whether the row has just been opened.
    ///
    /// # Errors
    /// When the text is not JSON here.
    #[inline]
    pub(super) fn next<'a>(&mut self, cursor: &mut Cursor<'a>, first: bool) -> Result<Member<'a>, ScanError> {
        if !cursor.next_member(first)? {
            return Ok(Member::End);
        }
        let predicted = self.successors[self.last];
        if let Some(pattern) = self.patterns.get(predicted)
            && !pattern.is_empty()
            && cursor.eat(pattern)
        {
            self.last = predicted + 1;
            cursor.skip_space();
            return Ok(Member::Field(predicted));
        }
        self.look_up(cursor)
    }

    #[inline(never)]
    fn look_up<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Member<'a>, ScanError> {
        let key = cursor.key()?;
        cursor.skip_space();
        let Some(&field) = self.by_name.get(key.decode(&mut self.scratch)) else {
            return Ok(Member::Unknown(key));
        };
        self.successors[self.last] = field;
        self.last = field + 1;
        Ok(Member::Field(field))
    }
}

/// Up to here, comparing beats hashing.
const COMPARED_KEYS: usize = 8;

/// The keys of one object, to find one that stands there twice. Equal means equal once escapes are resolved.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    names: String,
    /// End of each name in `names`.
    ends: Vec<usize>,
    table: HashTable<usize>,
    hasher: DefaultHashBuilder,
    scratch: String,
}

impl KeySet {
    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.ends.clear();
        self.table.clear();
    }

    /// Adds a key; `false` when it was there already.
    pub(super) fn insert(&mut self, key: Text<'_>) -> bool {
        let name = key.decode(&mut self.scratch);
        let (names, ends, hasher) = (&self.names, &self.ends, &self.hasher);
        let at = |index: usize| &names[if index == 0 { 0 } else { ends[index - 1] }..ends[index]];
        if ends.len() < COMPARED_KEYS {
            if (0..ends.len()).any(|index| at(index) == name) {
                return false;
            }
        } else {
            if self.table.is_empty() {
                for index in 0..ends.len() {
                    self.table
                        .insert_unique(hasher.hash_one(at(index)), index, |&index| {
                            hasher.hash_one(at(index))
                        });
                }
            }
            let hash = hasher.hash_one(name);
            if self.table.find(hash, |&index| at(index) == name).is_some() {
                return false;
            }
            self.table
                .insert_unique(hash, ends.len(), |&index| hasher.hash_one(at(index)));
        }
        self.names.push_str(name);
        self.ends.push(self.names.len());
        true
    }
}
