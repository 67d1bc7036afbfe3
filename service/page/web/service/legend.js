// What is drawn, in words: a row for each line, with what stands below the cursor, and a table of the points.

import { el, setText } from "../shared/dom.js";
import { average, count, figure, moment, value } from "../shared/format.js";
import { nameOf } from "./selection.js";

const MOST_ROWS = 500;

function swatch({ colour, dash }) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    line.setAttribute("viewBox", "0 0 24 6");
    line.setAttribute("class", "swatch");
    line.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", "M0 3h24");
    path.setAttribute("stroke", colour);
    path.setAttribute("stroke-width", "3");
    path.setAttribute("stroke-dasharray", (dash ?? []).join(" "));
    line.append(path);
    return line;
}

/// A reading is shown as it is, an average with as many digits as mean something.
function shown(point) {
    return point.min === undefined ? value(point.value) : average(point.value);
}

/// `remove(line)` is called by the button of a row.
export function legend(remove) {
    const at = el("caption", {}, "Newest values");
    const body = el("tbody");
    const head = el("tr", {}, ["series", "value", "readings", ""].map((name) => el("th", { scope: "col" }, name || el("span", { class: "unseen" }, "remove"))));
    const root = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Series in the chart" }, el("table", { class: "legend" }, at, el("thead", {}, head), body));
    let rows = [];

    return {
        root,
        /// Anew, for these lines with their looks.
        show(lines) {
            body.replaceChildren();
            rows = lines.map((line) => {
                const cells = { value: el("td", { class: "number" }), number: el("td", { class: "number" }) };
                const name = el("th", { scope: "row" }, swatch(line.look), ` ${nameOf(line)}${line.note ?? ""}`);
                const button = line.note ? null : el("button", { type: "button", class: "small", "aria-label": `Remove ${nameOf(line)}`, onclick: () => remove(line) }, "×");
                body.append(el("tr", {}, name, cells.value, cells.number, el("td", {}, button)));
                return cells;
            });
        },
        fill(lines) {
            lines.forEach((line, index) => {
                const last = line.points.at(-1);
                setText(rows[index].value, last ? shown(last) : "");
                setText(rows[index].number, line.rate === undefined ? count(line.readings) : `${figure(line.rate)} a second`);
            });
        },
        /// The values below the cursor; null for the newest.
        point(when, values, areAverages) {
            setText(at, when === null ? "Newest values" : `At ${moment(when)} UTC`);
            const write = areAverages ? average : value;
            values?.forEach((it, index) => setText(rows[index].value, it === null || it === undefined ? "" : write(it)));
        },
    };
}

/// The same points as a table, for who cannot see a chart. It is made when it is opened.
export function dataTable() {
    const body = el("div");
    let lines = [];
    const root = el("details", { class: "data", ontoggle: () => fill() }, el("summary", {}, "The same as a table"), body);

    function fill() {
        if (!root.open) {
            return;
        }
        const points = lines.flatMap((line) => line.points.map((point) => ({ line, ...point })));
        const hasBuckets = points.some(({ min }) => min !== undefined);
        points.sort((a, b) => a.at - b.at);
        const headings = ["time (UTC)", "series", ...(hasBuckets ? ["average", "least", "greatest", "readings"] : ["value"])];
        const rows = points.slice(-MOST_ROWS).map(({ line, at, value: it, min, max, count: number }) => {
            const figures = hasBuckets ? [average(it), value(min), value(max), count(number)] : [value(it)];
            return el("tr", {}, el("th", { scope: "row" }, moment(at)), el("td", {}, nameOf(line) + (line.note ?? "")), figures.map((cell) => el("td", { class: "number" }, cell)));
        });
        const note = points.length > MOST_ROWS ? `The last ${count(MOST_ROWS)} of ${count(points.length)} points; a download has all readings.` : `${count(points.length)} points`;
        const head = el("tr", {}, headings.map((name) => el("th", { scope: "col" }, name)));
        const scroll = el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Points of the chart" }, el("table", {}, el("caption", {}, note), el("thead", {}, head), el("tbody", {}, rows)));
        body.replaceChildren(scroll);
    }

    return {
        root,
        show(drawn) {
            lines = drawn;
            fill();
        },
    };
}
