// New readings as they come: reads `/live`, whose events a page gets with its token in a header.

import { Problem, query, request } from "../shared/api.js";
import { pairsOf } from "./data.js";
import { byType, isOf, keyOf } from "./selection.js";

const AGAIN_MS = 2000;
/// Points of a line at the most: the longer the window, the fewer events a second.
const POINTS = 600;
const SHORTEST_INTERVAL_MS = 100;
const QUIET_MS = 1000;
/// The rate of a series is that of so many seconds.
const RATE_S = 5;

/// Events of a stream, one by one, as they come.
async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done) {
            return;
        }
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
            const event = {};
            for (const line of part.split("\n").filter((it) => !it.startsWith(":"))) {
                const at = line.indexOf(": ");
                event[line.slice(0, at)] = line.slice(at + 2);
            }
            if (event.event) {
                yield { name: event.event, data: JSON.parse(event.data) };
            }
        }
    }
}

/// What has come of the last `window_s` seconds. Times are those of the readings.
function store(window_s) {
    const lines = new Map();
    let newest = -Infinity;
    return {
        take(reading, now) {
            const key = keyOf(reading);
            const line = lines.get(key) ?? { id1: reading.id1, id2: reading.id2, sensor_type: reading.sensor_type, points: [], readings: 0, counts: [] };
            lines.set(key, line);
            const point = { at: reading.timestamp_us / 1e6, value: reading.sensor_value };
            const last = line.points.at(-1);
            line.readings += reading.count;
            line.counts.push({ now, count: reading.count });
            // One that came later may be older.
            if (!last || point.at > last.at) {
                line.points.push(point);
            }
            newest = Math.max(newest, point.at);
        },
        forget(now) {
            for (const line of lines.values()) {
                const first = line.points.findIndex(({ at }) => at >= newest - window_s);
                line.points.splice(0, first < 0 ? line.points.length : first);
                const counted = line.counts.findIndex((it) => it.now >= now - RATE_S * 1000);
                line.counts.splice(0, counted < 0 ? line.counts.length : counted);
                line.rate = line.counts.reduce((total, { count }) => total + count, 0) / RATE_S;
            }
        },
        lines: () => [...lines.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
        newest: () => newest,
    };
}

/// Follows the series until `stop`. `onDraw` is called with what there is, no more often than the page can show it; `onTrouble`
/// with a sentence, or null when it is over.
export function follow(chosen, window_s, { onDraw, onTrouble, onEnd }) {
    const stopping = new AbortController();
    const kept = store(window_s);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const interval_ms = Math.max(calm ? 1000 : SHORTEST_INTERVAL_MS, Math.ceil((window_s * 1000) / POINTS));
    let waiting = null;
    let cameAt = null;

    function take(readings) {
        const now = performance.now();
        for (const reading of readings) {
            if (chosen.some((it) => isOf(reading, it))) {
                kept.take(reading, now);
            }
        }
        cameAt ??= now;
        soon();
    }

    function soon() {
        waiting ??= requestAnimationFrame(() => {
            waiting = null;
            kept.forget(performance.now());
            onDraw({ lines: kept.lines(), newest: kept.newest(), window_s, cameAt });
            cameAt = null;
        });
    }

    // Rates and ages change when nothing comes, too.
    const ticking = setInterval(soon, QUIET_MS);

    async function once(parameters) {
        const response = await request(`/live${query({ ...parameters, interval_ms })}`, { accept: "text/event-stream", signal: stopping.signal });
        onTrouble(null);
        for await (const { name, data } of events(response)) {
            if (name === "readings") {
                take(data.readings);
            } else if (name === "end") {
                throw new Problem(0, `The service ended the live view: ${data.reason}.`);
            }
        }
        throw new Problem(0, "The live view was cut off.");
    }

    // One stream of everything, for a browser has few connections: several types are told apart here.
    const groups = byType(chosen);
    const parameters = pairsOf({ pairs: chosen, sensor_type: groups.length === 1 ? groups[0].sensor_type : null });
    async function run() {
        while (!stopping.signal.aborted) {
            try {
                await once(parameters);
            } catch (error) {
                if (stopping.signal.aborted) {
                    return;
                }
                if (error.status >= 400 && error.status < 500) {
                    onEnd(error);
                    return;
                }
                onTrouble(`${error.message} Trying again.`);
                await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
            }
        }
    }
    run();
    return {
        stop() {
            stopping.abort();
            clearInterval(ticking);
            cancelAnimationFrame(waiting);
        },
    };
}
