//! A head of the audit on its way: told with a heartbeat, once.

use std::sync::Arc;

/// The longest head that is passed on: far more than one has.
pub const MAX_AUDIT_HEAD: usize = 4 << 10;

/// What one session's other end is to know, and whether it does.
#[derive(Debug, Default)]
pub(super) struct ToldHead {
    newest: Option<Arc<str>>,
    told: bool,
}

impl ToldHead {
    /// The newest head there is.
    pub(super) fn set(&mut self, head: &Arc<str>) {
        if head.len() <= MAX_AUDIT_HEAD && self.newest.as_ref() != Some(head) {
            self.newest = Some(Arc::clone(head));
            self.told = false;
        }
    }

    /// What the next heartbeat carries.
    pub(super) fn take(&mut self) -> Option<String> {
        let head = self.newest.as_ref().filter(|_| !self.told)?;
        self.told = true;
        Some(head.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_told_once_and_one_that_is_too_long_never() {
        let mut told = ToldHead::default();
        assert_eq!(told.take(), None);
        told.set(&Arc::from("a"));
        told.set(&Arc::from("b"));
        assert_eq!(told.take().as_deref(), Some("b"));
        told.set(&Arc::from("b"));
        assert_eq!(told.take(), None);
        told.set(&Arc::from("x".repeat(MAX_AUDIT_HEAD + 1)));
        assert_eq!(told.take(), None);
    }
}
