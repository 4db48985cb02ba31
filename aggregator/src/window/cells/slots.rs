//! An array of cells, one for each slot, and what every kind of cell must be able to do.

use std::fmt::Debug;

use super::super::codec::Reader;
use super::super::messages::StateError;

/// One aggregate's state in one group.
pub(in super::super) trait Cell: Clone + Default + Debug {
    /// Adds what another cell saw. The result is that of a cell that saw the rows of both, in any order.
    fn merge(&mut self, other: &Self);

    /// Appends the stored form.
    fn encode(&self, out: &mut Vec<u8>);

    /// # Errors
    /// When the bytes are not a cell of this kind.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError>;

    /// Bytes that the cell keeps outside of itself.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The cells of all slots.
#[derive(Debug, Clone)]
pub(in super::super) struct Slots<C> {
    cells: Vec<C>,
    /// Sum of the cells' heap bytes.
    heap: usize,
}

impl<C: Cell> Default for Slots<C> {
    fn default() -> Self {
        let (cells, heap) = (Vec::new(), 0);
        Self { cells, heap }
    }
}

impl<C: Cell> Slots<C> {
    pub(super) fn get(&self, slot: u32) -> &C {
        &self.cells[slot as usize]
    }

    /// All cells, for kinds without heap bytes: their loops need no accounts.
    pub(super) fn plain(&mut self) -> &mut [C] {
        debug_assert_eq!(self.heap, 0, "this kind of cell keeps bytes elsewhere");
        &mut self.cells
    }

    /// One cell, for a change that leaves the cell's heap bytes as they are.
    #[inline]
    pub(super) fn quick(&mut self, slot: u32) -> &mut C {
        &mut self.cells[slot as usize]
    }

    /// Changes one cell, and accounts for what it keeps.
    #[inline]
    pub(super) fn change(&mut self, slot: u32, change: impl FnOnce(&mut C)) {
        let cell = &mut self.cells[slot as usize];
        let before = cell.heap_bytes();
        change(cell);
        self.heap = self.heap + cell.heap_bytes() - before;
    }

    pub(super) fn push(&mut self, cell: C) {
        self.heap += cell.heap_bytes();
        self.cells.push(cell);
    }

    /// Makes a slot's cell a new one.
    pub(super) fn clear(&mut self, slot: u32) {
        self.change(slot, |cell| *cell = C::default());
    }

    pub(super) fn merge_from(&mut self, slot: u32, other: &Self, other_slot: u32) {
        let other = other.get(other_slot);
        self.change(slot, |cell| cell.merge(other));
    }

    /// Adds what one cell saw to another of the same cells.
    pub(super) fn merge_within(&mut self, slot: u32, other: u32) {
        let other = self.get(other).clone();
        self.change(slot, |cell| cell.merge(&other));
    }

    /// Takes the newest cell away and adds it to another.
    pub(super) fn merge_last(&mut self, slot: u32) {
        if let Some(last) = self.cells.pop() {
            self.heap -= last.heap_bytes();
            self.change(slot, |cell| cell.merge(&last));
        }
    }

    pub(super) fn restore(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<(), StateError> {
        let restored = C::decode(reader)?;
        self.change(slot, |cell| *cell = restored);
        Ok(())
    }

    pub(super) fn push_encoded(&mut self, reader: &mut Reader<'_>) -> Result<(), StateError> {
        self.push(C::decode(reader)?);
        Ok(())
    }

    /// Bytes in memory, of all cells.
    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<C>() + self.heap
    }

    /// Bytes in memory of one cell.
    pub(super) fn slot_bytes(&self, slot: u32) -> usize {
        size_of::<C>() + self.get(slot).heap_bytes()
    }
}
