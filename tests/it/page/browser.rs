//! The page in a real browser: it keeps itself up to date, runs nothing that is not its own, and fits light, dark and small
//! screens. `PACELINE_SCREENSHOTS=DIR` keeps pictures.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fantoccini::error::CmdError;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use paceline::registry::Registry;
use serde_json::{Value, json};
use url::{ParseError, Url};

use super::fixture::{every_state, many, serve, write};
use crate::world::process::Process;
use crate::world::{run_dir, runtime, unique, wait_until};

const SOON: Duration = Duration::from_secs(90);

/// A command beside the standard: `goog/cdp/execute` for what DevTools can do, `se/log` for the console.
#[derive(Debug)]
struct Extra {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extra {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A browser without a window, and the driver that it belongs to.
struct Browser {
    client: Client,
    _driver: Process,
}

impl Browser {
    async fn start() -> Self {
        let log = run_dir().join(format!("{}.log", unique("chromedriver")));
        let driver = tokio::task::block_in_place(|| {
            Process::start("chromedriver", Command::new("chromedriver").arg("--port=0"), &log)
        })
        .expect("tests/run installs chromium-driver");
        let port: u16 = tokio::task::block_in_place(|| {
            wait_until("chromedriver", SOON, || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let port = text.split("successfully on port ").nth(1).and_then(|rest| rest.split('.').next());
                port.and_then(|port| port.parse().ok()).ok_or(text)
            })
        });
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let capabilities = json!({
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("tests/run installs chromium");
        Self { client, _driver: driver }
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.client.issue_cmd(Extra { path: "goog/cdp/execute", body }).await.unwrap()
    }

    /// A screen of this size and colour scheme.
    async fn screen(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    async fn run(&self, script: &str) -> Result<Value, CmdError> {
        self.client.execute(script, Vec::new()).await
    }

    async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}")).await.unwrap()
    }

    /// Waits until an expression is true.
    async fn until(&self, what: &str, expression: &str) {
        let begun = tokio::time::Instant::now();
        while self.run(&format!("return !!({expression})")).await.ok() != Some(Value::Bool(true)) {
            assert!(begun.elapsed() < SOON, "{what}: {expression} did not become true");
        }
    }

    /// What the console has, but for what informs only.
    async fn complaints(&self) -> Vec<Value> {
        let log = self.client.issue_cmd(Extra { path: "se/log", body: json!({"type": "browser"}) }).await.unwrap();
        log.as_array().unwrap().iter().filter(|line| line["level"] != "INFO").cloned().collect()
    }

    async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("PACELINE_SCREENSHOTS").map(PathBuf::from) else { return };
        let height = self.value("document.documentElement.scrollHeight").await;
        let width = self.value("document.documentElement.clientWidth").await;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        std::fs::write(folder.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
    }

    async fn end(self) {
        self.client.close().await.unwrap();
    }
}

#[test]
fn the_page_fits_each_screen_in_light_and_dark_and_nothing_hostile_runs() {
    let (writer, registry) = Registry::new();
    every_state(&writer);
    let served = serve(&registry);
    runtime().block_on(async {
        let browser = Browser::start().await;
        let pages = [
            ("overview", "/"),
            ("orders", "/namespaces/shop/scaledconsumers/orders"),
            ("ledger", "/namespaces/payments/scaledconsumers/ledger"),
            ("hostile", "/namespaces/shop/scaledconsumers/mails"),
            ("incomplete", "/namespaces/analytics/scaledconsumers/clicks"),
            ("refused", "/namespaces/shop/scaledconsumers/baskets"),
        ];
        for (name, path) in pages {
            for (width, height, scheme) in
                [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]
            {
                browser.screen(width, height, scheme).await;
                browser.client.goto(&format!("{}{path}", served.url)).await.unwrap();
                browser.until("it is live", "document.getElementById('live').textContent === 'Live'").await;
                let what = format!("{name} at {width} px, {scheme}");
                let overflow = browser.value("document.documentElement.scrollWidth - window.innerWidth").await;
                assert!(overflow.as_i64().unwrap() <= 0, "{what}: {overflow} px too wide");
                let title = browser.client.title().await.unwrap();
                assert!(title.ends_with("Paceline"), "{what}: {title}");
                let back = browser.value("getComputedStyle(document.body).backgroundColor").await;
                assert_eq!(back == "rgb(255, 255, 255)", scheme == "light", "{what}: {back}");
                assert_eq!(browser.complaints().await, Vec::<Value>::new(), "{what}");
                let elements =
                    browser.value("document.querySelectorAll('main img, main script, main iframe').length").await;
                assert_eq!(elements, 0, "{what}");
                browser.picture(&format!("{name}-{width}-{scheme}")).await;
            }
        }
        browser.end().await;
    });
}

#[test]
fn the_page_changes_by_itself_and_keeps_focus_open_details_and_the_what_if_table_of_the_json() {
    let (writer, registry) = Registry::new();
    let mut orders = every_state(&writer);
    let served = serve(&registry);
    runtime().block_on(async {
        let browser = Browser::start().await;
        browser.screen(1280, 900, "light").await;
        browser.client.goto(&format!("{}/namespaces/shop/scaledconsumers/orders", served.url)).await.unwrap();
        browser.until("it is live", "document.getElementById('live').textContent === 'Live'").await;
        browser.run("document.querySelector('#timeline-table-summary').click(); document.querySelector('#timeline-table-summary').focus();").await.unwrap();
        browser.until("the details are open", "document.getElementById('timeline-table').open").await;
        browser.run("window.untouched = true; window.before = document.getElementById('decision').textContent;").await.unwrap();
        tokio::task::block_in_place(|| orders.poll(3_610, &write));
        browser.until("it shows the new poll", "document.getElementById('decision').textContent !== window.before").await;
        browser.until("the timeline is new as well", "document.querySelector('#timeline tbody time').textContent === '23:13:30'").await;
        for kept in [
            "window.untouched",
            "document.getElementById('timeline-table').open",
            "document.activeElement.id === 'timeline-table-summary'",
        ] {
            assert_eq!(browser.value(kept).await, true, "{kept}");
        }
        let shown = browser.value("[...document.querySelectorAll('#what-if tbody tr')].map((row) => Number(row.cells[0].textContent))").await;
        let one = super::json_of(&format!("{}/api/v1/namespaces/shop/scaledconsumers/orders", served.url));
        let candidates: Vec<Value> =
            one["decision"]["candidates"].as_array().unwrap().iter().map(|row| row["replicas"].clone()).collect();
        assert_eq!(shown, Value::Array(candidates));

        // Of three thousand, by keyboard: filter, and the first row's link.
        many(&writer, 3_000);
        browser.client.goto(&format!("{}/?q=consumer-1234", served.url)).await.unwrap();
        browser.until("one row", "document.querySelectorAll('.consumers tbody tr').length === 1").await;
        browser.client.goto(&format!("{}/", served.url)).await.unwrap();
        browser.until("a hundred rows", "document.querySelectorAll('.consumers tbody tr').length === 100").await;
        assert_eq!(browser.complaints().await, Vec::<Value>::new());
        browser.picture("many").await;
        browser.end().await;
    });
}
