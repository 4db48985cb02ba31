//! Who sends telemetry, after the semantic conventions. What the environment says of a key goes before what is known here.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

/// Groups the three roles of a mesh.
const NAMESPACE: &str = "tributary";

pub(super) fn resource(role: &'static str, instance: &str, environment: &[(String, String)]) -> Resource {
    let mut attributes = vec![
        ("service.name".to_owned(), format!("tributary-{role}")),
        ("service.namespace".to_owned(), NAMESPACE.to_owned()),
        ("service.instance.id".to_owned(), instance.to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("os.type".to_owned(), os_type().to_owned()),
    ];
    attributes.extend(host_name().map(|name| ("host.name".to_owned(), name)));
    attributes.retain(|(key, _)| environment.iter().all(|(set, _)| set != key));
    attributes.extend_from_slice(environment);
    let attributes = attributes
        .into_iter()
        .map(|(key, value)| KeyValue::new(key, value));
    let mut attributes: Vec<KeyValue> = attributes.collect();
    if environment.iter().all(|(key, _)| key != "process.pid") {
        attributes.push(KeyValue::new("process.pid", i64::from(std::process::id())));
    }
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build()
}

/// The conventions' names for the systems that are called differently there.
fn os_type() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// `None` where the system does not say.
fn host_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let text = text.or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    #[test]
    fn the_conventions_keys_are_there_and_the_environment_goes_before_them() {
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let environment = [
            set("service.name", "press hall"),
            set("deployment.environment.name", "test"),
        ];
        let resource = resource("agent", "press-7", &environment);
        let get = |key: &'static str| resource.get(&Key::new(key)).map(|value| value.to_string());
        for (key, value) in [
            ("service.name", "press hall"),
            ("service.namespace", "tributary"),
            ("service.instance.id", "press-7"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("deployment.environment.name", "test"),
            ("telemetry.sdk.language", "rust"),
        ] {
            assert_eq!(get(key).as_deref(), Some(value), "{key}");
        }
        assert_eq!(get("process.pid"), Some(std::process::id().to_string()));
        assert!(get("os.type").is_some());
        #[cfg(target_os = "linux")]
        assert!(get("host.name").is_some());
    }
}
