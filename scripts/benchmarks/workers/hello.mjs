/** The ceiling: what this machine, this runtime and the load generator do when the worker does nothing. */

export default {
  fetch: () => new Response("hello", { headers: { "content-type": "text/plain" } }),
};
