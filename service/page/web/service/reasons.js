// Why readings of the last day were not stored, at a glance.

import { json, query } from "../shared/api.js";
import { el, table } from "../shared/dom.js";
import { count } from "../shared/format.js";

const DAY_MS = 86_400_000;
/// So many are looked at, and not more often than this.
const MOST = 1000;
const EVERY_MS = 20_000;

/// What differs from reading to reading does not make another reason.
function kind(reason) {
    return reason.replace(/"[^"]*"|`[^`]*`/g, "…").replace(/-?\d[\d.,:TZ+-]*/g, "…");
}

function summary(rejections) {
    const kinds = new Map();
    for (const { field, reason } of rejections) {
        const key = JSON.stringify([field, kind(reason)]);
        const found = kinds.get(key) ?? { field, reason, number: 0 };
        found.number += 1;
        kinds.set(key, found);
    }
    return [...kinds.values()].sort((a, b) => b.number - a.number);
}

export function reasonsOfToday(place) {
    let next = 0;
    return {
        async look(signal) {
            if (Date.now() < next) {
                return;
            }
            const from_time = Date.now() - DAY_MS;
            const page = await json(`/rejections${query({ from_time, limit: MOST })}`, { signal });
            next = Date.now() + EVERY_MS;
            const rows = summary(page.rejections).slice(0, 8).map((it) => [it.field, count(it.number), it.reason]);
            if (rows.length === 0) {
                place.replaceChildren(el("p", { class: "hint" }, "Nothing was rejected within the last day."));
                return;
            }
            const note = page.next_cursor ? `Of the first ${count(MOST)} of the last day; reasons by example.` : "Of the last day; reasons by example.";
            place.replaceChildren(table("Reasons", ["field", "readings", "reason"], rows), el("p", { class: "hint" }, note));
        },
    };
}
