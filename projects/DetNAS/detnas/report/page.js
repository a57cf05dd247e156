"use strict";
/* What the page shows, drawn with charts.js. */
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
