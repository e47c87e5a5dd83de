// Run by Node.js in a child: imports one module, and writes to a file what came of it. See trial.py.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const order = JSON.parse(readFileSync(process.argv[2], "utf8"));
const exit = process.exit.bind(process);
const report = (outcome) => {
  writeFileSync(order.report, JSON.stringify(outcome));
  exit(0);
};

let found;
try {
  found = await import(pathToFileURL(order.file));
} catch (error) {
  report({
    outcome: "failed",
    kind: error?.name ?? typeof error,
    code: error?.code ?? "",
    message: String(error?.message ?? error),
    stack: String(error?.stack ?? error),
  });
}
const handler = found[order.attribute] ?? found.default?.[order.attribute];
const names = [...new Set([...Object.keys(found), ...Object.keys(Object(found.default))])];
report({ outcome: handler === undefined ? "no handler" : typeof handler === "function" ? "imported" : "not callable", names });
