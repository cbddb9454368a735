//! What servers say of themselves in Prometheus' text format, and what the API server was asked.

use std::collections::BTreeMap;

/// Requests that the API server has answered, refused ones included, by `VERB resource/subresource`.
/// A watch counts when it ends.
pub(crate) type Requests = BTreeMap<String, f64>;

/// The series of one name: labels and value.
pub(crate) fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (BTreeMap<&'a str, &'a str>, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((pairs(labels), value.split(' ').next()?.parse().ok()?))
    })
}

/// `a="1",b="2"`. No label that is read here has a quote in its value.
fn pairs(labels: &str) -> BTreeMap<&str, &str> {
    let mut parts = labels.split('"');
    let mut found = BTreeMap::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        found.insert(name.trim_start_matches(',').trim_end_matches('='), value);
    }
    found
}

/// The sum of all series of one name.
pub(crate) fn sum(text: &str, name: &str) -> f64 {
    series(text, name).map(|(_, value)| value).sum()
}

/// The requests in the API server's metrics.
pub(crate) fn requests(metrics: &str) -> Requests {
    let mut requests = Requests::new();
    for (labels, value) in series(metrics, "apiserver_request_total") {
        let label = |name| labels.get(name).copied().unwrap_or_default();
        let (verb, resource, subresource) = (label("verb"), label("resource"), label("subresource"));
        // Probes and metrics themselves have no resource.
        if !resource.is_empty() {
            let slash = if subresource.is_empty() { "" } else { "/" };
            *requests.entry(format!("{verb} {resource}{slash}{subresource}")).or_default() += value;
        }
    }
    requests
}

/// What was asked between two looks.
pub(crate) fn since(before: &Requests, after: &Requests) -> Requests {
    let earlier = |what: &String| before.get(what).copied().unwrap_or(0.0);
    let more = after.iter().map(|(what, count)| (what.clone(), count - earlier(what)));
    more.filter(|(_, count)| *count > 0.0).collect()
}

/// How many of the requests begin with one of these, e.g. `GET ` or `PATCH scaledconsumers/status`.
pub(crate) fn count(requests: &Requests, starts: &[&str]) -> f64 {
    let counted = requests.iter().filter(|(what, _)| starts.iter().any(|start| what.starts_with(start)));
    counted.map(|(_, count)| count).sum()
}
