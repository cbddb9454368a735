//! The page in a real browser: it keeps itself up to date, runs nothing that is not its own, fits light, dark and small screens,
//! and can be used by keyboard, by screen readers and without JavaScript. `PACELINE_SCREENSHOTS=DIR` keeps pictures.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use paceline::registry::Registry;
use paceline::serve::page::{AccessReview, PageAccess};
use serde_json::{Value, json};
use url::{ParseError, Url};

use super::fixture::{every_state, many, serve, serve_to, source, spec, write};
use crate::world::fake_api_server;
use crate::world::process::Process;
use crate::world::{root, run_dir, runtime, unique, wait_until};

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
pub(super) struct Browser {
    pub(super) client: Client,
    _driver: Process,
}

impl Browser {
    pub(super) async fn start() -> Self {
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
    pub(super) async fn screen(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    pub(super) async fn run(&self, script: &str) -> Result<Value, CmdError> {
        self.client.execute(script, Vec::new()).await
    }

    pub(super) async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}")).await.unwrap()
    }

    /// Opens a page, and waits until it is kept up to date.
    pub(super) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
        self.until("it is live", "document.getElementById('live').textContent === 'Live'").await;
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&self, what: &str, expression: &str) {
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

    /// Presses Tab until this element has the focus, and sees that the focus is visible on the way.
    async fn tab_to(&self, selector: &str) {
        for _ in 0..60 {
            self.press(&char::from(Key::Tab).to_string()).await;
            let active = "document.activeElement";
            // Behind the end of the page is the browser itself, and then the page's beginning.
            let outline = format!("{active} === document.body ? 'outside' : getComputedStyle({active}).outlineStyle");
            let focus = self.value(&format!("[{active}.matches({selector:?}), {outline}]")).await;
            assert_ne!(focus[1], "none", "on the way to {selector} the focus is not visible");
            if focus[0] == true {
                return;
            }
        }
        panic!("{selector} can't be reached by Tab");
    }

    /// Presses keys one after the other; a line break is Enter.
    async fn press(&self, keys: &str) {
        for key in keys.chars() {
            let value = if key == '\n' { Key::Enter.into() } else { key };
            let actions = KeyActions::new("keyboard".to_owned());
            let actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
            self.client.perform_actions(actions).await.unwrap();
        }
    }

    /// What axe finds that is serious or critical.
    async fn inaccessible(&self) -> Vec<String> {
        let file = root().join("axe/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}; tests/run fetches it", file.display()));
        self.run(&axe).await.unwrap();
        let script = "const done = arguments[0]; axe.run().then((found) => done(found.violations), (error) => done([String(error)]));";
        let found = self.client.execute_async(script, Vec::new()).await.unwrap();
        let is_grave = |rule: &&Value| !matches!(rule["impact"].as_str(), Some("minor" | "moderate"));
        let text = |rule: &Value| format!("{}: {} {:#}", rule["impact"], rule["help"], rule["nodes"]);
        found.as_array().unwrap().iter().filter(is_grave).map(text).collect()
    }

    async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("PACELINE_SCREENSHOTS").map(PathBuf::from) else { return };
        let height = self.value("document.documentElement.scrollHeight").await;
        let width = self.value("document.documentElement.clientWidth").await;
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        std::fs::write(folder.join(format!("{name}.png")), self.client.screenshot().await.unwrap()).unwrap();
    }

    /// A picture of the upper part of the page, of this size.
    pub(super) async fn shot(&self, height: u32, file: &std::path::Path) {
        self.screen(1280, height, "light").await;
        std::fs::write(file, self.client.screenshot().await.unwrap()).unwrap();
    }

    pub(super) async fn end(self) {
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
                browser.open(&format!("{}{path}", served.url)).await;
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
                if ["overview", "orders"].contains(&name) {
                    assert_eq!(browser.inaccessible().await, Vec::<String>::new(), "{what}");
                }
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
        browser.open(&format!("{}/namespaces/shop/scaledconsumers/orders", served.url)).await;
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

        browser.end().await;
    });
}

