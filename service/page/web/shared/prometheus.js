// Reads the text format of Prometheus, and histograms as PromQL does.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/// Samples by the names of their metrics.
export function parse(text) {
    const metrics = new Map();
    for (const line of text.split("\n")) {
        const found = line.startsWith("#") ? null : LINE.exec(line);
        if (!found) {
            continue;
        }
        const [, name, inside, number] = found;
        const labels = {};
        for (const [, label, value] of (inside ?? "").matchAll(LABEL)) {
            labels[label] = value.replaceAll('\\"', '"').replaceAll("\\\\", "\\");
        }
        const samples = metrics.get(name) ?? [];
        samples.push({ labels, value: number === "+Inf" ? Infinity : Number(number) });
        metrics.set(name, samples);
    }
    return metrics;
}

/// The sum of the samples that have these labels; NaN where there is none.
export function sum(metrics, name, wanted = {}) {
    const samples = metrics.get(name)?.filter(({ labels }) => Object.entries(wanted).every(([key, value]) => labels[key] === value));
    return samples?.length ? samples.reduce((total, { value }) => total + value, 0) : NaN;
}

/// The buckets of a histogram, cumulative, over all labels: pairs of the upper bound and the count.
export function buckets(metrics, name) {
    const counts = new Map();
    for (const { labels, value } of metrics.get(`${name}_bucket`) ?? []) {
        const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
        counts.set(bound, (counts.get(bound) ?? 0) + value);
    }
    return [...counts].sort(([a], [b]) => a - b);
}

/// A quantile of what came between two looks; NaN when nothing did. Inside of a bucket it is interpolated.
export function quantile(q, now, before) {
    const earlier = new Map(before);
    const counts = now.map(([bound, value]) => [bound, value - (earlier.get(bound) ?? 0)]);
    const total = counts.at(-1)?.[1] ?? 0;
    if (!(total > 0)) {
        return NaN;
    }
    const rank = q * total;
    const at = counts.findIndex(([, value]) => value >= rank);
    const [upper, value] = counts[at];
    const [lower, below] = at > 0 ? counts[at - 1] : [0, 0];
    return upper === Infinity ? lower : lower + ((upper - lower) * (rank - below)) / (value - below || 1);
}
