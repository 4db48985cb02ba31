//! Text columns. Few distinct values are stored as a dictionary: smaller, quicker to group by, and each value
//! is checked against the schema once a batch instead of once a row. Many distinct values are stored plainly.
//! Which of the two a column is, its last batches tell.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, PrimitiveArray, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::column::Gaps;
use super::lent::Lent;

/// A dictionary is worth it with at least this many rows for each of its values.
const ROWS_PER_ENTRY: usize = 4;
/// Entries from which a batch's dictionary is given up as soon as it holds every second row.
const GIVE_UP_AT: usize = 256;
/// Batches after which a plain column tries a dictionary again.
const RETRY_AFTER: u32 = 64;

/// Strings one after the other.
#[derive(Debug)]
struct Strings {
    bytes: Vec<u8>,
    /// Where each string starts, and where the last one ends. A batch's text is far below 2 GiB.
    offsets: Vec<i32>,
}

impl Default for Strings {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
        }
    }
}

impl Strings {
    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as i32);
    }

    /// Empty strings up to `len`.
    fn fill_to(&mut self, len: usize) {
        self.offsets.resize(len + 1, self.bytes.len() as i32);
    }

    fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.offsets.truncate(len + 1);
            self.bytes.truncate(self.offsets[len] as usize);
        }
    }

    /// The array; the strings are then none.
    fn finish(&mut self, nulls: Option<NullBuffer>, memory: &mut Memory) -> Result<StringArray, ArrowError> {
        let Self { bytes, offsets } = std::mem::take(self);
        // the offsets were made ascending; arrow checks the text to be UTF-8
        let offsets = OffsetBuffer::new(ScalarBuffer::from(memory.numbers.lend(offsets)));
        StringArray::try_new(offsets, memory.bytes.lend(bytes), nulls)
    }

    /// The array of a dictionary's entries, which are few.
    fn into_array(self) -> Result<StringArray, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None)
    }

    fn reclaim(&mut self, memory: &mut Memory) {
        self.bytes = memory.bytes.take_back();
        self.offsets = memory.numbers.take_back();
        self.offsets.push(0);
    }
}

/// What a column's last array had.
#[derive(Debug, Default)]
struct Memory {
    bytes: Lent,
    /// Offsets or codes.
    numbers: Lent,
}

#[derive(Debug, Default)]
struct Dictionary {
    codes: Vec<i32>,
    entries: Strings,
    /// Positions in `entries`.
    table: HashTable<u32>,
    /// The code of the row before: machines repeat themselves.
    last: u32,
    hasher: DefaultHashBuilder,
}

impl Dictionary {
    /// Adds a value; `check` is asked about one that is not in the dictionary yet.
    #[inline]
    fn push(&mut self, text: &str, check: impl FnOnce() -> bool) -> bool {
        let bytes = text.as_bytes();
        if self.entries.len() > 0 && self.entries.get(self.last as usize) == bytes {
            self.codes.push(self.last as i32);
            return true;
        }
        let hash = self.hasher.hash_one(bytes);
        let entries = &self.entries;
        match self.table.find(hash, |&code| entries.get(code as usize) == bytes) {
            Some(&code) => self.last = code,
            None => {
                if !check() {
                    return false;
                }
                self.last = entries.len() as u32;
                self.entries.push(bytes);
                let (entries, hasher) = (&self.entries, &self.hasher);
                self.table.insert_unique(hash, self.last, |&code| {
                    hasher.hash_one(entries.get(code as usize))
                });
            }
        }
        self.codes.push(self.last as i32);
        true
    }

    fn too_large(&self) -> bool {
        self.entries.len() >= GIVE_UP_AT && self.entries.len() * 2 > self.codes.len()
    }

    /// The same cells without the dictionary; those of `gaps` are empty.
    fn to_strings(&self, gaps: &Gaps) -> Strings {
        let mut strings = Strings::default();
        for (from, to) in gaps.iter() {
            self.copy_cells(strings.len()..from, &mut strings);
            strings.fill_to(to);
        }
        self.copy_cells(strings.len()..self.codes.len(), &mut strings);
        strings
    }

