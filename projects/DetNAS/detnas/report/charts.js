"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
/* The namespace of svg elements, without an address in this file. */
const NS = (() => {
  const template = document.createElement("template");
  template.innerHTML = "<svg></svg>";
  return template.content.firstChild.namespaceURI;
})();
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
const score = (value) => (typeof value === "number" ? value.toFixed(2) : "–");
const soft = (text) => el("div", { class: "soft" }, text);
const words = (name) => name.replaceAll("_", " ");
/* 288.1M for 288082368; an axis wants no zeros at the end. */
function cost(value, forAxis) {
  if (typeof value !== "number") return "–";
  const [size, unit] = [[1e9, "G"], [1e6, "M"]].find(([size]) => Math.abs(value) >= size) || [1, ""];
  return (unit && !forAxis ? (value / size).toPrecision(4) : +(value / size).toPrecision(5)) + unit;
}
function duration(seconds) {
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/* Every candidate knows its search and its number there. */
const ALL = [];
D.searches.forEach((search) => search.candidates.forEach((c, i) => {
  Object.assign(c, { search, number: i + 1 });
  ALL.push(c);
}));
const SCORED = ALL.filter((c) => c.score !== null);
const STOPPED = ALL.filter((c) => c.stopped), FAILED = ALL.filter((c) => c.score === null && !c.stopped);
SCORED.sort((a, b) => b.score - a.score || (a.path < b.path ? -1 : 1));
const union = (lists) => [...new Set(lists.flat())];
const COSTS = union(D.searches.map((s) => Object.keys(s.costs)));
const costLabel = (name) => D.searches.map((s) => s.costs[name]).find(Boolean) || name;
const METRICS = union(D.searches.map((s) => s.metric));
const metric = METRICS.join(" / ");
const onFront = (c, name) => (c.search.fronts[name] || []).includes(c.number - 1);

/* ---- archs ---- */
const block = (digit, fill, text, title) =>
  el("span", { class: "block", style: `background:${fill};color:${text}`, title }, digit);
const opBlock = (op, digit) => block(digit, ...D.ops[op], op);
/* Stages of lines of blocks; a space that draws its candidates itself has them ready. */
const stagesOf = (search, arch) => search.drawings[arch]
  || arch.split("-").map((digits) => [[...digits].map((digit) => {
    const op = search.ops[+digit];
    return [digit, ...D.ops[op], op];
  })]);
function pattern(search, arch) {
  const box = el("div", { class: "pattern", role: "img", "aria-label": `arch ${arch}` });
  stagesOf(search, arch).forEach((lines, stage) => {
    const drawn = lines.map((blocks) => el("span", { class: "line" }, ...blocks.map((parts) => block(...parts))));
    box.append(el("span", { class: "stage", title: `stage ${stage + 1}` }, ...drawn));
  });
  return box;
}
/* Nothing for candidates that are not made of blocks. */
const drawn = (search, arch) => (search.ops.length || search.drawings[arch] ? [pattern(search, arch)] : []);
function opKey(box) {
  const names = union(D.searches.map((s) => s.ops));
  names.forEach((name) => {
    const index = D.searches.map((s) => s.ops.indexOf(name)).find((i) => i >= 0);
    box.append(el("span", {}, opBlock(name, index), name));
  });
  const entries = new Map(D.searches.flatMap((s) => Object.values(s.drawings).flat(3)).map((b) => [b[3], b]));
  [...entries.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).forEach((entry) => {
    box.append(el("span", {}, block(...entries.get(entry)), entry));
  });
}
function copyButton(search, arch, label = "Copy yaml") {
  const yaml = search.setting.replace("%s", arch);
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
  } } }, label);
}

const swatch = (g) => el("i", { class: "swatch", style: `background:${colour(g)}` });

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
  const first = c.search.oneStart ? ", the start" : ", drawn at random";
  const origin = c.parents.length ? "" : c.name ? `, known before: ${c.name}` : first;
  return [
    el("div", {}, el("b", {}, `${c.search.metric} ${score(c.score)}`), several ? ` · ${c.search.label}` : ""),
    el("div", { class: "arch" }, c.path),
    ...drawn(c.search, c.path),
    soft(`candidate ${c.number}, generation ${c.generation}${origin}`),
    soft(Object.entries(c.costs).map(([name, value]) => `${words(name)} ${cost(value)}`).join(", ")),
  ];
}

/* ---- charts: layers {kind: "band" | "line" | "points" | "rule", colour, data, ...}, in the units of the axes ---- */
const stepped = (points) => points.flatMap((p, i) => (i ? [[p[0], ...points[i - 1].slice(1)], p] : [p]));

function ticks(low, high, count, whole) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 2.5, 5, 10].find((m) => m * power >= raw) * power;
  if (whole) step = Math.max(1, Math.round(step));
  const result = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) result.push(+v.toPrecision(12));
  return result;
}

