//! The schemas that rows in wire format name by their ids, as the aggregator tells them. Pure: no clock, no
//! socket.
//!
//! A positive answer holds until something may have changed it (a new version of the stream's subject, a
//! refusal of the aggregator, another connection); a negative one only briefly, because the schema may just be
//! about to be registered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tributary_schema::decode::{Writer, Writers};
use tributary_shared::ids::StreamName;
use tributary_shared::wire::ToAggregator;

/// Schemas that are kept, of all streams together. Each may have a megabyte of text.
const MAX_KEPT: usize = 256;
/// How long "no" is believed.
const NO_FOR: Duration = Duration::from_secs(5);

/// What the aggregator said of a schema; `None` while it has not.
pub type Answer = Option<Writer>;

#[derive(Debug)]
struct Asked {
    answer: watch::Sender<Answer>,
    answered_at: Option<Instant>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct WriterBook {
    asked: HashMap<(StreamName, u32), Asked>,
    /// The schemas of each stream that its rows may be written with.
    known: HashMap<StreamName, Arc<Writers>>,
}

/// All places are taken by questions without an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl WriterBook {
    /// What is known for a stream without asking.
    #[must_use]
    pub fn known(&self, stream: &StreamName) -> Arc<Writers> {
        self.known.get(stream).cloned().unwrap_or_default()
    }

