// The button that saves the readings of a chart, and stops that.

import { el, setText } from "../shared/dom.js";
import { bytes } from "../shared/format.js";
import { download, nameOf, pathsOf } from "./csv.js";

const NAME = "Download CSV";

/// `range()` is what is shown.
export function saveButton({ chosen, range, wrong, told }) {
    let saving = null;
    const button = el("button", { type: "button", onclick: () => (saving ? saving.abort() : save()) }, NAME);

    async function save() {
        if (chosen.all().length === 0) {
            wrong.say("empty", "Choose a series to download its readings.");
            return;
        }
        const wanted = range();
        saving = new AbortController();
        setText(button, "Stop the download");
        try {
            const size = await download(pathsOf(chosen.all(), wanted), nameOf(wanted), (so_far) => setText(told, `Downloading: ${bytes(so_far)}`), saving.signal);
            setText(told, `Downloaded: ${nameOf(wanted)}, ${bytes(size)}`);
        } catch (error) {
            setText(told, error.name === "AbortError" ? "The download was stopped." : "");
            wrong.fail(error.name === "TypeError" ? new Error("The download was cut off: nothing was saved.") : error);
        } finally {
            saving = null;
            setText(button, NAME);
        }
    }
    return button;
}
