//! Which role a configuration is for, and whether it is right.

use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use tributary_shared::config::{self, ConfigError, Problem};
pub use tributary_shared::identity::Role;

/// Every role, in the order in which a mesh starts.
pub const ALL: [Role; 3] = [Role::Aggregator, Role::Gateway, Role::Agent];

/// Reads a role from the command line.
#[must_use]
pub fn parser() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(ALL.map(Role::as_str)).map(|name| {
        ALL.into_iter()
            .find(|role| role.as_str() == name)
            .expect("only the names of roles are possible values")
    })
}

/// Keys that only this role's configuration has.
fn telling_keys(role: Role) -> &'static [&'static str] {
    match role {
        Role::Agent => &["gateways", "spool", "intake", "files", "host_metrics", "streams"],
        Role::Gateway => &["aggregator"],
        Role::Aggregator => &["registry", "require_schema", "log"],
    }
}

/// Finds out which role a configuration is for, by the keys that only one role has. `None` when there are
/// none, or when they point to several roles.
#[must_use]
pub fn of_config(table: &toml::Table) -> Option<Role> {
    let mut fitting = ALL
        .into_iter()
        .filter(|role| telling_keys(*role).iter().any(|key| table.contains_key(*key)));
    match (fitting.next(), fitting.next()) {
        (Some(role), None) => Some(role),
        _ => None,
    }
}

/// [`of_config`] of a file.
///
/// # Errors
/// [`ConfigError`] when the file cannot be read, is not TOML, or does not show its role.
pub fn of_file(path: &Path) -> Result<Role, ConfigError> {
    let problem = |key: &str, message: String, hint: &str| ConfigError {
        source_name: path.display().to_string(),
        problems: vec![Problem {
            key: key.to_owned(),
            value: None,
            message,
            hint: Some(hint.to_owned()),
        }],
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        problem(
            "(file)",
            format!("cannot be read: {error}"),
            "check the path given with --config",
        )
    })?;
    let table = text.parse::<toml::Table>().map_err(|error| {
        problem(
            "(syntax)",
            error.to_string().trim_end().to_owned(),
            "it must be a TOML file",
        )
    })?;
    of_config(&table).ok_or_else(|| {
        let message = "the keys do not show which role this is for".to_owned();
        problem(
            "(role)",
            message,
            "say --role agent, --role gateway or --role aggregator",
        )
    })
}

/// Reads and checks a configuration file of a role.
///
/// # Errors
/// [`ConfigError`] with every problem of the file.
pub fn check(role: Role, path: &Path) -> Result<(), ConfigError> {
    match role {
        Role::Agent => config::load(path, edge_agent::config::AgentConfig::from_section).map(drop),
        Role::Gateway => config::load(path, gateway::config::GatewayConfig::from_section).map(drop),
        Role::Aggregator => config::load(path, aggregator::config::AggregatorConfig::from_section).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_found_by_the_keys_that_only_it_has() {
        let role = |text: &str| of_config(&text.parse().expect("toml"));
        assert_eq!(role("id = 'a'\ngateways = ['h:1']"), Some(Role::Agent));
        assert_eq!(role("listen = 'h:1'\naggregator = 'h:2'"), Some(Role::Gateway));
        assert_eq!(role("dir = 'd'\nregistry = 'h:2'"), Some(Role::Aggregator));
        assert_eq!(role("dir = 'd'\nlisten = 'h:2'"), None, "fits two");
        assert_eq!(role("gateways = []\naggregator = 'h:2'"), None, "fits two");
    }

    #[test]
    fn the_example_configurations_are_valid_and_show_their_role() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for role in ALL {
            let path = examples.join(format!("{role}.toml"));
            assert_eq!(of_file(&path).expect("shows its role"), role);
            check(role, &path).expect("valid");
        }
    }

    #[test]
    fn a_file_that_is_missing_broken_or_unclear_is_a_configuration_problem() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.toml");
        let problem = || of_file(&path).expect_err("no role").problems.remove(0).key;
        assert_eq!(problem(), "(file)");
        std::fs::write(&path, "id = ").expect("write");
        assert_eq!(problem(), "(syntax)");
        std::fs::write(&path, "dir = 'd'").expect("write");
        assert_eq!(problem(), "(role)");
    }
}
