/** The script that a page loads: `<script type="module" src="{edge}/cliptill-overlay.js"></script>`. */

import { CliptillOverlay } from "./element.js";

// A page may load it twice, under two addresses: the first one stays.
if (!customElements.get("cliptill-overlay")) customElements.define("cliptill-overlay", CliptillOverlay);

// `cliptill-claims.js` is a file of its own, and shares these with this one.
export { now } from "./clock.js";
export { list, make, put, webAddress } from "./dom.js";
export { ask, backoff, bounded, passing, pause } from "./net.js";
export { say } from "./texts.js";
