//! ScaledConsumers from the YAML files of a folder, such as a mounted ConfigMap: for a controller without rights on
//! custom resources. A file that can't be read or understood is told, and what it said before stays in force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::catalog::{Change, Id, Listed, Origin};
use super::manifest;
use super::validate::validate;

/// How often the files are read. A mounted ConfigMap changes within a minute or so; its files are symlinks whose times
/// tell nothing, so the contents are compared.
const INTERVAL: Duration = Duration::from_secs(2);
/// A ConfigMap holds at most 1 MiB.
const LARGEST_FILE: u64 = 1 << 20;

/// Tells the changes of a folder's ScaledConsumers.
pub(super) async fn watch(folder: PathBuf, changes: mpsc::Sender<Change>, stop: CancellationToken) {
    let mut state = Folder { folder, files: BTreeMap::new(), known: BTreeMap::new(), complaint: String::new() };
    let mut synced = false;
    loop {
        let mut told = state.read().await;
        if !synced {
            told.push(Change::Synced);
            synced = true;
        }
        for change in told {
            if changes.send(change).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

struct Folder {
    folder: PathBuf,
    files: BTreeMap<PathBuf, File>,
    known: BTreeMap<Id, Listed>,
    complaint: String,
}

/// A file as it was last read.
#[derive(Default)]
struct File {
    text: String,
    /// What it said when everything in it could be understood last.
    entries: Vec<Listed>,
}

impl Folder {
    async fn read(&mut self) -> Vec<Change> {
        let found = match texts(&self.folder).await {
            Ok(found) => found,
            Err(error) => {
                self.complain(&format!("{}: {error}", self.folder.display()));
                return Vec::new();
            }
        };
        self.files.retain(|path, _| found.contains_key(path));
        let mut complaints = Vec::new();
        for (path, text) in found {
            match text {
                Ok(text) => self.take(&path, text),
                Err(error) => complaints.push(format!("{}: {error}", path.display())),
            }
        }
        self.complain(&complaints.join("; "));
        self.changes()
    }

    fn take(&mut self, path: &Path, text: String) {
        let file = self.files.entry(path.to_owned()).or_default();
        if file.text == text {
            return;
        }
        let (entries, problems) = entries(&text);
        for problem in &problems {
            error!(file = %path.display(), problem, "A ScaledConsumer is not valid; what the file said before stays in force.");
        }
        if problems.is_empty() {
            info!(file = %path.display(), count = entries.len(), "Read ScaledConsumers from a file.");
            file.entries = entries;
        } else {
            // The good ones of a bad file count; of the bad ones what was good before does.
            let good: BTreeSet<_> = entries.iter().map(|entry| entry.id.clone()).collect();
            file.entries.retain(|entry| !good.contains(&entry.id));
            file.entries.extend(entries);
        }
        file.text = text;
    }

    /// What differs from what was told before.
    fn changes(&mut self) -> Vec<Change> {
        let mut now = BTreeMap::new();
        for (path, file) in &self.files {
            for entry in &file.entries {
                if now.insert(entry.id.clone(), entry.clone()).is_some() && !self.known.contains_key(&entry.id) {
                    let Id { namespace, name } = &entry.id;
                    error!(file = %path.display(), namespace, name, "The ScaledConsumer is in an earlier file as well; this one counts.");
                }
            }
        }
        let gone = self.known.keys().filter(|id| !now.contains_key(*id)).cloned().map(Change::Gone);
        let set = now
            .iter()
            .filter(|(id, entry)| self.known.get(*id) != Some(*entry))
            .map(|(_, entry)| Change::Set(Box::new(entry.clone())));
        let changes = gone.chain(set).collect();
        self.known = now;
        changes
    }

    fn complain(&mut self, complaint: &str) {
        if self.complaint != complaint {
            if !complaint.is_empty() {
                error!(error = complaint, "Files with ScaledConsumers can't be read; what they said before stays in force.");
            }
            complaint.clone_into(&mut self.complaint);
        }
    }
}

/// The valid ScaledConsumers of a text, and what is wrong with the others.
fn entries(text: &str) -> (Vec<Listed>, Vec<String>) {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for object in manifest::read(text) {
        let valid = object
            .map_err(|error| error.to_string())
            .and_then(|object| validate(&object).map_err(|invalid| format!("{}: {invalid}", kube::ResourceExt::name_any(&object))));
        match valid {
            Ok(valid) => {
                let id = Id { namespace: valid.namespace.clone(), name: valid.name.clone() };
                good.push(Listed { id, spec: Ok(valid), origin: Origin::File });
            }
            Err(problem) => bad.push(problem),
        }
    }
    (good, bad)
}

/// The folder's YAML files. Hidden ones are passed over: in a mounted ConfigMap they are the versions behind the links.
async fn texts(folder: &Path) -> std::io::Result<BTreeMap<PathBuf, std::io::Result<String>>> {
    let mut found = BTreeMap::new();
    let mut entries = tokio::fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && !entry.file_name().to_string_lossy().starts_with('.') {
            let text = text(&path).await;
            found.insert(path, text);
        }
    }
    Ok(found)
}

async fn text(path: &Path) -> std::io::Result<String> {
    let size = tokio::fs::metadata(path).await?.len();
    if size > LARGEST_FILE {
        return Err(std::io::Error::other(format!("{size} bytes, more than {LARGEST_FILE}")));
    }
    tokio::fs::read_to_string(path).await
}
