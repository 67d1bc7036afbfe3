// The chart of some lines, with its legend and its table.

import { aligned, chart, look, whenSchemeChanges } from "../shared/chart.js";
import { el } from "../shared/dom.js";
import { tableOf } from "./data.js";
import { dataTable, legend } from "./legend.js";

export const MOST_LINES = 40;
const LABEL = "Chart of the chosen series. Arrow keys move along the time and zoom, Backspace goes back; the same points stand in the table below.";

/// A colour for each line, in their order.
export function withLooks(lines) {
    return lines.slice(0, MOST_LINES).map((line, index) => Object.assign(line, { look: look(index) }));
}

/// What uPlot draws of a line: itself, and the edges of its band, which are not drawn but filled between.
function looksOf(line, hasBand) {
    const own = { ...line.look, upTo: 0 };
    if (!hasBand) {
        return [own];
    }
    const edge = { ...own, isEdge: true };
    return [own, { ...edge, upTo: 1, fill: `${line.look.colour}30` }, edge];
}

export function drawing({ stretch, onZoom, onBack, remove }) {
    const place = el("div", { class: "plot tall-plot" });
    const rows = legend(remove);
    const points = dataTable();
    let drawn = { lines: [], tables: [] };
    let shownRange = null;
    const height = () => Math.round(Math.min(420, Math.max(260, innerHeight * 0.45)));
    const plot = chart({ place, height, label: LABEL, stretch, onZoom, onBack, onPoint: (index, data) => showPoint(index, data) });

    function showPoint(index, data) {
        if (index === null || index === undefined) {
            rows.point(null);
            rows.fill(drawn.lines);
            return;
        }
        let column = 1;
        const values = drawn.tables.map((table) => {
            const found = data[column][index];
            column += table.length - 1;
            return found;
        });
        if (values.length > 0) {
            rows.point(data[0][index], values, drawn.tables[0].length > 2);
        }
    }

    whenSchemeChanges(() => {
        for (const line of drawn.lines) {
            line.look = { ...line.look, colour: look(line.look.n).colour };
        }
        if (drawn.lines.length > 0) {
            picture.draw(drawn.lines, shownRange);
        }
    });

    const picture = {
        parts: [place, rows.root, points.root],
        plot,
        width: () => place.clientWidth,
        isEmpty: () => drawn.lines.length === 0,
        busy(is) {
            place.toggleAttribute("aria-busy", is);
        },
        clear() {
            plot.clear();
            drawn = { lines: [], tables: [] };
            rows.show([]);
            points.show([]);
        },
        /// Lines with their looks, and what is shown of the time.
        draw(lines, range) {
            const tables = lines.map((line) => tableOf(line, line.later_s));
            drawn = { lines, tables };
            shownRange = range;
            rows.show(lines);
            rows.fill(lines);
            plot.draw({ lines: lines.flatMap((line, index) => looksOf(line, tables[index].length > 2)), data: aligned(tables), range });
        },
        /// The same lines, with other points.
        update() {
            drawn.tables = drawn.lines.map((line) => tableOf(line));
            plot.update(aligned(drawn.tables));
            rows.fill(drawn.lines);
        },
        list() {
            points.show(drawn.lines);
        },
    };
    return picture;
}
