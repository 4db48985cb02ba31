//! Restarts an actor through a factory.
//!
//! actix's own supervisor does not see a panic, and after `stop()` it restarts the actor with the state that
//! made it stop. Here the actor owns a [`DeathWatch`]; however it ends (stopped, panicked, its arbiter gone),
//! the watch is dropped with it, and the supervisor builds a **new** actor with the factory. A waiting time
//! with full jitter lies between; more deaths than the [`Budget`] allows end the supervision with a call to
//! `escalate`, since the fault is then one that a restart does not cure.
//!
//! A new actor is a new address: hold the [`Supervised`], ask it for the address, and treat `None` as "not
//! now". Messages in the mailbox of a dead actor are lost, as actix answers their senders.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::budget::Spent;
use super::{Backoff, Budget};
use crate::metrics::{self, MetricName};

/// How an actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    Stopped,
    Panicked,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Panicked => "panicked",
        })
    }
}

/// Tells the supervisor that its owner is gone. The actor keeps it in a field and does nothing with it.
#[derive(Debug)]
pub struct DeathWatch(Option<oneshot::Sender<Death>>);

impl DeathWatch {
    fn new() -> (Self, oneshot::Receiver<Death>) {
        let (tell, told) = oneshot::channel();
        (Self(Some(tell)), told)
    }
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        let death = if std::thread::panicking() {
            Death::Panicked
        } else {
            Death::Stopped
        };
        if let Some(tell) = self.0.take() {
            // a supervisor that is gone needs no telling
            let _ = tell.send(death);
        }
    }
}

/// When to restart and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub backoff: Backoff,
    pub budget: Budget,
}

impl Default for Policy {
    /// Waits up to 50 ms, doubling to 5 s; gives up at the eleventh death within a minute.
    fn default() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
            budget: Budget {
                restarts: 10,
                per: Duration::from_secs(60),
            },
        }
    }
}

/// A fault that restarts did not cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("actor {actor} {last} again, after {restarts} restarts within {per:?}: restarting does not cure it")]
pub struct Escalation {
    pub actor: &'static str,
    pub last: Death,
    pub restarts: u32,
    pub per: Duration,
}

/// An actor under supervision. Clones stand for the same actor; when the last is dropped, or [`stop`] is
/// called, it is restarted no more. The actor itself lives on until its owner stops it, as any actor.
///
/// [`stop`]: Supervised::stop
pub struct Supervised<A: Actor> {
    addr: watch::Receiver<Option<Addr<A>>>,
    stop: Arc<Notify>,
}

impl<A: Actor> Supervised<A> {
    /// The living actor; `None` between a death and the restart, and after the supervision has ended.
    #[must_use]
    pub fn addr(&self) -> Option<Addr<A>> {
        self.addr.borrow().clone()
    }

    /// Waits for a living actor. `None`: the supervision has ended, there will be none.
    pub async fn living(&self) -> Option<Addr<A>> {
        let mut addr = self.addr.clone();
        addr.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|found| found.clone())
    }

    /// Ends the supervision: what dies now stays dead. Call it before stopping the actor on purpose.
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

impl<A: Actor> Clone for Supervised<A> {
    fn clone(&self) -> Self {
        Self {
            addr: self.addr.clone(),
            stop: Arc::clone(&self.stop),
        }
    }
}

impl<A: Actor> fmt::Debug for Supervised<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised")
            .field("living", &self.addr.borrow().is_some())
            .finish_non_exhaustive()
    }
}

