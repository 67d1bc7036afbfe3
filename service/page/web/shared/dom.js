// The few words in which views are written. Texts are always set as texts: what was stored never becomes markup.

/// An element with attributes, listeners (`onclick`, …) and children; what is null or false is left out.
export function el(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false) {
            continue;
        }
        if (name.startsWith("on")) {
            element.addEventListener(name.slice(2), value);
        } else if (name === "value" || name === "checked" || name === "disabled") {
            element[name] = value;
        } else {
            element.setAttribute(name, value === true ? "" : String(value));
        }
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

/// Changes a text only when it differs, so that a screen reader is told of changes alone.
export function setText(element, text) {
    if (element.textContent !== text) {
        element.textContent = text;
    }
}

let lastId = 0;

/// A label with the field that it names, a hint below it if there is one.
export function field(label, input, hint) {
    lastId += 1;
    input.id = `field-${lastId}`;
    const help = hint ? el("span", { class: "hint", id: `hint-${lastId}` }, hint) : null;
    if (help) {
        input.setAttribute("aria-describedby", help.id);
    }
    return el("div", { class: "field" }, el("label", { for: input.id }, label), input, help);
}

/// A table that scrolls by itself where it does not fit, and can be reached by keyboard for that. Without headings it has names and
/// their values.
export function table(caption, headings, rows) {
    const cell = (content, index) => (index === 0 ? el("th", { scope: "row" }, content) : el("td", {}, content));
    const body = rows.map((row) => el("tr", {}, row.map(cell)));
    const names = headings.map((heading) => el("th", { scope: "col" }, heading));
    const head = names.length > 0 && el("thead", {}, el("tr", {}, names));
    return el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
        el("table", {}, el("caption", { class: "unseen" }, caption), head || "", el("tbody", {}, body)),
    );
}

/// Where a view says what went wrong, or why there is nothing to see.
export function notice() {
    const box = el("div", { class: "notice", hidden: true });
    return {
        box,
        clear() {
            box.hidden = true;
            box.replaceChildren();
        },
        say(kind, ...content) {
            // What stands there already is not told again.
            if (!box.hidden && box.classList.contains(kind) && content.length === 1 && box.textContent === content[0]) {
                return;
            }
            box.className = `notice ${kind}`;
            box.setAttribute("role", kind === "wrong" ? "alert" : "status");
            box.replaceChildren(...content);
            box.hidden = false;
        },
        /// Of an error: the service's own sentence.
        fail(error) {
            if (error.name !== "AbortError") {
                this.say("wrong", error.message);
            }
        },
    };
}
