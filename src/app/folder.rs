//! ScaledConsumers from a folder of YAML files, such as a mounted ConfigMap: for controllers without rights on CRDs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::kubernetes::manifest;
use crate::kubernetes::objects::{Change, Key, Object};
use crate::kubernetes::validate::Validated;
use crate::yaml::Source;

/// How often the files are read again. A ConfigMap's mount follows its changes within a minute anyway.
const EVERY: Duration = Duration::from_secs(5);

/// Reads the folder again and again until `stop`, and tells what has changed. A file that can't be used keeps what it
/// said before, and harms no other.
pub(super) async fn follow(folder: PathBuf, changes: mpsc::Sender<Change>, stop: CancellationToken) {
    let mut known: BTreeMap<PathBuf, File> = BTreeMap::new();
    let mut told: BTreeMap<Key, Validated> = BTreeMap::new();
    loop {
        match texts(&folder) {
            Ok(texts) => {
                known.retain(|path, _| texts.contains_key(path));
                for (path, text) in texts {
                    known.entry(path.clone()).or_default().renew(&path, text);
                }
            }
            Err(error) => warn!(folder = %folder.display(), %error, "The folder can't be read; what is known goes on."),
        }
        let now: BTreeMap<Key, Validated> =
            known.values().flat_map(|file| &file.consumers).map(|consumer| (key(consumer), consumer.clone())).collect();
        for (key, consumer) in &now {
            if told.get(key) == Some(consumer) {
                continue;
            }
            let object = Object { key: key.clone(), asked: Ok(consumer.clone()), created: None, record: None };
            if changes.send(Change::Applied(Box::new(object))).await.is_err() {
                return;
            }
        }
        let listed = Change::Listed(None, now.keys().cloned().collect());
        if changes.send(listed).await.is_err() {
            return;
        }
        told = now;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn key(consumer: &Validated) -> Key {
    Key { namespace: consumer.namespace.clone(), name: consumer.name.clone() }
}

#[derive(Default)]
struct File {
    text: Option<String>,
    consumers: Vec<Validated>,
}

impl File {
    fn renew(&mut self, path: &Path, text: String) {
        if self.text.as_ref() == Some(&text) {
            return;
        }
        match manifest::parse(&Source { name: path.display().to_string(), text: text.clone() }) {
            Ok(found) => self.consumers = found.consumers,
            Err(invalid) => warn!(problems = %invalid, "A file can't be used; what it said before goes on."),
        }
        self.text = Some(text);
    }
}

/// The YAML files of a folder with their texts. Hidden ones are a mount's own affair (`..data`).
fn texts(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, String>> {
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        if hidden || !yaml || !path.is_file() {
            continue;
        }
        match Source::read(&path) {
            Ok(source) => drop(texts.insert(path, source.text)),
            Err(error) => warn!(file = %path.display(), %error, "A file can't be read."),
        }
    }
    Ok(texts)
}
