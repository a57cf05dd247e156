"use strict";
/* What the page shows, drawn with charts.js. */
const scoredOf = (search) => search.candidates.filter((c) => c.score !== null);
const searchesOf = (g) => D.searches.filter((s) => s.group === g);
const shownGroups = () => D.groups.map((group, g) => [group, g]).filter(([, g]) => !hidden.has(g));
const dots = (g, data, rest) => ({ kind: "points", colour: colour(g), data, ...rest });
const line = (g, data, rest) => ({ kind: "line", colour: colour(g), data, ...rest });
const band = (g, data) => ({ kind: "band", colour: colour(g), data });
/* A seed among several is thin, its group's mean thick; a search of its own stands between. */
const weight = (single) => (single ? { width: 2.2 } : { width: 1, opacity: 0.55 });
const middle = (data) => data.map(([x, , mean]) => [x, mean]);

function drawBest() {
  const layers = [];
  for (const [group, g] of shownGroups()) {
    const single = !group.bestBand.length;
    layers.push(band(g, stepped(group.bestBand)));
    for (const search of searchesOf(g)) {
      if (!several) layers.push(...candidatesAndMeans(search), ...knownNetworks(search));
      const rises = search.best.filter(([, best], i) => !i || best > search.best[i - 1][1]);
      const risen = rises.map(([n, best]) => [n, best, search.candidates[n - 1]]);
      layers.push(line(g, stepped(search.best), weight(single)), dots(g, risen, { r: single ? 3.5 : 2.5 }));
    }
    layers.push(line(g, stepped(middle(group.bestBand)), { width: 2.6 }));
  }
  chart("best", layers, { x: "candidates", whole: true });
}
function candidatesAndMeans(search) {
  const scored = scoredOf(search);
  const means = search.means.map(([generation, mean]) => {
    const numbers = scored.filter((c) => c.generation === generation).map((c) => c.number);
    const ends = [numbers[0] - 0.4, numbers[numbers.length - 1] + 0.4];
    return { kind: "line", colour: "var(--text)", width: 2.5, data: ends.map((x) => [x, mean]) };
  });
  return [dots(4, scored.map((c) => [c.number, c.score, c]), { opacity: 0.5 }), ...means];
}

function knownNetworks(search) {
  const known = scoredOf(search).filter((c) => c.name).sort((a, b) => b.score - a.score);
  return known.map((c) => {
    const label = `${c.name}: ${score(c.score)}`;
    return { kind: "rule", colour: "var(--soft)", data: [c.score], label, dash: "5 4", width: 1 };
  });
}

/* Means of candidates over generations; "means" and "topMeans" name them in a search, with Band in a group. */
function drawMeans(id, key, candidatesOf, what) {
  const layers = [];
  for (const [group, g] of shownGroups()) {
    const bands = group[`${key}Band`], single = !bands.length, shift = (g - (D.groups.length - 1) / 2) * 0.16;
    const about = (value, text) => () => [el("div", {}, el("b", {}, `${score(value)} · ${group.label}`)), soft(text)];
    layers.push(band(g, bands));
    for (const search of searchesOf(g)) {
      const candidates = candidatesOf(search).map(([x, c]) => [x + shift, c.score, c]);
      const means = search[key].map(([x, mean]) => [x, mean, about(mean, `${what} generation ${x}`)]);
      if (single) layers.push(dots(g, candidates, { opacity: 0.3 }));
      layers.push(line(g, search[key], weight(single)));
      if (single) layers.push(dots(g, means, { r: 4 }));
    }
    const seeds = bands.map(([x, low, mean, high]) => {
      return [x, mean, about(mean, `generation ${x}: mean of the seeds, ${score(low)} to ${score(high)}`)];
    });
    layers.push(line(g, middle(bands), { width: 2.6 }), dots(g, seeds, { r: 4 }));
  }
  chart(id, layers, { x: "generation", whole: true });
}
const drawGenerations = () => {
  drawMeans("generations", "means", (search) => scoredOf(search).map((c) => [c.generation, c]), "mean of");
};
function drawTop() {
  const tops = (search) => search.tops.flatMap(([x, top]) => top.map((i) => [x, search.candidates[i]]));
  drawMeans("top-so-far", "topMeans", tops, `mean of the top ${D.topCount} up to`);
}