    fn copy_cells(&self, rows: std::ops::Range<usize>, strings: &mut Strings) {
        for &code in &self.codes[rows] {
            strings.push(self.entries.get(code as usize));
        }
    }
}

#[derive(Debug)]
enum Store {
    Plain(Strings),
    Dictionary(Dictionary),
}

/// A column of strings.
#[derive(Debug)]
pub(super) struct TextColumn {
    store: Store,
    gaps: Gaps,
    /// Whether a dictionary may ever be used.
    adaptive: bool,
    /// Batches until a plain column tries a dictionary again.
    retry_in: u32,
    memory: Memory,
}

impl TextColumn {
    pub(super) fn adaptive() -> Self {
        let store = Store::Dictionary(Dictionary::default());
        Self {
            store,
            gaps: Gaps::default(),
            adaptive: true,
            retry_in: RETRY_AFTER,
            memory: Memory::default(),
        }
    }

    pub(super) fn plain() -> Self {
        let store = Store::Plain(Strings::default());
        Self {
            store,
            gaps: Gaps::default(),
            adaptive: false,
            retry_in: RETRY_AFTER,
            memory: Memory::default(),
        }
    }

    fn len(&self) -> usize {
        match &self.store {
            Store::Plain(strings) => strings.len(),
            Store::Dictionary(dictionary) => dictionary.codes.len(),
        }
    }

    fn fill_to(&mut self, row: usize) {
        let len = self.len();
        if len < row {
            self.gaps.add(len, row);
            match &mut self.store {
                Store::Plain(strings) => strings.fill_to(row),
                Store::Dictionary(dictionary) => dictionary.codes.resize(row, 0),
            }
        }
    }

    /// Sets the text of `row`, which has none yet and is not before any row that has one, if `check` holds.
    /// A text that an earlier row of the batch brought is not checked again.
    #[inline]
    pub(super) fn push(&mut self, row: usize, text: &str, check: impl FnOnce() -> bool) -> bool {
        self.fill_to(row);
        match &mut self.store {
            Store::Plain(strings) => {
                let valid = check();
                if valid {
                    strings.push(text.as_bytes());
                }
                valid
            }
            Store::Dictionary(dictionary) => {
                let valid = dictionary.push(text, check);
                if valid && dictionary.too_large() {
                    self.store = Store::Plain(dictionary.to_strings(&self.gaps));
                }
                valid
            }
        }
    }

    pub(super) fn truncate(&mut self, row: usize) {
        match &mut self.store {
            Store::Plain(strings) => strings.truncate(row),
            Store::Dictionary(dictionary) => dictionary.codes.truncate(row),
        }
    }

    /// See [`super::column::Column::finish`].
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.fill_to(rows);
        let nulls = self.gaps.take(rows);
        self.retry_in -= 1;
        let retry = self.adaptive && self.retry_in == 0;
        if self.retry_in == 0 {
            self.retry_in = RETRY_AFTER;
        }
        match &mut self.store {
            Store::Plain(strings) => {
                let array = strings.finish(nulls, &mut self.memory)?;
                if retry {
                    self.store = Store::Dictionary(Dictionary::default());
                }
                Ok(Arc::new(array))
            }
            Store::Dictionary(dictionary) => {
                let codes = self.memory.numbers.lend(std::mem::take(&mut dictionary.codes));
                let entries = std::mem::take(&mut dictionary.entries);
                dictionary.table.clear();
                dictionary.last = 0;
                if entries.len() * ROWS_PER_ENTRY > rows.max(GIVE_UP_AT) {
                    self.store = Store::Plain(Strings::default());
                }
                let codes = PrimitiveArray::<Int32Type>::try_new(ScalarBuffer::from(codes), nulls)?;
                Ok(Arc::new(DictionaryArray::try_new(
                    codes,
                    Arc::new(entries.into_array()?),
                )?))
            }
        }
    }

    /// See [`super::column::Column::reclaim`].
    pub(super) fn reclaim(&mut self) {
        match &mut self.store {
            Store::Plain(strings) => strings.reclaim(&mut self.memory),
            Store::Dictionary(dictionary) => dictionary.codes = self.memory.numbers.take_back(),
        }
    }
}
