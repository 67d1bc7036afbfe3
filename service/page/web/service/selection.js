// Which series are looked at. Without a `sensor_type` all types of a pair are meant.

export const MOST = 20;

export function keyOf({ id1, id2, sensor_type }) {
    return JSON.stringify([id1, id2, sensor_type ?? null]);
}

export function nameOf({ id1, id2, sensor_type }) {
    return `${id1} / ${id2} / ${sensor_type ?? "all types"}`;
}

/// Whether a line is of what was chosen.
export function isOf(line, chosen) {
    return line.id1 === chosen.id1 && line.id2 === chosen.id2 && (!chosen.sensor_type || chosen.sensor_type === line.sensor_type);
}

/// Groups of what can be asked for with one question, which names one type or none.
export function byType(chosen) {
    const groups = new Map();
    for (const series of chosen) {
        const type = series.sensor_type ?? null;
        groups.set(type, [...(groups.get(type) ?? []), series]);
    }
    return [...groups].map(([sensor_type, pairs]) => ({ sensor_type, pairs }));
}

export function selection(changed) {
    const chosen = new Map();
    return {
        all: () => [...chosen.values()],
        has: (series) => chosen.has(keyOf(series)),
        /// Whether there was room for it.
        add(series) {
            const { id1, id2, sensor_type = null } = series;
            if (!this.has(series) && chosen.size >= MOST) {
                return false;
            }
            chosen.set(keyOf(series), { id1, id2, sensor_type });
            changed();
            return true;
        },
        remove(series) {
            chosen.delete(keyOf(series));
            changed();
        },
        clear() {
            chosen.clear();
            changed();
        },
        /// As it stands in the address, so that a view can be handed on.
        text: () => JSON.stringify([...chosen.values()].map(({ id1, id2, sensor_type }) => [id1, id2, sensor_type])),
        read(text) {
            chosen.clear();
            for (const [id1, id2, sensor_type] of JSON.parse(text).slice(0, MOST)) {
                const series = { id1, id2, sensor_type };
                chosen.set(keyOf(series), series);
            }
        },
    };
}
