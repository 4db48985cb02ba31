//! `tributary-audit-verify`: checks a proof, a receipt or a whole exported audit by what the verifier keeps: a public
//! key, and heads. Needs nothing of a mesh.
//!
//! Exit codes: 0 all is right, 1 something is wrong, 2 wrong usage or a file that cannot be read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::ExitCode;

use tributary_audit::{
    AuditError, ConsistencyProof, Export, InclusionProof, PublicKey, Receipt, SignedHead, time_text,
};

const USAGE: &str = "\
Usage: tributary-audit-verify [--key FILE]... [--head FILE]... FILE

FILE is a proof or a receipt (JSON, from the API or `tributary audit prove`), or a whole audit
(`tributary audit export`).
  --key FILE    a public key that is trusted (audit.pub); needed for proofs
  --head FILE   a head that you have kept; of a proof: the one to check by; of an export: it must fit

Exit codes: 0 all is right, 1 something is wrong, 2 wrong usage or a file that cannot be read";

/// Proofs and receipts are small; an export is read line by line.
const MAX_PROOF: u64 = 16 << 20;

enum Failed {
    Usage(String),
    Wrong(AuditError),
}

impl From<AuditError> for Failed {
    fn from(error: AuditError) -> Self {
        Self::Wrong(error)
    }
}

#[derive(Default)]
struct Given {
    keys: Vec<PublicKey>,
    heads: Vec<SignedHead>,
    file: Option<String>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut out = std::io::stdout().lock();
    let mut err = std::io::stderr().lock();
    // who reads this has gone: nothing is left to say
    let (code, _) = match given(&args).and_then(|given| check(&given)) {
        Ok((lines, true)) => (0, writeln!(out, "{lines}")),
        Ok((lines, false)) => (1, writeln!(out, "{lines}")),
        Err(Failed::Wrong(error)) => (1, writeln!(out, "WRONG: {error}")),
        Err(Failed::Usage(what)) => (2, writeln!(err, "error: {what}\n\n{USAGE}")),
    };
    ExitCode::from(code)
}

fn read(path: &str) -> Result<String, Failed> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_PROOF).read_to_string(&mut text));
    read.map_err(|error| Failed::Usage(format!("{path}: {error}")))?;
    Ok(text)
}

fn given(args: &[String]) -> Result<Given, Failed> {
    let mut given = Given::default();
    let mut args = args.iter();
    let unreadable = |path: &str, error: AuditError| Failed::Usage(format!("{path}: {error}"));
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| Failed::Usage(format!("{arg} needs a file")))
        };
        match arg.as_str() {
            "--key" => {
                let path = value()?;
                given
                    .keys
                    .push(PublicKey::parse(&read(path)?).map_err(|error| unreadable(path, error))?);
            }
            "--head" => {
                let path = value()?;
                given
                    .heads
                    .push(SignedHead::parse(&read(path)?).map_err(|error| unreadable(path, error))?);
            }
            flag if flag.starts_with('-') => return Err(Failed::Usage(format!("there is no {flag}"))),
            file if given.file.is_none() => given.file = Some(file.to_owned()),
            other => {
                return Err(Failed::Usage(format!(
                    "one file at a time: {other} is one too many"
                )));
            }
        }
    }
    Ok(given)
}

/// What to say, and whether all is right.
fn check(given: &Given) -> Result<(String, bool), Failed> {
    let Some(path) = &given.file else {
        return Err(Failed::Usage("no file was named".to_owned()));
    };
    let file = File::open(path).map_err(|error| Failed::Usage(format!("{path}: {error}")))?;
    let mut lines = BufReader::new(file).lines();
    let unreadable = |error: std::io::Error| Failed::Usage(format!("{path}: {error}"));
    let first = lines.next().transpose().map_err(unreadable)?.unwrap_or_default();
    if !first.contains("\"tributary_audit\"") {
        return proof(given, &read(path)?);
    }
    let mut export = Export::new(given.keys.clone(), given.heads.clone());
    export.line(&first)?;
    for line in lines {
        export.line(&line.map_err(unreadable)?)?;
    }
    let (outcome, key) = export.finish()?;
    let mut said = outcome.to_string();
    if given.keys.is_empty() {
        said.push_str(&format!(
            "\nNo key was given: the file was checked by the key {} that it names itself, which anybody could have put \
             there. Give the key that you know with --key.",
            key.id()
        ));
    }
    Ok((said, outcome.is_sound()))
}

fn proof(given: &Given, text: &str) -> Result<(String, bool), Failed> {
    if given.keys.is_empty() {
        return Err(Failed::Usage(
            "a proof is checked by a key that you trust: give it with --key".to_owned(),
        ));
    }
    let keys = given.keys.as_slice();
    let head = given.heads.first();
    let said = if let Ok(receipt) = serde_json::from_str::<Receipt>(text) {
        let (at, head) = receipt.verify(head, keys)?;
        let event = &receipt.event;
        let content = match receipt.entry {
            Some(_) => "and the log entry is the one that was committed then",
            None => "the entry itself is no longer in the receipt",
        };
        let lane = match receipt.lane_opened {
            Some(_) => "",
            None => " (that lane is older than the audit: its name is not proved)",
        };
        format!(
            "event {}/{}/{}/{} was received at {}, as the head of {} leaves proves; {content}{lane}",
            event.agent,
            event.stream,
            event.epoch,
            event.seq,
            time_text(at),
            head.head.size
        )
    } else if let Ok(proof) = serde_json::from_str::<InclusionProof>(text) {
        let (leaf, head) = proof.verify(head, keys)?;
        format!(
            "leaf {} ({}, {}) is in the tree of {} leaves",
            leaf.index,
            leaf.kind().name(),
            time_text(leaf.at),
            head.head.size
        )
    } else if let Ok(proof) = serde_json::from_str::<ConsistencyProof>(text) {
        let of = |size| given.heads.iter().find(|head| head.head.size == size);
        let kept = of(proof.from_size).or(head.filter(|_| given.heads.len() == 1));
        let (from, to) = proof.verify(kept, of(proof.to_size), keys)?;
        format!(
            "the tree of {} leaves continues the one of {}",
            to.head.size, from.head.size
        )
    } else {
        return Err(AuditError::Malformed("this is no proof, receipt or exported audit".to_owned()).into());
    };
    Ok((format!("RIGHT: {said}"), true))
}
