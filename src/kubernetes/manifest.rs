//! ScaledConsumers in YAML files: what `recommend -f` and `run --from` read. It knows text, not where it came from,
//! and never lets one bad document spoil the others.

use serde::Deserialize;

use super::resource::ScaledConsumer;

/// A document that should be a ScaledConsumer and is not.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// It is not YAML; nothing behind it can be read either.
    #[error("not YAML: {0}")]
    NotYaml(serde_yaml::Error),
    /// It is of our group, but of a version or kind that is not known.
    #[error("{api_version} {kind} is not known here; write apiVersion: paceline.dev/v1alpha1 and kind: ScaledConsumer")]
    UnknownKind {
        /// The document's apiVersion.
        api_version: String,
        /// The document's kind.
        kind: String,
    },
    /// A field is missing or of the wrong type. The text names field and line.
    #[error("{0}")]
    WrongField(serde_yaml::Error),
    /// Fields that a ScaledConsumer does not have.
    #[error("unknown field {}", .0.join(", "))]
    UnknownFields(Vec<String>),
}

/// The ScaledConsumers among the documents of `text`. Documents of other kinds are passed over, so that a file may hold
/// the workload too.
pub fn read(text: &str) -> Vec<Result<ScaledConsumer, BadManifest>> {
    let documents = serde_yaml::Deserializer::from_str(text).zip(serde_yaml::Deserializer::from_str(text));
    let mut objects = Vec::new();
    for (header, body) in documents {
        let object = one(header, body).transpose();
        // The parser would repeat a scanner's error for ever.
        let is_end = matches!(object, Some(Err(BadManifest::NotYaml(_))));
        objects.extend(object);
        if is_end {
            break;
        }
    }
    objects
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    api_version: String,
    kind: String,
}

fn one(
    header: serde_yaml::Deserializer<'_>,
    body: serde_yaml::Deserializer<'_>,
) -> Result<Option<ScaledConsumer>, BadManifest> {
    let Header { api_version, kind } =
        Option::<Header>::deserialize(header).map_err(BadManifest::NotYaml)?.unwrap_or_default();
    if !api_version.starts_with("paceline.dev/") {
        return Ok(None);
    }
    if api_version != "paceline.dev/v1alpha1" || kind != "ScaledConsumer" {
        return Err(BadManifest::UnknownKind { api_version, kind });
    }
    let mut unknown = Vec::new();
    // The header was checked above. Unknown fields of metadata are Kubernetes' own affair; the status is never read.
    let object = serde_ignored::deserialize(body, |path| unknown.push(path.to_string().replace(".?", "")))
        .map_err(BadManifest::WrongField)?;
    unknown.retain(|path| {
        path.starts_with("spec.") || !path.contains('.') && !matches!(path.as_str(), "apiVersion" | "kind")
    });
    if unknown.is_empty() { Ok(Some(object)) } else { Err(BadManifest::UnknownFields(unknown)) }
}
