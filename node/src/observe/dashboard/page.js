"use strict";
// Asks the node every second and draws what it says. No library: the page is served by the node itself, to browsers
// that may reach nothing else.

const $ = (id) => document.getElementById(id);
const KEPT = 120; // seconds that a tile remembers
const HUES = [42, 205, 140, 280, 10, 170, 320, 90];

/** An element; children are elements or text, which is never read as markup. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== undefined) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

function rows(table, lines, nothing) {
  const body = $(table).tBodies[0];
  const width = $(table).tHead.rows[0]?.cells.length || 1;
  body.replaceChildren(...(lines.length ? lines : [make("tr", {}, make("td", { colspan: width, class: "empty" }, nothing))]));
}

const cell = (what, kind) => make("td", kind ? { class: kind } : {}, what ?? "–");
const number = (value) => cell(typeof value === "number" ? value.toLocaleString("en") : "–", "number");

function brief(value, unit) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (unit === "s") return value < 1e-3 ? `${(value * 1e6).toFixed(0)} µs` : value < 1 ? `${(value * 1e3).toFixed(1)} ms` : `${value.toFixed(2)} s`;
  if (unit === "bytes") {
    for (const name of ["B", "KiB", "MiB", "GiB"]) { if (value < 1024) return `${value.toFixed(value < 10 ? 1 : 0)} ${name}`; value /= 1024; }
    return `${value.toFixed(1)} TiB`;
  }
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value % 1 && value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

// --- metrics

/** The samples of an OpenMetrics text: name, labels, value. */
function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = /^lamplight_([a-z_]+)(?:\{([^}]*)\})? (\S+)/.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, key, value] of (found[2] || "").matchAll(/(\w+)="([^"]*)"/g)) labels[key] = value;
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

const sum = (samples, name, wanted = () => true) =>
  samples.reduce((all, one) => (one.name === name && wanted(one.labels) ? all + one.value : all), 0);

/** The value below which this share of what was counted between two scrapes lies. */
function quantile(now, before, name, share) {
  const counts = new Map();
  for (const [samples, sign] of [[now, 1], [before, -1]])
    for (const one of samples)
      if (one.name === `${name}_bucket`) {
        const bound = one.labels.le === "+Inf" ? Infinity : Number(one.labels.le);
        counts.set(bound, (counts.get(bound) || 0) + sign * one.value);
      }
  const bounds = [...counts.entries()].sort((one, other) => one[0] - other[0]);
  const all = bounds.length ? bounds[bounds.length - 1][1] : 0;
  if (all <= 0) return null;
  let below = 0, lower = 0;
  for (const [bound, upTo] of bounds) {
    if (upTo >= all * share) {
      if (!Number.isFinite(bound)) return lower;
      const inside = upTo - below;
      return lower + (bound - lower) * (inside ? (all * share - below) / inside : 1);
    }
    [below, lower] = [upTo, bound];
  }
  return lower;
}

const answered = (method) => (now) => sum(now, "requests_total", (labels) => labels.method === method);
const rate = (of) => (now, before, seconds) => Math.max(0, (of(now) - of(before)) / seconds);
const TILES = [
  ["publications", "per second", "", rate(answered("PUBLISH"))],
  ["notifications", "per second", "", rate((now) => sum(now, "fan_out_watchers_sum"))],
  ["publish → notify", "median", "s", (now, before) => quantile(now, before, "notify_lag_seconds", 0.5)],
  ["publish → notify", "99 %", "s", (now, before) => quantile(now, before, "notify_lag_seconds", 0.99)],
  ["answers", "99 % of them within", "s", (now, before) => quantile(now, before, "request_seconds", 0.99)],
  ["refused", "per second", "", rate((now) => sum(now, "requests_total", (labels) => Number(labels.status) >= 400 && labels.status !== "401"))],
  ["publications kept", "in the shards here", "", (now) => sum(now, "publications")],
  ["subscriptions kept", "in the shards here", "", (now) => sum(now, "dialogs")],
  ["endpoints", "registered", "", (now) => sum(now, "endpoints")],
  ["write to the log", "mean", "s", (now, before) => {
    const batches = sum(now, "log_batches_total") - sum(before, "log_batches_total");
    return batches > 0 ? (sum(now, "log_sync_microseconds_total") - sum(before, "log_sync_microseconds_total")) / batches / 1e6 : null;
  }],
];
const tiles = TILES.map(([title, subtitle, unit, value]) => {
  const figure = make("b", {}, "–");
  const chart = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  chart.setAttribute("viewBox", `0 0 ${KEPT - 1} 30`);
  chart.setAttribute("preserveAspectRatio", "none");
  chart.setAttribute("aria-hidden", "true");
  const paths = ["area", "line"].map((kind) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", kind);
    chart.append(path);
    return path;
  });
  $("tiles").append(make("div", { class: "tile" }, make("span", {}, `${title}, ${subtitle}`), figure, chart));
  return { unit, value, figure, paths, past: [] };
});

