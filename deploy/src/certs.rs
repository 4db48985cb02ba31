//! `tributary cert` and `tributary agent-bundle`: identities for processes on other hosts.

use std::path::Path;

use anyhow::Context as _;
use tributary_shared::identity::{Authority, DEFAULT_LEAF_VALIDITY, TlsPaths, Validity};
use tributary_shared::ready::write_atomically;
use tributary_shared::time::now_millis;

use crate::cli::{AgentBundleArgs, CertCommand};
use crate::out;
use crate::role::Role;
use crate::up::configs::AgentSettings;
use crate::up::{authority_of, identity};

/// # Errors
/// When the CA or the certificate cannot be made or written.
pub fn run(command: &CertCommand) -> anyhow::Result<()> {
    match command {
        CertCommand::Ca { dir } => {
            Authority::create(dir, now_millis())?;
            out::line(format!(
                "made ca.pem and ca.key in {}: keep ca.key secret",
                dir.display()
            ))?;
        }
        CertCommand::Issue {
            dir,
            role,
            id,
            out: to,
        } => {
            issue(dir, *role, id.as_str(), to)?;
            out::line(format!(
                "issued a certificate of {role} {id} in {}: keep key.pem secret",
                to.display()
            ))?;
        }
    }
    Ok(())
}

fn issue(authority: &Path, role: Role, id: &str, to: &Path) -> anyhow::Result<TlsPaths> {
    let authority = identity::open_authority(authority)?;
    let bundle = authority.issue(role, id, Validity::from_now(now_millis(), DEFAULT_LEAF_VALIDITY))?;
    Ok(bundle.write(to)?)
}

/// Writes a directory with all that an agent on another host needs. Its paths are relative, so that it can lie
/// anywhere there.
///
/// # Errors
/// When there is no CA, or the directory cannot be written.
pub fn agent_bundle(args: &AgentBundleArgs) -> anyhow::Result<()> {
    issue(&authority_of(&args.dir), Role::Agent, args.id.as_str(), &args.out)?;
    let settings = AgentSettings {
        id: args.id.as_str(),
        dir: "data".into(),
        gateways: &args.gateway,
        ready_file: None,
        tls: TlsPaths {
            ca: "ca.pem".into(),
            cert: "cert.pem".into(),
            key: "key.pem".into(),
        },
        intake: "127.0.0.1:8603".to_owned(),
        host_metrics: true,
        tails: &[],
    };
    let text = format!(
        "# An agent's configuration. Run in this directory: edge-agent --config agent.toml\n\n{}",
        settings.render()
    );
    let path = args.out.join("agent.toml");
    write_atomically(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    out::line(format!(
        "{} is ready: copy it to the other host and run there, in that directory: edge-agent --config agent.toml",
        args.out.display()
    ))?;
    Ok(())
}
