//! The aggregator's configuration as the audit shows it: what decides about data, and who may reach what. Paths of keys,
//! never keys.

use serde_json::{Map, Value, json};

use super::act_detail;
use crate::config::AggregatorConfig;

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
        hot_bytes,
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
        "public.url": public_url,
        "log.keep_for_ms": log.keep_for,
        "log.keep_bytes": log.keep_bytes,
        "log.keep_dead_letters_for_ms": log.keep_dead_letters_for,
        "log.keep_dead_letters_bytes": log.keep_dead_letters_bytes,
    }))
}
