//! The views that a new aggregator begins with, over the stream `host` of the agents' own metrics.

/// A view's name and SQL.
pub type DefaultView = (&'static str, &'static str);

/// Agents measure every 10 s: windows of 30 s hold a few points each and fill a chart soon.
pub const HOST_CPU: DefaultView = (
    "host_cpu",
    "SELECT window_start, window_end, host,
       avg(cpu_percent) AS cpu_avg, max(cpu_percent) AS cpu_max,
       avg(load1) AS load1_avg, count(*) AS samples
FROM TUMBLE(host, ts, INTERVAL '30 seconds')
GROUP BY window_start, window_end, host",
);

pub const HOST_MEMORY: DefaultView = (
    "host_memory",
    "SELECT window_start, window_end, host,
       avg(memory_percent) AS memory_avg, max(memory_used_bytes) AS memory_used_max,
       max(disk_percent) AS disk_percent_max,
       avg(net_rx_bytes_per_s) AS net_rx_avg, avg(net_tx_bytes_per_s) AS net_tx_avg
FROM TUMBLE(host, ts, INTERVAL '30 seconds')
GROUP BY window_start, window_end, host",
);

pub const DEFAULT_VIEWS: [DefaultView; 2] = [HOST_CPU, HOST_MEMORY];

#[cfg(test)]
mod tests {
    use super::super::{ViewPlan, WindowKind};
    use super::*;

    #[test]
    fn the_default_views_compile() {
        for (name, sql) in DEFAULT_VIEWS {
            let plan = ViewPlan::compile(name, sql).expect(name);
            assert_eq!(plan.stream().as_str(), "host");
            assert_eq!(
                *plan.window(),
                WindowKind::Tumble {
                    size: 30_000,
                    zone: None
                }
            );
        }
    }
}
