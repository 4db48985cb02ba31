//! Panes: the pieces of time that state is kept for. A window of most views is one pane; hopping windows are merged
//! from several when they are read.

use std::collections::BTreeMap;

use tributary_shared::time::Millis;

use crate::view::WindowKind;

/// The pane of a view without windows. Never old, so that nothing that goes by time takes it away.
pub(super) const RUNNING: Millis = Millis::MAX - 1;

/// The start of each row's pane, as a number, and the starts.
pub(super) fn pane_codes(times: &[Millis], window: &WindowKind) -> (Vec<u32>, Vec<Millis>) {
    let Some(grid) = window.panes() else {
        return (vec![0; times.len()], vec![RUNNING]);
    };
    let mut starts: Vec<Millis> = Vec::new();
    // where a time lies costs a division, or a look at the calendar: once for each pane of the batch
    let mut known: BTreeMap<Millis, (Millis, u32)> = BTreeMap::new();
    // most rows fall into the pane of the row before
    let (mut pane, mut code) = (Millis::MAX..Millis::MAX, 0);
    let codes = times
        .iter()
        .map(|time| {
            if !pane.contains(time) {
                let found = known.range(..=*time).next_back();
                let found = found.filter(|(_, (end, _))| time < end);
                (pane, code) = match found {
                    Some((start, (end, code))) => (*start..*end, *code),
                    None => {
                        let start = grid.floor(*time);
                        let end = grid.walk(start, 1);
                        // a batch has fewer rows than 2^32
                        let code = starts.len() as u32;
                        starts.push(start);
                        known.insert(start, (end, code));
                        (start..end, code)
                    }
                };
            }
            code
        })
        .collect();
    (codes, starts)
}