function draw(tile) {
  const top = Math.max(...tile.past.map((value) => value || 0), 1e-9);
  const at = tile.past.map((value, index) => [KEPT - tile.past.length + index, 29 - 27 * ((value || 0) / top)]);
  const line = at.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y.toFixed(1)}`).join("");
  tile.paths[1].setAttribute("d", line);
  tile.paths[0].setAttribute("d", at.length ? `${line}L${at[at.length - 1][0]} 30L${at[0][0]} 30Z` : "");
}

const WORKER = [
  ["streams", "connections"], ["server_transactions", "asked"], ["client_transactions", "asking"],
  ["datagrams_in_total", "datagrams in"], ["datagrams_out_total", "out"], ["stream_messages_in_total", "by stream in"],
  ["stream_messages_out_total", "out"], ["coalesced_total", "replaced unsent"], ["retransmissions_sent_total", "sent again"],
  ["streams_closed_slow_total", "too slow"],
];
let last = null;

function measured(text) {
  const now = { at: performance.now(), samples: parse(text) };
  if (last) {
    const seconds = (now.at - last.at) / 1000;
    for (const tile of tiles) {
      const value = tile.value(now.samples, last.samples, seconds);
      tile.past.push(value);
      if (tile.past.length > KEPT) tile.past.shift();
      tile.figure.textContent = brief(value, tile.unit);
      draw(tile);
    }
  }
  last = now;
  const workers = [...new Set(now.samples.map((one) => one.labels.worker).filter(Boolean))].sort((one, other) => one - other);
  $("workers").tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, "worker"),
    ...WORKER.map(([, title]) => make("th", { scope: "col" }, title))));
  rows("workers", workers.map((worker) => make("tr", {}, cell(worker),
    ...WORKER.map(([name]) => number(sum(now.samples, name, (labels) => labels.worker === worker))))), "no worker");
}

// --- the pool

function replica(node, shard) {
  const leads = shard.leader === node;
  const seen = shard.replicas_seen.find((one) => one.node === node);
  const late = seen && seen.lag_entries > 1000;
  const title = `node ${node}${leads ? ", leads" : ""}${seen ? `, lacks ${seen.lag_entries} entries` : ""}`;
  return make("span", { class: `replica${leads ? " leads" : ""}${late ? " late" : ""}`, title }, leads ? `★ ${node}` : String(node));
}

function pooled(pool) {
  $("who").textContent = `node ${pool.node} · ${pool.domains.join(", ")}`;
  $("epoch").textContent = `${pool.nodes.length} node${pool.nodes.length > 1 ? "s" : ""}, ${pool.slots.length} shards, map ${pool.epoch}`;
  document.body.classList.add("lit");
  const bad = pool.waiting_for;
  $("state").textContent = bad.length ? `not ready: ${bad.join("; ")}` : pool.log_stalled ? `the log waits: ${pool.log_stalled}` : "ready";
  $("state").className = bad.length || pool.log_stalled ? "bad" : "good";
  while ($("slots").children.length > pool.slots.length) $("slots").lastChild.remove();
  pool.slots.forEach((held, shard) => {
    const bar = $("slots").children[shard] || $("slots").appendChild(make("div"));
    bar.style.flexGrow = held;
    bar.style.background = `hsl(${HUES[shard % HUES.length]} 70% ${shard % 16 < 8 ? 68 : 58}%)`;
    bar.title = `shard ${shard}: ${held} slots`;
    bar.textContent = held > 40 ? `${shard}: ${held}` : "";
  });
  const { moved, median_ms: median, worst_ms: worst } = pool.freezes;
  const past = moved ? `${moved} slots moved by this node; each was still for ${median?.toFixed(1)} ms, at worst ${worst?.toFixed(1)} ms` : "";
  $("moves").replaceChildren(...[
    pool.moves.length ? `${pool.moves.length} slots on their way (${[...new Set(pool.moves.map((one) => `${one.from} → ${one.to}`))].slice(0, 8).join(", ")})` : "",
    past, ...pool.set_aside.map((one) => `${one.group} was set aside: ${one.why}`),
  ].filter(Boolean).map((text) => make("p", {}, text)));
  const leads = (node) => pool.shards.filter((shard) => shard.leader === node).map((shard) => shard.shard);
  rows("nodes", pool.nodes.map((node) => make("tr", {},
    cell(node.node === pool.node ? `${node.node} (this)` : String(node.node)),
    cell(make("span", { class: node.standing === "serving" ? "good" : "warn" }, node.standing)),
    cell(leads(node.node).join(" ") || "–", "wide"),
    cell(node.sip.join(" ") || "–", "wide"),
    cell(make("span", { class: node.linked ? "good" : "bad" }, node.linked ? (node.round_trip_us ? brief(node.round_trip_us / 1e6, "s") : "up") : "down")),
    cell(node.admin ? make("a", { href: `http://${node.admin}/` }, node.admin) : "–"))), "no node");
  rows("shards", pool.shards.map((shard) => make("tr", {},
    cell(`${shard.shard} ${shard.role === "leader" ? "" : `(${shard.role})`}`),
    cell(make("span", {}, ...[...new Set([...shard.voters, ...shard.replicas])].sort((one, other) => one - other).map((node) => replica(node, shard)))),
    number(shard.term), number(shard.applied),
    cell(shard.stopped ? make("span", { class: "bad" }, shard.stopped) : shard.caught_up ? make("span", { class: "good" }, "no")
      : make("span", { class: "warn" }, `${shard.lag_entries} entries, ${brief(shard.behind_ms / 1e3, "s")}`)),
    number(shard.in_flight), number(shard.slots))), "no shard here");
  rows("profiles", pool.profiles.map((one) => make("tr", {}, cell(one.profile), cell(one.dialect), cell(one.habits.join("; "), "wide"),
    cell(one.peers.slice(0, 6).join("; ") || "nobody yet", "wide"))), "no profile");
}

