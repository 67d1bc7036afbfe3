// Readings that were not stored, and why.

import { json, query } from "../shared/api.js";
import { el, field, notice, setText } from "../shared/dom.js";
import { bytes, count, moment } from "../shared/format.js";
import { download } from "./csv.js";

const PAGE = 100;
const HEADINGS = ["rejected at (UTC)", "field", "reason", "stream", "seq", "id1", "id2", "type", "value", "timestamp_us", "payload"];

/// What could not be decoded, as a text where it is one.
function payloadOf({ payload, payload_bytes, origin }) {
    if (payload === null || payload === undefined) {
        return "";
    }
    const raw = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const text = new TextDecoder().decode(raw);
    return el("span", {}, `${origin ?? ""}, ${bytes(payload_bytes)}: `, el("code", {}, text.slice(0, 300)));
}

function row(it) {
    const cells = [it.field, it.reason, it.stream_id ?? "", count(it.seq), it.id1, it.id2, it.sensor_type, it.sensor_value, it.timestamp_us ?? "", payloadOf(it)];
    return el("tr", {}, el("th", { scope: "row" }, moment(Date.parse(it.rejected_at) / 1000)), cells.map((cell) => el("td", {}, cell)));
}

export function quarantineView() {
    const input = (name) => el("input", { type: "text", name, spellcheck: "false", autocomplete: "off" });
    const inputs = { stream: input("stream"), field: input("field"), reason: input("reason"), origin: input("origin"), from_time: input("from_time"), to_time: input("to_time") };
    const wrong = notice();
    const shown = el("p", { class: "hint", role: "status" });
    const body = el("tbody");
    const head = el("tr", {}, HEADINGS.map((name) => el("th", { scope: "col" }, name)));
    const scroll = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rejected readings", hidden: true }, el("table", {}, el("caption", { class: "unseen" }, "Rejected readings"), el("thead", {}, head), body));
    const more = el("button", { type: "button", hidden: true, onclick: () => ask(cursor) }, "More");
    const csv = el("button", { type: "button", onclick: () => save() }, "Download CSV");
    let cursor = null;
    let asking = null;

    const wanted = () => Object.fromEntries(Object.entries(inputs).map(([name, it]) => [name, it.value.trim()]));

    async function ask(from) {
        asking?.abort();
        asking = new AbortController();
        try {
            const page = await json(`/rejections${query({ ...wanted(), limit: PAGE, cursor: from })}`, { signal: asking.signal });
            if (!from) {
                body.replaceChildren();
            }
            body.append(...page.rejections.map(row));
            cursor = page.next_cursor;
            more.hidden = !cursor;
            const number = body.childElementCount;
            scroll.hidden = number === 0;
            setText(shown, number === 0 ? "Nothing is in quarantine that is like this." : `${count(number)} shown${cursor ? ", and there are more" : ""}, in the order in which they were rejected.`);
            wrong.clear();
        } catch (error) {
            if (error.name !== "AbortError") {
                body.replaceChildren();
                scroll.hidden = true;
                more.hidden = true;
                setText(shown, "");
                wrong.fail(error);
            }
        }
    }

    async function save() {
        csv.disabled = true;
        try {
            const size = await download([`/rejections${query({ ...wanted(), format: "csv" })}`], "rejections.csv", (so_far) => setText(shown, `Downloading: ${bytes(so_far)}`));
            setText(shown, `Downloaded: rejections.csv, ${bytes(size)}`);
        } catch (error) {
            wrong.fail(error);
        }
        csv.disabled = false;
    }

    const form = el(
        "form",
        {
            class: "row",
            role: "search",
            "aria-label": "Quarantine",
            onsubmit(event) {
                event.preventDefault();
                ask(null);
            },
        },
        field("Stream", inputs.stream),
        field("Field", inputs.field),
        field("Reason has", inputs.reason),
        field("Origin begins with", inputs.origin),
        field("Rejected from (RFC 3339)", inputs.from_time),
        field("Rejected before (RFC 3339)", inputs.to_time),
        el("button", { type: "submit", class: "primary" }, "Search"),
        csv,
    );
    const root = el("div", { class: "view" }, el("h2", {}, "Quarantine"), el("section", { class: "card" }, form, wrong.box, shown, scroll, more));
    return { name: "quarantine", title: "Quarantine", root, show: () => ask(null), hide: () => asking?.abort() };
}
