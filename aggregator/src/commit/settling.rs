//! The commit thread's part of settling dead letters: what it reads before it decides.

use super::actor::Committer;
use super::group::Group;
use super::letters::{self, DiscardRequest, PreparedReplay, SettleAnswer};
use super::messages::CommitError;

impl Committer {
    pub(super) fn judge_replay(
        &mut self,
        group: &mut Group,
        batch: Box<PreparedReplay>,
    ) -> Result<SettleAnswer, CommitError> {
        let pos = self.next_pos(group);
        let Some(store) = &self.store else {
            return Err(CommitError::Stopped);
        };
        letters::judge_replay(store.connection(), &mut self.book, group, batch, pos)
    }

    pub(super) fn judge_discard(
        &mut self,
        group: &mut Group,
        request: DiscardRequest,
    ) -> Result<SettleAnswer, CommitError> {
        let Some(store) = &self.store else {
            return Err(CommitError::Stopped);
        };
        letters::judge_discard(store.connection(), group, request)
    }
}