#[test]
fn three_thousand_are_filtered_and_leafed_through() {
    let (writer, registry) = Registry::new();
    many(&writer, 3_000);
    let served = serve(&registry);
    runtime().block_on(async {
        let browser = Browser::start().await;
        browser.screen(1280, 900, "light").await;
        let rows = |count: usize| format!("document.querySelectorAll('.consumers tbody tr').length === {count}");
        browser.client.goto(&format!("{}/", served.url)).await.unwrap();
        browser.until("a hundred rows", &rows(100)).await;
        browser.picture("many").await;
        let first = browser.value("document.querySelector('.consumers th.name a').textContent").await;
        browser.run("document.querySelector('a[rel=next]').click()").await.unwrap();
        browser
            .until("the second page", "document.querySelector('nav.pages').textContent.includes('page 2 of 30')")
            .await;
        browser.until("a hundred rows", &rows(100)).await;
        assert_ne!(browser.value("document.querySelector('.consumers th.name a').textContent").await, first);
        let text = browser.client.find(Locator::Css("input[name=q]")).await.unwrap();
        text.send_keys("consumer-1234\n").await.unwrap();
        browser.until("one row", &rows(1)).await;
        assert_eq!(browser.complaints().await, Vec::<Value>::new());
        browser.end().await;
    });
}

#[test]
fn everything_is_reached_by_keyboard_and_keeps_its_focus_while_the_page_changes() {
    let (writer, registry) = Registry::new();
    let mut orders = every_state(&writer);
    let served = serve(&registry);
    runtime().block_on(async {
        let browser = Browser::start().await;
        browser.screen(1280, 900, "light").await;
        browser.open(&format!("{}/", served.url)).await;
        browser.press(&char::from(Key::Tab).to_string()).await;
        assert_eq!(browser.value("document.activeElement.className").await, "skip", "first of all, past the header");
        browser.tab_to("input[name=namespace]").await;
        browser.press("shop").await;
        browser.tab_to("input[name=q]").await;
        browser.press("orders\n").await;
        browser.until("it is filtered", "location.search.includes('namespace=shop') && location.search.includes('q=orders')").await;
        browser.until("one row", "document.querySelectorAll('.consumers tbody tr').length === 1").await;
        browser.until("it is live", "document.getElementById('live').textContent === 'Live'").await;
        browser.tab_to("#states a").await;
        browser.tab_to("#consumers th.name a").await;
        browser.run("window.before = document.getElementById('consumers').textContent").await.unwrap();
        tokio::task::block_in_place(|| (3_610..3_700).step_by(10).for_each(|t| orders.poll(t, &write)));
        browser.until("it has changed", "document.getElementById('consumers').textContent !== window.before").await;
        let focus = "document.activeElement.matches('#consumers th.name a') && document.activeElement.matches(':focus-visible')";
        assert_eq!(browser.value(focus).await, true, "the focus is where it was, and visible");
        browser.press(&char::from(Key::Enter).to_string()).await;
        browser.until("its own page", "document.querySelector('h1')?.textContent === 'orders'").await;
        browser.tab_to(".spans a").await;
        browser.tab_to("#what-if-scroll").await;
        browser.tab_to("#manifest").await;
        browser.client.back().await.unwrap();
        browser.until("back, with its filter", "location.search.includes('q=orders')").await;
        browser.client.forward().await.unwrap();
        browser.until("its own page", "document.querySelector('h1')?.textContent === 'orders'").await;
        browser.tab_to(".crumbs a").await;
        browser.press(&char::from(Key::Enter).to_string()).await;
        browser.until("all of them", "document.querySelectorAll('.consumers tbody tr').length === 11").await;
        browser.end().await;
    });
}

