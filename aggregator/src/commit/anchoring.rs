//! What the audit says of a group, within the group's transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde_json::json;
use tributary_audit::{EntryRecord, Kind};
use tributary_shared::time::Millis;
use tributary_shared::wire::BatchContent;

use super::group::Group;
use super::lane::Lane;
use super::letters::{Discard, Replay};
use super::messages::CommitError;
use super::store::insert_lane;
use crate::audit::{Act, Anchor};

/// Ids of letters that a leaf names; of more it says how many.
const NAMED_LETTERS: usize = 100;

/// Writes a lane, with the leaf that says what its number stands for, and before it the one that says that its agent is
/// new here.
pub(super) fn open_lane(
    db: &Connection,
    audit: &mut Anchor,
    lane: &Lane,
    now: Millis,
) -> Result<(), CommitError> {
    let key = &lane.key;
    let known: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM lanes WHERE agent = ?1)")?
        .query_row([key.agent.as_str()], |row| row.get(0))?;
    if !known {
        let detail = json!({ "role": "agent", "name": key.agent.as_str() });
        audit.append_act(db, now, Act::new(Kind::Enrolment, detail))?;
    }
    insert_lane(db, key, lane.no, now)?;
    let detail = json!({
        "lane": lane.no.0, "agent": key.agent.as_str(), "stream": key.stream.as_str(), "epoch": key.epoch.0,
    });
    let leaf = audit.append_act(db, now, Act::new(Kind::Lane, detail))?;
    db.prepare_cached("UPDATE lanes SET opened_leaf = ?2 WHERE no = ?1")?
        .execute(params![lane.no.0, leaf])?;
    Ok(())
}

/// Anchors a group, and records what it does beside appending; signs a head if one is asked for or due. Returns the
/// leaves of the group's acts.
pub(super) fn record(
    db: &Connection,
    audit: &mut Anchor,
    group: &Group,
    mut anchored: Vec<EntryRecord>,
) -> Result<Vec<u64>, CommitError> {
    let now = group.committed_at;
    anchored.sort_unstable_by_key(|entry| entry.pos);
    audit.append_group(db, now, anchored)?;
    if let Some(drops) = drops(group) {
        audit.append_act(db, now, drops)?;
    }
    for replay in &group.replays {
        audit.append_act(db, now, replayed(replay))?;
    }
    for discard in &group.discards {
        audit.append_act(db, now, discarded(discard))?;
    }
    let mut leaves = Vec::with_capacity(group.acts.len());
    for act in &group.acts {
        leaves.push(audit.append_act(db, now, act.clone())?);
    }
    // an act that is answered can be proved at once
    let settled = !group.replays.is_empty() || !group.discards.is_empty();
    if group.sign || settled || !leaves.is_empty() || audit.is_due(now) {
        audit.sign(db, now)?;
    }
    Ok(leaves)
}

/// The drops that a group reports, in one leaf.
fn drops(group: &Group) -> Option<Act> {
    let mut drops = Vec::new();
    for entry in &group.entries {
        let header = &entry.batch.header;
        if let BatchContent::Dropped { reason } = &header.content {
            let range = header.range();
            drops.push(
                json!({ "lane": header.lane.0, "from": range.first, "to": range.last, "reason": reason }),
            );
        }
    }
    (!drops.is_empty()).then(|| Act::new(Kind::Drop, json!({ "dropped": drops })))
}

/// What retention gave up: letters that nobody replayed in time.
pub(super) fn expired(letters: u64, upto: i64) -> Act {
    let detail = json!({ "reason": "dead_letter_expired", "count": letters, "letters_up_to": upto });
    Act::new(Kind::Drop, detail)
}

fn replayed(replay: &Replay) -> Act {
    let header = &replay.batch.header;
    let ids = &replay.batch.ids;
    Act::new(
        Kind::Replay,
        json!({
            "by": header.by, "lane": header.lane.0, "pos": replay.pos.0, "count": ids.len(), "fix": header.fix,
            "letters": &ids[..ids.len().min(NAMED_LETTERS)],
        }),
    )
}

fn discarded(discard: &Discard) -> Act {
    let mut lanes: BTreeMap<u32, u64> = BTreeMap::new();
    for (_, lane, _) in &discard.letters {
        *lanes.entry(lane.0).or_default() += 1;
    }
    let ids: Vec<i64> = discard
        .letters
        .iter()
        .take(NAMED_LETTERS)
        .map(|letter| letter.0)
        .collect();
    let lanes: Vec<_> = lanes.into_iter().take(NAMED_LETTERS).collect();
    Act::new(
        Kind::Discard,
        json!({
            "by": discard.by, "reason": discard.reason, "count": discard.letters.len(), "letters": ids,
            "by_lane": lanes,
        }),
    )
}
