//! Reads values out of a process's `/metrics` text. Pure.

/// The sum over all series of a metric (its full name, `_total` included) that have every one of these labels.
/// 0 when there is none: a counter that never counted is not shown.
#[must_use]
pub fn sum(text: &str, metric: &str, labels: &[(&str, &str)]) -> f64 {
    text.lines().filter_map(|line| value(line, metric, labels)).sum()
}

fn value(line: &str, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(metric)?;
    let (shown, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let has = |(key, value): &(&str, &str)| shown.contains(&format!("{key}=\"{value}\""));
    labels
        .iter()
        .all(has)
        .then(|| value.split(' ').next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE t_events counter\nt_events_total{verdict=\"valid\",stream=\"a b} c\"} 3\n\
        t_events_total{verdict=\"valid\",stream=\"b\"} 4\nt_events_total{verdict=\"dead\"} 5\nt_gauge 1.5\n# EOF\n";

    #[test]
    fn series_are_summed_by_their_labels() {
        assert_eq!(sum(TEXT, "t_events_total", &[("verdict", "valid")]), 7.0);
        assert_eq!(
            sum(TEXT, "t_events_total", &[("verdict", "valid"), ("stream", "b")]),
            4.0
        );
        assert_eq!(sum(TEXT, "t_events_total", &[]), 12.0);
        assert_eq!(sum(TEXT, "t_gauge", &[]), 1.5);
        assert_eq!(sum(TEXT, "t_events", &[]), 0.0, "a name is not a prefix");
    }
}
