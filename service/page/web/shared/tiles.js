// Figures that are read from afar, each with its name above and a few words below.

import { el, setText } from "./dom.js";
import { NOTHING } from "./format.js";

function tile(name, hint) {
    const shown = el("dd", {}, NOTHING);
    const below = el("dd", { class: "hint" }, hint ?? "");
    return { root: el("div", { class: "tile" }, el("dt", {}, name), shown, below), set: (text) => setText(shown, text), hint: (text) => setText(below, text) };
}

/// Tiles under the keys of `described`, which has a name and perhaps a hint for each.
export function tiles(described) {
    const all = Object.fromEntries(Object.entries(described).map(([key, [name, hint]]) => [key, tile(name, hint)]));
    return { root: el("dl", { class: "tiles" }, Object.values(all).map((it) => it.root)), ...all };
}
