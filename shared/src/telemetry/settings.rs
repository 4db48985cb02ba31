//! What the environment says about OTLP, after the OpenTelemetry specification.

use std::time::Duration;

use super::pairs::pairs;
use super::sampling::Sampler;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const SLOW_BATCH: &str = "TRIBUTARY_SLOW_BATCH";
const PUBLIC_URL: &str = "TRIBUTARY_PUBLIC_URL";
const GRPC_PORT: u16 = 4317;
/// What one request may take unless it is set. An exporter that waits holds its queue, nothing else.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte on its way to the ack. A batch that takes longer is one that somebody will ask about.
pub(super) const SLOW: Duration = Duration::from_secs(5);

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// What is exported, each to an endpoint of its own if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    /// As labels write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    fn variable(self, what: &str) -> String {
        format!("OTEL_EXPORTER_OTLP_{}_{what}", self.as_str().to_uppercase())
    }

    fn exporter(self) -> String {
        format!("OTEL_{}_EXPORTER", self.as_str().to_uppercase())
    }
}

/// Where a signal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// With the path for HTTP, without one for gRPC.
    pub url: String,
    pub protocol: Protocol,
    pub timeout: Duration,
}

/// What goes where, and how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// `None`: not exported.
    pub traces: Option<Destination>,
    pub metrics: Option<Destination>,
    pub logs: Option<Destination>,
    pub sampler: Sampler,
    /// A batch that takes longer from shipping to the ack is exported whatever the sampler says.
    pub slow: Duration,
    /// Of the resource, as the environment says; they go before our own.
    pub attributes: Vec<(String, String)>,
    /// Where people reach the aggregator's page: spans lead there.
    pub public_url: Option<String>,
}

/// Why a variable cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "{name}={value}: TLS to a collector is not supported, use http:// to a collector on this host or in \
         this network"
    )]
    Https { name: String, value: String },
    #[error("{name}={value}: expected http://host:port")]
    Endpoint { name: String, value: String },
    #[error("{name}={value}: expected grpc or http/protobuf")]
    Protocol { name: String, value: String },
    #[error("{name}={value}: expected otlp or none")]
    Exporter { name: String, value: String },
    #[error("{name}={value}: expected milliseconds, at least 1")]
    Timeout { name: String, value: String },
    #[error(
        "{SAMPLER}={0}: expected always_on, always_off, traceidratio, or one of them behind parentbased_"
    )]
    Sampler(String),
    #[error("{SAMPLER_ARG}={0}: expected a ratio between 0 and 1")]
    Ratio(String),
    #[error("{name}: expected key=value,key=value with %XX for what is no plain character, found {value:?}")]
    Pairs { name: String, value: String },
    #[error("{SLOW_BATCH}={0}: expected a time such as 500ms, 5s or 1m")]
    Slow(String),
    #[error("{PUBLIC_URL}={0}: expected http://host:port or https://host")]
    PublicUrl(String),
}

impl Otlp {
    /// Everything to one endpoint, `http://host:port`; every trace, and no attributes but our own.
    #[must_use]
    pub fn to(endpoint: &str, protocol: Protocol) -> Self {
        let endpoint = endpoint.trim_end_matches('/');
        let destination = |signal| Some(base_destination(endpoint, protocol, signal));
        Self {
            traces: destination(Signal::Traces),
            metrics: destination(Signal::Metrics),
            logs: destination(Signal::Logs),
            sampler: Sampler::default(),
            slow: SLOW,
            attributes: Vec::new(),
            public_url: None,
        }
    }

