/** Shows what the emulator's nodes do, as it comes, and sets what is wrong with them. */

/**
 * @typedef {{ key: string, version: number | null, newest: number | null, written_ms: number | null, is_behind: boolean }} Key
 * @typedef {object} NodeState
 * @property {string} name
 * @property {string} url
 * @property {string} country
 * @property {string} colo
 * @property {number} rate
 * @property {number} lateness_ms
 * @property {Key[]} keys
 * @property {Record<string, string | number>} faults
 * @property {{ at_ms: number, text: string }[]} lines
 * @property {{ requests: number, statuses: Record<string, number>, network: Record<string, number>, counts: Record<string, number>, latency_ms: Record<string, number | null> }} measured
 * @typedef {{ name: string, waiting: number, leased: number, oldest_ms: number | null, is_dead_letter: boolean }} QueueState
 * @typedef {{ at_ms: number, problem: string, nodes: NodeState[], queues: QueueState[], bundle: string, reloads: number, addresses: Record<string, string> }} State
 */

const POINTS = 60;
const WIDTH = 240;
const HEIGHT = 34;

/** @param {ParentNode} root @param {string} selector */
const find = (root, selector) => /** @type {HTMLElement} */ (root.querySelector(selector));

/** Only what has changed is written, so that nobody is told twice. @param {Element} element @param {string} text */
function show(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Element} element @param {boolean} wrong */
const mark = (element, wrong) => element.toggleAttribute("data-wrong", wrong);

/** @param {number} ms */
function age(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** @param {number} part @param {number} all */
const share = (part, all) => (all ? `${part} of ${all} (${Math.round((100 * part) / all)} %)` : "none asked");

/** @param {number | null} ms */
const milliseconds = (ms) => (ms === null ? "–" : ms < 10 ? ms.toFixed(1) : ms.toFixed(0));

/** @param {NodeState} node @param {number} now */
function facts({ measured, rate, keys }, now) {
  const { requests, statuses, network, counts, latency_ms } = measured;
  const asked = Object.values(network).reduce((sum, number) => sum + number, 0);
  const failed = Object.entries(statuses).reduce((sum, [status, number]) => sum + (status >= "500" ? number : 0), 0);
  const clips = keys.map((one) => {
    const version = one.version === null ? (one.written_ms === null ? "not yet" : "seen") : `version ${one.version}`;
    const late = one.is_behind ? ` (version ${one.newest ?? "?"} is on its way)` : "";
    const written = one.written_ms === null ? "" : `, ${age(now - one.written_ms)} old`;
    return `${one.key.replace("manifest/", "")}: ${version}${written}${late}`;
  });
  return {
    rate: rate.toFixed(1),
    requests: String(requests),
    errors: String(failed),
    latency: `${[latency_ms.p50, latency_ms.p95, latency_ms.p99].map(milliseconds).join(" / ")} ms`,
    network: share(network.HIT ?? 0, asked),
    stock: share(counts.cache_hits ?? 0, counts.cache_reads ?? 0),
    kv: String(counts.kv_reads ?? 0),
    events: `${counts.queue_messages ?? 0} / ${counts.queue_refused ?? 0}`,
    keys: clips.join("\n") || "none yet",
  };
}

class NodeCard {
  /** @type {number[]} */
  #rates = [];
  #edited = false;

  /** @param {NodeState} node */
  constructor({ name, url, country, colo }) {
    this.name = name;
    const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#node"));
    this.root = /** @type {HTMLElement} */ (template.content.cloneNode(true)).querySelector("article");
    const root = /** @type {HTMLElement} */ (this.root);
    const title = find(root, "h3");
    title.id = `node-${name}`;
    show(title, `${name} · ${colo}, ${country}`);
    root.setAttribute("aria-labelledby", title.id);
    const link = /** @type {HTMLAnchorElement} */ (find(root, "header a"));
    link.href = `${url}/health`;
    show(link, url.replace("http://", ""));
    this.form = /** @type {HTMLFormElement} */ (find(root, "form"));
    show(find(root, "legend"), `Faults of ${name}`);
    this.form.addEventListener("input", () => {
      this.#edited = true;
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#set(this.#chosen());
    });
    find(root, "[data-clear]").addEventListener("click", () => void this.#set({}));
  }

  #chosen() {
    /** @type {Record<string, string | number>} */
    const faults = {};
    for (const [name, value] of new FormData(this.form)) {
      if (value !== "") faults[name] = name.endsWith("_ms") ? Number(value) : String(value);
    }
    return faults;
  }

  /** @param {Record<string, string | number>} faults */
  async #set(faults) {
    if (await setFaults(this.name, faults)) this.#edited = false;
  }

  /** What was just sent is right; so is what others set, unless somebody is about to choose. */
  forgetEdits() {
    this.#edited = false;
  }

  /** @param {NodeState} node @param {number} now */
  update(node, now) {
    const root = /** @type {HTMLElement} */ (this.root);
    const wrong = Object.keys(node.faults).length;
    const pill = find(root, ".pill");
    show(
      pill,
      node.faults.isolate === "wedged" ? "wedged" : wrong ? `${wrong} fault${wrong > 1 ? "s" : ""}` : "serving",
    );
    mark(pill, wrong > 0);
    mark(root, wrong > 0);
    for (const [name, text] of Object.entries(facts(node, now))) show(find(root, `[data-fact="${name}"]`), text);
    this.#draw(node.rate);
    if (!this.#edited) this.#fill(node);
    const log = find(root, "pre");
    show(
      log,
      node.lines.map(({ at_ms, text }) => `${new Date(at_ms).toLocaleTimeString()}  ${text}`).join("\n") || "–",
    );
  }

  /** @param {NodeState} node */
  #fill({ faults, lateness_ms }) {
    for (const element of this.form.elements) {
      if (!(element instanceof HTMLSelectElement || element instanceof HTMLInputElement)) continue;
      const value = String(faults[element.name] ?? "");
      if (element.value !== value) element.value = value;
      element.toggleAttribute("data-set", value !== "");
      if (element instanceof HTMLInputElement && element.name === "lateness_ms") element.placeholder = `${lateness_ms}`;
    }
  }

  /** @param {number} rate */
  #draw(rate) {
    this.#rates = [...this.#rates.slice(1 - POINTS), rate];
    const most = Math.max(1, ...this.#rates);
    const step = WIDTH / (POINTS - 1);
    const left = WIDTH - (this.#rates.length - 1) * step;
    const points = this.#rates.map(
      (one, index) => `${(left + index * step).toFixed(1)},${(HEIGHT - (one / most) * (HEIGHT - 2)).toFixed(1)}`,
    );
    find(/** @type {HTMLElement} */ (this.root), "polyline").setAttribute("points", points.join(" "));
  }
}

