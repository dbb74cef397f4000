/** How long an answer may be kept, and served while its source fails: RFC 9111 and RFC 5861, as a shared cache reads them. */

const STALE_IF_ERROR_S = 86_400;

/**
 * Read a number of seconds out of a Cache-Control header.
 *
 * @param {string} header
 * @param {string} directive
 */
function seconds(header, directive) {
  const found = new RegExp(`(?:^|[\\s,])${directive}\\s*=\\s*"?(\\d+)`, "i").exec(header);
  return found ? Number(found[1]) : undefined;
}

/**
 * How long a shared cache may keep an answer (RFC 9111, section 4.2.1), and serve it while the origin fails (RFC 5861).
 *
 * @param {string} header
 */
export function lifetime(header) {
  if (/(?:^|[\s,])(?:no-store|private|no-cache)(?:$|[\s,=])/i.test(header)) return undefined;
  const freshS = seconds(header, "s-maxage") ?? seconds(header, "max-age");
  return freshS === undefined
    ? undefined
    : { freshS, staleIfErrorS: seconds(header, "stale-if-error") ?? STALE_IF_ERROR_S };
}