/// Starts an actor and keeps it alive. Runs on the current arbiter, and so does the factory.
///
/// `name` labels log lines and [`MetricName::ActorRestarts`]. A factory that panics counts as a death.
pub fn supervise<A, F, E>(name: &'static str, policy: Policy, mut factory: F, escalate: E) -> Supervised<A>
where
    A: Actor,
    F: FnMut(DeathWatch) -> Addr<A> + 'static,
    E: FnOnce(Escalation) + 'static,
{
    let (death_watch, told) = DeathWatch::new();
    let (publish, addr) = watch::channel(Some(factory(death_watch)));
    let stop = Arc::new(Notify::new());
    let supervision = Supervision {
        name,
        policy,
        publish,
        stop: Arc::clone(&stop),
        told,
        factory,
    };
    actix::spawn(async move {
        if let Some(escalation) = supervision.run().await {
            tracing::error!(actor = name, error = %escalation, "actor is given up");
            escalate(escalation);
        }
    });
    Supervised { addr, stop }
}

struct Supervision<A: Actor, F> {
    name: &'static str,
    policy: Policy,
    publish: watch::Sender<Option<Addr<A>>>,
    stop: Arc<Notify>,
    told: oneshot::Receiver<Death>,
    factory: F,
}

impl<A: Actor, F: FnMut(DeathWatch) -> Addr<A>> Supervision<A, F> {
    /// `None` when it was told to stop or nobody holds the actor any more.
    async fn run(mut self) -> Option<Escalation> {
        let restarts = metrics::counter(MetricName::ActorRestarts, &[("actor", self.name)]);
        let started = Instant::now();
        let mut spent = Spent::new(self.policy.budget);
        loop {
            let death = tokio::select! {
                // the sender tells on drop, so an error cannot be; were it one, the actor is as dead
                death = &mut self.told => death.unwrap_or(Death::Stopped),
                () = self.stop.notified() => return None,
                () = self.publish.closed() => return None,
            };
            self.publish.send_replace(None);
            let Some(recent) = spent.book(started.elapsed()) else {
                let Budget { restarts, per } = self.policy.budget;
                return Some(Escalation {
                    actor: self.name,
                    last: death,
                    restarts,
                    per,
                });
            };
            let wait = self.policy.backoff.delay(recent, rand::random());
            tracing::warn!(actor = self.name, %death, recent, ?wait, "actor is restarted");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.notified() => return None,
                () = self.publish.closed() => return None,
            }
            restarts.inc();
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        let (death_watch, told) = DeathWatch::new();
        self.told = told;
        // a factory that panics drops the watch on its way out, so the loop books it like any death
        if let Ok(addr) = catch_unwind(AssertUnwindSafe(|| (self.factory)(death_watch))) {
            self.publish.send_replace(Some(addr));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use actix::{ActorContext, Context, Handler, Message};
    use tokio::task::LocalSet;

    use super::*;

    /// Counts what it was told, and forgets it when it dies.
    struct Counting {
        count: u32,
        _watch: DeathWatch,
    }

    impl Actor for Counting {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "u32")]
    enum Tell {
        Count,
        Panic,
        Stop,
    }

    impl Handler<Tell> for Counting {
        type Result = u32;

        fn handle(&mut self, message: Tell, context: &mut Self::Context) -> u32 {
            match message {
                Tell::Count => self.count += 1,
                Tell::Panic => panic!("a fault for the test"),
                Tell::Stop => context.stop(),
            }
            self.count
        }
    }

    const POLICY: Policy = Policy {
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(4)),
        budget: Budget {
            restarts: 3,
            per: Duration::from_secs(60),
        },
    };

    #[derive(Clone, Default)]
    struct Seen {
        built: Rc<Cell<u32>>,
        escalated: Rc<RefCell<Option<Escalation>>>,
    }

    impl Seen {
        fn supervise(&self) -> Supervised<Counting> {
            let (built, escalated) = (Rc::clone(&self.built), Rc::clone(&self.escalated));
            let factory = move |watch| {
                built.set(built.get() + 1);
                Counting {
                    count: 0,
                    _watch: watch,
                }
                .start()
            };
            supervise("counting", POLICY, factory, move |escalation| {
                escalated.replace(Some(escalation));
            })
        }
    }

    /// Lets the arbiter run until the death of the present actor is known.
    async fn kill(supervised: &Supervised<Counting>, how: Tell) {
        let addr = supervised.addr().expect("alive");
        // a panic closes the answer; either way the actor goes down
        let _ = addr.send(how).await;
        let mut watch = supervised.addr.clone();
        // an error: the supervision has ended and with it every address
        let _ = watch.wait_for(Option::is_none).await;
    }

    async fn count(supervised: &Supervised<Counting>) -> u32 {
        supervised
            .living()
            .await
            .expect("alive")
            .send(Tell::Count)
            .await
            .expect("answered")
    }

    #[tokio::test(start_paused = true)]
    async fn a_panicked_and_a_stopped_actor_come_back_new() {
        LocalSet::new()
            .run_until(async {
                let seen = Seen::default();
                let supervised = seen.supervise();
                assert_eq!((count(&supervised).await, count(&supervised).await), (1, 2));
                kill(&supervised, Tell::Panic).await;
                assert!(
                    supervised.addr().is_none(),
                    "nobody is at home between death and restart"
                );
                assert_eq!(count(&supervised).await, 1, "the factory built a fresh state");
                kill(&supervised, Tell::Stop).await;
                assert_eq!(count(&supervised).await, 1);
                assert_eq!(seen.built.get(), 3);
                assert_eq!(*seen.escalated.borrow(), None);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_waits_no_longer_than_the_back_off() {
        LocalSet::new()
            .run_until(async {
                let supervised = Seen::default().supervise();
                kill(&supervised, Tell::Panic).await;
                let died = Instant::now();
                supervised.living().await.expect("restarted");
                assert!(died.elapsed() <= Duration::from_secs(1), "{:?}", died.elapsed());
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn deaths_beyond_the_budget_escalate_once() {
        LocalSet::new()
            .run_until(async {
                let seen = Seen::default();
                let supervised = seen.supervise();
                for _ in 0..=POLICY.budget.restarts {
                    supervised.living().await.expect("alive");
                    kill(&supervised, Tell::Panic).await;
                }
                assert!(supervised.living().await.is_none(), "it stays dead");
                let escalation = seen.escalated.borrow().clone().expect("escalated");
                assert_eq!((escalation.actor, escalation.last), ("counting", Death::Panicked));
                assert_eq!(seen.built.get(), 1 + POLICY.budget.restarts);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn deaths_that_are_long_apart_never_escalate() {
        LocalSet::new()
            .run_until(async {
                let seen = Seen::default();
                let supervised = seen.supervise();
                for _ in 0..10 {
                    supervised.living().await.expect("alive");
                    kill(&supervised, Tell::Panic).await;
                    tokio::time::sleep(Duration::from_secs(61)).await;
                }
                assert_eq!(seen.built.get(), 11);
                assert_eq!(*seen.escalated.borrow(), None);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_supervision_restarts_nothing() {
        LocalSet::new()
            .run_until(async {
                let seen = Seen::default();
                let supervised = seen.supervise();
                let addr = supervised.addr().expect("alive");
                supervised.stop();
                let _ = addr.send(Tell::Stop).await;
                tokio::time::sleep(Duration::from_secs(10)).await;
                assert_eq!(seen.built.get(), 1);
                assert_eq!(*seen.escalated.borrow(), None);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_factory_that_panics_is_a_death_too() {
        LocalSet::new()
            .run_until(async {
                let built = Rc::new(Cell::new(0));
                let escalated = Rc::new(Cell::new(false));
                let (builds, tells) = (Rc::clone(&built), Rc::clone(&escalated));
                let factory = move |watch| {
                    builds.set(builds.get() + 1);
                    assert!(builds.get() == 1, "a fault for the test");
                    Counting {
                        count: 0,
                        _watch: watch,
                    }
                    .start()
                };
                let supervised = supervise("counting", POLICY, factory, move |_| tells.set(true));
                kill(&supervised, Tell::Stop).await;
                assert!(supervised.living().await.is_none());
                assert!(escalated.get());
                assert_eq!(built.get(), 1 + POLICY.budget.restarts);
            })
            .await;
    }
}
