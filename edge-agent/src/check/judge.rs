//! One check of one request or block.

use std::fmt;

use tributary_schema::decode::writer_id;
use tributary_shared::wire::Reason;
use tributary_shared::wire::rows::Rows;

use super::compile::{Compiled, Verdicts};
use super::messages::Tally;

/// What a payload in the wire format of serializers begins with.
const MAGIC: u8 = 0;

/// Judges events in turn and counts what it finds. Give the tally to [`super::Checks`] once the events are taken.
pub struct Check {
    /// `None` for a format that only a gateway judges.
    verdicts: Option<Verdicts>,
    schema_id: u32,
    rejects: bool,
    tally: Tally,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("schema_id", &self.schema_id)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

impl Check {
    pub(super) fn new(schema: Option<&Compiled>, schema_id: u32, rejects: bool) -> Self {
        Self {
            verdicts: schema.map(Compiled::verdicts),
            schema_id,
            rejects,
            tally: Tally::default(),
        }
    }

    /// Judges one event. Events that only a gateway can judge pass, uncounted.
    ///
    /// # Errors
    /// Why the event is refused, when the stream's policy is to reject: its first reason.
    pub fn see(&mut self, payload: &[u8]) -> Result<(), Reason> {
        let named = writer_id(payload);
        let verdict = match &mut self.verdicts {
            // written with another version, which only a gateway knows
            Some(_) if named.is_some_and(|id| id != self.schema_id) => return Ok(()),
            Some(judge) => judge(payload),
            None if payload.first() == Some(&MAGIC) && named.is_none() => Err(cut_off(payload)),
            None => return Ok(()),
        };
        self.tally.checked += 1;
        let Err(reason) = verdict else { return Ok(()) };
        self.tally.invalid(&reason.rule);
        if self.rejects { Err(reason) } else { Ok(()) }
    }

    /// Judges events that nobody can be told about: they are counted, whatever the policy.
    pub fn count_rows(&mut self, rows: &[u8]) {
        for row in Rows::new(rows) {
            // what this agent wrote itself is whole
            let Ok(row) = row else { return };
            // counted; the gateway judges it again
            let _ = self.see(row);
        }
    }

    #[must_use]
    pub fn into_tally(self) -> Tally {
        self.tally
    }
}

fn cut_off(payload: &[u8]) -> Reason {
    Reason {
        path: String::new(),
        rule: "wire_format".to_owned(),
        message: format!(
            "the payload has {} bytes; a magic byte and a schema id have five",
            payload.len()
        ),
    }
}
