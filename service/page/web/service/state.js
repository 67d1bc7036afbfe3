// How the service stands: whether readings flow, its books, and how fast it is.

import { Problem, json, text } from "../shared/api.js";
import { chart } from "../shared/chart.js";
import { el, notice, setText, table } from "../shared/dom.js";
import { NOTHING, bytes, count, figure, seconds } from "../shared/format.js";
import { buckets, parse, quantile, sum } from "../shared/prometheus.js";
import { every } from "../shared/shell.js";
import { tiles } from "../shared/tiles.js";
import { reasonsOfToday } from "./reasons.js";

const EVERY_MS = 2000;
/// The rate is that of so many seconds, quantiles are those of a minute.
const RATE_S = 10;
const QUANTILE_S = 60;
const KEPT_S = 300;
const BOOKS = ["received", "committed", "rejected", "duplicate", "in_flight"];

/// Looks of the last minutes, the newest one last.
function history() {
    let looks = [];
    return {
        add(look) {
            // Counters that go back are those of another process.
            if (looks.length > 0 && look.books.received < looks.at(-1).books.received) {
                looks = [];
            }
            looks.push(look);
            looks = looks.filter(({ at }) => look.at - at <= KEPT_S);
        },
        /// The oldest look of so many seconds.
        since: (length_s) => looks.find(({ at }) => looks.at(-1).at - at <= length_s),
        all: () => looks,
    };
}

function rateBetween(earlier, later) {
    return earlier && later.at > earlier.at ? (later.books.committed - earlier.books.committed) / (later.at - earlier.at) : NaN;
}

/// Rows of a table about lanes.
function laneRows(metrics, before, passed_s) {
    const lanes = (metrics.get("sluicegate_lane_lag_seconds") ?? []).map(({ labels }) => labels.lane);
    return lanes.map((lane) => {
        const of = (name) => sum(metrics, name, { lane });
        const busy = before ? (of("sluicegate_lane_loading_seconds_total") - sum(before, "sluicegate_lane_loading_seconds_total", { lane })) / passed_s : NaN;
        return [
            lane,
            Number.isFinite(busy) ? `${Math.round(Math.min(1, busy) * 100)} %` : NOTHING,
            seconds(of("sluicegate_lane_lag_seconds")),
            count(of("sluicegate_lane_queue_messages")),
            seconds(of("sluicegate_lane_load_age_seconds")),
            count(of("sluicegate_lane_load_attempts")),
        ];
    });
}

/// Names and values of an object of figures, as they come.
function facts(object) {
    const word = (name) => name.replaceAll("_", " ");
    const shown = (value) => (typeof value === "number" ? count(value) : typeof value === "object" ? JSON.stringify(value) : String(value));
    return Object.entries(object).map(([name, value]) => [word(name), value === null ? NOTHING : shown(value)]);
}

function section(title, ...content) {
    return el("section", { class: "card" }, el("h3", {}, title), content);
}

