// Series over time: which, of which stretch, as they were or as they come.

import { json, query } from "../shared/api.js";
import { COMPARED, look } from "../shared/chart.js";
import { el, field, notice, setText } from "../shared/dom.js";
import { count, moment } from "../shared/format.js";
import { seriesBrowser } from "./browser.js";
import { load, pairsOf } from "./data.js";
import { MOST_LINES, drawing, withLooks } from "./drawing.js";
import { liveControl } from "./live-control.js";
import { rangeForm } from "./range.js";
import { saveButton } from "./saving.js";
import { byType, isOf, nameOf, selection } from "./selection.js";

const DAY = 86_400;
const COMPARISONS = [["nothing", 0], ["the day before", DAY], ["the week before", 7 * DAY], ["four weeks before", 28 * DAY], ["the year before", 365 * DAY]];
const LOAD_AFTER_MS = 120;

/// Lines of now, and those that they are compared with, in the colours of the former.
function compared(now, before, later_s) {
    const lines = withLooks(now.lines);
    const note = `, ${COMPARISONS.find(([, it]) => it === later_s)[0]}`;
    const earlier = (before?.lines ?? []).slice(0, MOST_LINES).map((line) => {
        const same = lines.find((it) => isOf(it, line))?.look ?? look(lines.length);
        return { ...line, later_s, note, look: { ...same, dash: COMPARED } };
    });
    return [...lines, ...earlier];
}

/// What is shown, in a sentence: whatever is not there is named.
function sentence(chosen, now, before) {
    const kind = now.kind === "readings" ? `every reading: ${count(now.readings)}` : `averages of ${now.bucket} with least and greatest, of ${count(now.readings)} readings`;
    const missing = chosen.filter((it) => !now.lines.some((line) => isOf(line, it)));
    const parts = [
        `${count(now.lines.length)} series, ${kind}`,
        now.lines.length > MOST_LINES && `the first ${MOST_LINES} are drawn`,
        (!now.isWhole || before?.isWhole === false) && "not all of it: zoom in, or choose fewer series",
        before?.lines.length === 0 && "nothing to compare with",
        missing.length > 0 && `no reading of ${missing.map(nameOf).join(", ")}`,
    ];
    return `${parts.filter(Boolean).join("; ")}.`;
}

/// Takes a range that is none to the service, which has a sentence for it.
async function whatIsWrong(chosen, from_time, to_time) {
    const group = byType(chosen)[0] ?? { pairs: [{ id1: 0, id2: "x" }], sensor_type: null };
    await json(`/sensor/ids-time${query({ ...pairsOf(group), limit: 1 })}&${new URLSearchParams({ from_time, to_time })}`);
}

/// The time of the newest reading; NaN where there is none.
async function newestOf(chosen) {
    const found = await Promise.all(byType(chosen).map((group) => json(`/sensor/latest${query(pairsOf(group))}`)));
    const times = found.flatMap(({ latest }) => latest.flatMap(({ reading }) => (reading ? [reading.timestamp_us / 1e6] : [])));
    return times.length > 0 ? Math.max(...times) : NaN;
}

