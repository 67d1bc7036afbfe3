// The button that has a chart follow what comes.

import { el, setText } from "../shared/dom.js";
import { count, seconds } from "../shared/format.js";
import { withLooks } from "./drawing.js";
import { follow } from "./live.js";
import { nameOf } from "./selection.js";

const WINDOWS = [["30 seconds", 30], ["2 minutes", 120], ["10 minutes", 600]];
/// A screen reader is told how it stands no more often than this while readings come.
const TOLD_EVERY_MS = 5000;

/// `ended(range)` is called when somebody ends it, with what was shown, or null when there was nothing.
export function liveControl({ chosen, picture, wrong, status, speed, begun, ended, failed }) {
    let live = null;
    const length = el("select", { name: "window", onchange: () => live && control.start() }, WINDOWS.map(([name, length_s]) => el("option", { value: length_s }, name)));
    const button = el("button", { type: "button", "aria-pressed": "false", onclick: () => (live ? control.end() : control.start()) }, "Live");

    function draw({ lines, newest, window_s, cameAt }) {
        if (!live || lines.length === 0) {
            return;
        }
        Object.assign(live, { newest, window_s });
        const names = lines.map(nameOf).join("\n");
        if (names === live.names) {
            picture.update();
        } else {
            live.names = names;
            wrong.clear();
            const current = live;
            picture.draw(withLooks(lines), () => [current.newest - current.window_s, current.newest]);
        }
        tell(lines, cameAt);
    }

    function tell(lines, cameAt) {
        const now = performance.now();
        const age_s = (performance.timeOrigin + now) / 1000 - live.newest;
        if (cameAt !== null) {
            live.drawn = `drawn ${Math.round(now - cameAt)} ms after it came; `;
        }
        setText(speed, `${live.drawn}the newest reading is ${age_s < 0 ? "ahead of this clock" : `${seconds(age_s)} old`}`);
        if (now - live.toldAt > TOLD_EVERY_MS) {
            live.toldAt = now;
            const rate = lines.reduce((total, line) => total + line.rate, 0);
            setText(status, `Live: ${count(lines.length)} series, ${count(rate)} readings a second.`);
            picture.list();
        }
    }

    function stop() {
        live?.following.stop();
        const shown = control.range();
        live = null;
        button.setAttribute("aria-pressed", "false");
        setText(speed, "");
        return shown;
    }

    const control = {
        button,
        length,
        isOn: () => live !== null,
        /// What is shown, as far as there is something.
        range: () => (Number.isFinite(live?.newest) ? { from: live.newest - live.window_s, to: live.newest + 1e-6 } : null),
        start() {
            stop();
            begun();
            if (chosen.all().length === 0) {
                ended(null);
                wrong.say("empty", "Choose a series to see its readings as they come.");
                return;
            }
            button.setAttribute("aria-pressed", "true");
            picture.clear();
            wrong.say("empty", "Waiting for readings: there is nothing of these series yet.");
            setText(status, "Live: waiting for readings.");
            live = { names: "", toldAt: -Infinity, drawn: "" };
            live.following = follow(chosen.all(), Number(length.value), {
                onDraw: draw,
                onTrouble: (sentence) => (sentence ? wrong.say("wrong", sentence) : picture.isEmpty() || wrong.clear()),
                onEnd(error) {
                    stop();
                    failed(error);
                },
            });
        },
        end() {
            ended(stop());
        },
        /// Without a word, for the view is left.
        stop,
    };
    return control;
}
