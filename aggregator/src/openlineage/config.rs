//! `[openlineage]`

use std::time::Duration;

use tributary_shared::config::Section;

/// How often a view that goes on says so.
const DEFAULT_EVERY: Duration = Duration::from_secs(300);
/// Each event says all that it is about; more often says nothing new.
const MIN_EVERY: Duration = Duration::from_secs(1);
const DEFAULT_NAMESPACE: &str = "tributary";
const MAX_NAMESPACE: usize = 256;

/// Where events go, and what they call this mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLineageConfig {
    /// Takes events by POST.
    pub url: String,
    /// Of jobs and datasets.
    pub namespace: String,
    pub every: Duration,
}

impl OpenLineageConfig {
    /// Reads the section, which is there.
    pub fn from_section(section: &mut Section) -> Option<Self> {
        let hint = "where events are posted, for example \"http://127.0.0.1:5000/api/v1/lineage\"";
        let url = section.required("url", hint, |s| s.string("url"));
        if let Some(url) = &url {
            check_url(section, url, hint);
        }
        let namespace = section
            .string("namespace")
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        if namespace.is_empty() || namespace.len() > MAX_NAMESPACE || namespace.chars().any(char::is_control)
        {
            let shown = Some(format!("{namespace:?}"));
            section.problem(
                "namespace",
                shown,
                "is not a namespace",
                Some("1 to 256 bytes of text, for example \"plant-7\""),
            );
        }
        let every = section.duration("every").unwrap_or(DEFAULT_EVERY);
        if every < MIN_EVERY {
            let shown = Some(format!("{every:?}"));
            section.problem("every", shown, "is too short", Some("at least \"1s\""));
        }
        Some(Self {
            url: url?,
            namespace,
            every,
        })
    }
}

fn check_url(section: &mut Section, url: &str, hint: &str) {
    let rest = url.strip_prefix("http://");
    if url.starts_with("https://") {
        let instead =
            "write http://, to a collector or a proxy on this network that speaks TLS to the outside";
        section.problem(
            "url",
            Some(format!("{url:?}")),
            "is https, which this program does not speak to others",
            Some(instead),
        );
    } else if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || url.contains([' ', '#'])) {
        section.problem("url", Some(format!("{url:?}")), "is not an http URL", Some(hint));
    }
}
