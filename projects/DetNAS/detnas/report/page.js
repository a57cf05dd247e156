"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const NS = (() => { const t = document.createElement("template"); t.innerHTML = "<svg></svg>"; return t.content.firstChild.namespaceURI; })();
const colour = (group) => `var(--s${group % 6})`;
const several = D.searches.length > 1;
const hidden = new Set();

/* Text from the log only ever enters as text, never as markup. */
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
    else if (value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
function svg(name, attributes = {}, text) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
function cost(value) {
  if (value === null || value === undefined) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"]]) if (Math.abs(value) >= size) return (value / size).toPrecision(4) + unit;
  return String(+value.toPrecision(4));
}
function tickCost(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"]]) if (Math.abs(value) >= size) return +(value / size).toPrecision(5) + unit;
  return String(+value.toPrecision(5));
}
function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  return seconds < 120 ? `${seconds.toFixed(0)} s` : minutes < 120 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

/* Every candidate knows its search and its number there. */
const ALL = [];
D.searches.forEach((search) => search.candidates.forEach((c, i) => {
  Object.assign(c, { search, number: i + 1 });
  ALL.push(c);
}));
const SCORED = ALL.filter((c) => c.score !== null);
const FAILED = ALL.filter((c) => c.score === null);
SCORED.sort((a, b) => b.score - a.score || (a.path < b.path ? -1 : 1));
const union = (lists) => [...new Set(lists.flat())];
const COSTS = union(D.searches.map((s) => Object.keys(s.costs)));
const costLabel = (name) => D.searches.map((s) => s.costs[name]).find(Boolean) || name;
const METRICS = union(D.searches.map((s) => s.metric));
const metric = METRICS.join(" / ");
const onFront = (c, name) => (c.search.fronts[name] || []).includes(c.number - 1);

/* ---- archs ---- */
function pattern(search, arch) {
  const box = el("div", { class: "pattern", role: "img", "aria-label": `arch ${arch}` });
  arch.split("-").forEach((digits, stage) => {
    const group = el("span", { class: "stage", title: `stage ${stage + 1}` });
    for (const digit of digits) {
      const [fill, text] = D.ops[search.ops[+digit]];
      group.append(el("span", { class: "block", style: `background:${fill};color:${text}`, title: search.ops[+digit] }, digit));
    }
    box.append(group);
  });
  return box;
}
function opKey(box) {
  const names = union(D.searches.map((s) => s.ops));
  names.forEach((name) => {
    const index = D.searches.map((s) => s.ops.indexOf(name)).find((i) => i >= 0);
    const [fill, text] = D.ops[name];
    box.append(el("span", {}, el("i", { class: "block", style: `background:${fill};color:${text};font-style:normal` }, index), name));
  });
}
function copyButton(arch, words = "Copy yaml") {
  const yaml = `MODEL: {DETNAS: {ARCH: "${arch}"}}`;
  return el("button", { title: `Copy ${yaml}`, class: "copy", "data-yaml": yaml, on: { click: async () => {
    let done = true;
    try { await navigator.clipboard.writeText(yaml); } catch {
      const area = el("textarea", { style: "position:fixed;opacity:0" });
      area.value = yaml;
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    $("copied").textContent = done ? `Copied: ${yaml}` : `Copy this: ${yaml}`;
  } } }, words);
}

/* ---- tooltip ---- */
function showTip(event, content) {
  const tip = $("tip");
  tip.replaceChildren(...content);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
  tip.style.top = `${event.clientY - height - 12 < 4 ? event.clientY + 16 : event.clientY - height - 12}px`;
}
function describe(c) {
  const costs = Object.entries(c.costs).map(([name, value]) => `${name.replaceAll("_", " ")} ${cost(value)}`).join(", ");
  return [
    el("div", {}, el("b", {}, `${c.search.metric} ${score(c.score)}`), several ? ` · ${c.search.label}` : ""),
    el("div", { class: "arch" }, c.path), pattern(c.search, c.path),
    el("div", { class: "soft" }, `candidate ${c.number}, generation ${c.generation}${c.parents.length ? "" : ", drawn at random"}`),
    el("div", { class: "soft" }, costs),
  ];
}

/* ---- charts ---- */
function ticks(low, high, count, whole) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 2.5, 5, 10].find((m) => m * power >= raw) * power;
  if (whole) step = Math.max(1, Math.round(step));
  const result = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) result.push(+v.toPrecision(12));
  return result;
}
const stepped = (points) => points.flatMap((p, i) => (i ? [[p[0], points[i - 1][1]], p] : [p]));

