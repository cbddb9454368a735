//! The text of a scrape, read by name and labels; and what `promtool` says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// One line of numbers.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// A whole scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) text: String,
    pub(super) samples: Vec<Sample>,
    /// The metrics by their names, with their types.
    pub(super) types: BTreeMap<String, String>,
}

impl Scrape {
    pub(super) fn of(text: String) -> Self {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let types = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        Self { text, samples, types }
    }

    /// The values of a metric's series that have these labels, given as `name=orders,partition=0`.
    pub(super) fn values(&self, name: &str, labels: &str) -> Vec<f64> {
        let wanted: Vec<_> = labels.split(',').filter_map(|label| label.split_once('=')).collect();
        let fits = |sample: &&Sample| {
            let has = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|has| has == value);
            sample.name == name && wanted.iter().all(has)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).collect()
    }

    /// The value of the one such series; nothing where there is none.
    #[track_caller]
    pub(super) fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let values = self.values(name, labels);
        assert!(values.len() <= 1, "{name}{{{labels}}} is not one series: {values:?}");
        values.first().copied()
    }

    /// The names of the labels that a metric's series have.
    pub(super) fn labels(&self, name: &str) -> BTreeSet<String> {
        let samples = self.samples.iter().filter(|sample| self.metric_of(&sample.name) == name);
        let labels = samples.flat_map(|sample| sample.labels.keys()).filter(|label| *label != "le");
        labels.cloned().collect()
    }

    /// The metric that a sample belongs to: those of a histogram have endings.
    fn metric_of<'a>(&self, sample: &'a str) -> &'a str {
        let endings = ["_bucket", "_sum", "_count"];
        let base = endings.iter().find_map(|ending| sample.strip_suffix(ending));
        base.filter(|base| self.types.get(*base).is_some_and(|kind| kind == "histogram")).unwrap_or(sample)
    }

    /// Fails the test with what `promtool check metrics` has to say, if it has.
    #[track_caller]
    pub(super) fn assert_promtool_is_content(&self) {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is installed; tests/run does it");
        promtool.stdin.take().unwrap().write_all(self.text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    let mut pairs = BTreeMap::new();
    while let Some((label, rest)) = labels.split_once("=\"") {
        let end = (0..rest.len()).find(|at| rest[*at..].starts_with('"') && !rest[..*at].ends_with('\\'));
        let end = end.unwrap_or_else(|| panic!("{line}"));
        assert!(pairs.insert(label.to_owned(), rest[..end].to_owned()).is_none(), "{label} is twice in {line}");
        labels = rest[end + 1..].trim_start_matches(',');
    }
    Sample { name: name.to_owned(), labels: pairs, value: value.parse().unwrap_or_else(|_| panic!("{line}")) }
}
