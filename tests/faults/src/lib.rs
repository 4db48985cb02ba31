//! The faults that tests have injected, by kind: told at once, and summed up at the end of a run.
//!
//! A test that injected none proved nothing, so that a count of zero is a failure of the test.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

/// What the faults were injected into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Real processes, their files and their network.
    Processes,
    /// A store or an input within the test's own process: real files, disks that fail.
    Stores,
    /// The simulation of a whole mesh.
    Simulation,
}

impl Layer {
    fn word(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Stores => "stores",
            Self::Simulation => "simulation",
        }
    }
}

/// Notes how many faults of each kind a test has injected: on standard error, past the framework's capture, and as
/// lines `layer, kind, times, test` of `tmp/faults.tsv` in Cargo's target directory, which all tests of a run share.
///
/// # Panics
/// When a kind did not happen, or the file cannot be written.
pub fn injected<K: AsRef<str>>(layer: Layer, test: &str, kinds: impl IntoIterator<Item = (K, u64)>) {
    let (lines, said) = told(layer, test, kinds);
    // nowhere is left to report a closed standard error
    let _ = writeln!(std::io::stderr().lock(), "{said}");
    let path = file();
    let appended = std::fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| {
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        // one write: tests of several processes do not mix theirs
        file.write_all(lines.as_bytes())
    });
    appended.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// For the file, and for a person.
fn told<K: AsRef<str>>(
    layer: Layer,
    test: &str,
    kinds: impl IntoIterator<Item = (K, u64)>,
) -> (String, String) {
    let (mut lines, mut said) = (String::new(), Vec::new());
    for (kind, times) in kinds {
        let kind = kind.as_ref();
        assert!(times > 0, "{test} injected no fault of the kind {kind:?}");
        lines += &format!("{}\t{kind}\t{times}\t{test}\n", layer.word());
        said.push(format!("{times} x {kind}"));
    }
    assert!(!said.is_empty(), "{test} injected no fault");
    (lines, format!("{test}: {}", said.join(", ")))
}

/// Cargo puts a test program into `TARGET/PROFILE/deps`.
fn file() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a file");
    let target = program.ancestors().nth(3).unwrap_or(&program);
    target.join("tmp").join("faults.tsv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_a_line_of_the_file_that_all_tests_share() {
        let (lines, said) = told(Layer::Stores, "t", [("torn", 3), ("cut", 1)]);
        assert_eq!(lines, "stores\ttorn\t3\tt\nstores\tcut\t1\tt\n");
        assert_eq!(said, "t: 3 x torn, 1 x cut");
        let profile = std::env::current_exe().expect("a program");
        let profile = profile.ancestors().nth(2).expect("TARGET/PROFILE/deps");
        assert_eq!(file(), profile.with_file_name("tmp").join("faults.tsv"));
    }

    #[test]
    fn a_kind_that_did_not_happen_fails_its_test() {
        let none = || told(Layer::Stores, "t", [("never", 0)]);
        assert!(std::panic::catch_unwind(none).is_err());
        let nothing: [(&str, u64); 0] = [];
        assert!(std::panic::catch_unwind(|| told(Layer::Stores, "t", nothing)).is_err());
    }
}