/* layers: {kind: "band" | "line" | "points" | "rule", colour, data, ...}; x and y in the units of the axes. */
function chart(id, { layers, x, whole, format = String }) {
  const box = $(id);
  box.replaceChildren();
  const width = Math.max(box.clientWidth, 240), height = width < 480 ? 260 : 300;
  const xs = [], ys = [];
  for (const { kind, data } of layers) for (const d of data) {
    if (kind === "rule") ys.push(d);
    else { xs.push(d[0]); ys.push(...(kind === "band" ? [d[1], d[3]] : [d[1]])); }
  }
  if (!xs.length) {
    box.append(el("p", { class: "empty" }, hidden.size ? "Nothing to show." : "No candidate with a score yet."));
    return;
  }
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${metric} over ${x}` });
  box.append(root);
  const range = (values, pad) => {
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    const room = (high - low || Math.abs(high) || 1) * pad;
    return [low - room, high + room];
  };
  const [x0, x1] = range(xs, 0.03), [y0, y1] = range(ys, 0.06);
  const yTicks = ticks(y0, y1, 5), left = 14 + 7 * Math.max(...yTicks.map((t) => String(t).length));
  const px = (v) => left + ((v - x0) / (x1 - x0)) * (width - left - 10);
  const py = (v) => height - 40 - ((v - y0) / (y1 - y0)) * (height - 64);
  for (const t of yTicks) {
    root.append(svg("line", { x1: left, x2: width - 10, y1: py(t), y2: py(t), class: "gridline" }));
    root.append(svg("text", { x: left - 6, y: py(t) + 4, "text-anchor": "end" }, t));
  }
  for (const t of ticks(x0, x1, width < 480 ? 5 : 7, whole)) {
    if (whole && t < 1) continue;
    root.append(svg("line", { x1: px(t), x2: px(t), y1: height - 40, y2: height - 35, class: "axis" }));
    const words = format(t), atEdge = px(t) + 3.6 * String(words).length > width;
    root.append(svg("text", { x: atEdge ? width : px(t), y: height - 21, "text-anchor": atEdge ? "end" : "middle" }, words));
  }
  root.append(svg("line", { x1: left, x2: width - 10, y1: height - 40, y2: height - 40, class: "axis" }));
  root.append(svg("text", { x: 0, y: 12 }, metric));
  root.append(svg("text", { x: width - 10, y: height - 4, "text-anchor": "end" }, x));
  const targets = [], labels = [];
  for (const { kind, colour: stroke, data, line = 2, opacity = 1, r = 3, cls, label, dash } of layers) {
    const path = (points) => "M" + points.map(([a, b]) => `${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("L");
    if (kind === "band" && data.length) {
      const edge = data.map((d) => [d[0], d[3]]).concat(data.map((d) => [d[0], d[1]]).reverse());
      root.append(svg("path", { d: path(edge) + "Z", style: `fill:${stroke}`, "fill-opacity": 0.17, class: "band" }));
    } else if (kind === "line" && data.length) {
      root.append(svg("path", { d: path(data), fill: "none", style: `stroke:${stroke}`, "stroke-width": line, opacity, "stroke-linejoin": "round" }));
    } else if (kind === "rule") for (const value of data) {
      root.append(svg("line", { x1: left, x2: width - 10, y1: py(value), y2: py(value), style: `stroke:${stroke}`, "stroke-width": 2, "stroke-dasharray": dash }));
      const below = labels.some((y) => y < py(value) && py(value) - y < 30);
      const y = py(value) + (below ? 15 : -5);
      if (labels.every((other) => Math.abs(other - y) > 13)) {
        labels.push(y);
        root.append(svg("text", { x: width - 12, y, "text-anchor": "end", style: `fill:${stroke}`, "font-weight": 600 }, label));
      }
    } else if (kind === "points") for (const [a, b, tip] of data) {
      root.append(svg("circle", { cx: px(a).toFixed(1), cy: py(b).toFixed(1), r, class: cls, style: `fill:${stroke}`, "fill-opacity": opacity }));
      if (tip) targets.push([px(a), py(b), tip]);
    }
  }
  const mark = svg("circle", { r: 6, class: "hit", visibility: "hidden" });
  root.append(mark);
  const leave = () => { $("tip").hidden = true; mark.setAttribute("visibility", "hidden"); };
  const look = (event) => {
    const frame = root.getBoundingClientRect(), mx = event.clientX - frame.left, my = event.clientY - frame.top;
    let nearest = null, distance = 26 ** 2;
    for (const t of targets) {
      const d = (t[0] - mx) ** 2 + (t[1] - my) ** 2;
      if (d <= distance) [nearest, distance] = [t, d];
    }
    if (!nearest) return leave();
    mark.setAttribute("cx", nearest[0]);
    mark.setAttribute("cy", nearest[1]);
    mark.setAttribute("visibility", "visible");
    showTip(event, typeof nearest[2] === "function" ? nearest[2]() : describe(nearest[2]));
  };
  root.addEventListener("pointermove", look);
  root.addEventListener("pointerdown", look);
  root.addEventListener("pointerleave", leave);
}

