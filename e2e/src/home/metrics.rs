//! The controller's metrics, read from Prometheus' text format.

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Vec<Sample>);

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    /// `key="value"`; no label of ours has a comma or a quote in its value.
    labels: Vec<String>,
    value: f64,
}

impl Metrics {
    /// Reads a scrape; lines that are no samples are left out.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// The sum of all samples of a name that have these labels; nothing if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let fits = |sample: &&Sample| {
            sample.name == name && labels.iter().all(|label| sample.labels.contains(label))
        };
        let mut found = self.0.iter().filter(fits).map(|sample| sample.value).peekable();
        found.peek()?;
        Some(found.sum())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').map(str::to_owned).collect();
    (!name.starts_with('#')).then(|| Sample { name: name.to_owned(), labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_the_labels_that_were_not_asked_for() {
        let metrics = Metrics::parse(
            "# HELP cim_drift_items Differences.\n# TYPE cim_drift_items gauge\n\
             cim_drift_items{class=\"changed\",kind=\"Domain\",name=\"a\"} 2\n\
             cim_drift_items{class=\"missing\",kind=\"Domain\",name=\"a\"} 1\n\
             cim_drift_items{class=\"missing\",kind=\"Machine\",name=\"b\"} 4\n\
             process_resident_memory_bytes 1.5e7\n",
        );
        assert_eq!(metrics.sum("cim_drift_items", &[("kind", "Domain")]), Some(3.0));
        assert_eq!(metrics.sum("cim_drift_items", &[("class", "missing")]), Some(5.0));
        assert_eq!(metrics.sum("cim_drift_items", &[("kind", "Cluster")]), None);
        assert_eq!(metrics.sum("process_resident_memory_bytes", &[]), Some(1.5e7));
    }
}