function drawCost() {
  const name = $("cost-name").value, layers = [], fronts = [];
  const point = (c) => [c.costs[name], c.score, c];
  for (const search of D.searches.filter((s) => !hidden.has(s.group))) {
    const front = (search.fronts[name] || []).map((i) => point(search.candidates[i]));
    front.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    layers.push(dots(search.group, scoredOf(search).filter((c) => name in c.costs).map(point), { opacity: 0.28 }));
    if (!search.jointFront) fronts.push(line(search.group, stepped(front.map(([x, y]) => [x, y])), { width: 1.8 }));
    fronts.push(dots(search.group, front, { r: 5, cls: "front" }));
  }
  chart("cost", [...layers, ...fronts], { x: costLabel(name), format: (value) => cost(value, true) });
}

function drawRandom() {
  const name = $("random-name").value, layers = [], rules = [];
  for (const [group, g] of shownGroups()) {
    for (const search of searchesOf(g)) {
      const random = scoredOf(search).filter((c) => !c.parents.length && !c.name && (!name || name in c.costs));
      layers.push(dots(g, random.map((c, i) => [name ? c.costs[name] : i + 1, c.score, c]), { opacity: 0.45 }));
    }
    const [winner] = best(g, 1), dash = ["none", "7 4", "2 3"][g % 3];
    const label = winner && `${group.label}: ${score(winner.score)}`;
    if (winner) rules.push({ kind: "rule", colour: colour(g), data: [winner.score], label, dash });
  }
  rules.sort((a, b) => b.data[0] - a.data[0]);
  const byCost = { x: costLabel(name), format: (value) => cost(value, true) };
  chart("random", [...layers, ...rules], name ? byCost : { x: "random candidate", whole: true });
}
const drawCharts = () => [drawBest, drawTop, drawGenerations, drawCost, drawRandom].forEach((draw) => draw());

/* ---- the table ---- */
const extra = union(SCORED.map((c) => Object.keys(c.metrics))).filter((name) => name !== metric);
const tag = (c) => el("span", { class: "tag" }, swatch(c.search.group), c.search.label);
const column = (key, value, show, rest) => ({ key, label: words(key), value, show, ...rest });
const COLUMNS = [
  column("score", (c) => c.score, (c) => score(c.score), { label: metric }),
  column("yaml", null, (c) => copyButton(c.search, c.path, "Copy"), { label: "", cls: "text" }),
  column("arch", (c) => c.path, (c) => el("span", { class: "arch" }, c.path), { cls: "text stays", up: true }),
  column("name", (c) => c.name, (c) => c.name, { cls: "text", up: true }),
  ...(several ? [column("search", (c) => c.search.label, tag, { cls: "text", up: true })] : []),
  ...COSTS.map((name) => column(name, (c) => c.costs[name], (c) => cost(c.costs[name]), { up: true })),
  ...extra.map((name) => column(name, (c) => c.metrics[name], (c) => score(c.metrics[name]), { label: name })),
  column("generation", (c) => c.generation, (c) => c.generation, { up: true }),
  column("seconds", (c) => c.seconds, (c) => c.seconds.toFixed(1), { up: true }),
];
function sorting() {
  const wish = new URLSearchParams(location.hash.slice(1));
  const column = COLUMNS.find((c) => c.value && c.key === wish.get("sort")) || COLUMNS[0];
  const order = wish.get("order") || (column.up ? "asc" : "desc");
  return { column, order };
}
function headCell(c) {
  const now = sorting(), order = now.column === c ? now.order : null;
  const next = order ? (order === "asc" ? "desc" : "asc") : c.up ? "asc" : "desc";
  const click = () => location.replace(`#sort=${encodeURIComponent(c.key)}&order=${next}`);
  const sorted = order ? `${order}ending` : undefined;
  const cell = { "data-key": c.key, class: c.cls, scope: "col", "aria-sort": sorted };
  return el("th", cell, c.value ? el("button", { on: { click } }, c.label) : c.label);
}
function bodyRow(c, columns) {
  const cells = columns.map((column) => el("td", { class: column.cls }, column.show(c)));
  const badge = () => el("span", { class: "badge", title: "on the Pareto front of its search" }, "front");
  if (onFront(c, $("cost-name").value)) cells[0].prepend(badge(), " ");
  return el("tr", { "data-arch": c.path }, ...cells);
}
function drawTable() {
  const { column, order } = sorting(), sign = order === "asc" ? 1 : -1;
  const missing = (v) => v === null || v === undefined;
  const rows = SCORED.slice(0, +$("rows").value).sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
  const columns = COLUMNS.filter((c) => rows.length && (!c.value || rows.some((row) => !missing(c.value(row)))));
  const none = el("tr", {}, el("td", { class: "text" }, "No candidate with a score yet."));
  $("candidates").tHead.replaceChildren(el("tr", {}, ...columns.map(headCell)));
  $("candidates").tBodies[0].replaceChildren(...(rows.length ? rows.map((c) => bodyRow(c, columns)) : [none]));
}