function range(values, margin) {
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

/* Where things stand in a chart of this width; null without any point. */
function scale(layers, width) {
  const xs = [], ys = [];
  for (const { kind, data } of layers) for (const d of data) {
    if (kind === "rule") ys.push(d);
    else { xs.push(d[0]); ys.push(d[1], kind === "band" ? d[3] : d[1]); }
  }
  if (!xs.length) return null;
  const height = width < 480 ? 260 : 300, bottom = height - 40, right = width - 10;
  const [x0, x1] = range(xs, 0.03), [y0, y1] = range(ys, 0.06), yTicks = ticks(y0, y1, 5);
  const left = 14 + 7 * Math.max(...yTicks.map((t) => String(t).length));
  return {
    width, height, left, right, bottom, yTicks, x0, x1,
    px: (v) => left + ((v - x0) / (x1 - x0)) * (right - left),
    py: (v) => bottom - ((v - y0) / (y1 - y0)) * (bottom - 24),
  };
}

function drawAxes(root, { width, height, left, right, bottom, yTicks, x0, x1, px, py }, { x, whole, format }) {
  for (const t of yTicks) {
    root.append(svg("line", { x1: left, x2: right, y1: py(t), y2: py(t), class: "gridline" }));
    root.append(svg("text", { x: left - 6, y: py(t) + 4, "text-anchor": "end" }, t));
  }
  for (const t of ticks(x0, x1, width < 480 ? 5 : 7, whole)) {
    if (whole && t < 1) continue;
    const text = format(t), cut = px(t) + 3.6 * text.length > width;
    root.append(svg("line", { x1: px(t), x2: px(t), y1: bottom, y2: bottom + 5, class: "axis" }));
    root.append(svg("text", { x: cut ? width : px(t), y: bottom + 19, "text-anchor": cut ? "end" : "middle" }, text));
  }
  root.append(svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "axis" }));
  root.append(svg("text", { x: 0, y: 12 }, metric));
  root.append(svg("text", { x: right, y: height - 4, "text-anchor": "end" }, x));
}

const path = (at, points) => "M" + points.map(([a, b]) => `${at.px(a).toFixed(1)} ${at.py(b).toFixed(1)}`).join("L");
const PAINT = {
  band(root, at, { colour, data }) {
    if (!data.length) return;
    const edge = [...data.map((d) => [d[0], d[3]]), ...data.map((d) => [d[0], d[1]]).reverse()];
    root.append(svg("path", { d: path(at, edge) + "Z", style: `fill:${colour}`, "fill-opacity": 0.17, class: "band" }));
  },
  line(root, at, { colour, data, width = 2, opacity = 1 }) {
    const style = `stroke:${colour};stroke-width:${width};stroke-linejoin:round;fill:none`;
    if (data.length) root.append(svg("path", { d: path(at, data), style, opacity }));
  },
  points(root, at, { colour, data, opacity = 1, r = 3, cls }) {
    for (const [a, b] of data) {
      const place = { cx: at.px(a).toFixed(1), cy: at.py(b).toFixed(1), r, class: cls };
      root.append(svg("circle", { ...place, style: `fill:${colour}`, "fill-opacity": opacity }));
    }
  },
  /* Rules come from the highest to the lowest; the label of one that lies close below another goes under it. */
  rule(root, at, { colour, data, label, dash, width = 2 }, labels) {
    for (const value of data) {
      const y = at.py(value), below = labels.some((other) => other < y && y - other < 30), top = y + (below ? 15 : -5);
      const style = `stroke:${colour};stroke-width:${width};stroke-dasharray:${dash}`;
      root.append(svg("line", { x1: at.left, x2: at.right, y1: y, y2: y, style }));
      if (labels.some((other) => Math.abs(other - top) <= 13)) continue;
      labels.push(top);
      const place = { x: at.right - 2, y: top, "text-anchor": "end", "font-weight": 600 };
      root.append(svg("text", { ...place, style: `fill:${colour}` }, label));
    }
  },
};

/* A point is [x, y, candidate or function that gives the tooltip's content]. */
function follow(root, targets) {
  const mark = svg("circle", { r: 6, class: "hit", visibility: "hidden" });
  root.append(mark);
  const leave = () => { $("tip").hidden = true; mark.setAttribute("visibility", "hidden"); };
  const look = (event) => {
    const frame = root.getBoundingClientRect(), mx = event.clientX - frame.left, my = event.clientY - frame.top;
    let nearest = null, distance = 26 ** 2;
    for (const target of targets) {
      const d = (target[0] - mx) ** 2 + (target[1] - my) ** 2;
      if (d <= distance) [nearest, distance] = [target, d];
    }
    if (!nearest) return leave();
    const [cx, cy, about] = nearest;
    for (const [key, value] of Object.entries({ cx, cy, visibility: "visible" })) mark.setAttribute(key, value);
    showTip(event, typeof about === "function" ? about() : describe(about));
  };
  root.addEventListener("pointermove", look);
  root.addEventListener("pointerdown", look);
  root.addEventListener("pointerleave", leave);
}

function chart(id, layers, { x, whole, format = String }) {
  const box = $(id), at = scale(layers, Math.max(box.clientWidth, 240));
  box.replaceChildren();
  if (!at) {
    box.append(el("p", { class: "empty" }, hidden.size ? "Nothing to show." : "No candidate with a score yet."));
    return;
  }
  const size = { viewBox: `0 0 ${at.width} ${at.height}`, height: at.height };
  const root = svg("svg", { ...size, role: "img", "aria-label": `${metric} over ${x}` });
  box.append(root);
  drawAxes(root, at, { x, whole, format });
  const labels = [];
  for (const layer of layers) PAINT[layer.kind](root, at, layer, labels);
  const points = layers.filter(({ kind }) => kind === "points").flatMap(({ data }) => data);
  follow(root, points.map(([a, b, about]) => [at.px(a), at.py(b), about]));
}