    /// Where the answer will be; with the question, when it must be asked.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask(
        &mut self,
        stream: &StreamName,
        id: u32,
        now: Instant,
    ) -> Result<(watch::Receiver<Answer>, Option<ToAggregator>), Full> {
        let key = (stream.clone(), id);
        if let Some(asked) = self.asked.get(&key) {
            let refused = matches!(*asked.answer.borrow(), Some(Writer::Refused(_)));
            let stale = refused
                && asked
                    .answered_at
                    .is_some_and(|at| now.duration_since(at) >= NO_FOR);
            if !stale {
                return Ok((asked.answer.subscribe(), None));
            }
        }
        if self.asked.len() >= MAX_KEPT && !self.asked.contains_key(&key) {
            self.evict()?;
        }
        let (answer, receiver) = watch::channel(None);
        let asked = Asked {
            answer,
            answered_at: None,
        };
        self.asked.insert(key, asked);
        let question = ToAggregator::GetSchemaById {
            stream: stream.clone(),
            id,
        };
        Ok((receiver, Some(question)))
    }

    /// Makes room for another: the answer that was given first is asked for again when it is needed.
    fn evict(&mut self) -> Result<(), Full> {
        let answered = self
            .asked
            .iter()
            .filter_map(|(key, asked)| Some((asked.answered_at?, key)));
        let oldest = answered.min_by_key(|(at, _)| *at).map(|(_, key)| key.clone());
        self.forget(&oldest.ok_or(Full)?);
        Ok(())
    }

    fn forget(&mut self, key: &(StreamName, u32)) {
        self.asked.remove(key);
        if let Some(known) = self.known.get_mut(&key.0) {
            Arc::make_mut(known).remove(key.1);
        }
    }

    /// The aggregator's answer. One to a question that is forgotten changes nothing.
    pub fn answer(&mut self, stream: &StreamName, id: u32, writer: Writer, now: Instant) {
        let Some(asked) = self.asked.get_mut(&(stream.clone(), id)) else {
            return;
        };
        asked.answered_at = Some(now);
        asked.answer.send_replace(Some(writer.clone()));
        if matches!(writer, Writer::Known(_)) {
            let known = self.known.entry(stream.clone()).or_default();
            Arc::make_mut(known).insert(id, writer);
        }
    }

    /// Asks nobody any more for what a wait gave up.
    pub fn give_up(&mut self, stream: &StreamName, id: u32) {
        let key = (stream.clone(), id);
        if self
            .asked
            .get(&key)
            .is_some_and(|asked| asked.answered_at.is_none())
        {
            self.asked.remove(&key);
        }
    }

    /// Something may have changed what was answered: for one stream, or for all.
    pub fn forget_answers(&mut self, of: Option<&StreamName>) {
        let concerned = |stream: &StreamName| of.is_none_or(|of| of == stream);
        self.asked
            .retain(|(stream, _), asked| asked.answered_at.is_none() || !concerned(stream));
        self.known.retain(|stream, _| !concerned(stream));
    }

    /// The questions without an answer, for a new connection.
    #[must_use]
    pub fn open_questions(&self) -> Vec<ToAggregator> {
        let open = self.asked.iter().filter(|(_, asked)| asked.answered_at.is_none());
        open.map(|((stream, id), _)| ToAggregator::GetSchemaById {
            stream: stream.clone(),
            id: *id,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use tributary_schema::decode::StreamSchema;
    use tributary_shared::wire::Reason;

    use super::*;

    fn stream(name: &str) -> StreamName {
        StreamName::new(name).expect("a name")
    }

    fn known() -> Writer {
        Writer::Known(Arc::new(StreamSchema::schemaless()))
    }

    fn refused() -> Writer {
        Writer::Refused(Reason {
            path: String::new(),
            rule: "unknown_schema".to_owned(),
            message: "no".to_owned(),
        })
    }

    #[test]
    fn each_schema_is_asked_for_once() {
        let (mut book, now, a) = (WriterBook::default(), Instant::now(), stream("a"));
        let (first, question) = book.ask(&a, 7, now).expect("room");
        let asked = ToAggregator::GetSchemaById {
            stream: a.clone(),
            id: 7,
        };
        assert_eq!(question, Some(asked.clone()));
        assert_eq!(
            book.ask(&a, 7, now).expect("room").1,
            None,
            "another batch waits for the same answer"
        );
        assert_eq!(book.open_questions(), [asked]);
        book.answer(&a, 7, known(), now);
        assert!(matches!(*first.borrow(), Some(Writer::Known(_))));
        assert!(book.known(&a).get(7).is_some());
        assert!(
            book.known(&stream("b")).get(7).is_none(),
            "an id is a version of one subject"
        );
        assert!(book.open_questions().is_empty());
    }

    #[test]
    fn no_is_believed_for_a_moment_only() {
        let (mut book, now, a) = (WriterBook::default(), Instant::now(), stream("a"));
        book.ask(&a, 7, now).expect("room");
        book.answer(&a, 7, refused(), now);
        let (answer, question) = book.ask(&a, 7, now + NO_FOR / 2).expect("room");
        assert!(question.is_none() && answer.borrow().is_some());
        assert!(book.known(&a).get(7).is_none(), "and is not known without asking");
        let (answer, question) = book.ask(&a, 7, now + NO_FOR).expect("room");
        assert!(question.is_some() && answer.borrow().is_none());
    }

    #[test]
    fn answers_that_may_have_changed_are_forgotten_and_questions_stay() {
        let (mut book, now) = (WriterBook::default(), Instant::now());
        for name in ["a", "b"] {
            book.ask(&stream(name), 1, now).expect("room");
            book.answer(&stream(name), 1, known(), now);
            book.ask(&stream(name), 2, now).expect("room");
        }
        book.forget_answers(Some(&stream("a")));
        assert!(book.known(&stream("a")).get(1).is_none() && book.known(&stream("b")).get(1).is_some());
        book.forget_answers(None);
        assert!(book.known(&stream("b")).get(1).is_none());
        assert_eq!(book.open_questions().len(), 2);
        book.give_up(&stream("a"), 2);
        assert_eq!(book.open_questions().len(), 1);
    }

    #[test]
    fn the_book_is_bounded() {
        let (mut book, now, a) = (WriterBook::default(), Instant::now(), stream("a"));
        for id in 0..MAX_KEPT as u32 {
            book.ask(&a, id, now).expect("room");
        }
        assert_eq!(book.ask(&a, 9_999, now).err(), Some(Full));
        book.answer(&a, 3, known(), now);
        book.ask(&a, 9_999, now)
            .expect("in the place of the answered one");
        assert!(book.known(&a).get(3).is_none());
        assert_eq!(book.asked.len(), MAX_KEPT);
    }
}
