//! Group keys: numbers for values, first within a batch and then for the whole view.

use std::hash::{BuildHasher, Hash, Hasher};

use arrow_array::{Array, StringArray};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::codec::{put_scalar, put_text};
use crate::view::{Scalar, Texts, Vector};

/// The values of one key column in a batch, each row's as a small number.
#[derive(Debug)]
pub(super) struct KeyCodes {
    pub codes: Vec<u32>,
    values: KeyValues,
}

/// The value of each code. Two codes may have equal values.
#[derive(Debug)]
enum KeyValues {
    Scalars(Vec<Scalar>),
    /// The values of a dictionary, and NULL behind them. Left where they are, because most are known to the
    /// view already and need no copy.
    Dictionary(StringArray),
}

/// One value of a key column, where it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyRef<'a> {
    Scalar(&'a Scalar),
    Text(&'a str),
}

impl KeyRef<'_> {
    pub(super) fn to_scalar(self) -> Scalar {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::Text(text) => text.into(),
        }
    }

    /// Bytes that the value keeps beside its number.
    pub(super) fn heap_bytes(self) -> usize {
        match self {
            Self::Scalar(Scalar::Text(text)) => text.len(),
            Self::Scalar(_) => 0,
            Self::Text(text) => text.len(),
        }
    }

    /// Appends the stored form.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Scalar(value) => put_scalar(out, value),
            Self::Text(text) => put_text(out, text),
        }
    }

    fn is(self, known: &Scalar) -> bool {
        match (self, known) {
            (Self::Scalar(value), known) => value == known,
            (Self::Text(text), Scalar::Text(known)) => **known == *text,
            (Self::Text(_), _) => false,
        }
    }

    fn hash(self, hasher: &DefaultHashBuilder) -> u64 {
        let mut state = hasher.build_hasher();
        match self {
            Self::Scalar(value) => hash_scalar(value, &mut state),
            Self::Text(text) => hash_text(text, &mut state),
        }
        state.finish()
    }
}

impl KeyCodes {
    /// A float that is an integer becomes one: a field that was an integer and is a number now keeps its groups.
    pub(super) fn of(values: &Vector, rows: usize) -> Self {
        match values {
            Vector::Null => Self::scalars(vec![0; rows], vec![Scalar::Null]),
            Vector::Text(array) => match Texts::of(array) {
                // a dictionary far larger than the batch is not worth numbering
                Some(Texts::Dictionary(dictionary, texts)) if texts.len() <= rows.max(256) => {
                    let null = texts.len() as u32;
                    let keys = dictionary.keys();
                    let code = |row| {
                        if keys.is_valid(row) {
                            keys.value(row).cast_unsigned()
                        } else {
                            null
                        }
                    };
                    let codes = match keys.null_count() {
                        0 => keys.values().iter().map(|key| key.cast_unsigned()).collect(),
                        _ => (0..rows).map(code).collect(),
                    };
                    Self {
                        codes,
                        values: KeyValues::Dictionary(texts.clone()),
                    }
                }
                texts => Self::texts(texts, rows),
            },
            Vector::Int(array) => {
                let mut coder = Coder::default();
                let codes = array
                    .iter()
                    .map(|v| coder.code(v, || v.map_or(Scalar::Null, Scalar::Int)));
                let codes = codes.collect();
                Self::scalars(codes, coder.values)
            }
            _ => {
                let mut coder = Coder::default();
                let codes = (0..rows).map(|row| {
                    let value = values.scalar(row).normalised();
                    coder.code(Hashed(value.clone()), || value)
                });
                let codes = codes.collect();
                Self::scalars(codes, coder.values)
            }
        }
    }

    fn scalars(codes: Vec<u32>, values: Vec<Scalar>) -> Self {
        Self {
            codes,
            values: KeyValues::Scalars(values),
        }
    }

