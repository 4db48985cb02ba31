//! What the environment says about OTLP, after the OpenTelemetry specification.

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const GRPC_PORT: u16 = 4317;

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Where telemetry goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// `http://host:port`, with a path perhaps, and no `/` at the end.
    pub endpoint: String,
    pub protocol: Protocol,
}

/// Why a variable cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "{ENDPOINT}={0}: TLS to a collector is not supported, use http:// to a collector on this host or in \
         this network"
    )]
    Https(String),
    #[error("{ENDPOINT}={0}: expected http://host:port")]
    Endpoint(String),
    #[error("{PROTOCOL}={0}: expected grpc or http/protobuf")]
    Protocol(String),
}

impl Otlp {
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
        let var = |name| {
            var(name)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        let Some(endpoint) = var(ENDPOINT) else {
            return Ok(None);
        };
        if var(DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let port = port(&endpoint)?;
        let protocol = match var(PROTOCOL).as_deref() {
            Some("grpc") => Protocol::Grpc,
            Some("http/protobuf") => Protocol::HttpProtobuf,
            Some(other) => return Err(SettingsError::Protocol(other.to_owned())),
            None if port == Some(GRPC_PORT) => Protocol::Grpc,
            None => Protocol::HttpProtobuf,
        };
        Ok(Some(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            protocol,
        }))
    }
}

/// The port of an `http://` URL; `None` when it names none.
fn port(endpoint: &str) -> Result<Option<u16>, SettingsError> {
    if endpoint.starts_with("https://") {
        return Err(SettingsError::Https(endpoint.to_owned()));
    }
    let wrong = || SettingsError::Endpoint(endpoint.to_owned());
    let rest = endpoint.strip_prefix("http://").ok_or_else(wrong)?;
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

    fn protocol(pairs: &[(&str, &str)]) -> Protocol {
        read(pairs).expect("valid").expect("set").protocol
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
    fn what_cannot_work_is_named() {
        assert!(matches!(
            read(&[(ENDPOINT, "https://a:4317")]),
            Err(SettingsError::Https(_))
        ));
        for endpoint in [
            "collector:4317",
            "http://",
            "http://:4317",
            "http://a:port",
            "http://[::1]x",
        ] {
            assert!(
                matches!(read(&[(ENDPOINT, endpoint)]), Err(SettingsError::Endpoint(_))),
                "{endpoint}"
            );
        }
        let json = read(&[(ENDPOINT, "http://a:4318"), (PROTOCOL, "http/json")]);
        assert_eq!(json, Err(SettingsError::Protocol("http/json".to_owned())));
    }
}