/** @type {Map<string, NodeCard>} */
const cards = new Map();
const said = find(document, "#said");
const live = find(document, "#live");

/**
 * Have these faults at a node, or at `all`, and no others; say how it went.
 *
 * @param {string} node
 * @param {Record<string, string | number>} faults
 */
async function setFaults(node, faults) {
  const where = node === "all" ? "every node" : node;
  try {
    const response = await fetch(`/faults/${encodeURIComponent(node)}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(faults),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    const texts = Object.entries(faults).map(([name, value]) => `${name.replace("_ms", "")} ${value}`);
    show(said, texts.length ? `Set at ${where}: ${texts.join(", ")}.` : `No faults at ${where}.`);
    return true;
  } catch (error) {
    show(said, `Not set at ${where}: ${/** @type {Error} */ (error).message}`);
    return false;
  }
}

/** @param {State} state */
function showQueues({ queues, at_ms }) {
  const rows = queues.map(({ name, waiting, leased, oldest_ms, is_dead_letter }) => {
    const row = document.createElement("tr");
    const title = document.createElement("th");
    title.scope = "row";
    title.textContent = is_dead_letter ? `${name} (dead letters)` : name;
    const cells = [String(waiting), String(leased), oldest_ms === null ? "–" : `${age(at_ms - oldest_ms)} old`];
    const made = cells.map((text) => {
      const cell = document.createElement("td");
      cell.className = "number";
      cell.textContent = text;
      mark(cell, is_dead_letter && waiting > 0);
      return cell;
    });
    row.append(title, ...made);
    return row;
  });
  find(document, "#queues").replaceChildren(...rows);
}

/** @param {Record<string, string>} addresses */
function showLinks(addresses) {
  const links = find(document, "#links");
  if (links.childElementCount) return;
  for (const [name, url] of Object.entries(addresses)) {
    const link = document.createElement("a");
    link.href = url;
    link.textContent = name;
    links.append(link);
  }
}

/** @param {State} state */
function update(state) {
  show(live, state.problem || "live");
  mark(live, Boolean(state.problem));
  if (state.problem) return;
  showLinks(state.addresses);
  show(find(document, "#bundle"), `bundle ${state.bundle}, ${state.reloads} reloads`);
  for (const node of state.nodes) {
    let card = cards.get(node.name);
    if (!card) {
      card = new NodeCard(node);
      cards.set(node.name, card);
      find(document, "#nodes").append(/** @type {HTMLElement} */ (card.root));
    }
    card.update(node, state.at_ms);
  }
  showQueues(state);
}

find(document, "#clear-all").addEventListener("click", async () => {
  if (await setFaults("all", {})) for (const card of cards.values()) card.forgetEdits();
});
const stream = new EventSource("/stream");
stream.addEventListener("message", ({ data }) => update(JSON.parse(data)));
stream.addEventListener("error", () => {
  show(live, "not connected");
  mark(live, true);
});
