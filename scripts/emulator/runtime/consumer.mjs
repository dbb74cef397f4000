/** Brings what the edge queued to the emulated provider, where the origin pulls it; waits for it while it is away. */

const PATIENCE_MS = 20_000;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1000;
const REQUEST_BYTES = 512 * 1024;

/** @param {Uint8Array} bytes */
function base64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/**
 * Write a message as the provider takes it: its kind of body is kept.
 *
 * @param {{ id: string, body: unknown }} message
 */
function encode({ id, body }) {
  if (typeof body === "string") return JSON.stringify({ id, content_type: "text", body });
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
    const bytes = ArrayBuffer.isView(body)
      ? new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
      : new Uint8Array(body);
    return JSON.stringify({ id, content_type: "bytes", body: base64(bytes) });
  }
  return JSON.stringify({ id, content_type: "json", body });
}

/** @param {string[]} messages */
function* requests(messages) {
  /** @type {string[]} */
  let batch = [];
  let size = 0;
  for (const message of messages) {
    if (batch.length && size + message.length > REQUEST_BYTES) {
      yield `[${batch.join(",")}]`;
      batch = [];
      size = 0;
    }
    batch.push(message);
    size += message.length;
  }
  yield `[${batch.join(",")}]`;
}

/**
 * @param {string} address
 * @param {string} body
 * @param {number} until
 * @returns {Promise<boolean>} whether the provider has decided about it
 */
async function deliver(address, body, until) {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      const response = await fetch(address, { method: "POST", headers: { "content-type": "application/json" }, body });
      await response.arrayBuffer();
      if (response.ok) return true;
      if (response.status < 500) {
        console.error(`the provider refused queued messages: status ${response.status}`);
        return true;
      }
    } catch {
      // It is away: that is what the pause is for.
    }
    if (Date.now() + pause > until) return false;
    await scheduler.wait(pause);
  }
}

export default {
  /**
   * @param {any} batch
   * @param {any} env
   */
  async queue(batch, env) {
    const address = `${env.PROVIDER_URL}/emulator/queues/${encodeURIComponent(batch.queue)}`;
    const until = Date.now() + PATIENCE_MS;
    for (const body of requests(batch.messages.map(encode))) {
      // What was delivered already is known by its id, so a whole batch may come again.
      if (!(await deliver(address, body, until))) return batch.retryAll();
    }
  },
};