    /// Reads the process's environment. `None`: nobody asks for OTLP.
    ///
    /// # Errors
    /// [`SettingsError`] names the variable.
    pub fn from_env() -> Result<Option<Self>, SettingsError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// The pure half of [`Otlp::from_env`].
    ///
    /// # Errors
    /// As [`Otlp::from_env`].
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, SettingsError> {
        // the specification: an empty variable is an unset one
        let var = |name: &str| {
            var(name)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        if var(DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let sampler = sampler(&var)?;
        let traces = destination(Signal::Traces, &var)?.filter(|_| sampler != Sampler::Off);
        let (metrics, logs) = (
            destination(Signal::Metrics, &var)?,
            destination(Signal::Logs, &var)?,
        );
        if traces.is_none() && metrics.is_none() && logs.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            traces,
            metrics,
            logs,
            sampler,
            slow: slow(&var)?,
            attributes: attributes(&var)?,
            public_url: public_url(&var)?,
        }))
    }
}

/// Reads a variable.
type Var<'v> = &'v dyn Fn(&str) -> Option<String>;

fn destination(signal: Signal, var: Var<'_>) -> Result<Option<Destination>, SettingsError> {
    match var(&signal.exporter()).as_deref() {
        Some("none") => return Ok(None),
        Some("otlp") | None => {}
        Some(value) => {
            let (name, value) = (signal.exporter(), value.to_owned());
            return Err(SettingsError::Exporter { name, value });
        }
    }
    let own = signal.variable("ENDPOINT");
    let (name, value, whole) = match (var(&own), var(ENDPOINT)) {
        (Some(value), _) => (own, value, true),
        (None, Some(value)) => (ENDPOINT.to_owned(), value, false),
        (None, None) => return Ok(None),
    };
    let port = port(&name, &value)?;
    let protocol = match either(signal, "PROTOCOL", PROTOCOL, var) {
        Some((_, text)) if text == "grpc" => Protocol::Grpc,
        Some((_, text)) if text == "http/protobuf" => Protocol::HttpProtobuf,
        Some((name, value)) => return Err(SettingsError::Protocol { name, value }),
        None if port == Some(GRPC_PORT) => Protocol::Grpc,
        None => Protocol::HttpProtobuf,
    };
    // the exporters read the headers themselves, and leave out what they do not understand
    if let Some((name, value)) = either(signal, "HEADERS", "OTEL_EXPORTER_OTLP_HEADERS", var) {
        pairs(&value).ok_or(SettingsError::Pairs { name, value })?;
    }
    let timeout = match either(signal, "TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT", var) {
        None => REQUEST_TIMEOUT,
        Some((name, value)) => match value.parse() {
            Ok(millis @ 1..) => Duration::from_millis(millis),
            _ => return Err(SettingsError::Timeout { name, value }),
        },
    };
    let destination = if whole {
        Destination {
            url: value,
            protocol,
            timeout,
        }
    } else {
        let base = base_destination(value.trim_end_matches('/'), protocol, signal);
        Destination { timeout, ..base }
    };
    Ok(Some(destination))
}

/// A signal's own variable before that of all signals.
fn either(signal: Signal, what: &str, of_all: &str, var: Var<'_>) -> Option<(String, String)> {
    let own = signal.variable(what);
    match var(&own) {
        Some(value) => Some((own, value)),
        None => var(of_all).map(|value| (of_all.to_owned(), value)),
    }
}

fn base_destination(endpoint: &str, protocol: Protocol, signal: Signal) -> Destination {
    Destination {
        url: match protocol {
            Protocol::Grpc => endpoint.to_owned(),
            Protocol::HttpProtobuf => format!("{endpoint}/v1/{}", signal.as_str()),
        },
        protocol,
        timeout: REQUEST_TIMEOUT,
    }
}

fn sampler(var: Var<'_>) -> Result<Sampler, SettingsError> {
    let ratio = match var(SAMPLER_ARG) {
        None => 1.0,
        Some(text) => match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => return Err(SettingsError::Ratio(text)),
        },
    };
    let name = var(SAMPLER).unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    match (root, parent_based) {
        ("always_on", _) => Ok(Sampler::ratio(1.0, parent_based)),
        ("always_off", true) => Ok(Sampler::ratio(0.0, true)),
        ("always_off", false) => Ok(Sampler::Off),
        ("traceidratio", _) => Ok(Sampler::ratio(ratio, parent_based)),
        _ => Err(SettingsError::Sampler(name)),
    }
}

