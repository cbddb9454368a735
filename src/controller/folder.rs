//! ScaledConsumers from a folder of YAML files, such as a mounted ConfigMap: for controllers without rights on CRDs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::kubernetes::Key;
use crate::kubernetes::scaledconsumer::manifest::{self, Manifests};
use crate::kubernetes::scaledconsumer::{Change, LoadedConsumer, Validated};
use crate::yaml::{self, Source};

/// Time between two readings of the files. A ConfigMap's mount follows its changes within a minute anyway.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// Reads the folder every few seconds until `stop`, and sends what has changed. A file that can't be read or used keeps
/// its last good content, and does not affect other files. Files are read and parsed on a thread of their own, so that
/// nothing else of the controller waits.
pub(super) async fn follow(folder: PathBuf, changes: mpsc::Sender<Change>, stop: CancellationToken) {
    let mut files = Files::default();
    let mut sent: BTreeMap<Key, Arc<Validated>> = BTreeMap::new();
    loop {
        let path = folder.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let consumers = files.renew(&path).then(|| files.consumers());
            (files, consumers)
        });
        let read = tokio::select! {
            () = stop.cancelled() => return,
            read = reading => read,
        };
        let consumers;
        (files, consumers) = read.unwrap_or_else(|error| {
            error!(%error, "Reading the files of ScaledConsumers failed; their last good content stays.");
            (Files::default(), None)
        });
        // A folder that can't be read does not mean that it is empty.
        if let Some(consumers) = consumers {
            if send(&consumers, &sent, &changes).await.is_err() {
                return;
            }
            sent = consumers;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(READ_INTERVAL) => {}
        }
    }
}

/// Sends what differs from what was `sent`, and which ScaledConsumers there are.
async fn send(
    consumers: &BTreeMap<Key, Arc<Validated>>,
    sent: &BTreeMap<Key, Arc<Validated>>,
    changes: &mpsc::Sender<Change>,
) -> Result<(), mpsc::error::SendError<Change>> {
    for (key, consumer) in consumers.iter().filter(|(key, consumer)| sent.get(key) != Some(consumer)) {
        let loaded = LoadedConsumer { key: key.clone(), spec: Ok(Arc::clone(consumer)), created: None, record: None };
        changes.send(Change::Applied(Box::new(loaded))).await?;
    }
    changes.send(Change::Listed(None, consumers.keys().cloned().collect())).await
}

/// What is known of the folder.
#[derive(Default)]
struct Files {
    /// By path, in whose order the first of several ScaledConsumers of one name counts.
    known: BTreeMap<PathBuf, File>,
    /// What was wrong at the last reading, so that each problem is logged once.
    last_problems: BTreeMap<String, String>,
}

/// The last good content of a file.
#[derive(Default)]
struct File {
    /// Of the text that was last parsed.
    hash: Option<u64>,
    found: Manifests,
}

impl Files {
    /// Reads the folder. Returns whether it could be read.
    fn renew(&mut self, folder: &Path) -> bool {
        let paths = match yaml::files(folder) {
            Ok(paths) => paths,
            Err(error) => {
                self.log(BTreeMap::from([(folder.display().to_string(), error.to_string())]));
                return false;
            }
        };
        self.known.retain(|path, _| paths.contains(path));
        let mut problems = BTreeMap::new();
        for path in paths {
            match Source::read(&path) {
                Ok(source) => self.known.entry(path).or_default().renew(&source),
                Err(error) => {
                    problems.insert(path.display().to_string(), error.to_string());
                }
            }
        }
        problems.extend(self.twice());
        self.log(problems);
        true
    }

    /// The ScaledConsumers with their places, in the order of the files.
    fn all(&self) -> impl Iterator<Item = (&Validated, &str)> {
        self.known
            .values()
            .flat_map(|File { found, .. }| found.consumers.iter().zip(found.places.iter().map(String::as_str)))
    }

    fn consumers(&self) -> BTreeMap<Key, Arc<Validated>> {
        let mut consumers = BTreeMap::new();
        for (consumer, _) in self.all() {
            consumers.entry(consumer.key()).or_insert_with(|| Arc::new(consumer.clone()));
        }
        consumers
    }

    /// What is wrong with ScaledConsumers that have the name of an earlier one, by their places.
    fn twice(&self) -> BTreeMap<String, String> {
        let mut first = BTreeMap::new();
        let mut problems = BTreeMap::new();
        for (consumer, place) in self.all() {
            match first.entry(consumer.key()) {
                Entry::Vacant(entry) => {
                    entry.insert(place);
                }
                Entry::Occupied(entry) => {
                    let (Key { namespace, name }, first) = (entry.key(), entry.get());
                    let text = format!(
                        "ScaledConsumer \"{name}\" in namespace \"{namespace}\" is ignored here, because {first} defines it already; rename or remove one of the two"
                    );
                    problems.insert(place.to_owned(), text);
                }
            }
        }
        problems
    }

    /// Logs the problems, by file, that were not there at the last reading.
    fn log(&mut self, problems: BTreeMap<String, String>) {
        for (file, error) in problems.iter().filter(|(file, error)| self.last_problems.get(*file) != Some(error)) {
            warn!(file, error, "A file of ScaledConsumers has a problem; its last good content stays.");
        }
        self.last_problems = problems;
    }
}

impl File {
    fn renew(&mut self, source: &Source) {
        let mut hasher = DefaultHasher::new();
        source.text.hash(&mut hasher);
        let hash = Some(hasher.finish());
        if self.hash == hash {
            return;
        }
        match manifest::parse(source) {
            Ok(found) => self.found = found,
            Err(invalid) => warn!(problems = %invalid, "A file can't be used; its last good content stays."),
        }
        self.hash = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &Files) -> Vec<String> {
        files.consumers().into_keys().map(|key| key.name).collect()
    }

    #[test]
    fn a_file_that_can_not_be_read_keeps_its_content_and_one_that_is_gone_does_not() {
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
        assert!(files.last_problems.contains_key(&file.display().to_string()), "{:?}", files.last_problems);
        assert!(!files.renew(&folder.path().join("missing")), "a folder that is not there is not an empty one");

        std::fs::remove_file(&file).expect("removed");
        assert!(files.renew(folder.path()));
        assert!(names(&files).is_empty());
    }
    #[test]
    fn of_two_with_one_name_the_first_counts_and_the_later_is_named_with_both_files() {
        const DEMO: &str = include_str!("../../config/demo.yaml");
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        let later = DEMO.replace("minReplicas: 1", "minReplicas: 2");
        write("b.yaml", &later);
        write("a.yaml", &format!("{DEMO}---\n{later}"));
        let mut files = Files::default();
        assert!(files.renew(folder.path()));
        let minimum = |files: &Files| files.consumers().values().map(|it| it.bounds().min().0).collect::<Vec<_>>();
        assert_eq!(minimum(&files), [1]);
        let problems: Vec<_> = files.last_problems.iter().map(|(place, text)| format!("{place}: {text}")).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        let line = DEMO.lines().position(|line| line.starts_with("apiVersion")).expect("a manifest") + 1;
        for (problem, place) in problems.iter().zip(["a.yaml:", "b.yaml:"]) {
            assert!(problem.contains(place), "{problem}");
            assert!(problem.contains(&format!("a.yaml:{line} defines it already")), "{problem}");
        }

        write("a.yaml", "");
        assert!(files.renew(folder.path()));
        assert_eq!((minimum(&files), files.last_problems.len()), (vec![2], 0), "the later one counts once it is alone");
    }
}
