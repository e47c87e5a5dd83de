// Stands in for the one native part of AWS's runtime client, its HTTP client, which would have to be compiled. The client
// asks for "./rapid-client.node"; a folder of that name with an index.js is as good to `require` as a shared library.
"use strict";

const http = require("node:http");
const { Worker } = require("node:worker_threads");

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const PREFIX = "/2018-06-01/runtime/invocation/";
// The emulator tells neither errors from answers nor the function's real ARN, see rie.py: the server sends the ARN before
// the tenant, and looks for this word in the log.
const marker = process.env._LOCALAWS_EMULATOR;
delete process.env._LOCALAWS_EMULATOR;

let posting = Promise.resolve();
let unsent; // the path and the body of an answer that is under way

function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
    const request = http.request({ hostname, port, agent, method, path, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ headers: response.headers, bodyJson: Buffer.concat(chunks).toString() }));
    });
    request.on("error", reject).end(body);
  });
}

// Another thread does it while this one waits: the native client returns only when it is done, and after an error the
// runtime client ends the process at once.
function postAndWait(path, body) {
  const settled = new Int32Array(new SharedArrayBuffer(4));
  const source = `
    const { workerData: { settled, body, ...options } } = require("node:worker_threads");
    const settle = () => { Atomics.store(settled, 0, 1); Atomics.notify(settled, 0); };
    const request = require("node:http").request(options, (response) => response.resume().on("close", settle));
    request.on("error", settle).end(body);`;
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  const workerData = { settled, body, hostname, port, path, headers, method: "POST" };
  new Worker(source, { eval: true, workerData, env: {}, execArgv: [] }).unref();
  Atomics.wait(settled, 0, 0);
}

// A function may end the process right after its answer; that still has to arrive.
process.on("exit", () => unsent && postAndWait(...unsent));

exports.next = async () => {
  await posting;
  const call = await ask("GET", `${PREFIX}next`);
  const sent = call.headers["lambda-runtime-aws-tenant-id"];
  if (marker && sent) {
    const [arn, ...tenant] = sent.split(" ");
    call.headers["lambda-runtime-invoked-function-arn"] = arn;
    if (tenant.length) call.headers["lambda-runtime-aws-tenant-id"] = tenant.join(" ");
    else delete call.headers["lambda-runtime-aws-tenant-id"];
  }
  return call;
};

exports.done = (id, body) => {
  unsent = [`${PREFIX}${id}/response`, body];
  const forget = () => { unsent = undefined; };
  posting = ask("POST", ...unsent).then(forget, forget);
};

exports.error = (id, body) => {
  if (marker) require("node:fs").writeSync(1, `${marker} ${id}\n`);
  postAndWait(`${PREFIX}${id}/error`, body);
};
