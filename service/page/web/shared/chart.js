// A chart of lines over time, by uPlot: colours of the scheme, the size of its place, UTC, bands, zoom by pointer and keyboard.

import uPlot from "uplot";
import { value } from "./format.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const COLOURS = {
    light: ["#1560bd", "#b8430a", "#18753a", "#8a2be2", "#b3202c", "#0b7285", "#8a6100", "#b61a68", "#4a43c9", "#4d6b0a"],
    dark: ["#79b8ff", "#ffa657", "#7ee787", "#d2a8ff", "#ff8a80", "#56d4dd", "#e3b341", "#f778ba", "#a5b4fc", "#c0e569"],
};
/// Lines beyond the colours, and those that are compared with, differ by their dashes.
const DASHES = [[], [8, 4], [2, 3]];
export const COMPARED = [3, 5];
/// How times are written: 24 hours, the day in the order of RFC 3339. Columns are those of uPlot: the step from which on a format is
/// taken, the format, and what is added where the year, the day or the minute changes.
const DAY_BELOW = "\n{YYYY}-{MM}-{DD}";
const TIMES = [
    [31_536_000, "{YYYY}", null, null, null, null, null, null, 1],
    [2_419_200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86_400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", DAY_BELOW, null, DAY_BELOW, null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", DAY_BELOW, null, DAY_BELOW, null, null, null, 1],
    [0.001, "{ss}.{fff}", `${DAY_BELOW} {HH}:{mm}`, null, `${DAY_BELOW} {HH}:{mm}`, null, "\n{HH}:{mm}", null, 1],
];
/// What would not fit beside the chart.
const LARGE = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
/// A shorter stretch has no more than one microsecond a pixel.
const SHORTEST_S = 0.001;

/// Colour and dash of the nth line, in the scheme of now.
export function look(n) {
    const colours = DARK.matches ? COLOURS.dark : COLOURS.light;
    return { n, colour: colours[n % colours.length], dash: DASHES[Math.floor(n / colours.length) % DASHES.length] };
}

export function whenSchemeChanges(then) {
    DARK.addEventListener("change", then);
}

function variable(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/// Lines with times of their own, as uPlot takes them.
export function aligned(tables) {
    return tables.length === 0 ? [[]] : uPlot.join(tables);
}

/// `stretch()` is what is wanted to be shown, which may not be drawn yet: who presses a key twice goes on from the first.
/// `onZoom(from, to)` is called when somebody has chosen another one; `onPoint(index)` when the cursor has moved. `label` is what a
/// screen reader hears.
export function chart({ place, height, label, stretch, onZoom, onPoint, onBack }) {
    let plot = null;
    let shown = null;
    const resize = new ResizeObserver(() => {
        if (plot && place.clientWidth > 0) {
            plot.setSize({ width: place.clientWidth, height: height() });
        }
    });
    resize.observe(place);
    whenSchemeChanges(() => shown && api.draw(shown));
    place.tabIndex = 0;
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", label);
    if (onZoom) {
        place.setAttribute("role", "application");
        place.addEventListener("keydown", (event) => onKey(event));
        place.addEventListener("wheel", (event) => onWheel(event), { passive: false });
    }

    /// Keeps the point at `share` of the width where it is.
    function zoom(factor, share = 0.5) {
        const [from, to] = stretch();
        const width = Math.max((to - from) * factor, SHORTEST_S);
        const fixed = from + (to - from) * share;
        onZoom(fixed - width * share, fixed + width * (1 - share));
    }

    function move(share) {
        const [from, to] = stretch();
        onZoom(from + (to - from) * share, to + (to - from) * share);
    }

    const keys = {
        ArrowLeft: () => move(-0.25),
        ArrowRight: () => move(0.25),
        ArrowUp: () => zoom(0.5),
        ArrowDown: () => zoom(2),
        "+": () => zoom(0.5),
        "-": () => zoom(2),
        Backspace: () => onBack?.(),
    };

    function onKey(event) {
        if (plot && keys[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
            event.preventDefault();
            keys[event.key]();
        }
    }

    // Without a key the wheel scrolls the page, as it does everywhere.
    function onWheel(event) {
        if (plot && (event.ctrlKey || event.shiftKey)) {
            event.preventDefault();
            const area = plot.over.getBoundingClientRect();
            const share = Math.min(1, Math.max(0, (event.clientX - area.left) / area.width));
            zoom((event.deltaY || event.deltaX) > 0 ? 1.5 : 1 / 1.5, share);
        }
    }

    function options(lines, range) {
        const axis = { stroke: variable("--quiet"), grid: { stroke: variable("--line"), width: 1 }, ticks: { stroke: variable("--line") } };
        const narrow = place.clientWidth < 500;
        return {
            width: place.clientWidth,
            height: height(),
            tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
            legend: { show: false },
            cursor: { drag: { x: Boolean(onZoom), y: false, setScale: false }, points: { size: 7 }, bind: { dblclick: () => () => onBack?.() } },
            scales: { x: { time: true, range: range ? () => range() : undefined } },
            axes: [
                { ...axis, space: narrow ? 70 : 90, values: TIMES },
                { ...axis, size: narrow ? 52 : 64, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : Math.abs(tick) >= 1e5 ? LARGE.format(tick) : value(Number(tick.toPrecision(10))))) },
            ],
            series: [{}, ...lines.map(seriesOf)],
            bands: lines.flatMap((line, index) => (line.upTo ? [{ series: [index + 1 + line.upTo, index + 1], fill: line.fill }] : [])),
            hooks: {
                setSelect: [(self) => selected(self)],
                setCursor: [(self) => onPoint?.(self.cursor.idx, self.data)],
            },
        };
    }

    function seriesOf({ colour = variable("--accent"), dash, isEdge }) {
        return {
            stroke: isEdge ? "transparent" : colour,
            width: isEdge ? 0 : 1.5,
            dash,
            points: isEdge ? { show: false } : { size: 5, fill: colour },
            spanGaps: false,
        };
    }

    function selected(self) {
        const { left, width } = self.select;
        if (onZoom && width > 4) {
            const [from, to] = [self.posToVal(left, "x"), self.posToVal(left + width, "x")];
            self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            if (to - from > SHORTEST_S / 10) {
                onZoom(from, to);
            }
        }
    }

    const api = {
        /// Draws anew: `lines` are looks, `data` what belongs to them, `range` what is shown of the time.
        draw({ lines, data, range }) {
            shown = { lines, data, range };
            plot?.destroy();
            // What stood there in its stead.
            place.replaceChildren();
            plot = new uPlot(options(lines, range), data, place);
        },
        /// Draws other data with the same looks.
        update(data) {
            shown.data = data;
            plot.setData(data);
        },
        zoom,
        move,
        clear() {
            plot?.destroy();
            plot = null;
            shown = null;
        },
        get isThere() {
            return plot !== null;
        },
    };
    return api;
}
