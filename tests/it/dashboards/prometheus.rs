//! A real Prometheus, which scrapes controllers and evaluates the rules.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::process::Process;
use crate::world::{ports, run_dir, unique, wait_for};

/// A running Prometheus. It scrapes and evaluates every two seconds.
pub(super) struct Prometheus {
    _process: Process,
    address: String,
}

impl Prometheus {
    /// Starts one that scrapes these addresses and evaluates these rules.
    pub(super) async fn start(targets: &[&str], rules: &Path) -> Self {
        let folder = run_dir().join(unique("prometheus"));
        std::fs::create_dir_all(&folder).unwrap();
        let configuration = json!({
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
            "rule_files": [rules],
            "scrape_configs": [
                {"job_name": "paceline", "honor_labels": true, "static_configs": [{"targets": targets}]},
            ],
        });
        let file = folder.join("prometheus.yaml");
        std::fs::write(&file, configuration.to_string()).unwrap();
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        let process = Process::start("Prometheus", &mut command, &folder.join("log")).unwrap();
        let prometheus = Self { _process: process, address };
        wait_for("Prometheus to be ready", Duration::from_secs(60), || async {
            let url = format!("http://{}/-/ready", prometheus.address);
            ureq::get(url).call().map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
        prometheus
    }

    /// The series that an expression returns now.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let url = format!("http://{}/api/v1/query", self.address);
        let request = ureq::get(url).query("query", expression).config().http_status_as_error(false).build();
        let mut answer = request.call().map_err(|error| error.to_string())?;
        let answer: Value = answer.body_mut().read_json().map_err(|error| error.to_string())?;
        match answer.pointer("/data/result") {
            Some(Value::Array(series)) => Ok(series.clone()),
            _ => Err(format!("{expression}: {answer}")),
        }
    }

    /// What became of each rule: its name, its expression, and its last error.
    pub(super) fn rules(&self) -> Vec<Value> {
        let mut answer = ureq::get(format!("http://{}/api/v1/rules", self.address)).call().expect("it answers");
        let answer: Value = answer.body_mut().read_json().expect("JSON");
        let groups = answer["data"]["groups"].as_array().expect("groups").iter();
        groups.flat_map(|group| group["rules"].as_array().expect("rules")).cloned().collect()
    }
}
