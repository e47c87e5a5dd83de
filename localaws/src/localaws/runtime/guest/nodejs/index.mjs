// `/var/runtime/index.mjs`, the program that runs in a Node.js runtime: AWS's runtime client.
// Version 3 wants to be told what to run; version 4 begins by itself when it is imported.
import { install } from "./node_path.mjs";

install();
const { run } = await import("./ric/index.mjs");
await run?.(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