function refusals(list) {
  rows("refused", list.slice(0, 50).map((one) => make("tr", {}, cell(one.at.replace("T", " ").slice(0, 19)),
    cell(`${one.from} · ${one.peer}`, "wide"), cell(`${one.method} ${one.uri}`, "wide"), cell(String(one.status)),
    cell(one.reason, "wide"))), "nothing since this node started");
}

// --- one user

const address = (text) => (/^(sips?|tel|pres):/.test(text) ? text : `sip:${text}`);

function table(titles, lines, nothing) {
  return make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)))),
    make("tbody", {}, ...(lines.length ? lines : [make("tr", {}, make("td", { class: "empty", colspan: titles.length }, nothing))]))));
}

/** A document with a line for each element. */
function indented(xml) {
  let depth = 0;
  return xml.replace(/>\s*</g, ">\n<").split("\n").map((line) => {
    if (/^<\//.test(line)) depth -= 1;
    const shown = "  ".repeat(Math.max(depth, 0)) + line;
    if (/^<[^!?/][^>]*[^/]>$/.test(line)) depth += 1;
    return shown;
  }).join("\n");
}

async function explain(watcher, presentity, place) {
  const answer = await fetch(`/explain?watcher=${encodeURIComponent(watcher)}&presentity=${encodeURIComponent(presentity)}`, { headers: { Accept: "application/json" } });
  const said = await answer.json().catch(() => ({ error: "this node cannot explain it" }));
  place.replaceChildren(make("pre", { tabindex: "0" }, JSON.stringify(said, null, 2)));
}

async function look(text) {
  const place = $("person");
  const answer = await fetch(`/presentity/${encodeURIComponent(address(text))}`);
  const said = await answer.json();
  if (!answer.ok) return place.replaceChildren(make("p", { class: "empty" }, said.error));
  const basic = /<basic>(\w+)<\/basic>/.exec(said.view)?.[1] || "closed";
  const why = make("div", { "aria-live": "polite" });
  const who = make("input", { "aria-label": "a watcher", placeholder: "bob@example.com", spellcheck: "false" });
  const ask = make("form", {}, make("label", {}, "What does somebody see, and why?"), make("div", { class: "row" }, who, make("button", {}, "Explain")));
  ask.addEventListener("submit", (event) => { event.preventDefault(); if (who.value.trim()) explain(address(who.value.trim()), said.presentity, why); });
  place.replaceChildren(make("div", { class: "person" },
    make("div", { class: "card" }, make("h3", {}, `${said.presentity} · shard ${said.shard}`), make("span", { class: `badge ${basic}` }, basic),
      make("pre", { tabindex: "0", "aria-label": "the document that watchers are shown" }, indented(said.view.trim()))),
    make("div", {}, make("h3", {}, "Publications"), table(["tag", "event", "published", "ends"], said.publications.map((one) =>
      make("tr", {}, cell(one.etag), cell(one.event), cell(one.published_at), cell(one.expires_at))), "nobody publishes")),
    make("div", {}, make("h3", {}, "Endpoints"), table(["contact", "instance", "q", "ends"], said.endpoints.map((one) =>
      make("tr", {}, cell(one.contact, "wide"), cell(one.instance || "–"), cell(String(one.q)), cell(one.expires_at))), "nobody is registered")),
    make("div", {}, make("h3", {}, `Watchers (${said.watchers.length})`), table(["who", "event", "told last", "messages", "ends", ""], said.watchers.slice(0, 200).map((one) => {
      const button = make("button", { type: "button" }, "why?");
      button.addEventListener("click", () => { who.value = one.watcher; explain(one.watcher, said.presentity, why); });
      return make("tr", {}, cell(one.watcher, "wide"), cell(one.event), cell(one.notified_at), number(one.cseq), cell(one.expires_at), cell(button));
    }), "nobody watches")),
    make("div", { class: "card" }, ask, why)));
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("address").value.trim();
  if (text) { location.hash = `user=${encodeURIComponent(text)}`; look(text).catch(gone); }
});
let typed = 0;
$("address").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(async () => {
    const text = $("address").value.trim();
    if (text.length < 2 || text.includes("@")) return;
    const answer = await fetch(`/directory?search=${encodeURIComponent(text)}`);
    if (!answer.ok) return;
    const { users } = await answer.json();
    $("found").replaceChildren(...users.map((user) => make("option", { value: user.presentity.replace(/^sip:/, ""), label: user.display_name })));
  }, 200);
});
const asked = /^#user=(.+)$/.exec(location.hash);
if (asked) { $("address").value = decodeURIComponent(asked[1]); look($("address").value).catch(() => {}); }

// --- light and dark

const themes = { dark: "light", light: "dark" };
const stored = localStorage.getItem("theme");
if (themes[stored]) document.documentElement.dataset.theme = stored;
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = themes[now];
  localStorage.setItem("theme", themes[now]);
});

// --- once a second

function gone(error) {
  document.body.classList.remove("lit");
  $("state").textContent = `the node does not answer (${error.message})`;
  $("state").className = "bad";
}

async function ask() {
  try {
    const [pool, metrics, refused] = await Promise.all(["/pool", "/metrics", "/refusals"].map(async (path) => {
      const answer = await fetch(path);
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      return path === "/metrics" ? answer.text() : answer.json();
    }));
    pooled(pool);
    measured(metrics);
    refusals(refused);
  } catch (error) {
    gone(error);
  }
  setTimeout(ask, document.hidden ? 5000 : 1000);
}
ask();
