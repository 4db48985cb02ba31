//! What each connected agent said last, for an aggregator that comes back without knowing it. Pure.

use std::collections::HashMap;

use tributary_shared::ids::AgentId;

use super::messages::ReportAgent;

/// One report an agent: as many as there are sessions, which the gateway bounds.
#[derive(Debug, Default)]
pub(super) struct Reports(HashMap<AgentId, ReportAgent>);

impl Reports {
    /// An agent reports, or has left.
    pub(super) fn heard(&mut self, report: &ReportAgent) {
        if report.report.is_some() {
            let before = self.0.insert(report.agent.clone(), report.clone());
            // only the first report of a session says it
            if let Some(last) = before
                && last.session == report.session
                && let Some(now) = self.0.get_mut(&report.agent)
            {
                now.configuration = now.configuration.take().or(last.configuration);
            }
        } else if self
            .0
            .get(&report.agent)
            .is_some_and(|last| last.session == report.session)
        {
            // not when an older session of the agent ends after the newer one has begun
            self.0.remove(&report.agent);
        }
    }

    /// One for each agent that is connected.
    pub(super) fn all(&self) -> impl Iterator<Item = &ReportAgent> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::wire::{NodeReport, SessionKey};

    use super::*;

    fn report(agent: &str, session: u64, spool_bytes: Option<u64>) -> ReportAgent {
        let report = |spool_bytes| NodeReport {
            skew_ms: None,
            promoted: Vec::new(),
            now: 0,
            spool_bytes,
            spool_limit: 0,
            lanes: Vec::new(),
            checks: Vec::new(),
        };
        ReportAgent {
            agent: AgentId::new(agent).expect("valid"),
            session: SessionKey { instance: 1, session },
            remote: String::new(),
            software: String::new(),
            configuration: None,
            report: spool_bytes.map(report),
        }
    }

    fn held(reports: &Reports) -> Vec<(String, u64, u64)> {
        let shown = |report: &ReportAgent| {
            let bytes = report.report.as_ref().expect("kept ones have one").spool_bytes;
            (report.agent.to_string(), report.session.session, bytes)
        };
        let mut held: Vec<_> = reports.all().map(shown).collect();
        held.sort();
        held
    }

    #[test]
    fn the_last_report_of_each_connected_agent_is_kept() {
        let mut reports = Reports::default();
        for report in [
            report("a", 1, Some(10)),
            report("b", 7, Some(20)),
            report("a", 1, Some(30)),
        ] {
            reports.heard(&report);
        }
        assert_eq!(held(&reports), [("a".to_owned(), 1, 30), ("b".to_owned(), 7, 20)]);
        reports.heard(&report("a", 1, None));
        assert_eq!(held(&reports), [("b".to_owned(), 7, 20)]);
    }

    #[test]
    fn the_configuration_of_a_session_is_kept_with_later_reports() {
        let mut reports = Reports::default();
        let told = |session, configuration: Option<&str>| ReportAgent {
            configuration: configuration.map(str::to_owned),
            ..report("a", session, Some(1))
        };
        let kept = |reports: &Reports| {
            reports
                .all()
                .next()
                .and_then(|report| report.configuration.clone())
        };
        reports.heard(&told(1, Some("{}")));
        reports.heard(&told(1, None));
        assert_eq!(kept(&reports).as_deref(), Some("{}"));
        reports.heard(&told(2, None));
        assert_eq!(kept(&reports), None, "another session may be of another program");
    }

    #[test]
    fn the_end_of_an_older_session_does_not_make_the_newer_one_look_gone() {
        let mut reports = Reports::default();
        reports.heard(&report("a", 1, Some(10)));
        reports.heard(&report("a", 2, Some(20)));
        reports.heard(&report("a", 1, None));
        assert_eq!(held(&reports), [("a".to_owned(), 2, 20)]);
        reports.heard(&report("a", 2, None));
        assert!(held(&reports).is_empty(), "nothing is kept of an agent that left");
    }
}
