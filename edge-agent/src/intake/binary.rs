//! Events of raw bytes: payloads in the wire format of schema serializers, which begin with a zero byte and the
//! id of their schema. What they hold is the schema's business, and the gateway's.

use tributary_shared::wire::rows::{Rows, push_row};

use super::payload::{Events, PayloadError, Place};
use crate::check::Check;

/// A zero byte and the schema's id.
const MIN_LEN: usize = 5;

/// Reads `application/octet-stream`: the body is one event.
///
/// # Errors
/// [`PayloadError`].
pub fn single(body: &[u8], max_event: usize, mut check: Option<Check>) -> Result<Events, PayloadError> {
    let mut events = Events::default();
    if body.is_empty() {
        return Err(PayloadError::Empty);
    }
    push(&mut events, body, max_event, check.as_mut())?;
    events.tally = check.map(Check::into_tally).unwrap_or_default();
    Ok(events)
}

/// Reads `application/x-tributary-rows`: each event behind its length as LEB128.
///
/// # Errors
/// [`PayloadError`] for the first event that cannot be taken.
pub fn rows(body: &[u8], max_event: usize, mut check: Option<Check>) -> Result<Events, PayloadError> {
    let mut events = Events {
        rows: Vec::with_capacity(body.len()),
        ..Events::default()
    };
    for row in Rows::new(body) {
        let row = row.map_err(|_| PayloadError::Malformed {
            place: place(&events),
            reason: "its length runs past the end of the body".to_owned(),
        })?;
        push(&mut events, row, max_event, check.as_mut())?;
    }
    events.tally = check.map(Check::into_tally).unwrap_or_default();
    if events.count == 0 {
        Err(PayloadError::Empty)
    } else {
        Ok(events)
    }
}

fn place(events: &Events) -> Place {
    Place::of_index(u64::from(events.count))
}

fn push(
    events: &mut Events,
    payload: &[u8],
    max_event: usize,
    check: Option<&mut Check>,
) -> Result<(), PayloadError> {
    let place = place(events);
    if payload.len() > max_event {
        return Err(PayloadError::EventTooLarge {
            place,
            limit: max_event,
        });
    }
    let reason = match payload.first() {
        Some(0) if payload.len() >= MIN_LEN => {
            if let Some(check) = check {
                check.see(payload).map_err(|reason| PayloadError::Invalid {
                    place,
                    reason: Box::new(reason),
                })?;
            }
            push_row(&mut events.rows, payload);
            events.count += 1;
            return Ok(());
        }
        Some(0) => format!(
            "it has {} bytes; a zero byte and a schema id have {MIN_LEN}",
            payload.len()
        ),
        Some(other) => {
            format!("it begins with 0x{other:02x}; a binary event begins with 0x00 and the id of its schema")
        }
        None => "it is empty".to_owned(),
    };
    Err(PayloadError::Malformed { place, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(rows: &[&[u8]]) -> Vec<u8> {
        let mut body = Vec::new();
        rows.iter().for_each(|row| push_row(&mut body, row));
        body
    }

    fn message(taken: Result<Events, PayloadError>) -> String {
        taken.expect_err("refused").to_string()
    }

    #[test]
    fn events_are_kept_byte_for_byte() {
        let event = [0, 0, 0, 0, 7, 0xff, b'\n', b' '];
        let one = single(&event, 100, None).expect("an event");
        assert_eq!((one.count, one.rows), (1, body(&[&event])));
        let long = [vec![0; 5], vec![b'x'; 300]].concat();
        let several = body(&[&event[..], &long, &event]);
        let taken = rows(&several, 1_000, None).expect("events");
        assert_eq!((taken.count, taken.rows), (3, several));
    }

    #[test]
    fn refusals_name_the_event() {
        let good = [0, 0, 0, 0, 1];
        assert!(message(single(b"{}", 100, None)).contains("event 0: it begins with 0x7b"));
        assert!(message(single(&[0, 1], 100, None)).contains("it has 2 bytes"));
        assert!(message(single(&[0; 9], 8, None)).contains("larger than 8 bytes"));
        assert!(message(rows(&body(&[&good[..], b""]), 100, None)).contains("event 1: it is empty"));
        assert!(message(rows(&body(&[&good[..], &good, b"{}"]), 100, None)).contains("event 2: it begins"));
        assert!(
            message(rows(&[&body(&[&good])[..], &[9, 0]].concat(), 100, None))
                .contains("event 1: its length")
        );
        assert_eq!(rows(b"", 100, None), Err(PayloadError::Empty));
        assert_eq!(single(b"", 100, None), Err(PayloadError::Empty));
    }
}
