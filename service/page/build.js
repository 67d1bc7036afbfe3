// Builds the pages of both programs into dist/, from which cargo embeds them. scripts/page.sh calls it.

import { build } from "esbuild";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";

const PROGRAMS = ["service", "generator"];
// Everything that is in a page and was not written here.
const NOTICES = ["uplot"];

async function buildPage(program) {
    const out = `dist/${program}`;
    await rm(out, { recursive: true, force: true });
    await mkdir(out, { recursive: true });
    const { metafile } = await build({
        entryPoints: [`web/${program}/main.js`],
        bundle: true,
        minify: true,
        format: "esm",
        target: "es2022",
        legalComments: "eof",
        entryNames: "[name]-[hash]",
        outdir: out,
        metafile: true,
    });
    const files = Object.keys(metafile.outputs).map((path) => basename(path));
    const named = (extension) => `/page/${files.find((name) => name.endsWith(extension))}`;
    const template = await readFile(`web/${program}/index.html`, "utf8");
    const page = template.replace("SCRIPT", named(".js")).replace("STYLE", named(".css")).replace("ICON", "/page/icon.svg");
    await copyFile("web/shared/icon.svg", `${out}/icon.svg`);
    const notices = NOTICES.map(async (name) => `${name}\n\n${await readFile(`node_modules/${name}/LICENSE`, "utf8")}`);
    await writeFile(`${out}/third-party.txt`, (await Promise.all(notices)).join("\n"));
    // Last, for cargo takes a folder without it for no page.
    await writeFile(`${out}/index.html`, page);
}

for (const program of PROGRAMS) {
    await buildPage(program);
}