const shownSearches = () => D.searches.filter((s) => !hidden.has(s.group));
const scoredOf = (search) => search.candidates.filter((c) => c.score !== null);
const bandTip = (label, what) => ([x, low, mean, high]) => [x, mean, () => [
  el("div", {}, el("b", {}, `${score(mean)} · ${label}`)),
  el("div", { class: "soft" }, `${what} ${x}: mean of the seeds, ${score(low)} to ${score(high)}`)]];

function drawBest() {
  const layers = [];
  D.groups.forEach((group, g) => {
    if (hidden.has(g)) return;
    layers.push({ kind: "band", colour: colour(g), data: steppedBand(group.bestBand) });
    for (const search of D.searches.filter((s) => s.group === g)) {
      const single = !group.bestBand.length;
      if (!several) {
        layers.push({ kind: "points", colour: colour(4), opacity: 0.5, data: scoredOf(search).map((c) => [c.number, c.score, c]) });
        for (const [generation, mean] of search.means) {
          const numbers = scoredOf(search).filter((c) => c.generation === generation).map((c) => c.number);
          layers.push({ kind: "line", colour: "var(--text)", line: 2.5, data: [[numbers[0] - 0.4, mean], [numbers[numbers.length - 1] + 0.4, mean]] });
        }
      }
      layers.push({ kind: "line", colour: colour(g), line: single ? 2.2 : 1, opacity: single ? 1 : 0.55, data: stepped(search.best) });
      const rises = search.best.filter(([, v], i) => !i || v > search.best[i - 1][1]);
      layers.push({ kind: "points", colour: colour(g), r: single ? 3.5 : 2.5, data: rises.map(([n, v]) => [n, v, search.candidates[n - 1]]) });
    }
    layers.push({ kind: "line", colour: colour(g), line: 2.6, data: stepped(group.bestBand.map((d) => [d[0], d[2]])) });
  });
  chart("best", { layers, x: "candidates", whole: true });
}
const steppedBand = (data) => data.flatMap((d, i) => (i ? [[d[0], ...data[i - 1].slice(1)], d] : [d]));

