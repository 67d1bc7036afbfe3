// What both pages have around their views: the head with its links, the tabs, the dialog that asks for a token.

import { token, whenUnauthorized } from "./api.js";
import { el, field, setText } from "./dom.js";

/// Asks for a token; `granted` is called when there is a new one.
function tokenDialog(what, granted) {
    const why = el("p", { class: "why" });
    const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", name: "token" });
    const forget = el("button", { type: "button", onclick: () => finish("") }, "Forget it");
    const form = el(
        "form",
        {
            onsubmit(event) {
                event.preventDefault();
                finish(input.value.trim());
            },
        },
        el("h2", { id: "token-title" }, "Token"),
        why,
        field("Token", input, "It is kept in this tab alone, until the tab is closed."),
        el(
            "div",
            { class: "row" },
            el("button", { type: "submit", class: "primary" }, "Use it"),
            el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
            forget,
        ),
    );
    const dialog = el("dialog", { "aria-labelledby": "token-title" }, form);

    function finish(given) {
        token.set(given);
        input.value = "";
        dialog.close();
        granted();
    }

    return {
        dialog,
        open(reason) {
            setText(why, reason ?? what);
            forget.hidden = !token.get();
            if (!dialog.open) {
                dialog.showModal();
                input.focus();
            }
        },
    };
}

/// Puts the page together. Each view has a `name`, a `title`, an element `root`, and `show()` and `hide()`.
export function shell({ title, what, links, views }) {
    let current = null;
    const tokenLabel = el("span", {});
    // The token that was refused last; undefined when a new one was given.
    let refused;
    const dialog = tokenDialog(what, () => {
        refused = undefined;
        nameToken();
        current?.hide();
        current?.show();
    });
    // Asked once for each: whoever closes the dialog knows that something is missing, and every view says so.
    whenUnauthorized((problem) => {
        if (refused !== token.get()) {
            refused = token.get();
            dialog.open(problem.message);
        }
    });

    function nameToken() {
        setText(tokenLabel, token.get() ? "Token: given" : "Token: none");
    }
    nameToken();

    const main = el("main", { id: "main", tabindex: "-1" }, views.map((view) => view.root));
    const tabs = views.map((view) => el("a", { href: `#${view.name}` }, view.title));
    const skip = (event) => {
        event.preventDefault();
        main.focus();
    };
    const head = el(
        "header",
        {},
        el("a", { href: "#main", class: "skip", onclick: skip }, "To the content"),
        el("h1", {}, title),
        el("nav", { "aria-label": "Views", class: "tabs" }, tabs),
        el("nav", { "aria-label": "Elsewhere", class: "links" }, links.map(([name, href]) => el("a", { href }, name))),
        el("button", { type: "button", class: "token", onclick: () => dialog.open() }, tokenLabel),
    );
    document.getElementById("page").replaceChildren(head, main, dialog.dialog);

    function route() {
        const [name] = location.hash.slice(1).split("?");
        const wanted = views.find((view) => view.name === name) ?? views[0];
        views.forEach((view, index) => {
            view.root.hidden = view !== wanted;
            if (view === wanted) {
                tabs[index].setAttribute("aria-current", "page");
            } else {
                tabs[index].removeAttribute("aria-current");
            }
        });
        document.title = `${wanted.title} · ${title}`;
        if (current !== wanted) {
            current?.hide();
            current = wanted;
        }
        current.show();
    }
    window.addEventListener("hashchange", route);
    route();
}

/// Calls again and again while a view is shown and the tab is looked at, the next time after the one before has ended.
export function every(ms, look) {
    let timer = null;
    let running = null;
    async function turn({ signal }) {
        if (!document.hidden) {
            await look(signal);
        }
        if (!signal.aborted) {
            timer = setTimeout(turn, ms, { signal });
        }
    }
    return {
        start() {
            this.stop();
            running = new AbortController();
            turn(running);
        },
        stop() {
            clearTimeout(timer);
            running?.abort();
            running = null;
        },
    };
}
