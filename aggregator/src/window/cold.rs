//! Windows that are not in memory: what the engine asks of whoever stored them.
//!
//! A group may leave memory when a snapshot that holds it as it is has been stored. From then on the store has it,
//! and gives it back when a batch amends its window or a reader asks for it.

use std::cell::RefCell;
use std::fmt::Debug;

use tributary_shared::time::Millis;

use super::messages::GroupState;

/// What is known of a window beside its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowFacts {
    /// Groups, without the overflow group.
    pub groups: u64,
    /// Bytes of their key texts.
    pub key_bytes: u64,
    /// The window has an overflow group.
    pub overflow: bool,
}

impl WindowFacts {
    /// Groups that are stored for the window.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.groups + u64::from(self.overflow)
    }
}

/// Why a window that is not in memory cannot be had. Nothing can be counted right without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("windows on disk cannot be read: {0}")]
pub struct ColdError(pub String);

/// The newest stored snapshot, for groups and windows that are not in memory. Views are told by their generation.
pub trait ColdGroups: Debug + Send {
    /// The stored state of a group.
    ///
    /// # Errors
    /// When it cannot be read.
    fn state(&self, view: u64, window: Millis, key: &[u8]) -> Result<Option<Vec<u8>>, ColdError>;

    /// What is stored of a window.
    ///
    /// # Errors
    /// When it cannot be read.
    fn window(&self, view: u64, window: Millis) -> Result<Option<WindowFacts>, ColdError>;

    /// Starts of stored windows within `[from, to)`, in order, at most so many.
    ///
    /// # Errors
    /// When they cannot be read.
    fn starts(
        &self,
        view: u64,
        bounds: (Millis, Millis),
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<Millis>, ColdError>;

    /// Stored groups of a window behind a key, in the order of the keys' bytes.
    ///
    /// # Errors
    /// When they cannot be read.
    fn groups(
        &self,
        view: u64,
        window: Millis,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<GroupState>, ColdError>;
}

/// Nothing was ever stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingCold;

impl ColdGroups for NothingCold {
    fn state(&self, _: u64, _: Millis, _: &[u8]) -> Result<Option<Vec<u8>>, ColdError> {
        Ok(None)
    }

    fn window(&self, _: u64, _: Millis) -> Result<Option<WindowFacts>, ColdError> {
        Ok(None)
    }

    fn starts(&self, _: u64, _: (Millis, Millis), _: bool, _: usize) -> Result<Vec<Millis>, ColdError> {
        Ok(Vec::new())
    }

    fn groups(&self, _: u64, _: Millis, _: Option<&[u8]>, _: usize) -> Result<Vec<GroupState>, ColdError> {
        Ok(Vec::new())
    }
}

/// One view's part of the store while a batch is folded. A failure is kept until the batch is through: what was
/// folded then is worthless, and whoever owns the engine must stop.
#[derive(Debug)]
pub(super) struct ColdView<'a> {
    pub store: &'a dyn ColdGroups,
    pub view: u64,
    failure: RefCell<Option<ColdError>>,
}

impl<'a> ColdView<'a> {
    pub fn new(store: &'a dyn ColdGroups, view: u64) -> Self {
        let failure = RefCell::new(None);
        Self { store, view, failure }
    }

    pub fn state(&self, window: Millis, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.store.state(self.view, window, key);
        found.unwrap_or_else(|error| self.fail(error))
    }

    pub fn window(&self, window: Millis) -> Option<WindowFacts> {
        let found = self.store.window(self.view, window);
        found.unwrap_or_else(|error| self.fail(error))
    }

    pub fn fail<T>(&self, error: ColdError) -> Option<T> {
        self.failure.borrow_mut().get_or_insert(error);
        None
    }

    pub fn into_failure(self) -> Option<ColdError> {
        self.failure.into_inner()
    }
}