/* ---- archs and ops ---- */
const best = (g, count) => {
  const seen = new Set();
  return SCORED.filter((c) => c.search.group === g && !seen.has(c.path) && seen.add(c.path)).slice(0, count);
};
function archRow(name, value, search, arch) {
  const text = el("span", { class: "soft" }, value);
  return el("div", { class: "row" }, el("span", { class: "name" }, name), ...drawn(search, arch), text);
}
const noScore = () => soft("No candidate with a score yet.");
const title = (group, found) => el("h3", {}, group.label + (found.length ? `: the best ${found.length}` : ""));
function drawArchs() {
  D.groups.forEach((group, g) => {
    const found = best(g, D.groups.length > 1 ? 5 : 10);
    const rows = found.map((c) => {
      const arch = el("span", { class: "arch" }, c.path);
      return archRow(arch, `${c.search.metric} ${score(c.score)}${c.name ? `, ${c.name}` : ""}`, c.search, c.path);
    });
    $("archs").append(title(group, found), ...(found.length ? rows : [noScore()]));
  });
  D.searches.filter((search) => search.descent.length).forEach((search) => {
    const line = search.descent.map((i) => search.candidates[i]);
    const rows = line.map((c) => archRow(el("span", { class: "arch" }, c.path),
      `generation ${c.generation}, ${search.metric} ${c.result}`, search, c.path));
    const head = `${several ? `${search.label}: ` : ""}from the start network to the winner`;
    $("archs").append(el("h3", {}, head, el("span", { class: "files", "data-figure": "descent" })), ...rows);
  });
  if (D.published.length) $("archs").append(el("h3", {}, "Published networks of this space"));
  D.published.forEach((network) => {
    const search = D.searches.find((s) => s.header.space === network.space);
    $("archs").append(archRow(network.name, "", search, network.arch));
  });
}
function drawFrequencies() {
  $("op-shares").hidden = !D.searches.some((search) => search.ops.length);
  $("frequencies").replaceChildren(...D.groups.map((group, g) => {
    const found = best(g, +$("frequency-count").value), search = searchesOf(g)[0];
    return el("div", {}, title(group, found), ...(found.length && search.ops.length ? frequencyBars(search, found) : [noScore()]));
  }));
}
function frequencyBars(search, found) {
  const gap = 0.7, height = 120, blocks = search.depths.reduce((a, b) => a + b);
  const unit = 600 / (blocks + gap * (search.depths.length - 1));
  const size = { viewBox: `0 0 600 ${height}`, preserveAspectRatio: "none", height };
  const root = svg("svg", { ...size, role: "img", "aria-label": "share of each op by block" });
  const digits = found.map((c) => c.path.replaceAll("-", "")), names = el("div", { class: "stages soft" });
  let x = 0, index = 0;
  search.depths.forEach((depth, stage) => {
    for (let i = 0; i < depth; i++, index++, x += unit) {
      let y = height;
      search.ops.forEach((op, o) => {
        const times = digits.filter((path) => path[index] === String(o)).length;
        const share = (times / found.length) * height;
        y -= share;
        const bar = svg("rect", { x: x + unit * 0.05, y, width: unit * 0.9, height: share, fill: D.ops[op][0] });
        bar.append(svg("title", {}, `stage ${stage + 1}, block ${i + 1}: ${op} in ${times} of ${found.length}`));
        if (times) root.append(bar);
      });
    }
    x += gap * unit;
    names.append(el("span", { style: `flex:${depth + gap}` }, `stage ${stage + 1}`));
  });
  return [root, names];
}

