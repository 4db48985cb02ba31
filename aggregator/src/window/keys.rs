//! Group keys: numbers for values, first within a batch and then for the whole view.

use std::hash::{BuildHasher, Hash, Hasher};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::view::{Mode, Scalar, Texts, Vector};

/// The values of one key column in a batch, each row's as a small number.
#[derive(Debug)]
pub(super) struct KeyCodes {
    pub codes: Vec<u32>,
    /// The value of each code. Two codes may have equal values.
    pub values: Vec<Scalar>,
}

impl KeyCodes {
    pub(super) fn of(values: &Vector, rows: usize, mode: Mode) -> Self {
        match values {
            Vector::Null => Self {
                codes: vec![0; rows],
                values: vec![Scalar::Null],
            },
            Vector::Text(array) => match array.as_dictionary_opt::<Int32Type>() {
                Some(dictionary) if dictionary.values().len() <= rows.max(256) => {
                    let null = dictionary.values().len();
                    let keys = dictionary.keys();
                    let code = |row: usize| {
                        if keys.is_valid(row) {
                            keys.value(row).cast_unsigned()
                        } else {
                            null as u32
                        }
                    };
                    let codes = (0..rows).map(code).collect();
                    let text = |at| {
                        dictionary
                            .values()
                            .as_string_opt::<i32>()
                            .filter(|t| t.is_valid(at))
                            .map(|t| t.value(at))
                    };
                    let values = (0..null)
                        .map(|at| text(at).map_or(Scalar::Null, Scalar::from))
                        .chain([Scalar::Null]);
                    Self {
                        codes,
                        values: values.collect(),
                    }
                }
                // a dictionary far larger than the batch is not worth numbering
                _ => Self::texts(Texts::of(array), rows),
            },
            Vector::Int(array) => {
                let mut coder = Coder::default();
                let codes = array
                    .iter()
                    .map(|v| coder.code(v, || v.map_or(Scalar::Null, Scalar::Int)))
                    .collect();
                Self {
                    codes,
                    values: coder.values,
                }
            }
            _ => {
                let mut coder = Coder::default();
                let codes = (0..rows)
                    .map(|row| {
                        let value = match mode {
                            Mode::Typed => values.scalar(row),
                            Mode::Json => values.scalar(row).normalised(),
                        };
                        coder.code(Hashed(value.clone()), || value)
                    })
                    .collect();
                Self {
                    codes,
                    values: coder.values,
                }
            }
        }
    }

    fn texts(texts: Option<Texts<'_>>, rows: usize) -> Self {
        let mut coder = Coder::default();
        let codes = (0..rows)
            .map(|row| {
                let text = texts.and_then(|texts| texts.get(row));
                coder.code(text, || text.map_or(Scalar::Null, Scalar::from))
            })
            .collect();
        Self {
            codes,
            values: coder.values,
        }
    }
}

/// Numbers distinct values in order of appearance.
struct Coder<T> {
    known: HashMap<T, u32>,
    values: Vec<Scalar>,
}

impl<T> Default for Coder<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            values: Vec::new(),
        }
    }
}

impl<T: Hash + Eq> Coder<T> {
    #[inline]
    fn code(&mut self, value: T, scalar: impl FnOnce() -> Scalar) -> u32 {
        *self.known.entry(value).or_insert_with(|| {
            self.values.push(scalar());
            // a batch has fewer rows than 2^32
            (self.values.len() - 1) as u32
        })
    }
}

/// A scalar by its exact kind and value: as a group key, NULL equals NULL, and 5 differs from 5.0.
#[derive(Debug, Clone)]
struct Hashed(Scalar);

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

// floats are finite and never -0.0: equality is reflexive
impl Eq for Hashed {}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_scalar(&self.0, state);
    }
}

fn hash_scalar(value: &Scalar, state: &mut impl Hasher) {
    std::mem::discriminant(value).hash(state);
    match value {
        Scalar::Null => {}
        Scalar::Bool(value) => value.hash(state),
        Scalar::Int(value) | Scalar::Time(value) => value.hash(state),
        Scalar::Float(value) => value.to_bits().hash(state),
        Scalar::Text(value) => value.hash(state),
    }
}

/// The values of one key column in all groups of a view, numbered.
#[derive(Debug, Clone, Default)]
pub(super) struct Interner {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    values: Vec<Scalar>,
}

impl Interner {
    fn hash(&self, value: &Scalar) -> u64 {
        hash_of(&self.hasher, value)
    }

    pub(super) fn find(&self, value: &Scalar) -> Option<u32> {
        self.table
            .find(self.hash(value), |id| self.values[*id as usize] == *value)
            .copied()
    }

    /// The value must not be known yet.
    pub(super) fn insert(&mut self, value: Scalar) -> u32 {
        let hash = self.hash(&value);
        // there are no more values than groups, and those are bounded below 2^32
        let id = self.values.len() as u32;
        self.values.push(value);
        let (hasher, values) = (&self.hasher, &self.values);
        self.table
            .insert_unique(hash, id, |id| hash_of(hasher, &values[*id as usize]));
        id
    }

    pub(super) fn value(&self, id: u32) -> &Scalar {
        &self.values[id as usize]
    }
}

fn hash_of(hasher: &DefaultHashBuilder, value: &Scalar) -> u64 {
    let mut state = hasher.build_hasher();
    hash_scalar(value, &mut state);
    state.finish()
}

/// Bytes that a key value keeps beside its number.
pub(super) fn heap_bytes(value: &Scalar) -> usize {
    match value {
        Scalar::Text(text) => text.len(),
        _ => 0,
    }
}