#[test]
fn without_javascript_the_page_shows_all_of_it_and_says_how_it_is_updated() {
    let (writer, registry) = Registry::new();
    let mut orders = every_state(&writer);
    let served = serve(&registry);
    runtime().block_on(async {
        let browser = Browser::start().await;
        browser.screen(1280, 900, "light").await;
        browser.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
        browser.client.goto(&format!("{}/", served.url)).await.unwrap();
        let text = |selector: &'static str| {
            let client = browser.client.clone();
            async move { client.find(Locator::Css(selector)).await.unwrap().text().await.unwrap() }
        };
        assert_eq!(text("#live").await, "Reload to update");
        assert_eq!(browser.client.find_all(Locator::Css(".consumers tbody tr")).await.unwrap().len(), 11);
        browser.client.find(Locator::Css("input[name=q]")).await.unwrap().send_keys("orders").await.unwrap();
        browser.client.find(Locator::Css("form.filter button")).await.unwrap().click().await.unwrap();
        browser
            .client
            .wait()
            .at_most(SOON)
            .for_element(Locator::Css("#consumers th.name a[href$='/orders']"))
            .await
            .unwrap();
        browser.client.find(Locator::Css("#consumers th.name a")).await.unwrap().click().await.unwrap();
        browser.client.wait().at_most(SOON).for_element(Locator::Css("#what-if")).await.unwrap();
        for selector in [
            "#decision .headline",
            "#timeline .chart svg",
            "#what-if tbody tr",
            "#partitions .bar",
            "#members tbody tr",
            "#learned dd",
            "#manifest code",
        ] {
            assert!(!browser.client.find_all(Locator::Css(selector)).await.unwrap().is_empty(), "{selector}");
        }
        browser.client.find(Locator::Css("#timeline-table-summary")).await.unwrap().click().await.unwrap();
        let before = text("#timeline tbody time").await;
        tokio::task::block_in_place(|| orders.poll(3_610, &write));
        assert_eq!(text("#timeline tbody time").await, before, "nothing changes by itself");
        browser.client.refresh().await.unwrap();
        browser.client.find(Locator::Css("#timeline-table-summary")).await.unwrap().click().await.unwrap();
        assert_ne!(text("#timeline tbody time").await, before, "a reload shows the new poll");
        browser.end().await;
    });
}

#[test]
fn somebody_signs_in_and_out_and_the_page_stays_live_meanwhile() {
    let _entered = runtime().enter();
    let (client, _) = fake_api_server::serve(|asked| async move {
        let is_good = asked.body["spec"]["token"] == "good-token";
        let status = json!({"authenticated": is_good, "user": {"username": "ann"}, "allowed": true});
        fake_api_server::ok(&json!({"metadata": {}, "spec": {}, "status": status}))
    });
    let review = AccessReview::new(client.into(), Some(Vec::new()), None);
    let (writer, registry) = Registry::new();
    writer.apply(&source("shop", "orders"), spec("shop", "orders", "orders", &json!({})));
    let served = serve_to(&registry, PageAccess::Reviewed(Arc::new(review)), None);
    runtime().block_on(async {
        let browser = Browser::start().await;
        for (width, scheme) in [(1280, "light"), (390, "dark")] {
            browser.screen(width, 900, scheme).await;
            let path = "/namespaces/shop/scaledconsumers/orders";
            browser.client.goto(&format!("{}{path}", served.url)).await.unwrap();
            assert_eq!(browser.inaccessible().await, Vec::<String>::new(), "{width}");
            browser.picture(&format!("sign-in-{width}")).await;
            for (token, heading) in [("bad-token", "Sign in"), ("good-token", "orders")] {
                let field = browser.client.find(Locator::Css("#token")).await.unwrap();
                field.send_keys(&format!("{token}\n")).await.unwrap();
                let shown = format!("document.querySelector('h1')?.textContent === '{heading}' && document.getElementById('token')?.value !== '{token}'");
                browser.until(heading, &shown).await;
            }
            assert_eq!(browser.value("location.pathname").await, path, "one comes back to where one wanted to go");
            assert_eq!(browser.value("document.cookie").await, "", "no script reads the token");
            browser.until("it is live", "document.getElementById('live').textContent === 'Live'").await;
            browser.client.find(Locator::Css(".sign-out button")).await.unwrap().click().await.unwrap();
            browser.until("signed out", "document.querySelector('h1')?.textContent === 'Sign in'").await;
        }
        browser.end().await;
    });
}