function drawGenerations() {
  const layers = [];
  D.groups.forEach((group, g) => {
    if (hidden.has(g)) return;
    const shift = (g - (D.groups.length - 1) / 2) * 0.16;
    layers.push({ kind: "band", colour: colour(g), data: group.meansBand });
    for (const search of D.searches.filter((s) => s.group === g)) {
      const single = !group.meansBand.length;
      if (single) layers.push({ kind: "points", colour: colour(g), opacity: 0.3, data: scoredOf(search).map((c) => [c.generation + shift, c.score, c]) });
      layers.push({ kind: "line", colour: colour(g), line: single ? 2.2 : 1, opacity: single ? 1 : 0.5, data: search.means });
      if (single) layers.push({ kind: "points", colour: colour(g), r: 4, data: search.means.map(([x, mean]) => [x, mean, () => [
        el("div", {}, el("b", {}, score(mean))), el("div", { class: "soft" }, `mean of generation ${x}, ${search.label}`)]]) });
    }
    layers.push({ kind: "line", colour: colour(g), line: 2.6, data: group.meansBand.map((d) => [d[0], d[2]]) });
    layers.push({ kind: "points", colour: colour(g), r: 4, data: group.meansBand.map(bandTip(group.label, "generation")) });
  });
  chart("generations", { layers, x: "generation", whole: true });
}

function drawCost() {
  const name = $("cost-name").value, layers = [], fronts = [];
  for (const search of shownSearches()) {
    const points = scoredOf(search).filter((c) => name in c.costs).map((c) => [c.costs[name], c.score, c]);
    const front = (search.fronts[name] || []).map((i) => search.candidates[i]).map((c) => [c.costs[name], c.score, c]);
    layers.push({ kind: "points", colour: colour(search.group), opacity: 0.28, data: points });
    const sorted = [...front].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    if (!search.jointFront) fronts.push({ kind: "line", colour: colour(search.group), line: 1.8, data: stepped(sorted) });
    fronts.push({ kind: "points", cls: "front", colour: colour(search.group), r: 5, data: sorted });
  }
  chart("cost", { layers: [...layers, ...fronts], x: costLabel(name), format: tickCost });
}

function drawRandom() {
  const name = $("random-name").value, layers = [], rules = [];
  D.groups.forEach((group, g) => {
    if (hidden.has(g)) return;
    const searches = D.searches.filter((s) => s.group === g), scores = searches.flatMap((s) => scoredOf(s).map((c) => c.score));
    for (const search of searches) {
      const random = scoredOf(search).filter((c) => !c.parents.length && (!name || name in c.costs));
      layers.push({ kind: "points", colour: colour(g), opacity: 0.45, data: random.map((c, i) => [name ? c.costs[name] : i + 1, c.score, c]) });
    }
    if (scores.length) {
      const top = scores.reduce((a, b) => Math.max(a, b));
      rules.push({ kind: "rule", colour: colour(g), data: [top], label: `${group.label}: ${score(top)}`, dash: ["", "7 4", "2 3"][g % 3] || undefined });
    }
  });
  rules.sort((a, b) => b.data[0] - a.data[0]);
  chart("random", { layers: [...layers, ...rules], x: name ? costLabel(name) : "random candidate", whole: !name, format: name ? tickCost : String });
}
const drawCharts = () => [drawBest, drawGenerations, drawCost, drawRandom].forEach((draw) => draw());

