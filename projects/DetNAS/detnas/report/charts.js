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
const score = (value) => (typeof value === "number" ? value.toFixed(2) : "–");
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
