/**
 * Keeps the page: all files of one version together, so that it opens with no network. What is asked of the API is not
 * kept here; the page has its own store for that.
 */

const VERSION = "development";
const FILES = [
  "/scanner",
  "/scanner/app.js",
  "/scanner/camera.js",
  "/scanner/icon.svg",
  "/scanner/passes.js",
  "/scanner/scanner.css",
  "/scanner/store.js",
  "/scanner/syncing.js",
];

/** The types of a service worker's own world are not those of a page. @type {any} */
const world = self;

const fill = async () => (await caches.open(VERSION)).addAll(FILES.map((url) => new Request(url, { cache: "reload" })));

const clear = async () => {
  for (const name of await caches.keys()) if (name !== VERSION) await caches.delete(name);
  await world.clients.claim();
};

/** @param {Request} request */
const answer = async (request) => (await caches.match(new URL(request.url).pathname)) ?? fetch(request);

world.addEventListener("install", (/** @type {any} */ event) =>
  event.waitUntil(fill().then(() => world.skipWaiting())),
);
world.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(clear()));
world.addEventListener("fetch", (/** @type {any} */ event) => {
  if (FILES.includes(new URL(event.request.url).pathname)) event.respondWith(answer(event.request));
});
