/**
 * A folder for what workerd and its helpers write while they run. It goes when this process ends; a process that was
 * killed cannot remove its own, so the next one does.
 */

import { mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";

const PREFIX = "run-";

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "EPERM";
  }
}

/**
 * Make this process's folder, and have every temporary file written there.
 *
 * @param {string} directory
 */
export function useWorkspace(directory) {
  for (const name of readdirSync(directory)) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length)) : 0;
    if (pid && !isAlive(pid)) rmSync(path.join(directory, name), { recursive: true, force: true });
  }
  const own = path.join(path.resolve(directory), `${PREFIX}${process.pid}`);
  mkdirSync(own, { recursive: true });
  process.env.TMPDIR = own;
  process.on("exit", () => rmSync(own, { recursive: true, force: true, maxRetries: 3, retryDelay: 20 }));
}
