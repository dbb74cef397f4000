/** Reads, inside workerd, the packs that `../pack.mjs` writes. Their checksum was verified before they were handed over. */

/**
 * @param {ArrayBuffer} buffer
 * @returns {Map<string, Uint8Array>} views into the buffer, nothing is copied
 */
export function unpack(buffer) {
  const bytes = new Uint8Array(buffer);
  const end = bytes.indexOf(10);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  const body = bytes.subarray(end + 1);
  return new Map(
    header.files.map((/** @type {{ name: string, offset: number, size: number }} */ { name, offset, size }) => [
      name,
      body.subarray(offset, offset + size),
    ]),
  );
}
