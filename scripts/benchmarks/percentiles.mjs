/** Percentiles of latencies, by the nearest rank: each is a latency that a request really had. */

/**
 * @param {Float64Array} latencies in ms; is sorted
 * @returns {{ p50_ms: number, p95_ms: number, p99_ms: number, most_ms: number }}
 */
export function percentiles(latencies) {
  latencies.sort();
  const at = (/** @type {number} */ share) =>
    latencies.length ? latencies[Math.max(0, Math.ceil(share * latencies.length) - 1)] : 0;
  return { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), most_ms: at(1) };
}
