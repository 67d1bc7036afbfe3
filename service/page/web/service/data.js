// What a chart shows of a stretch of time: figures of buckets as wide as its pixels, or each reading where these are few.

import { list, pages } from "../shared/api.js";
import { instant } from "../shared/format.js";
import { byType, keyOf } from "./selection.js";

/// Widths that a person can name, in seconds, up to the widest that the service makes.
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WIDTHS = [1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY];
const PAGE = 10_000;
/// So many are shown one by one, and more where buckets, which are a second wide at the least, would hide everything.
const FEW_READINGS = 20_000;
const FEW_BUCKETS = 50;
const MOST_READINGS = 200_000;
const MOST_BUCKETS = 100_000;
/// So much longer than usual is a pause between two readings through which no line is drawn.
const PAUSE = 6;

export function bucketFor(length_s, pixels) {
    return WIDTHS.find((width) => length_s / width <= pixels) ?? WIDTHS.at(-1);
}

export function bucketName(width) {
    const [unit, size] = [["d", DAY], ["h", HOUR], ["m", MINUTE], ["s", 1]].find(([, size]) => width % size === 0);
    return `${width / size}${unit}`;
}

/// The parameters that select pairs.
export function pairsOf({ pairs, sensor_type }) {
    return { id1: list(pairs.map((it) => it.id1)), id2: list(pairs.map((it) => it.id2)), sensor_type };
}

/// Rows of each series by themselves.
function lines(rows, pointOf) {
    const found = new Map();
    for (const row of rows) {
        const key = keyOf(row);
        let line = found.get(key);
        if (!line) {
            line = { id1: row.id1, id2: row.id2, sensor_type: row.sensor_type, points: [], readings: 0 };
            found.set(key, line);
        }
        line.points.push(pointOf(row));
        line.readings += row.count ?? 1;
    }
    for (const line of found.values()) {
        line.points.sort((a, b) => a.at - b.at);
    }
    return [...found.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

async function ofGroups(chosen, path, parameters, name, most, signal) {
    const all = { rows: [], isWhole: true };
    for (const group of byType(chosen)) {
        const found = await pages(path, { ...pairsOf(group), ...parameters, limit: PAGE }, name, { signal, most });
        // Not by spreading: there may be more rows than a call takes arguments.
        all.rows = all.rows.concat(found.rows);
        all.isWhole &&= found.isWhole;
    }
    return all;
}

/// Everything that a chart of so many pixels shows of the series between two times.
export async function load(chosen, { from, to }, pixels, signal) {
    const length_s = to - from;
    const width = bucketFor(length_s, Math.max(100, pixels));
    const range = { from_time: instant(from), to_time: instant(to) };
    const asked = { ...range, bucket: bucketName(width) };
    const buckets = await ofGroups(chosen, "/sensor/aggregate", asked, "buckets", MOST_BUCKETS, signal);
    const readings = buckets.rows.reduce((total, { count }) => total + count, 0);
    if (readings <= FEW_READINGS || (length_s / width < FEW_BUCKETS && readings <= MOST_READINGS)) {
        const rows = await ofGroups(chosen, "/sensor/ids-time", range, "readings", MOST_READINGS, signal);
        const point = ({ timestamp_us, sensor_value }) => ({ at: timestamp_us / 1e6, value: sensor_value });
        return { kind: "readings", readings: rows.rows.length, isWhole: rows.isWhole, lines: lines(rows.rows, point) };
    }
    const point = ({ bucket_us, avg, min, max, count }) => ({ at: bucket_us / 1e6 + width / 2, value: avg, min, max, count });
    return { kind: "buckets", bucket: bucketName(width), readings, isWhole: buckets.isWhole, lines: lines(buckets.rows, point) };
}

/// A line as a table for uPlot, with a gap wherever there is a pause.
export function tableOf({ points }, later_s = 0) {
    const steps = points.slice(1).map(({ at }, index) => at - points[index].at).sort((a, b) => a - b);
    const usual = steps[Math.floor(steps.length / 2)] ?? 0;
    const hasBand = points.some(({ min }) => min !== undefined);
    const table = hasBand ? [[], [], [], []] : [[], []];
    points.forEach((point, index) => {
        const before = points[index - 1];
        if (before && usual > 0 && point.at - before.at > PAUSE * usual) {
            table[0].push((before.at + point.at) / 2 + later_s);
            table.slice(1).forEach((column) => column.push(null));
        }
        table[0].push(point.at + later_s);
        table[1].push(point.value);
        if (hasBand) {
            table[2].push(point.min);
            table[3].push(point.max);
        }
    });
    return table;
}
