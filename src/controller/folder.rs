//! ScaledConsumers from a folder of YAML files, such as a mounted ConfigMap: for controllers without rights on CRDs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::kubernetes::scaledconsumer::manifest;
use crate::kubernetes::scaledconsumer::validate::Validated;
use crate::kubernetes::scaledconsumer::watch::{Change, Key, LoadedConsumer};
use crate::yaml::Source;

/// How often the files are read again. A ConfigMap's mount follows its changes within a minute anyway.
const EVERY: Duration = Duration::from_secs(5);

/// Reads the folder again and again until `stop`, and tells what has changed. A file that can't be used or read keeps
/// what it said before, and harms no other.
pub(super) async fn follow(folder: PathBuf, changes: mpsc::Sender<Change>, stop: CancellationToken) {
    let mut files = Files::default();
    let mut told: BTreeMap<Key, Validated> = BTreeMap::new();
    loop {
        // A folder that can't be read says nothing, neither that there is something nor that there is nothing.
        if files.renew(&folder) {
            let now = files.consumers();
            for (key, consumer) in &now {
                if told.get(key) == Some(consumer) {
                    continue;
                }
                let object =
                    LoadedConsumer { key: key.clone(), spec: Ok(consumer.clone()), created: None, record: None };
                if changes.send(Change::Applied(Box::new(object))).await.is_err() {
                    return;
                }
            }
            let listed = Change::Listed(None, now.keys().cloned().collect());
            if changes.send(listed).await.is_err() {
                return;
            }
            told = now;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn key(consumer: &Validated) -> Key {
    Key { namespace: consumer.namespace.clone(), name: consumer.name.clone() }
}

/// What is known of the folder.
#[derive(Default)]
struct Files {
    known: BTreeMap<PathBuf, File>,
    /// What was wrong the last time, so that it is not one line every few seconds.
    complaint: String,
}

#[derive(Default)]
struct File {
    text: Option<String>,
    consumers: Vec<Validated>,
}

impl Files {
    /// Reads the folder; whether that could be done.
    fn renew(&mut self, folder: &Path) -> bool {
        let texts = match texts(folder) {
            Ok(texts) => texts,
            Err(error) => {
                self.complain(format!("{}: {error}", folder.display()));
                return false;
            }
        };
        self.known.retain(|path, _| texts.contains_key(path));
        let mut complaints = Vec::new();
        for (path, text) in texts {
            match text {
                Ok(text) => self.known.entry(path.clone()).or_default().renew(&path, text),
                Err(error) => complaints.push(format!("{}: {error}", path.display())),
            }
        }
        self.complain(complaints.join("; "));
        true
    }

    fn consumers(&self) -> BTreeMap<Key, Validated> {
        let all = self.known.values().flat_map(|file| &file.consumers);
        all.map(|consumer| (key(consumer), consumer.clone())).collect()
    }

    fn complain(&mut self, complaint: String) {
        if self.complaint != complaint {
            if !complaint.is_empty() {
                warn!(error = complaint, "Files with ScaledConsumers can't be read; what they said before goes on.");
            }
            self.complaint = complaint;
        }
    }
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

/// The YAML files of a folder with their texts, or why they can't be read. Hidden ones are a mount's own affair
/// (`..data`).
fn texts(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, std::io::Result<String>>> {
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        if !hidden && yaml && !path.is_dir() {
            let text = Source::read(&path).map(|source| source.text);
            texts.insert(path, text);
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &Files) -> Vec<String> {
        files.consumers().into_keys().map(|key| key.name).collect()
    }

    #[test]
    fn a_file_that_can_not_be_read_keeps_what_it_said_and_one_that_is_gone_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("demo.yaml");
        std::fs::write(&file, include_str!("../../config/demo.yaml")).expect("written");
        let mut files = Files::default();
        assert!(files.renew(folder.path()));
        assert_eq!(names(&files), ["demo"]);

        // A link to nowhere, as of a mount that is half done.
        std::fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink("nowhere", &file).expect("linked");
        assert!(files.renew(folder.path()));
        assert_eq!(names(&files), ["demo"]);
        assert!(files.complaint.contains("demo.yaml"), "{}", files.complaint);
        assert!(!files.renew(&folder.path().join("missing")), "a folder that is not there says nothing");

        std::fs::remove_file(&file).expect("removed");
        assert!(files.renew(folder.path()));
        assert!(names(&files).is_empty());
    }
}
