/** Reads, inside workerd, the packs that `../pack.mjs` writes. */

/** @param {ArrayBuffer} buffer */
function read(buffer) {
  const bytes = new Uint8Array(buffer);
  const end = bytes.indexOf(10);
  return { header: JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))), body: bytes.subarray(end + 1) };
}

/**
 * Read a pack whose checksum was verified before it was handed over, or that is a module of this worker.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Map<string, Uint8Array>} views into the buffer, nothing is copied
 */
export function unpack(buffer) {
  const { header, body } = read(buffer);
  return new Map(
    header.files.map((/** @type {{ name: string, offset: number, size: number }} */ { name, offset, size }) => [
      name,
      body.subarray(offset, offset + size),
    ]),
  );
}

/**
 * Tell why a pack cannot be used together with another one, which was made from the same.
 *
 * @param {ArrayBuffer} buffer
 * @param {ArrayBuffer} other
 * @returns {Promise<string>} empty when it can be
 */
export async function problemOf(buffer, other) {
  try {
    const { header, body } = read(buffer);
    if (header.key !== read(other).header.key) return "it is of another build";
    if (body.length !== header.size) return `it has ${body.length} bytes of ${header.size}`;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
    const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return found === header.sha256 ? "" : "its checksum is wrong";
  } catch {
    return "its header is damaged";
  }
}
