// Keeps the page up to date: each event has the HTML of one fragment, which replaces the element of the same id. Focus, open
// details and scrolled tables stay as they are. Without this script the page is as of when it was loaded.
"use strict";

const main = document.querySelector("main[data-events]");
const live = document.getElementById("live");
const shown = new Map();
let source = null;
let lost = 0;

function say(text, state) {
    if (live.textContent !== text) {
        live.textContent = text;
        live.dataset.state = state;
    }
}

// What tells an element again after it was replaced: its id, or where it links to.
function find(inside, element) {
    if (element.id) {
        return document.getElementById(element.id);
    }
    const href = element.getAttribute("href");
    return href && inside.querySelector(`a[href="${CSS.escape(href)}"]`);
}

function isSelecting(element) {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(element, true);
}

function replace(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild;
    const old = fresh && document.getElementById(fresh.id);
    // Text that somebody is selecting stays until the next change. After a new connection everything is sent again.
    if (!old || isSelecting(old) || shown.get(fresh.id) === html) {
        return;
    }
    shown.set(fresh.id, html);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const open = [...old.querySelectorAll("details[open]")].map((details) => details.id);
    const scrolled = [...old.querySelectorAll(".scroll")].map((box) => [box.id, box.scrollLeft, box.scrollTop]);
    const top = window.scrollY;
    old.replaceWith(fresh);
    for (const id of open) {
        document.getElementById(id)?.setAttribute("open", "");
    }
    for (const [id, left, down] of scrolled) {
        document.getElementById(id)?.scrollTo(left, down);
    }
    const again = focused && find(fresh, focused);
    again?.focus({ preventScroll: true });
    window.scrollTo(window.scrollX, top);
}

function connect() {
    if (source || document.hidden) {
        return;
    }
    source = new EventSource(main.dataset.events);
    source.addEventListener("open", () => {
        clearTimeout(lost);
        say("Live", "live");
    });
    source.addEventListener("fragment", (event) => replace(JSON.parse(event.data)));
    source.addEventListener("error", () => {
        clearTimeout(lost);
        if (source?.readyState === EventSource.CLOSED) {
            say("No longer updated; reload the page", "lost");
            // An error status; the API server may be back soon.
            disconnect();
            lost = setTimeout(connect, 15000);
        } else {
            // The server ends each stream of somebody who has signed in now and then, and asks for their rights again.
            lost = setTimeout(() => say("Not connected; trying again", "lost"), 3000);
        }
    });
}

// A browser opens six connections to a server at most, so a tab that nobody looks at gives its own back.
function disconnect() {
    clearTimeout(lost);
    source?.close();
    source = null;
}

if (main && window.EventSource) {
    document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
    connect();
}