fn slow(var: Var<'_>) -> Result<Duration, SettingsError> {
    let Some(text) = var(SLOW_BATCH) else {
        return Ok(SLOW);
    };
    crate::config::parse_duration(&text)
        .filter(|slow| !slow.is_zero())
        .ok_or(SettingsError::Slow(text))
}

fn attributes(var: Var<'_>) -> Result<Vec<(String, String)>, SettingsError> {
    let mut attributes = match var(ATTRIBUTES) {
        None => Vec::new(),
        Some(value) => pairs(&value).ok_or_else(|| SettingsError::Pairs {
            name: ATTRIBUTES.to_owned(),
            value,
        })?,
    };
    if let Some(name) = var(SERVICE_NAME) {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), name));
    }
    Ok(attributes)
}

fn public_url(var: Var<'_>) -> Result<Option<String>, SettingsError> {
    let Some(text) = var(PUBLIC_URL) else {
        return Ok(None);
    };
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        return Err(SettingsError::PublicUrl(text));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// The port of an `http://` URL; `None` when it names none.
fn port(name: &str, endpoint: &str) -> Result<Option<u16>, SettingsError> {
    let (name, value) = (name.to_owned(), endpoint.to_owned());
    if endpoint.starts_with("https://") {
        return Err(SettingsError::Https { name, value });
    }
    let wrong = || SettingsError::Endpoint { name, value };
    let Some(rest) = endpoint.strip_prefix("http://") else {
        return Err(wrong());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // an IPv6 address has its colons in brackets
    let after_host = match authority.rfind(']') {
        Some(end) => &authority[end + 1..],
        None => &authority[authority.find(':').unwrap_or(authority.len())..],
    };
    if authority.len() == after_host.len() {
        return Err(wrong());
    }
    match after_host.strip_prefix(':') {
        Some(port) => port.parse().map(Some).map_err(|_| wrong()),
        None if after_host.is_empty() => Ok(None),
        None => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Otlp>, SettingsError> {
        Otlp::from_vars(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    /// What is read beside a good endpoint.
    fn beside(more: &[(&str, &str)]) -> Result<Otlp, SettingsError> {
        let all: Vec<_> = [(ENDPOINT, "http://a:4318")]
            .iter()
            .chain(more)
            .copied()
            .collect();
        read(&all).map(|otlp| otlp.expect("set"))
    }

    fn protocol(pairs: &[(&str, &str)]) -> Protocol {
        read(pairs)
            .expect("valid")
            .expect("set")
            .traces
            .expect("traces")
            .protocol
    }

    fn url(destination: Option<Destination>) -> String {
        destination.expect("exported").url
    }

    #[test]
    fn unset_empty_and_disabled_mean_off() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(ENDPOINT, " ")]), Ok(None));
        assert_eq!(read(&[(ENDPOINT, "http://a:4317"), (DISABLED, "TRUE")]), Ok(None));
    }

    #[test]
    fn the_port_decides_unless_the_protocol_is_named() {
        assert_eq!(protocol(&[(ENDPOINT, "http://127.0.0.1:4317")]), Protocol::Grpc);
        assert_eq!(protocol(&[(ENDPOINT, "http://[::1]:4317/")]), Protocol::Grpc);
        for endpoint in [
            "http://127.0.0.1:4318",
            "http://collector",
            "http://[::1]",
            "http://a:80/otlp",
        ] {
            assert_eq!(
                protocol(&[(ENDPOINT, endpoint)]),
                Protocol::HttpProtobuf,
                "{endpoint}"
            );
        }
        assert_eq!(
            protocol(&[(ENDPOINT, "http://a:4317"), (PROTOCOL, "http/protobuf")]),
            Protocol::HttpProtobuf
        );
        assert_eq!(
            protocol(&[(ENDPOINT, "http://a:9999"), (PROTOCOL, "grpc")]),
            Protocol::Grpc
        );
    }

    #[test]
    fn each_signal_may_go_elsewhere_or_nowhere() {
        let otlp = beside(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:9/own/path"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "700"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ]);
        let otlp = otlp.expect("valid");
        let traces = otlp.traces.expect("traces");
        assert_eq!(traces.url, "http://t:9/own/path", "as it is written");
        assert_eq!(traces.timeout, Duration::from_millis(1_500));
        let metrics = otlp.metrics.expect("metrics");
        assert_eq!(metrics.url, "http://a:4318/v1/metrics");
        assert_eq!(metrics.timeout, Duration::from_millis(700));
        assert_eq!(otlp.logs, None);

        let only = read(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:4317")]);
        let only = only.expect("valid").expect("set");
        assert_eq!((only.traces, only.logs), (None, None));
        assert_eq!(url(only.metrics), "http://m:4317");
    }

    #[test]
    fn the_sampler_is_one_of_the_specification() {
        let sampler = |pairs: &[(&str, &str)]| beside(pairs).map(|otlp| otlp.sampler);
        assert_eq!(sampler(&[]), Ok(Sampler::ratio(1.0, true)));
        for (name, expected) in [
            ("traceidratio", Sampler::ratio(0.25, false)),
            ("parentbased_traceidratio", Sampler::ratio(0.25, true)),
            ("always_on", Sampler::ratio(1.0, false)),
            ("parentbased_always_off", Sampler::ratio(0.0, true)),
        ] {
            assert_eq!(
                sampler(&[(SAMPLER, name), (SAMPLER_ARG, "0.25")]),
                Ok(expected),
                "{name}"
            );
        }
        assert_eq!(beside(&[(SAMPLER, "always_off")]).expect("valid").traces, None);
        let unknown = sampler(&[(SAMPLER, "xray")]);
        assert_eq!(unknown, Err(SettingsError::Sampler("xray".to_owned())));
        for ratio in ["1.5", "-0.1", "half", "NaN"] {
            assert_eq!(
                sampler(&[(SAMPLER, "traceidratio"), (SAMPLER_ARG, ratio)]),
                Err(SettingsError::Ratio(ratio.to_owned()))
            );
        }
    }

    #[test]
    fn resource_attributes_and_the_rest_are_read() {
        let otlp = beside(&[
            (ATTRIBUTES, "deployment.environment.name=line%201,service.name=x"),
            (SERVICE_NAME, "press hall"),
            (SLOW_BATCH, "250ms"),
            (PUBLIC_URL, "https://mesh.example/"),
        ]);
        let otlp = otlp.expect("valid");
        let told: Vec<_> = otlp
            .attributes
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("deployment.environment.name", "line 1"),
                ("service.name", "press hall")
            ]
        );
        assert_eq!(otlp.slow, Duration::from_millis(250));
        assert_eq!(otlp.public_url.as_deref(), Some("https://mesh.example"));
    }

    #[test]
    fn what_cannot_work_is_named() {
        assert!(matches!(
            read(&[(ENDPOINT, "https://a:4317")]),
            Err(SettingsError::Https { .. })
        ));
        for endpoint in [
            "collector:4317",
            "http://",
            "http://:4317",
            "http://a:port",
            "http://[::1]x",
        ] {
            assert!(
                matches!(read(&[(ENDPOINT, endpoint)]), Err(SettingsError::Endpoint { .. })),
                "{endpoint}"
            );
        }
        for (name, value) in [
            (PROTOCOL, "http/json"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "thrift"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no pair"),
            (ATTRIBUTES, "a=%zz"),
            (SLOW_BATCH, "never"),
            (SLOW_BATCH, "0s"),
            (PUBLIC_URL, "mesh.example"),
        ] {
            let error = beside(&[(name, value)]).expect_err(name).to_string();
            assert!(error.starts_with(name) && error.contains("expected"), "{error}");
        }
    }
}