    /// How many codes there are.
    pub(super) fn radix(&self) -> usize {
        match &self.values {
            KeyValues::Scalars(values) => values.len(),
            KeyValues::Dictionary(texts) => texts.len() + 1,
        }
    }

    pub(super) fn value(&self, code: u32) -> KeyRef<'_> {
        let code = code as usize;
        match &self.values {
            KeyValues::Scalars(values) => KeyRef::Scalar(&values[code]),
            KeyValues::Dictionary(texts) if code < texts.len() && texts.is_valid(code) => {
                KeyRef::Text(texts.value(code))
            }
            KeyValues::Dictionary(_) => KeyRef::Scalar(&Scalar::Null),
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
        Self::scalars(codes, coder.values)
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

/// A scalar by its kind and value: as a group key, NULL equals NULL. Numbers are normalised before, so that 5.0
/// is 5.
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

/// The kinds of values need not hash apart: a table has few columns where one value has two kinds.
fn hash_scalar(value: &Scalar, state: &mut impl Hasher) {
    match value {
        Scalar::Null => 0u8.hash(state),
        Scalar::Bool(value) => value.hash(state),
        Scalar::Int(value) | Scalar::Time(value) => value.hash(state),
        Scalar::Float(value) => value.to_bits().hash(state),
        Scalar::Text(value) => hash_text(value, state),
    }
}

/// The values of one key column in all groups of a view that are in memory, numbered. A number is free again when no
/// group holds it.
#[derive(Debug, Clone, Default)]
pub(super) struct Interner {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    values: Vec<Scalar>,
    /// How many groups hold each.
    holders: Vec<u32>,
    free: Vec<u32>,
    heap: usize,
}

impl Interner {
    pub(super) fn find(&self, value: KeyRef<'_>) -> Option<u32> {
        self.table
            .find(value.hash(&self.hasher), |id| {
                value.is(&self.values[*id as usize])
            })
            .copied()
    }

    /// The value must not be known yet.
    pub(super) fn insert(&mut self, value: Scalar) -> u32 {
        let hash = KeyRef::Scalar(&value).hash(&self.hasher);
        self.heap += KeyRef::Scalar(&value).heap_bytes();
        let id = match self.free.pop() {
            Some(id) => {
                self.values[id as usize] = value;
                id
            }
            None => {
                // there are no more values than groups, and those are bounded below 2^32
                self.values.push(value);
                self.holders.push(0);
                (self.values.len() - 1) as u32
            }
        };
        let (hasher, values) = (&self.hasher, &self.values);
        self.table
            .insert_unique(hash, id, |id| KeyRef::Scalar(&values[*id as usize]).hash(hasher));
        id
    }

    /// One more group has the value. Numbers that are none of ours are passed over.
    pub(super) fn hold(&mut self, id: u32) {
        if let Some(holders) = self.holders.get_mut(id as usize) {
            *holders += 1;
        }
    }

    /// One group less has the value.
    pub(super) fn release(&mut self, id: u32) {
        let Some(holders) = self.holders.get_mut(id as usize) else {
            return;
        };
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        let value = std::mem::take(&mut self.values[id as usize]);
        let hash = KeyRef::Scalar(&value).hash(&self.hasher);
        if let Ok(entry) = self.table.find_entry(hash, |known| *known == id) {
            entry.remove();
        }
        self.heap -= KeyRef::Scalar(&value).heap_bytes();
        self.free.push(id);
    }

    /// Bytes of texts.
    pub(super) fn heap(&self) -> usize {
        self.heap
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let value = size_of::<Scalar>() + size_of::<u32>() + PLACE_BYTES;
        (self.values.capacity() - self.free.len()) * value + self.heap
    }

    pub(super) fn value(&self, id: u32) -> &Scalar {
        &self.values[id as usize]
    }
}

/// What a number takes in a hash table.
const PLACE_BYTES: usize = 8;

fn hash_text(text: &str, state: &mut impl Hasher) {
    state.write(text.as_bytes());
}
