// Node.js itself looks through NODE_PATH only for require; Lambda's does for import, too, from nodejs18.x on
// (https://aws.amazon.com/blogs/compute/node-js-18-x-runtime-now-available-in-aws-lambda).
import * as modules from "node:module";
import { pathToFileURL } from "node:url";

const folders = (process.env.NODE_PATH ?? "").split(":").filter((path) => path.endsWith("/node_modules"));
const parents = folders.map((path) => String(pathToFileURL(`${path}/../_`)));
const isPackage = (specifier) => !/^(\.{0,2}\/|#|[a-z][a-z+.-]*:)/i.test(specifier);
const isMissing = (error, specifier) => error?.code === "ERR_MODULE_NOT_FOUND" && isPackage(specifier);

function resolveSync(specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (error) {
    for (const parentURL of isMissing(error, specifier) ? parents : []) {
      try {
        return next(specifier, { ...context, parentURL });
      } catch {
        continue;
      }
    }
    throw error;
  }
}

// For `register`, in Node.js before 22.15: there hooks have a thread of their own.
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    for (const parentURL of isMissing(error, specifier) ? parents : []) {
      try {
        return await next(specifier, { ...context, parentURL });
      } catch {
        continue;
      }
    }
    throw error;
  }
}

export function install() {
  if (modules.registerHooks) modules.registerHooks({ resolve: resolveSync });
  else modules.register(import.meta.url);
}