/* ---- the table ---- */
const extra = union(SCORED.map((c) => Object.keys(c.metrics))).filter((name) => !(METRICS.length === 1 && name === metric));
const COLUMNS = [
  { key: "score", label: metric, value: (c) => c.score, show: (c) => score(c.score) },
  { key: "yaml", label: "", text: true, show: (c) => copyButton(c.path, "Copy") },
  { key: "arch", label: "arch", text: true, up: true, value: (c) => c.path, show: (c) => el("span", { class: "arch" }, c.path) },
  ...(several ? [{ key: "search", label: "search", text: true, up: true, value: (c) => c.search.label,
    show: (c) => el("span", {}, el("i", { class: "swatch", style: `display:inline-block;margin-right:6px;background:${colour(c.search.group)}` }), c.search.label) }] : []),
  ...COSTS.map((name) => ({ key: name, label: name.replaceAll("_", " "), up: true, value: (c) => c.costs[name], show: (c) => cost(c.costs[name]) })),
  ...extra.map((name) => ({ key: name, label: name, value: (c) => c.metrics[name], show: (c) => score(c.metrics[name]) })),
  { key: "generation", label: "generation", up: true, value: (c) => c.generation, show: (c) => c.generation },
  { key: "seconds", label: "seconds", up: true, value: (c) => c.seconds, show: (c) => c.seconds.toFixed(1) },
];
function sorting() {
  const wish = new URLSearchParams(location.hash.slice(1));
  const column = COLUMNS.find((c) => c.value && c.key === wish.get("sort")) || COLUMNS[0];
  const order = wish.get("order") || (column.up ? "asc" : "desc");
  return { column, order };
}
function drawTable() {
  const { column, order } = sorting(), sign = order === "asc" ? 1 : -1;
  const missing = (v) => v === null || v === undefined;
  const rows = SCORED.slice(0, +$("rows").value).sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
  const front = $("cost-name").value;
  $("candidates").tHead.replaceChildren(el("tr", {}, ...COLUMNS.map((c) => el("th", {
    "data-key": c.key, class: c.text && "text", scope: "col",
    "aria-sort": c === column ? (order === "asc" ? "ascending" : "descending") : undefined,
  }, c.value ? el("button", { on: { click: () => {
    const now = sorting(), first = c.up ? "asc" : "desc";
    const next = now.column === c ? (now.order === "asc" ? "desc" : "asc") : first;
    location.replace(`#sort=${encodeURIComponent(c.key)}&order=${next}`);
  } } }, c.label) : c.label))));
  $("candidates").tBodies[0].replaceChildren(...rows.map((c) => el("tr", { "data-arch": c.path }, ...COLUMNS.map((column) => {
    const cell = el("td", { class: column.text && "text" }, column.show(c));
    if (column.key === "score" && onFront(c, front)) cell.prepend(el("span", { class: "badge", title: "on the Pareto front of its search" }, "front"), " ");
    return cell;
  }))));
  if (!rows.length) $("candidates").tBodies[0].append(el("tr", {}, el("td", { class: "text", colspan: COLUMNS.length }, "No candidate with a score yet.")));
}

