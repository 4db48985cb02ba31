//! Reads the host. Blocks for some milliseconds: a disk that hangs must not hang the agent with it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use sysinfo::{Disks, Networks, System};
use tributary_shared::time::now_millis;

use super::reading::{Load, Reading};

/// The system could not be asked at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host's metrics cannot be read: {0}")]
pub struct ProbeError(String);

impl From<sysinfo::Error> for ProbeError {
    fn from(error: sysinfo::Error) -> Self {
        Self(error.to_string())
    }
}

/// Keeps what the next reading is compared with.
#[derive(Debug)]
pub(super) struct Probe {
    system: System,
    disks: Disks,
    networks: Networks,
}

impl Probe {
    pub(super) fn new() -> Result<Self, ProbeError> {
        Ok(Self {
            system: System::new()?,
            disks: Disks::new()?,
            networks: Networks::new()?,
        })
    }

    /// The CPU share is that since the reading before, and means nothing in the first.
    pub(super) fn read(&mut self) -> Reading {
        self.system.refresh_memory();
        self.system.refresh_cpu_usage();
        self.disks.refresh(true);
        self.networks.refresh(true);
        let (disk_total, disk_used) = self.disk_space();
        let outside = || {
            self.networks
                .iter()
                .filter(|(name, _)| !is_loopback(&name.to_string_lossy()))
                .map(|(_, data)| data)
        };
        Reading {
            at: now_millis(),
            host: System::host_name().unwrap_or_default(),
            cpu_percent: f64::from(self.system.global_cpu_usage()),
            cpu_count: self.system.cpus().len() as u64,
            load: System::load_average().ok().map(|load| Load {
                one: load.one,
                five: load.five,
                fifteen: load.fifteen,
            }),
            memory_total: self.system.total_memory(),
            memory_used: self.system.used_memory(),
            swap_total: self.system.total_swap(),
            swap_used: self.system.used_swap(),
            disk_total,
            disk_used,
            net_received: outside().map(sysinfo::NetworkData::total_received).sum(),
            net_sent: outside().map(sysinfo::NetworkData::total_transmitted).sum(),
            uptime: Duration::from_secs(System::uptime().unwrap_or_default()),
            processes: count_processes(),
        }
    }

    /// Total and used bytes. A device that is mounted in several places counts once, and so do the overlays
    /// of containers, which lie on a disk that is counted already (but for the one that a container sees as
    /// its root).
    fn disk_space(&self) -> (u64, u64) {
        let mut counted = BTreeSet::new();
        let mut sum = (0, 0);
        for disk in self.disks.iter() {
            let overlay = disk.file_system() == "overlay" && disk.mount_point() != Path::new("/");
            if !overlay && counted.insert(disk.name()) {
                sum.0 += disk.total_space();
                sum.1 += disk.total_space().saturating_sub(disk.available_space());
            }
        }
        sum
    }
}

fn is_loopback(interface: &str) -> bool {
    interface == "lo"
        || interface
            .strip_prefix("lo")
            .is_some_and(|n| n.parse::<u8>().is_ok())
}

/// Linux has a directory for each process; to ask for more than their number would cost more than all else.
fn count_processes() -> Option<u64> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let is_process = |name: &std::ffi::OsStr| {
        name.to_str()
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    let count = entries
        .flatten()
        .filter(|entry| is_process(&entry.file_name()))
        .count() as u64;
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_of_this_host_makes_sense() {
        let mut probe = Probe::new().expect("readable");
        let reading = probe.read();
        assert!(reading.cpu_count >= 1);
        assert!(reading.memory_used > 0 && reading.memory_used <= reading.memory_total);
        assert!(reading.disk_used <= reading.disk_total);
        assert!(reading.uptime > Duration::ZERO);
    }

    #[test]
    fn loopback_is_told_from_others() {
        assert!(is_loopback("lo") && is_loopback("lo0"));
        assert!(!is_loopback("eth0") && !is_loopback("lora1"));
    }
}
