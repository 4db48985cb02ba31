//! What the operating system knows about a process, and about a directory. Linux only, as the bench is.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS: i64 = 0x0102_1994;

/// User and system CPU seconds that a process has used so far, all its threads together.
///
/// # Errors
/// When the process has gone.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} is not as proc(5) says"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 and 15 of `/proc/PID/stat`; the second field may itself have spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory now, in bytes.
///
/// # Errors
/// When the process has gone.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmRSS:")
}

/// The most resident memory that the process ever had, in bytes.
///
/// # Errors
/// When the process has gone.
pub fn peak_resident(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, field: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    status_field(&text, field).with_context(|| format!("{path} has no {field}"))
}

fn status_field(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Bytes of all files below a directory. Files that vanish meanwhile count as gone.
///
/// # Errors
/// Those of the file system.
pub fn dir_size(dir: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size += dir_size(&entry.path())?,
            Ok(metadata) => size += metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(size)
}

/// Is this directory in memory only? A directory that cannot be asked is told about when it is used.
#[must_use]
pub fn in_memory(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|stat| stat.f_type == TMPFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_kernel_s_texts() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("nonsense"), None);
        let status = "Name:\ttributary\nVmHWM:\t   12344 kB\nVmRSS:\t  9000 kB\n";
        assert_eq!(status_field(status, "VmHWM:"), Some(12344 << 10));
        assert_eq!(status_field(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_memory_and_cpu_time() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).expect("stat") < 3600.0);
        let (now, peak) = (
            resident(pid).expect("status"),
            peak_resident(pid).expect("status"),
        );
        assert!(now > 1 << 20 && peak >= now / 2, "{now} {peak}");
    }

    #[test]
    fn a_directory_s_size_is_that_of_all_files_below_it() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("below")).expect("dir");
        fs::write(dir.path().join("a"), [0; 10]).expect("write");
        fs::write(dir.path().join("below").join("b"), [0; 5]).expect("write");
        assert_eq!(dir_size(dir.path()).expect("size"), 15);
    }
}
