//! Memory that a batch's arrays borrow while they are written. Taking it back for the next batch spares the
//! allocator the megabytes, and the kernel the page faults, of every batch.

use arrow_buffer::{ArrowNativeType, Buffer};

/// The largest vector that is kept between batches, in bytes: a rare huge batch must not be paid for ever.
const MAX_KEPT: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Lent(Option<Buffer>);

impl Lent {
    /// The vector as a buffer for an array.
    pub(super) fn lend<T: ArrowNativeType>(&mut self, values: Vec<T>) -> Buffer {
        let buffer = Buffer::from_vec(values);
        self.0 = Some(buffer.clone());
        buffer
    }

    /// An empty vector: the memory lent last, when nobody holds it any more, or none.
    pub(super) fn take_back<T: ArrowNativeType>(&mut self) -> Vec<T> {
        match self.0.take().map(Buffer::into_vec) {
            Some(Ok(mut values)) if values.capacity() * size_of::<T>() <= MAX_KEPT => {
                values.clear();
                values
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_nobody_holds_it() {
        let mut lent = Lent::default();
        let buffer = lent.lend(vec![1i64, 2, 3]);
        drop(buffer);
        let values: Vec<i64> = lent.take_back();
        assert!(values.is_empty() && values.capacity() >= 3);
        let held = lent.lend(vec![4i64]);
        assert_eq!(lent.take_back::<i64>().capacity(), 0);
        assert_eq!(held.typed_data::<i64>(), [4]);
        drop(lent.lend(vec![0u8; MAX_KEPT + 1]));
        assert_eq!(lent.take_back::<u8>().capacity(), 0);
    }
}