/* ---- archs and ops ---- */
const best = (g, count) => {
  const seen = new Set();
  return SCORED.filter((c) => c.search.group === g && !seen.has(c.path) && seen.add(c.path)).slice(0, count);
};
function drawArchs() {
  const row = (name, value, search, arch) => el("div", { class: "row" }, el("span", { class: "name" }, name), pattern(search, arch), el("span", { class: "soft" }, value));
  D.groups.forEach((group, g) => {
    const rows = best(g, D.groups.length > 1 ? 5 : 10);
    $("archs").append(el("h3", {}, group.label + (rows.length ? `: the best ${rows.length}` : "")));
    rows.forEach((c) => $("archs").append(row(el("span", { class: "arch" }, c.path), `${c.search.metric} ${score(c.score)}`, c.search, c.path)));
    if (!rows.length) $("archs").append(el("p", { class: "soft" }, "No candidate with a score yet."));
  });
  if (D.published.length) $("archs").append(el("h3", {}, "Published networks of this space"));
  D.published.forEach((p) => {
    const search = D.searches.find((s) => s.header.space === p.space);
    $("archs").append(row(p.name, "", search, p.arch));
  });
}
function drawFrequencies() {
  const count = +$("frequency-count").value;
  $("frequencies").replaceChildren(...D.groups.map((group, g) => {
    const found = best(g, count), search = D.searches.find((s) => s.group === g), box = el("div", {});
    box.append(el("h3", {}, group.label + (found.length ? `: the best ${found.length}` : "")));
    if (!found.length) { box.append(el("p", { class: "soft" }, "No candidate with a score yet.")); return box; }
    const blocks = search.depths.reduce((a, b) => a + b), gap = 0.7, height = 120;
    const total = blocks + gap * (search.depths.length - 1), unit = 600 / total;
    const root = svg("svg", { viewBox: `0 0 600 ${height}`, preserveAspectRatio: "none", height, role: "img", "aria-label": "share of each op by block" });
    const labels = el("div", { style: "display:flex" });
    let x = 0, index = 0;
    search.depths.forEach((depth, stage) => {
      for (let i = 0; i < depth; i++, index++, x += unit) {
        let y = height;
        search.ops.forEach((op, o) => {
          const times = found.filter((c) => c.path.replaceAll("-", "")[index] === String(o)).length, h = (times / found.length) * height;
          if (!times) return;
          y -= h;
          const bar = svg("rect", { x: x + unit * 0.05, y, width: unit * 0.9, height: h, fill: D.ops[op][0], class: "share" });
          bar.append(svg("title", {}, `stage ${stage + 1}, block ${i + 1}: ${op} in ${times} of ${found.length}`));
          root.append(bar);
        });
      }
      x += gap * unit;
      labels.append(el("span", { class: "soft", style: `flex:${depth + gap};text-align:center;min-width:0` }, `stage ${stage + 1}`));
    });
    box.append(root, labels);
    return box;
  }));
}

