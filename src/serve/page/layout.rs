//! What all pages share: the frame, tables, times and numbers as people read them.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use k8s_openapi::jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::access::Viewer;
use super::assets::{ICON, SCRIPT, STYLE};
use super::sources::{ControllerRole, PageSources};
use super::state::ConsumerState;
use crate::core::{RecordsPerSecond, TextTable, grouped, is_hidden, printable, printable_text, short};

/// What stands for a value that is not known.
pub(super) const UNKNOWN: &str = "?";

/// A part of a page that is replaced as a whole. Its root element has this id.
pub(super) struct Fragment {
    /// The id.
    pub(super) id: &'static str,
    /// The element.
    pub(super) html: Markup,
}

/// The answer where there is no such page.
pub(super) async fn not_found(
    State(sources): State<Arc<PageSources>>,
    Extension(viewer): Extension<Viewer>,
) -> Response {
    let body = html! {
        h1 { "Not found" }
        p { "There is no such page, or no such ScaledConsumer any more. " a href="/" { "All ScaledConsumers" } }
    };
    (StatusCode::NOT_FOUND, document("Not found", &viewer, &(sources.role)(), None, &body)).into_response()
}

/// A whole document. `events`: where its fragments' changes come from.
pub(super) fn document(
    title: &str,
    viewer: &Viewer,
    role: &ControllerRole,
    events: Option<&str>,
    body: &Markup,
) -> Markup {
    shown(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Paceline" }
                link rel="icon" type="image/svg+xml" href=(ICON.path);
                link rel="stylesheet" href=(STYLE.path);
                script src=(SCRIPT.path) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { img src=(ICON.path) alt="" width="24" height="24"; "Paceline" }
                    @if matches!(role, ControllerRole::Demo { .. }) { span.role { "demo" } }
                    @if events.is_some() { span #live role="status" { "Reload to update" } }
                }
                main #main tabindex="-1" data-events=[events] { (body) }
                footer {
                    @if let Some(name) = viewer.name() {
                        form.sign-out method="post" action="/sign-out" {
                            "Signed in as " strong { (printable(name)) } ". You see what this account may list. "
                            @if viewer.has_cookie() { button type="submit" { "Sign out" } }
                        }
                    }
                    p { "Read-only. Times are UTC. The same as JSON: " a href="/api/v1/scaledconsumers" { "/api/v1/scaledconsumers" } }
                }
            }
        }
    })
}

/// The same HTML with all characters shown that hide others or turn the direction of what follows: whatever they are in, they
/// come from somebody's name.
pub(super) fn shown(html: Markup) -> Markup {
    let is_wrong = |c: char| is_hidden(c) && !matches!(c, '\n' | '\t');
    if !html.0.contains(is_wrong) {
        return html;
    }
    let mut text = String::with_capacity(html.0.len() + 64);
    for c in html.0.chars() {
        if is_wrong(c) {
            text.push_str(&printable_text(c.encode_utf8(&mut [0; 4])).to_string());
        } else {
            text.push(c);
        }
    }
    PreEscaped(text)
}

/// A state as a chip.
pub(super) fn chip(state: ConsumerState) -> Markup {
    html! { span class={ "chip " (state.class()) } { (state) } }
}

/// A table of texts, in a box that scrolls by itself. `class`: the class of a row.
pub(super) fn text_table(
    id: &str,
    caption: &str,
    table: &TextTable,
    class: impl Fn(usize) -> Option<&'static str>,
) -> Markup {
    let number = |column: usize| table.numbers.contains(&column).then_some("number");
    html! {
        div.scroll id=(id) tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) @if !table.caption.is_empty() { ". " (table.caption) } }
                thead { tr {
                    @for (column, name) in table.header.iter().enumerate() {
                        th scope="col" class=[number(column)] {
                            @if name.is_empty() { span.hidden { "Note" } } @else { (sentence_case(name)) }
                        }
                    }
                } }
                tbody {
                    @for (row, cells) in table.rows.iter().enumerate() {
                        tr class=[class(row)] {
                            @for (column, cell) in cells.iter().enumerate() { td class=[number(column)] { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// `LATE RECORDS` as `Late records`.
fn sentence_case(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or(String::new(), |first| first.to_string() + &chars.as_str().to_lowercase())
}

/// A time of the observations' clock, in seconds since 1970.
pub(super) fn time(seconds: f64) -> Markup {
    let Ok(at) = Timestamp::from_second(seconds as i64) else { return html! { (UNKNOWN) } };
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) title=(at.strftime("%Y-%m-%d %H:%M:%S UTC")) { (at.strftime("%H:%M:%S")) } }
}

/// A time of some day.
pub(super) fn date(seconds: i64) -> Markup {
    let Ok(at) = Timestamp::from_second(seconds) else { return html! { (UNKNOWN) } };
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (at.strftime("%Y-%m-%d %H:%M:%S")) } }
}

/// A time as text, for what can't hold an element.
pub(super) fn clock(seconds: u32) -> String {
    Timestamp::from_second(i64::from(seconds)).map_or(UNKNOWN.to_owned(), |at| at.strftime("%H:%M:%S").to_string())
}

/// A duration in whole seconds.
pub(super) fn duration(seconds: f64) -> String {
    short(Duration::from_secs(seconds.round().max(0.0) as u64))
}

/// A number of records, rounded.
pub(super) fn records(number: f64) -> String {
    grouped(number.round().max(0.0) as u64)
}

/// A rate, or that it is not known.
pub(super) fn rate(rate: Option<f64>) -> String {
    rate.map_or(UNKNOWN.to_owned(), |rate| format!("{}/s", RecordsPerSecond(rate)))
}

/// A count, or that it is not known.
pub(super) fn count(number: Option<u32>) -> String {
    number.map_or(UNKNOWN.to_owned(), |number| number.to_string())
}
