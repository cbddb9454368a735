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
use crate::world::terminal::Terminal;
use crate::world::{run_dir, runtime, wait_until};

/// Time-out of the demo's polls; the machine may be busy.
const DEMO: Duration = Duration::from_secs(600);
/// Polls after which the picture is taken, at one every two seconds: the demo's load has risen, fallen and risen again.
const POLLS: usize = 80;

/// Lines and columns of the terminal.
const TERMINAL: (u16, u16) = (36, 118);
/// Its 16 colours, and what has none of its own.
const COLOURS: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681", "#ffa198",
    "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
];
const TEXT: &str = "#e6edf3";
const BACKGROUND: &str = "#0d1117";

/// The colour of a character or of what is behind it.
fn colour(colour: vt100::Color, default: &str) -> String {
    match colour {
        vt100::Color::Default => default.to_owned(),
        vt100::Color::Idx(index) => COLOURS.get(usize::from(index)).copied().unwrap_or(default).to_owned(),
        vt100::Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
    }
}

/// A page that shows a terminal's screen.
fn page_of(screen: &vt100::Screen) -> String {
    let (lines, columns) = screen.size();
    let (lines, columns) = (lines.get(), columns.get());
    let mut html = format!(
        "<body style='margin:0;padding:16px;background:{BACKGROUND}'><pre style='margin:0;font:17px/1.25 monospace'>"
    );
    for line in 0..lines {
        for cell in (0..columns).filter_map(|column| screen.cell(line, column)) {
            let (mut of, mut on) = (colour(cell.fgcolor(), TEXT), colour(cell.bgcolor(), BACKGROUND));
            if cell.inverse() {
                std::mem::swap(&mut of, &mut on);
            }
            let weight = if cell.bold() { 700 } else { 400 };
            let opacity = if cell.dim() { 0.6 } else { 1.0 };
            let text = if cell.has_contents() { cell.contents() } else { " " };
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            html += &format!(
                "<span style='display:inline-block;width:1ch;color:{of};background:{on};font-weight:{weight};opacity:{opacity}'>{text}</span>"
            );
        }
        html.push('\n');
    }
    html
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let terminal = Terminal::start("the demo", command.arg("demo").env_remove("RUST_LOG"), TERMINAL);
    let demo = wait_until("the demo's page", DEMO, || {
        let text = terminal.screen().contents();
        let url = text.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
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
        let shown = run_dir().join("terminal.html");
        std::fs::write(&shown, page_of(&terminal.screen())).unwrap();
        browser.screen(1280, 800, "dark").await;
        browser.client.goto(&format!("file://{}", shown.display())).await.unwrap();
        browser.shot(800, &folder().join("terminal.png")).await;
        browser.end().await;
    });
}
