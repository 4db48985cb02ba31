//! Carries out single commands and keeps their answers back until the transaction's end is known.

use super::group::{Step, Waiter};
use super::messages::SpoolError;
use super::queue::{Control, Queued};
use super::store::StoreError;
use super::transaction::{Outcome, Transaction};

/// Tells a waiter how its command ended, once it is known whether the transaction is durable.
pub(super) type Answer = Box<dyn FnOnce(Result<(), &SpoolError>)>;

fn answer<T: 'static>(waiter: Waiter<T>, outcome: Result<T, SpoolError>) -> Answer {
    Box::new(move |committed| {
        let Queued { command, permit } = waiter;
        // who no longer waits needs no answer
        let _ = command.send(committed.map_err(Clone::clone).and(outcome));
        drop(permit);
    })
}

/// Runs a command unless the transaction has failed already. The outcome then does not matter: the failure
/// of the transaction is the answer to all.
fn attempt<T>(failed: &mut Option<StoreError>, work: impl FnOnce() -> Outcome<T>) -> Result<T, SpoolError> {
    if failed.is_none() {
        match work() {
            Ok(outcome) => return outcome,
            Err(error) => *failed = Some(error),
        }
    }
    Err(SpoolError::Closed)
}

pub(super) fn take_in(
    tx: &mut Transaction<'_>,
    step: Step,
    failed: &mut Option<StoreError>,
    answers: &mut Vec<Answer>,
) {
    match step {
        Step::Rows(mut unit) => match attempt(failed, || tx.append(&mut unit)) {
            Ok(accepted) => {
                let pairs = unit.requests.into_iter().zip(accepted);
                answers.extend(pairs.map(|(request, accepted)| answer(request.waiter, Ok(accepted))));
            }
            Err(error) => {
                answers.extend(
                    unit.requests
                        .into_iter()
                        .map(|r| answer(r.waiter, Err(error.clone()))),
                );
            }
        },
        Step::Dropped { dropped, waiter } => {
            answers.push(answer(waiter, attempt(failed, || tx.append_dropped(&dropped))));
        }
        Step::Position { position, waiter } => {
            answers.push(answer(waiter, attempt(failed, || tx.set_position(&position))));
        }
    }
}

pub(super) fn carry_out(
    tx: &mut Transaction<'_>,
    Queued { command, permit }: Queued<Control>,
    failed: &mut Option<StoreError>,
    answers: &mut Vec<Answer>,
) {
    answers.push(match command {
        Control::CommitMark { lane, mark, reply } => answer(
            Queued {
                command: reply,
                permit,
            },
            attempt(failed, || tx.commit_mark(lane, mark)),
        ),
        Control::LaneOpened {
            lane,
            mark,
            history,
            reply,
        } => answer(
            Queued {
                command: reply,
                permit,
            },
            attempt(failed, || tx.lane_opened(lane, mark, history.as_ref())),
        ),
        Control::ForgottenAndTaken { no, from, reply } => answer(
            Queued {
                command: reply,
                permit,
            },
            attempt(failed, || tx.forgotten_and_taken(no, from)),
        ),
        Control::Fork { lane, reason, reply } => answer(
            Queued {
                command: reply,
                permit,
            },
            attempt(failed, || tx.fork_epoch(lane, reason)),
        ),
        Control::ForgetPosition { key, reply } => answer(
            Queued {
                command: reply,
                permit,
            },
            attempt(failed, || tx.forget_position(&key)),
        ),
        // reads and the shutdown are sorted out before
        Control::Read { .. } | Control::GetPosition { .. } | Control::ListPositions { .. } => return,
        Control::Shutdown { .. } => return,
    });
}

pub(super) fn refuse_step(step: Step) -> Vec<Answer> {
    // the outcome is replaced by the reason of the refusal
    match step {
        Step::Rows(unit) => unit
            .requests
            .into_iter()
            .map(|request| answer(request.waiter, Err(SpoolError::Closed)))
            .collect(),
        Step::Dropped { waiter, .. } => vec![answer(waiter, Err(SpoolError::Closed))],
        Step::Position { waiter, .. } => vec![answer(waiter, Err(SpoolError::Closed))],
    }
}

pub(super) fn refuse_control(Queued { command, permit }: Queued<Control>, why: &SpoolError) {
    match command {
        Control::CommitMark { reply, .. }
        | Control::ForgottenAndTaken { reply, .. }
        | Control::ForgetPosition { reply, .. }
        | Control::Shutdown { reply } => {
            let _ = reply.send(Err(why.clone()));
        }
        Control::LaneOpened { reply, .. } | Control::Fork { reply, .. } => {
            let _ = reply.send(Err(why.clone()));
        }
        // these are answered as reads
        Control::Read { .. } | Control::GetPosition { .. } | Control::ListPositions { .. } => {}
    }
    drop(permit);
}
