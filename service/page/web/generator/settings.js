// What the generator sends, and how: its configuration, which takes effect with the next start.

import { json } from "../shared/api.js";
import { el, field, notice, setText } from "../shared/dom.js";
import { rateOf } from "./drive.js";

/// Names, what they mean, and the values that there are where these are few.
const SETTINGS = [
    ["target", "Address of the service"],
    ["mode", "Kind of call", ["stream", "stream-acked", "batch", "unary"]],
    ["encoding", "Of the streams", ["columns", "rows"]],
    ["connections", "Connections, each with a stream of its own"],
    ["batch_size", "Readings of a batch; empty: as the mode has them"],
    ["concurrency", "Calls at a time (batch and unary)"],
];
const PATTERNS = [
    ["series", "Different series, where no ids are given"],
    ["id1", "Values of id1, as in 0..9,15"],
    ["id2", "Values of id2, as in boiler,gate-[00..99]"],
    ["types", "NAME, NAME:WEIGHT or NAME:WEIGHT=VALUES, commas between"],
    ["values", "How values come about, as in walk:20:0.1"],
    ["seed", "The same seed makes the same readings"],
    ["start_time", "Timestamp of the first; empty: now"],
    ["shuffle_within", "In any order within, as in 10s"],
    ["late", "Share that comes late, 0 to 1"],
    ["late_by", "How late at most"],
    ["out_of_order", "Share that changes places, 0 to 0.5"],
    ["duplicates", "Share that is sent again, 0 to 0.5"],
    ["bad", "Share that has to be rejected, 0 to 1"],
];
/// Texts, even where they look like numbers.
const TEXTS = new Set(["target", "mode", "encoding", "id1", "id2", "values", "start_time", "shuffle_within", "late_by"]);

function inputs(described) {
    return Object.fromEntries(
        described.map(([name, , values]) => {
            const options = values?.map((value) => el("option", { value }, value));
            return [name, options ? el("select", { name }, options) : el("input", { type: "text", name, autocomplete: "off", spellcheck: "false" })];
        }),
    );
}

/// null removes what was there, as RFC 7386 has it.
function valueOf(name, text) {
    if (text.trim() === "") {
        return null;
    }
    if (name === "types") {
        return text.split(",").map((type) => type.trim());
    }
    return TEXTS.has(name) ? text : rateOf(text);
}

export function settingsView() {
    const wrong = notice();
    const done = el("p", { class: "hint", role: "status" });
    const settings = inputs(SETTINGS);
    const patterns = inputs(PATTERNS);
    const typeText = ({ name, weight, values }) => `${name}:${weight}${values ? `=${values}` : ""}`;
    const texts = (value) => (Array.isArray(value) ? value.map(typeText).join(",") : String(value ?? ""));

    // As they stood before somebody changed them.
    const before = new Map();

    function fill(fields, values) {
        for (const [name, input] of Object.entries(fields)) {
            input.value = texts(values[name]);
            before.set(input, input.value);
        }
    }

    function show(config) {
        fill(settings, config);
        fill(patterns, config.patterns);
    }

    /// What somebody has changed, and nothing else.
    function changed(fields) {
        const others = Object.entries(fields).filter(([, input]) => input.value !== before.get(input));
        return Object.fromEntries(others.map(([name, input]) => [name, valueOf(name, input.value)]));
    }

    async function save() {
        setText(done, "");
        try {
            show(await json("/config", { method: "POST", body: { ...changed(settings), patterns: changed(patterns) } }));
            wrong.clear();
            setText(done, "Saved. It takes effect with the next start.");
        } catch (error) {
            wrong.fail(error);
        }
    }

    const fields = (described, all) => el("div", { class: "fields" }, described.map(([name, hint]) => field(name, all[name], hint)));
    const form = el(
        "form",
        {
            onsubmit(event) {
                event.preventDefault();
                save();
            },
        },
        el("section", { class: "card" }, el("h3", {}, "How"), fields(SETTINGS, settings)),
        el("section", { class: "card" }, el("h3", {}, "Patterns"), fields(PATTERNS, patterns)),
        el("div", { class: "row" }, el("button", { type: "submit", class: "primary" }, "Save"), done),
        wrong.box,
    );
    const root = el("div", { class: "view" }, el("h2", {}, "Settings"), form);
    return {
        name: "settings",
        title: "Settings",
        root,
        async show() {
            try {
                show(await json("/config"));
                wrong.clear();
            } catch (error) {
                wrong.fail(error);
            }
        },
        hide() {},
    };
}
