//! The aggregator's configuration as the audit shows it: what decides about data, and who may reach what. Paths of keys,
//! never keys.

use serde_json::{Map, Value, json};
use tributary_audit::Kind;

use super::{Act, act_detail};
use crate::config::AggregatorConfig;
use crate::metadata::ConfigurationChange;

/// Settings up to this size are in the leaf word by word. Of larger ones there is a digest.
const MAX_SHOWN: usize = 8 << 10;
/// Keys that a leaf names as changed.
const MAX_CHANGED: usize = 64;

/// An agent or a gateway came with another program or configuration than before.
#[must_use]
pub fn node_configuration(change: &ConfigurationChange) -> Act {
    let record = &change.record;
    let settings = record.configuration.as_deref();
    let bytes = settings.and_then(|settings| serde_json::to_string(settings).ok());
    let shown = settings.filter(|_| bytes.is_some_and(|bytes| bytes.len() <= MAX_SHOWN));
    let changed: Vec<&String> = change.changed.iter().take(MAX_CHANGED).collect();
    let detail = json!({
        "role": record.kind.as_str(),
        "name": record.name,
        "software": record.software,
        "changed": changed,
        "digest": record.digest,
        "settings": shown,
    });
    Act::new(Kind::Configuration, detail)
}

/// `http://user:password@host` names a host.
fn without_password(url: &str) -> String {
    match url
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1)))
    {
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => url.to_owned(),
    }
}

/// Every setting by its key.
#[must_use]
pub fn shown(config: &AggregatorConfig) -> Map<String, Value> {
    let path = |path: &std::path::Path| path.display().to_string();
    let AggregatorConfig {
        dir,
        listen,
        http,
        registry,
        ready_file: _,
        tls,
        require_schema,
        log,
        trace_viewer,
        hot_bytes,
        openlineage,
        public_url,
    } = config;
    act_detail(json!({
        "dir": path(dir),
        "listen": listen.to_string(),
        "http": http.to_string(),
        "registry": registry.to_string(),
        "require_schema": require_schema,
        "tls.ca": path(&tls.ca),
        "tls.cert": path(&tls.cert),
        "tls.key": path(&tls.key),
        "views.hot_bytes": hot_bytes,
        "openlineage.url": openlineage.as_ref().map(|to| without_password(&to.url)),
        "openlineage.namespace": openlineage.as_ref().map(|to| to.namespace.as_str()),
        "openlineage.every_s": openlineage.as_ref().map(|to| to.every.as_secs()),
        "public.url": public_url,
        "log.keep_for_ms": log.keep_for,
        "log.keep_bytes": log.keep_bytes,
        "log.keep_dead_letters_for_ms": log.keep_dead_letters_for,
        "log.keep_dead_letters_bytes": log.keep_dead_letters_bytes,
        "log.keep_lineage_for_ms": log.keep_lineage_for,
        "log.keep_lineage_bytes": log.keep_lineage_bytes,
        "trace_viewer.url": trace_viewer,
    }))
}
