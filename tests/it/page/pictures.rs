//! Takes the pictures that the documents show: the page's overview of simulated groups in every state, the one
//! ScaledConsumer of a running demo, and the demo's terminal.
//!
//!     RENEW_PICTURES=1 cargo test --test it the_pictures_of_the_documents -- --include-ignored

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use paceline::registry::Registry;

use super::browser::Browser;
use super::fixture::{key, serve, with_group};
use crate::world::process::Process;
use crate::world::{run_dir, runtime, unique, wait_until};

/// Time-out of the demo's polls; the machine may be busy.
const DEMO: Duration = Duration::from_secs(600);
/// Polls after which the picture is taken, at one every two seconds: the demo's load has risen, fallen and risen again.
const POLLS: usize = 80;

/// Lines and characters of the terminal.
const TERMINAL: (usize, usize) = (26, 150);

/// A page that shows the beginning of a text as a terminal does.
fn terminal(text: &str) -> String {
    let (rows, columns) = TERMINAL;
    let lines: Vec<String> = text.lines().take(rows).map(|line| line.chars().take(columns).collect()).collect();
    let escaped = lines.join("\n").replace('&', "&amp;").replace('<', "&lt;");
    let page = format!(
        "<body style='margin:0;padding:16px;background:#0d1117;color:#e6edf3'><pre style='font:13.5px/1.5 monospace'>{escaped}</pre>"
    );
    let encoded: String = page.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("data:text/html;charset=utf-8,{encoded}")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures")
}

#[test]
#[ignore = "takes minutes, and writes docs/pictures"]
fn the_pictures_of_the_documents() {
    if std::env::var_os("RENEW_PICTURES").is_none() {
        return;
    }
    std::fs::create_dir_all(folder()).unwrap();
    let (writer, registry) = Registry::new();
    with_group(&writer, "mails");
    // Without it the worst one is late, and the page has more to say of it.
    writer.remove(&key("shop", "refunds"));
    let served = serve(&registry);
    let log = run_dir().join(format!("{}.log", unique("demo")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let _demo = Process::start("the demo", command.arg("demo").env_remove("RUST_LOG"), &log).unwrap();
    let demo = wait_until("the demo's page", DEMO, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let url = text.lines().find_map(|line| line.strip_prefix("Page")).map(|url| url.trim().to_owned());
        url.filter(|url| url.ends_with('/')).ok_or(text)
    });
    let list = format!("{demo}api/v1/scaledconsumers");
    let item = wait_until("the demo's ScaledConsumer", DEMO, || {
        let list = super::json_of(&list);
        let item = list["items"].get(0).ok_or("there is none")?;
        Ok::<_, &str>(format!(
            "namespaces/{}/scaledconsumers/{}",
            item["namespace"].as_str().unwrap(),
            item["name"].as_str().unwrap()
        ))
    });
    wait_until("some minutes", DEMO, || {
        let polls = super::json_of(&format!("{demo}api/v1/{item}"))["history"].as_array().map_or(0, Vec::len);
        if polls >= POLLS { Ok(()) } else { Err(polls) }
    });
    runtime().block_on(async {
        let browser = Browser::start().await;
        for (url, height, name) in
            [(format!("{}/", served.url), 940, "overview.png"), (format!("{demo}{item}"), 1000, "consumer.png")]
        {
            browser.screen(1280, height, "light").await;
            browser.open(&url).await;
            browser.shot(height, &folder().join(name)).await;
        }
        let text = std::fs::read_to_string(&log).unwrap();
        browser.screen(1280, 580, "dark").await;
        browser.client.goto(&terminal(&text)).await.unwrap();
        browser.shot(580, &folder().join("terminal.png")).await;
        browser.end().await;
    });
}
