// Which series there are: search, tags, choice. Where the service keeps no list of them, they are named by hand.

import { json, query } from "../shared/api.js";
import { el, field, notice, setText } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { MOST } from "./selection.js";

const PAGE = 50;
const TYPING_MS = 300;

function textInput(name, attributes = {}) {
    return el("input", { type: "text", name, spellcheck: "false", autocomplete: "off", ...attributes });
}

/// `chosen` is the selection that the browser adds to and removes from.
export function seriesBrowser(chosen) {
    const wrong = notice();
    const shown = el("p", { class: "hint", role: "status" });
    const results = el("ul", { class: "results", "aria-label": "Series found" });
    const more = el("button", { type: "button", hidden: true, onclick: () => ask(cursor) }, "More");
    const inputs = {
        prefix: textInput("prefix"),
        id1: textInput("id1", { inputmode: "numeric" }),
        sensor_type: textInput("sensor_type"),
        tags: textInput("tags"),
    };
    let boxes = [];
    let cursor = null;
    let asking = null;
    let typing = null;

    function searched() {
        clearTimeout(typing);
        typing = setTimeout(() => ask(null), TYPING_MS);
    }

    const search = el(
        "form",
        {
            role: "search",
            "aria-label": "Series",
            oninput: searched,
            onsubmit(event) {
                event.preventDefault();
                ask(null);
            },
        },
        field("id2 begins with", inputs.prefix),
        field("Tags", inputs.tags, "name:value, commas between"),
        el("div", { class: "pair" }, field("id1", inputs.id1), field("Type", inputs.sensor_type)),
    );

    function choose(series, box) {
        if (!box.checked) {
            chosen.remove(series);
        } else if (!chosen.add(series)) {
            box.checked = false;
            wrong.say("wrong", `No more than ${MOST} series are shown at once: remove one first.`);
        }
    }

    function tagButton(name, value) {
        const tag = `${name}:${value.replaceAll("\\", "\\\\").replaceAll(",", "\\,")}`;
        const add = () => {
            inputs.tags.value = inputs.tags.value ? `${inputs.tags.value},${tag}` : tag;
            ask(null);
        };
        return el("button", { type: "button", class: "tag", title: "Only series with this tag", onclick: add }, `${name}:${value}`);
    }

    function row(series) {
        const box = el("input", { type: "checkbox", checked: chosen.has(series), onchange: () => choose(series, box) });
        boxes.push({ series, box });
        const name = el("label", {}, box, el("span", { class: "name" }, el("b", {}, series.id2), ` ${series.id1}`), el("span", { class: "type" }, series.sensor_type));
        const tags = Object.entries(series.tags).map(([tag, value]) => tagButton(tag, value));
        const seen = el("span", { class: "hint" }, series.last_seen ? `seen ${series.last_seen}` : "");
        return el("li", {}, name, el("div", { class: "tags" }, tags, seen));
    }

    async function ask(from) {
        clearTimeout(typing);
        asking?.abort();
        asking = new AbortController();
        const wanted = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value.trim()]));
        try {
            const page = await json(`/series${query({ ...wanted, limit: PAGE, cursor: from })}`, { signal: asking.signal });
            if (!from) {
                results.replaceChildren();
                boxes = [];
            }
            results.append(...page.series.map(row));
            cursor = page.next_cursor;
            more.hidden = !cursor;
            const number = results.childElementCount;
            setText(shown, number === 0 ? "No series is like this." : `${count(number)} series${cursor ? ", and more" : ""}`);
            wrong.clear();
        } catch (error) {
            if (error.name !== "AbortError") {
                results.replaceChildren();
                more.hidden = true;
                setText(shown, "");
                wrong.say("wrong", error.message);
                // Nothing is lost where there is no list: the names do.
                byHand.open = true;
            }
        }
    }

    const names = { id1: textInput("by-hand-id1", { inputmode: "numeric" }), id2: textInput("by-hand-id2"), sensor_type: textInput("by-hand-type") };
    const byHandWrong = notice();
    const byHand = el(
        "details",
        { class: "by-hand" },
        el("summary", {}, "Name one by hand"),
        el(
            "form",
            {
                onsubmit(event) {
                    event.preventDefault();
                    addByHand();
                },
            },
            el("div", { class: "pair" }, field("id1", names.id1), field("id2", names.id2)),
            field("Type", names.sensor_type, "all types where it is left out"),
            el("button", { type: "submit" }, "Add"),
            byHandWrong.box,
        ),
    );

    /// The service says what is wrong with a name, in its own words.
    async function addByHand() {
        const [id1, id2, sensor_type] = [names.id1.value.trim(), names.id2.value, names.sensor_type.value || null];
        try {
            const escaped = id2.replaceAll("\\", "\\\\").replaceAll(",", "\\,");
            await json(`/sensor/latest?${new URLSearchParams({ id1, id2: escaped })}`);
            byHandWrong.clear();
            if (!chosen.add({ id1: Number(id1), id2, sensor_type })) {
                byHandWrong.say("wrong", `No more than ${MOST} series are shown at once: remove one first.`);
            }
        } catch (error) {
            byHandWrong.fail(error);
        }
    }

    const root = el("section", { class: "browser card", "aria-label": "Series browser" }, el("h3", {}, "Which series"), search, wrong.box, shown, results, more, byHand);
    return {
        root,
        look: () => ask(null),
        /// After the selection was changed elsewhere.
        mark() {
            for (const { series, box } of boxes) {
                box.checked = chosen.has(series);
            }
        },
    };
}
