// The readings that are chosen, all of them, as one file.

import { query, request } from "../shared/api.js";
import { instant } from "../shared/format.js";
import { pairsOf } from "./data.js";
import { byType } from "./selection.js";

/// The pieces of an export without its first line.
function withoutHead(pieces) {
    let headIsGone = false;
    return pieces.pipeThrough(
        new TransformStream({
            transform(piece, controller) {
                if (headIsGone) {
                    controller.enqueue(piece);
                    return;
                }
                const end = piece.indexOf(10);
                if (end >= 0) {
                    headIsGone = true;
                    controller.enqueue(piece.subarray(end + 1));
                }
            },
        }),
    );
}

/// Saves them; `onBytes` hears how many there are so far. An export that is cut off is an error, and no file.
export async function download(paths, name, onBytes, signal) {
    const parts = [];
    let bytes = 0;
    for (const [index, path] of paths.entries()) {
        const response = await request(path, { accept: "text/csv", signal });
        const body = index === 0 ? response.body : withoutHead(response.body);
        const reader = body.getReader();
        for (;;) {
            const { done, value } = await reader.read();
            if (done) {
                break;
            }
            parts.push(value);
            bytes += value.length;
            onBytes(bytes);
        }
    }
    const url = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
    // The browser has begun to save it by then.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    return bytes;
}

/// Series that share a type come by one question.
export function pathsOf(chosen, { from, to }) {
    const range = { from_time: instant(from), to_time: instant(to), format: "csv" };
    return byType(chosen).map((group) => `/sensor/ids-time${query({ ...pairsOf(group), ...range })}`);
}

export function nameOf({ from, to }) {
    const part = (at) => instant(at).slice(0, 19).replaceAll(":", "").replaceAll("-", "");
    return `readings-${part(from)}-${part(to)}.csv`;
}
