// What this generator does: start, stop, rate, a burst, and its figures.

import { json } from "../shared/api.js";
import { chart } from "../shared/chart.js";
import { el, field, notice, setText, table } from "../shared/dom.js";
import { NOTHING, count, figure, seconds } from "../shared/format.js";
import { every } from "../shared/shell.js";
import { tiles } from "../shared/tiles.js";

const EVERY_MS = 1000;
const KEPT_S = 300;

/// A rate as the generator takes it: a number, or a word that it knows or refuses itself.
export function rateOf(text) {
    return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text.trim();
}

export function driveView() {
    const state = el("p", { class: "state", role: "status" }, "Asking …");
    const trouble = notice();
    const wrong = notice();
    const heads = tiles({
        rate: ["Rate", "acknowledged a second"],
        sent: ["Sent", "readings since the start"],
        acknowledged: ["Stored"],
        rejected: ["Rejected"],
        p50: ["Acknowledged, p50"],
        p99: ["Acknowledged, p99"],
    });
    const place = el("div", { class: "plot" }, el("p", { class: "hint" }, "It begins with the second look."));
    const rate = el("input", { type: "text", name: "rate", autocomplete: "off" });
    const start = el("button", { type: "button", class: "primary", onclick: () => act("/start") }, "Start");
    const stop = el("button", { type: "button", onclick: () => act("/stop") }, "Stop");
    const rejections = el("div");
    const result = el("p", { class: "hint", role: "status" });
    const burst = { total: el("input", { type: "text", name: "total", value: "1000", inputmode: "numeric" }), concurrency: el("input", { type: "text", name: "concurrency", value: "64" }), timeout: el("input", { type: "text", name: "timeout", value: "30s" }) };
    const plot = chart({ place, height: () => 200, label: "Readings acknowledged a second, over the last five minutes" });
    const looks = [];

    async function act(path, body) {
        try {
            show(await json(path, { method: "POST", body }));
            wrong.clear();
        } catch (error) {
            wrong.fail(error);
        }
    }

    async function setRate() {
        try {
            const settings = await json("/frequency", { method: "POST", body: { rate: rateOf(rate.value) } });
            rate.value = settings.rate;
            wrong.clear();
        } catch (error) {
            wrong.fail(error);
        }
    }

    async function send() {
        setText(result, "Sending …");
        const body = Object.fromEntries(Object.entries(burst).map(([name, input]) => [name, name === "timeout" ? input.value : rateOf(input.value)]));
        try {
            const report = await json("/spam", { method: "POST", body });
            setText(result, `${count(report.sent)} sent, ${count(report.committed)} stored, ${count(report.rejected)} rejected, ${count(report.failed)} failed in ${seconds(report.seconds)}.`);
            wrong.clear();
        } catch (error) {
            setText(result, "");
            wrong.fail(error);
        }
    }

    function show(stats) {
        const reached = stats.target.reachable === false ? ", which does not take connections" : "";
        setText(state, `${stats.state[0].toUpperCase()}${stats.state.slice(1)}: ${stats.target.address || "no target yet"}${reached}`);
        state.className = `state ${stats.state === "running" ? "good" : stats.running ? "bad" : ""}`;
        start.disabled = stats.running;
        stop.disabled = !stats.running;
        if (stats.target.trouble) {
            trouble.say("wrong", stats.target.trouble);
        } else {
            trouble.clear();
        }
        heads.rate.set(figure(stats.rate.now));
        heads.rate.hint(`of ${stats.rate.target === null ? "as many as possible" : figure(stats.rate.target)}; ${figure(stats.rate.overall)} since the start`);
        heads.sent.set(count(stats.sent));
        heads.sent.hint(`since the start, ${seconds(stats.uptime_s)}; ${count(stats.in_flight)} in flight`);
        heads.acknowledged.set(count(stats.acknowledged));
        heads.acknowledged.hint(`${count(stats.reconnects)} reconnects`);
        heads.rejected.set(count(stats.rejected));
        heads.rejected.hint(`${count(stats.failed)} whose fate is unknown`);
        for (const name of ["p50", "p99"]) {
            heads[name].set(stats.acknowledged > 0 ? seconds(stats.ack_ms[name] / 1000) : NOTHING);
        }
        const rows = stats.rejections.map((it) => [it.reason, count(it.readings)]);
        rejections.replaceChildren(rows.length ? table("Reasons", ["reason", "readings"], rows) : el("p", { class: "hint" }, "Nothing was rejected since the start."));
        draw(stats.rate.now);
    }

    function draw(now) {
        looks.push({ at: Date.now() / 1000, now });
        while (looks[0].at < looks.at(-1).at - KEPT_S) {
            looks.shift();
        }
        const data = [looks.map(({ at }) => at), looks.map((look) => look.now)];
        if (looks.length < 2 || place.clientWidth === 0) {
            return;
        }
        if (plot.isThere) {
            plot.update(data);
        } else {
            plot.draw({ lines: [{}], data, range: () => [looks[0].at, looks.at(-1).at] });
        }
    }

    const looking = every(EVERY_MS, async (signal) => {
        try {
            show(await json("/stats", { signal }));
            if (state.dataset.wasGone) {
                delete state.dataset.wasGone;
                wrong.clear();
            }
        } catch (error) {
            if (error.name !== "AbortError") {
                state.dataset.wasGone = "yes";
                setText(state, "No figures");
                state.className = "state bad";
                wrong.fail(error);
            }
        }
    });
    const submits = (action) => (event) => {
        event.preventDefault();
        action();
    };
    const rateForm = el("form", { class: "row", onsubmit: submits(setRate) }, field("Readings a second, or max", rate), el("button", { type: "submit" }, "Set the rate"));
    const burstForm = el("form", { class: "row", onsubmit: submits(send) }, field("Readings", burst.total), field("Calls at a time", burst.concurrency), field("Longest time", burst.timeout), el("button", { type: "submit" }, "Send a burst"));
    const card = (title, ...content) => el("section", { class: "card" }, el("h3", {}, title), content);
    const root = el(
        "div",
        { class: "view" },
        el("h2", {}, "Generator"),
        state,
        trouble.box,
        wrong.box,
        el("div", { class: "row drive" }, start, stop, rateForm),
        heads.root,
        el("div", { class: "cards" }, card("Readings acknowledged a second", place), card("Why readings were rejected", rejections), card("A burst", burstForm, result)),
    );
    return {
        name: "generator",
        title: "Generator",
        root,
        async show() {
            looking.start();
            try {
                rate.value = (await json("/config")).rate;
            } catch (error) {
                wrong.fail(error);
            }
        },
        hide: () => looking.stop(),
    };
}
