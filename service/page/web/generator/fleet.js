// The figures of all generators that this one was told of.

import { json } from "../shared/api.js";
import { el, notice, setText, table } from "../shared/dom.js";
import { count, figure, seconds } from "../shared/format.js";
import { every } from "../shared/shell.js";

const EVERY_MS = 1000;
const FIGURES = [["rate", figure], ["requests", count], ["sent", count], ["acknowledged", count], ["rejected", count], ["failed", count], ["uptime_s", seconds]];
const NAMES = { rate: "rate, a second", acknowledged: "stored", uptime_s: "uptime" };

export function fleetView() {
    const standing = el("p", { class: "state", role: "status" }, "Asking …");
    const wrong = notice();
    const all = el("div");
    const each = el("div");
    const down = el("div");

    function show(fleet) {
        const number = fleet.generators.length + fleet.down.length;
        setText(standing, `${count(fleet.running)} of ${count(number)} run`);
        standing.className = `state ${fleet.down.length > 0 ? "bad" : fleet.running > 0 ? "good" : ""}`;
        const figures = FIGURES.map(([name, write]) => [NAMES[name] ?? name, ...["min", "max", "avg", "total"].map((part) => write(fleet[name][part]))]);
        all.replaceChildren(table("The fleet", ["", "least", "greatest", "average", "all together"].map((it) => it || "figure"), figures));
        const rows = fleet.generators.map((it) => [
            it.endpoint,
            it.state,
            figure(it.rate.now),
            it.rate.target === null ? "max" : figure(it.rate.target),
            count(it.sent),
            count(it.acknowledged),
            count(it.failed),
            seconds(it.ack_ms.p99 / 1000),
            it.target.trouble ?? "",
        ]);
        each.replaceChildren(table("Generators", ["generator", "state", "rate", "target rate", "sent", "stored", "failed", "p99", "trouble"], rows));
        const missing = fleet.down.map((it) => [it.endpoint, it.error]);
        down.replaceChildren(missing.length > 0 ? table("Generators that do not answer", ["generator", "why"], missing) : "");
    }

    const looking = every(EVERY_MS, async (signal) => {
        try {
            show(await json("/fleet", { signal }));
            wrong.clear();
        } catch (error) {
            if (error.name !== "AbortError") {
                setText(standing, "No figures");
                standing.className = "state";
                wrong.fail(error);
            }
        }
    });
    const card = (title, content) => el("section", { class: "card" }, el("h3", {}, title), content);
    const root = el("div", { class: "view stack" }, el("h2", {}, "Fleet"), standing, wrong.box, card("All together", all), card("Each", each), down);
    return { name: "fleet", title: "Fleet", root, show: () => looking.start(), hide: () => looking.stop() };
}