export function stateView() {
    const looks = history();
    const state = el("p", { class: "state", role: "status" }, "Asking …");
    const reasons = el("ul", { class: "reasons" });
    const wrong = notice();
    const heads = tiles({
        rate: ["Rate", `readings a second, over ${RATE_S} s`],
        p50: ["Acknowledged, p50"],
        p99: ["Acknowledged, p99"],
        lag: ["Lag", "age of the oldest reading not stored"],
        budget: ["Budget"],
        quarantine: ["Quarantine", "readings that were not stored"],
    });
    const place = el("div", { class: "plot" }, el("p", { class: "hint" }, "A rate takes two looks: it begins with the second."));
    const cards = { books: el("div"), lanes: el("div"), partitions: el("div"), sources: el("div"), storage: el("div"), quarantine: el("div") };
    const rate = chart({ place, height: () => 160, label: "Readings stored a second, over the last five minutes" });
    const today = reasonsOfToday(cards.quarantine);
    const root = el(
        "div",
        { class: "view" },
        el("h2", {}, "State"),
        state,
        reasons,
        wrong.box,
        heads.root,
        el("div", { class: "cards" }, [
            section("Readings stored a second", place),
            section("Books", cards.books),
            section("Lanes", cards.lanes),
            section("Quarantine", cards.quarantine, el("p", {}, el("a", { href: "#quarantine" }, "Look through it"))),
            section("Partitions", cards.partitions),
            section("Sources", cards.sources),
            section("Storage", cards.storage),
        ]),
    );

    function showReadiness(ready) {
        const books = ready.books;
        const balanced = books.received === books.committed + books.rejected + books.duplicate + books.in_flight;
        setText(state, ready.ready ? "Ready: readings flow" : "Not ready");
        state.className = `state ${ready.ready ? "good" : "bad"}`;
        const sentences = [...ready.reasons, ...ready.failures];
        if (sentences.join("\n") !== reasons.dataset.shown) {
            reasons.dataset.shown = sentences.join("\n");
            reasons.replaceChildren(...sentences.map((sentence) => el("li", {}, sentence)));
        }
        heads.lag.set(seconds(ready.lag_ms / 1000));
        cards.books.replaceChildren(
            table("Books", [], BOOKS.map((name) => [name.replaceAll("_", " "), count(books[name])])),
            el("p", { class: balanced ? "hint" : "notice wrong" }, balanced ? "They balance: received is the sum of the others." : "They do not balance."),
        );
        const nobody = el("p", { class: "hint" }, "Nobody manages partitions here.");
        cards.partitions.replaceChildren(ready.partitions ? table("Partitions", [], facts(ready.partitions)) : nobody);
        const none = el("p", { class: "hint" }, "Readings come over gRPC and REST alone.");
        const sources = (ready.sources ?? []).map((it) => [it.name, it.kind ?? NOTHING, it.state, it.reason ?? ""]);
        cards.sources.replaceChildren(sources.length ? table("Sources", ["name", "kind", "state", "reason"], sources) : none);
        const storage = { ...ready.storage, ...ready.series };
        cards.storage.replaceChildren(table("Storage", [], facts(storage)));
    }

    function showFigures(look) {
        const before = looks.since(QUANTILE_S);
        const now = buckets(look.metrics, "sluicegate_acknowledgement_seconds");
        const earlier = before === look ? [] : buckets(before.metrics, "sluicegate_acknowledgement_seconds");
        for (const [name, q] of [["p50", 0.5], ["p99", 0.99]]) {
            const found = quantile(q, now, earlier);
            heads[name].set(seconds(found));
            heads[name].hint(Number.isNaN(found) ? "none within the last minute" : before === look ? "since the start" : "within the last minute");
        }
        const limit = sum(look.metrics, "sluicegate_limit", { setting: "ingest.budget_bytes" });
        const used = sum(look.metrics, "sluicegate_in_flight_bytes");
        heads.budget.set(`${figure((100 * used) / limit)} %`);
        heads.budget.hint(`${bytes(used)} of ${bytes(limit)} in flight`);
        heads.quarantine.set(count(sum(look.metrics, "sluicegate_quarantine_readings")));
        const last = looks.all().findLast((it) => it !== look && it.metrics);
        const rows = laneRows(look.metrics, last?.metrics, look.at - (last?.at ?? 0));
        cards.lanes.replaceChildren(table("Lanes", ["lane", "busy", "lag", "queue", "loading for", "failed attempts"], rows));
    }

    function drawRate() {
        const all = looks.all();
        const data = [all.map(({ at }) => at), all.map((look, index) => (index === 0 ? null : rateBetween(all[index - 1], look)))];
        if (all.length < 2 || place.clientWidth === 0) {
            return;
        }
        if (rate.isThere) {
            rate.update(data);
        } else {
            rate.draw({ lines: [{}], data, range: () => [Math.max(looks.all()[0].at, looks.all().at(-1).at - KEPT_S), looks.all().at(-1).at] });
        }
    }

    async function lookOnce(signal) {
        try {
            const ready = await json("/readyz", { signal });
            const look = { at: performance.timeOrigin / 1000 + performance.now() / 1000, books: ready.books, metrics: null };
            showReadiness(ready);
            look.metrics = parse(await text("/metrics", { signal }));
            looks.add(look);
            heads.rate.set(figure(rateBetween(looks.since(RATE_S), look)));
            showFigures(look);
            drawRate();
            await today.look(signal);
            wrong.clear();
        } catch (error) {
            wrong.fail(error);
            if (error instanceof Problem && error.status === 0) {
                setText(state, "The service does not answer");
                state.className = "state bad";
            }
        }
    }
    const looking = every(EVERY_MS, lookOnce);
    return { name: "state", title: "State", root, show: () => looking.start(), hide: () => looking.stop() };
}
