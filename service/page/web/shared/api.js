// Questions to the program that this page came from. The token goes in a header, never into an address, and is kept for as long
// as the tab is open.

const KEY = "sluicegate-token";
const TRIES = 4;

/// An answer that says what is wrong; the message is the program's own sentence.
export class Problem extends Error {
    constructor(status, detail, problem) {
        super(detail);
        this.name = "Problem";
        this.status = status;
        this.problem = problem;
    }
}

export const token = {
    get: () => sessionStorage.getItem(KEY),
    set(value) {
        if (value) {
            sessionStorage.setItem(KEY, value);
        } else {
            sessionStorage.removeItem(KEY);
        }
    },
};

/// Called with the problem when a token is missing or not good.
let onUnauthorized = () => {};

export function whenUnauthorized(listener) {
    onUnauthorized = listener;
}

/// A query string of what is given.
export function query(parameters) {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters)) {
        if (value !== null && value !== undefined && value !== "") {
            search.set(name, value);
        }
    }
    return search.size > 0 ? `?${search}` : "";
}

async function problemOf(response) {
    const body = await response.text();
    try {
        const problem = JSON.parse(body);
        return new Problem(response.status, problem.detail ?? problem.title ?? body, problem);
    } catch {
        return new Problem(response.status, body || `The answer was ${response.status}.`, {});
    }
}

/// The response itself; a `Problem` where it is none. A program that is busy is asked again when it says so.
export async function request(path, { method = "GET", body, accept = "application/json", signal } = {}) {
    for (let tries = 1; ; tries += 1) {
        const headers = { accept };
        if (token.get()) {
            headers.authorization = `Bearer ${token.get()}`;
        }
        if (body !== undefined) {
            headers["content-type"] = "application/json";
        }
        const sent = body === undefined ? undefined : JSON.stringify(body);
        let response;
        try {
            response = await fetch(`/api/v1${path}`, { method, headers, body: sent, signal, cache: "no-cache" });
        } catch (error) {
            throw error.name === "AbortError" ? error : new Problem(0, `${location.host} does not answer.`, {});
        }
        if (response.ok || (path === "/readyz" && response.status === 503)) {
            return response;
        }
        const wait_s = Number(response.headers.get("retry-after"));
        if (response.status === 503 && method === "GET" && wait_s > 0 && tries < TRIES) {
            await response.body?.cancel();
            await pause(wait_s * 1000, signal);
            continue;
        }
        const problem = await problemOf(response);
        if (response.status === 401) {
            onUnauthorized(problem);
        }
        throw problem;
    }
}

export async function json(path, options) {
    return (await request(path, options)).json();
}

export async function text(path, options) {
    return (await request(path, { accept: "text/plain", ...options })).text();
}

/// Rows of all pages, at most `most`; `onPage` hears how many there are so far.
export async function pages(path, parameters, name, { signal, most = Infinity } = {}) {
    const rows = [];
    let cursor;
    do {
        const page = await json(path + query({ ...parameters, cursor }), { signal });
        rows.push(...page[name]);
        cursor = page.next_cursor;
    } while (cursor && rows.length < most);
    return { rows, isWhole: !cursor };
}

function pause(ms, signal) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, ms);
        signal?.addEventListener("abort", () => {
            clearTimeout(timer);
            reject(new DOMException("aborted", "AbortError"));
        });
    });
}

/// A list as the API takes it: commas between, a backslash before those inside.
export function list(values) {
    return values.map((value) => String(value).replaceAll("\\", "\\\\").replaceAll(",", "\\,")).join(",");
}