/* ---- words and lists ---- */
function drawSummary() {
  const tile = (value, label, cls) => el("div", { class: `tile ${cls || ""}` }, el("b", {}, value), el("span", { class: "soft" }, label));
  const top = SCORED.find((c) => c.search.metric === METRICS[0]);
  if (top) {
    const box = tile(score(top.score), `best ${top.search.metric}${several ? ` (${top.search.label})` : ""}, arch ${top.path}`, "wide");
    box.append(el("div", { style: "margin:6px 0 8px" }, pattern(top.search, top.path)), copyButton(top.path));
    $("summary").append(box);
  } else $("summary").append(tile("–", "no candidate with a score yet", "wide"));
  const generations = D.searches.map((s) => s.candidates.reduce((a, c) => Math.max(a, c.generation), 0));
  $("summary").append(
    tile(ALL.length, several ? `candidates of ${D.searches.length} searches` : "candidates"),
    tile(Math.max(...generations), "generations begun"),
    tile(duration(ALL.reduce((sum, c) => sum + c.seconds, 0)), "of evaluation"),
    tile(FAILED.length, FAILED.length === 1 ? "failure" : "failures", FAILED.length ? "error" : ""));
  $("when").textContent = `Written ${D.written}. The search may go on; write the page again to see more.`;
}
function drawLegend() {
  if (D.groups.length < 2) return;
  D.groups.forEach((group, g) => {
    const seeds = D.searches.filter((s) => s.group === g).length;
    $("legend").append(el("button", { "aria-pressed": "true", title: "show or hide", on: { click: (event) => {
      if (hidden.has(g)) hidden.delete(g); else hidden.add(g);
      event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(g)));
      drawCharts();
    } } }, el("i", { class: "swatch", style: `background:${colour(g)}` }), group.label + (seeds > 1 ? ` (${seeds} seeds)` : "")));
  });
}
function drawNotes() {
  const seeds = D.groups.some((group) => group.bestBand.length), joint = D.searches.some((s) => s.jointFront);
  const band = "Thick: mean of the seeds; band: lowest to highest, as far as all seeds have come; thin: each seed.";
  const notes = {
    best: several ? (seeds ? band : "A dot is a new best candidate.") : "Dots: candidates; steps: best so far; bars: mean of each generation.",
    generations: seeds ? "Mean score of a generation's candidates. " + band : "Line: mean of the generation; dots: its candidates. The last one may be unfinished.",
    cost: joint ? `Large: Pareto front of score and all objectives (${D.searches.find((s) => s.jointFront).header.objectives.join(", ").replaceAll("_", " ")}).` : "Large: Pareto front, no other has a better score at lower cost.",
    random: "Dots: candidates drawn at random; line: the best one found.",
    settings: D.groups.length > 1 ? "Marked: what differs." : "",
  };
  document.querySelectorAll("[data-note]").forEach((node) => { node.textContent = notes[node.dataset.note]; });
  document.querySelectorAll("[data-figure]").forEach((node) => {
    const file = D.figures[node.dataset.figure];
    if (file) node.append(el("a", { href: encodeURI(`${file}.png`) }, "PNG"), " · ", el("a", { href: encodeURI(`${file}.svg`) }, "SVG"));
  });
  document.querySelectorAll("[data-ops]").forEach(opKey);
}
function drawFailures() {
  if (!FAILED.length) { $("failures").append(el("p", { class: "soft" }, `None among ${ALL.length} candidates.`)); return; }
  $("failures").append(el("p", { class: "soft" }, `${FAILED.length} of ${ALL.length} candidates have no score${FAILED.length > 200 ? "; the first 200" : ""}.`));
  FAILED.slice(0, 200).forEach((c) => $("failures").append(el("div", { class: "failure" },
    el("div", {}, el("span", { class: "arch" }, c.path), " ",
      el("span", { class: "soft" }, `${several ? `${c.search.label}, ` : ""}generation ${c.generation}, ${c.tries} ${c.tries === 1 ? "try" : "tries"}${c.worker ? `, worker ${c.worker}` : ""}`)),
    el("div", { class: "error" }, c.error || "no reason logged"))));
}
function drawSettings() {
  const text = (value) => (typeof value === "string" ? value : value === undefined ? "–" : JSON.stringify(value).replaceAll(",", ", "));
  const columns = D.groups.map((group, g) => D.searches.filter((s) => s.group === g).map((s) => s.header));
  $("settings").tHead.append(el("tr", {}, el("th", { class: "text" }, "setting"), ...D.groups.map((group) => el("th", { class: "text" }, group.label))));
  for (const key of union(columns.flat().map((header) => Object.keys(header)))) {
    const cells = columns.map((headers) => union(headers.map((h) => text(h[key]))).join("; "));
    const differs = !["seed", "versions"].includes(key) && new Set(cells).size > 1;
    $("settings").tBodies[0].append(el("tr", { class: differs && "differs" }, el("td", { class: "text" }, key.replaceAll("_", " ")), ...cells.map((cell) => el("td", { class: "text wrap" }, cell))));
  }
}
function choices(id, options, chosen, change) {
  $(id).append(...options.map(([value, label]) => el("option", { value }, label)));
  if (chosen !== undefined) $(id).value = chosen;
  $(id).parentElement.hidden = !options.length;
  $(id).addEventListener("change", change);
}

const sizes = [10, 20, 50, 100].filter((n) => n < SCORED.length);
choices("cost-name", COSTS.map((name) => [name, name.replaceAll("_", " ")]), undefined, () => { drawCost(); drawTable(); });
choices("random-name", [["", "number"], ...COSTS.map((name) => [name, name.replaceAll("_", " ")])], "", drawRandom);
choices("rows", [...sizes.map((n) => [n, n]), [SCORED.length, `all ${SCORED.length}`]], sizes.includes(20) ? 20 : SCORED.length, drawTable);
choices("frequency-count", [5, 10, 20, 50].map((n) => [n, n]), 10, drawFrequencies);
drawSummary();
drawLegend();
drawNotes();
drawCharts();
drawTable();
drawArchs();
drawFrequencies();
drawFailures();
drawSettings();
addEventListener("hashchange", drawTable);
let before = innerWidth;
addEventListener("resize", () => { if (innerWidth !== before) { before = innerWidth; requestAnimationFrame(drawCharts); } });
