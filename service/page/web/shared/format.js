// Figures as people read them. Times are in UTC, as everywhere in the service.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const NOTHING = "–";

export function count(value) {
    return Number.isFinite(value) ? whole.format(Math.round(value)) : NOTHING;
}

/// A figure of no fixed size: three digits of it, or all before the point.
export function figure(value) {
    if (!Number.isFinite(value)) {
        return NOTHING;
    }
    return Math.abs(value) >= 100 ? whole.format(Math.round(value)) : short.format(value);
}

/// A stored value, whole.
export function value(number) {
    return Number.isFinite(number) ? String(number) : NOTHING;
}

/// What was computed: more digits would only tell how doubles are rounded.
export function average(number) {
    return Number.isFinite(number) ? String(Number(number.toPrecision(7))) : NOTHING;
}

export function seconds(value) {
    if (!Number.isFinite(value)) {
        return NOTHING;
    }
    if (value === 0) {
        return "0 s";
    }
    if (value < 1) {
        return `${short.format(value * 1000)} ms`;
    }
    const units = [["d", 86400], ["h", 3600], ["min", 60]];
    const [name, width] = units.find(([, width]) => value >= 2 * width) ?? ["s", 1];
    return `${short.format(value / width)} ${name}`;
}

export function bytes(value) {
    if (!Number.isFinite(value)) {
        return NOTHING;
    }
    const power = Math.min(4, Math.max(0, Math.floor(Math.log2(value || 1) / 10)));
    return `${short.format(value / 1024 ** power)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

/// Seconds since the Unix epoch as RFC 3339, with as many digits as they need.
export function instant(at) {
    const us = Math.round(at * 1e6);
    const whole_s = Math.floor(us / 1e6);
    const rest = us - whole_s * 1e6;
    const date = new Date(whole_s * 1000);
    if (Number.isNaN(date.getTime())) {
        return NOTHING;
    }
    const digits = rest === 0 ? "" : `.${String(rest).padStart(6, "0").replace(/(000)$/, "")}`;
    return `${date.toISOString().slice(0, 19)}${digits}Z`;
}

/// The same, easier to read.
export function moment(at) {
    return instant(at).replace("T", " ").replace("Z", "");
}