/* ---- words and lists ---- */
function drawSummary() {
  const tile = (value, label, cls = "") => el("div", { class: `tile ${cls}` }, el("b", {}, value), soft(label));
  const top = SCORED.find((c) => c.search.metric === METRICS[0]);
  if (top) {
    const where = several ? ` (${top.search.label})` : "";
    const box = tile(score(top.score), `best ${top.search.metric}${where}, arch ${top.path}`, "wide");
    box.append(...drawn(top.search, top.path), copyButton(top.search, top.path));
    $("summary").append(box);
  } else $("summary").append(tile("–", "no candidate with a score yet", "wide"));
  $("summary").append(
    tile(ALL.length, several ? `candidates of ${D.searches.length} searches` : "candidates"),
    tile(ALL.reduce((most, c) => Math.max(most, c.generation), 0), "generations begun"),
    tile(duration(ALL.reduce((sum, c) => sum + c.seconds, 0)), "of evaluation"),
    ...(STOPPED.length ? [tile(STOPPED.length, "stopped by the race")] : []),
    tile(FAILED.length, FAILED.length === 1 ? "failure" : "failures", FAILED.length ? "error" : ""));
  $("when").textContent = `Written ${D.written}. The search may go on; write the page again to see more.`;
}
function drawLegend() {
  if (D.groups.length < 2) return;
  D.groups.forEach((group, g) => {
    const seeds = searchesOf(g).length, label = group.label + (seeds > 1 ? ` (${seeds} seeds)` : "");
    const click = (event) => {
      if (!hidden.delete(g)) hidden.add(g);
      event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(g)));
      drawCharts();
    };
    const state = { "aria-pressed": "true", title: "show or hide", on: { click } };
    $("legend").append(el("button", state, swatch(g), label));
  });
}
function drawNotes() {
  const seeds = D.groups.some((group) => group.bestBand.length), joint = D.searches.find((s) => s.jointFront);
  const bands = "Thick: mean of the seeds; band: lowest to highest, as far as all seeds have come; thin: each seed.";
  const known = SCORED.some((c) => c.name) ? " Broken: networks that the first generation began with." : "";
  const alone = `Dots: candidates; steps: best so far; bars: mean of each generation.${known}`;
  const events = D.searches.flatMap((s) => s.events.map((e) =>
    ` Before generation ${e.generation}: ${e.event} of ${e.path}${several ? ` (${s.label})` : ""}.`));
  const objectives = joint && words(joint.header.objectives.join(", "));
  const notes = {
    best: seeds ? bands : several ? "A dot is a new best candidate." : alone,
    topTitle: `Top ${D.topCount} so far${D.searches.every((s) => s.ops.length) ? " (paper, Fig. 2)" : ""}`,
    top: `Mean score of the best ${D.topCount} candidates found up to each generation. `
      + (seeds ? bands : "Line: mean; dots: these candidates."),
    generations: (seeds ? `Mean score of a generation's candidates. ${bands}`
      : "Line: mean of the generation; dots: its candidates. The last one may be unfinished.") + events.join(""),
    cost: joint ? `Large: Pareto front of score and all objectives (${objectives}).`
      : "Large: Pareto front, no other has a better score at lower cost.",
    random: "Dots: candidates drawn at random; line: the best one found. Scores in the supernet.",
    settings: D.groups.length > 1 ? "Marked: what differs." : "",
  };
  document.querySelectorAll("[data-note]").forEach((node) => { node.textContent = notes[node.dataset.note]; });
  document.querySelectorAll("[data-figure]").forEach((node) => {
    const file = D.figures[node.dataset.figure];
    const link = (ending) => el("a", { href: encodeURI(`${file}.${ending}`) }, ending.toUpperCase());
    if (file) node.append(link("png"), " · ", link("svg"));
  });
  document.querySelectorAll("[data-ops]").forEach(opKey);
  $("random").parentElement.hidden = !D.figures.random;
}
function drawFailures() {
  const shown = FAILED.slice(0, 200), rest = shown.length < FAILED.length ? `; the first ${shown.length}` : "";
  $("failures").append(soft(FAILED.length ? `${FAILED.length} of ${ALL.length} candidates failed${rest}.`
    : `None among ${ALL.length} candidates.`));
  $("failures").append(...shown.map((c) => {
    const about = [`generation ${c.generation}`, c.tries === 1 ? "1 try" : `${c.tries} tries`];
    if (several) about.unshift(c.search.label);
    if (c.worker) about.push(`worker ${c.worker}`);
    const arch = el("span", { class: "arch" }, c.path), head = el("div", {}, arch, " ");
    head.append(el("span", { class: "soft" }, about.join(", ")));
    return el("div", { class: "failure" }, head, el("div", { class: "error" }, c.error || "no reason logged"));
  }));
}
function drawSettings() {
  const cell = (name, text, wrap = "") => el(name, { class: `text ${wrap}` }, text);
  const show = (value) => {
    if (value === undefined) return "–";
    return typeof value === "string" ? value : JSON.stringify(value).replaceAll(",", ", ");
  };
  const headers = D.groups.map((group, g) => searchesOf(g).map((s) => s.header));
  const names = D.groups.map((group) => cell("th", group.label));
  $("settings").tHead.append(el("tr", {}, cell("th", "setting"), ...names));
  for (const key of union(headers.flat().map((header) => Object.keys(header)))) {
    const values = headers.map((seeds) => union(seeds.map((header) => show(header[key]))).join("; "));
    const differs = !["seed", "versions"].includes(key) && new Set(values).size > 1;
    const cells = values.map((value) => cell("td", value, "wrap"));
    $("settings").tBodies[0].append(el("tr", { class: differs && "differs" }, cell("td", words(key)), ...cells));
  }
}
function choices(id, options, chosen, change) {
  $(id).append(...options.map(([value, label]) => el("option", { value }, label)));
  if (chosen !== undefined) $(id).value = chosen;
  $(id).parentElement.hidden = !options.length;
  $(id).addEventListener("change", change);
}

const costNames = COSTS.map((name) => [name, words(name)]), all = SCORED.length;
const sizes = [10, 20, 50, 100].filter((n) => n < all);
choices("cost-name", costNames, undefined, () => { drawCost(); drawTable(); });
choices("random-name", [["", "number"], ...costNames], "", drawRandom);
choices("rows", [...sizes.map((n) => [n, n]), [all, `all ${all}`]], sizes.includes(20) ? 20 : all, drawTable);
choices("frequency-count", [5, 10, 20, 50].map((n) => [n, n]), 10, drawFrequencies);
drawSummary();
drawLegend();
drawCharts();
drawTable();
drawArchs();
drawFrequencies();
drawFailures();
drawSettings();
addEventListener("hashchange", drawTable);
let before = innerWidth;
addEventListener("resize", () => {
  // A phone's address bar that hides while scrolling changes the height alone.
  if (innerWidth !== before) requestAnimationFrame(drawCharts);
  before = innerWidth;
});
drawNotes();