export function seriesView() {
    const chosen = selection(() => selected());
    const browser = seriesBrowser(chosen);
    const wrong = notice();
    const status = el("p", { class: "status hint", role: "status" });
    const speed = el("p", { class: "hint speed" });
    // Apart, for it stays when a chart that was asked for before arrives.
    const rangeWrong = notice();
    const range = rangeForm(() => ranged(), (from, to) => whatIsWrong(chosen.all(), from, to).catch((error) => rangeWrong.fail(error)));
    const picture = drawing({
        stretch: () => [range.get().from, range.get().to],
        onZoom: (from, to) => live.isOn() || range.set({ from, to }),
        onBack: () => range.goBack(),
        remove(line) {
            const meant = chosen.all().find((it) => isOf(line, it));
            if (meant) {
                chosen.remove(meant);
            }
        },
    });
    const live = liveControl({
        chosen, picture, wrong, status, speed,
        begun() {
            loading?.abort();
            clearTimeout(waiting);
            zooming.hidden = true;
        },
        ended(shown) {
            zooming.hidden = false;
            if (shown) {
                range.begin(shown);
                write();
            }
            soon();
        },
        failed(error) {
            zooming.hidden = false;
            empty("wrong", error.message);
        },
    });
    const compare = el("select", { name: "compare", onchange: () => live.isOn() || soon() }, COMPARISONS.map(([name, later_s]) => el("option", { value: later_s }, name)));
    const button = (name, label, action) => el("button", { type: "button", "aria-label": label, title: label, onclick: action }, name);
    const ifThere = (action) => () => picture.plot.isThere && action(picture.plot);
    const zooming = el("div", { class: "row zooming", role: "group", "aria-label": "Move and zoom" }, [
        button("←", "Earlier", ifThere((plot) => plot.move(-0.5))),
        button("→", "Later", ifThere((plot) => plot.move(0.5))),
        button("+", "Zoom in", ifThere((plot) => plot.zoom(0.5))),
        button("−", "Zoom out", ifThere((plot) => plot.zoom(2))),
        button("Newest", "Go to the newest reading", () => goToNewest()),
    ]);
    const save = saveButton({ chosen, range: () => live.range() ?? range.get(), wrong, told: speed });
    const tools = el("div", { class: "row tools" }, zooming, field("Compare with", compare), live.button, field("Live window", live.length), save);
    const panel = el("section", { class: "card panel", "aria-label": "Chart" }, range.form, rangeWrong.box, tools, wrong.box, status, speed, picture.parts);
    const root = el("div", { class: "view" }, el("h2", {}, "Series"), el("div", { class: "split" }, browser.root, panel));
    let loading = null;
    let waiting = null;
    let isShown = false;

    // What is looked at stands in the address, so that it can be handed on.
    function write() {
        const { from, to } = range.get();
        history.replaceState(null, "", `#series?${new URLSearchParams({ series: chosen.text(), from, to })}`);
    }

    function read() {
        const search = new URLSearchParams(location.hash.split("?")[1] ?? "");
        const next = { from: Number(search.get("from")), to: Number(search.get("to")) };
        try {
            if (search.has("series")) {
                chosen.read(search.get("series"));
            }
        } catch {
            wrong.say("wrong", "The address does not say which series are meant.");
        }
        if (search.has("from") && next.from < next.to) {
            range.begin(next);
        }
    }

    function selected() {
        browser.mark();
        write();
        if (live.isOn()) {
            live.start();
        } else {
            soon();
        }
    }

    function ranged() {
        rangeWrong.clear();
        live.stop();
        zooming.hidden = false;
        write();
        soon();
    }

    function empty(kind, ...why) {
        picture.clear();
        setText(status, "");
        wrong.say(kind, ...why);
    }

    function soon() {
        clearTimeout(waiting);
        if (isShown) {
            waiting = setTimeout(reload, LOAD_AFTER_MS);
        }
    }

    async function reload() {
        loading?.abort();
        if (chosen.all().length === 0) {
            empty("empty", "Choose a series to see its readings.");
            return;
        }
        loading = new AbortController();
        const { signal } = loading;
        const { from, to } = range.get();
        const later_s = Number(compare.value);
        setText(status, "Loading …");
        picture.busy(true);
        try {
            const now = await load(chosen.all(), { from, to }, picture.width(), signal);
            const before = later_s ? await load(chosen.all(), { from: from - later_s, to: to - later_s }, picture.width(), signal) : null;
            wrong.clear();
            show(now, before, later_s);
        } catch (error) {
            if (error.name !== "AbortError") {
                empty("wrong", error.message);
            }
        } finally {
            picture.busy(signal !== loading.signal);
        }
    }

    function show(now, before, later_s) {
        const { from, to } = range.get();
        const lines = compared(now, before, later_s);
        if (lines.length === 0) {
            const again = el("button", { type: "button", onclick: () => goToNewest() }, "Go to the newest reading");
            empty("empty", `No reading of ${chosen.all().map(nameOf).join(", ")} from ${moment(from)} to ${moment(to)} UTC. `, again);
            return;
        }
        picture.draw(lines, () => [from, to]);
        picture.list();
        setText(status, sentence(chosen.all(), now, before));
        setText(speed, "");
    }

    async function goToNewest() {
        const { from, to } = range.get();
        try {
            const newest = await newestOf(chosen.all());
            if (Number.isNaN(newest)) {
                wrong.say("empty", chosen.all().length ? `There is no reading of ${chosen.all().map(nameOf).join(", ")} at all.` : "Choose a series first.");
                return;
            }
            // With a little room, and to the end of the reading's own microsecond.
            range.set({ from: newest - (to - from) * 0.98, to: newest + (to - from) * 0.02 + 1e-6 });
        } catch (error) {
            wrong.fail(error);
        }
    }

    return {
        name: "series",
        title: "Series",
        root,
        show() {
            isShown = true;
            read();
            browser.look();
            soon();
        },
        hide() {
            isShown = false;
            loading?.abort();
            live.stop();
            zooming.hidden = false;
        },
    };
}
