// The stretch of time that is shown: how it is chosen, and the way back.

import { el, field } from "../shared/dom.js";
import { instant } from "../shared/format.js";

const DAY = 86_400;
export const LENGTHS = [
    ["5 minutes", 300],
    ["1 hour", 3600],
    ["24 hours", DAY],
    ["7 days", 7 * DAY],
    ["30 days", 30 * DAY],
    ["1 year", 365 * DAY],
    ["10 years", 3652 * DAY],
];
const INSTANT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(\.\d{1,6})?)?)?\s*(Z|[+-]\d\d:\d\d)?$/i;
const FIRST = -62_135_596_800;
const LAST = 253_402_300_799;

/// Seconds since the Unix epoch, UTC unless an offset says otherwise; NaN for what is no time.
export function parseInstant(text) {
    const found = INSTANT.exec(text.trim());
    if (!found) {
        return NaN;
    }
    const [, day, minute = "00:00", second = "00", fraction = "", offset = "Z"] = found;
    return Date.parse(`${day}T${minute}:${second}${offset.toUpperCase()}`) / 1000 + Number(fraction || 0);
}

/// `changed` is called with each new range; `wrong` with texts that are no times, so that the service can say what it takes.
export function rangeForm(changed, wrong) {
    let range = { from: Date.now() / 1000 - DAY, to: Date.now() / 1000 };
    const past = [];
    const from = el("input", { type: "text", name: "from", spellcheck: "false", autocomplete: "off", class: "time" });
    const to = el("input", { type: "text", name: "to", spellcheck: "false", autocomplete: "off", class: "time" });
    const length = el(
        "select",
        { name: "length", onchange: () => length.value && set({ from: Date.now() / 1000 - Number(length.value), to: Date.now() / 1000 }) },
        el("option", { value: "" }, "choose …"),
        LENGTHS.map(([name, length_s]) => el("option", { value: length_s }, name)),
    );
    const back = el("button", { type: "button", disabled: true, onclick: () => goBack() }, "Back");

    function write() {
        from.value = instant(range.from);
        to.value = instant(range.to);
        back.disabled = past.length === 0;
    }

    function set(next, keepsPast = true) {
        if (keepsPast) {
            past.push(range);
        }
        range = { from: Math.max(next.from, FIRST), to: Math.min(next.to, LAST) };
        write();
        changed(range);
    }

    function goBack() {
        if (past.length > 0) {
            set(past.pop(), false);
            length.value = "";
        }
    }

    const form = el(
        "form",
        {
            class: "row range",
            onsubmit(event) {
                event.preventDefault();
                const next = { from: parseInstant(from.value), to: parseInstant(to.value) };
                length.value = "";
                if (next.from < next.to) {
                    set(next);
                } else {
                    const asked = (at, text) => (Number.isNaN(at) ? text : instant(at));
                    wrong(asked(next.from, from.value), asked(next.to, to.value));
                }
            },
        },
        field("The last", length),
        field("From (UTC)", from),
        field("To (UTC)", to),
        el("button", { type: "submit" }, "Show"),
        back,
    );
    write();
    return {
        form,
        get: () => range,
        set(next) {
            length.value = "";
            set(next);
        },
        /// Without a way back, as an address says it.
        begin(next) {
            range = next;
            write();
        },
        goBack,
    };
}
