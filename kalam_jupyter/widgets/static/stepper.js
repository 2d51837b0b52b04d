// The view of kalam_jupyter.widgets.Stepper. All steps are in the model: going forth and back needs no kernel,
// only a new record does.

const TIMES = new Set(["WINDOWSTART", "WINDOWEND", "ROWTIME", "JOINS FROM", "JOINS TO"]);
const SVG = "http://www.w3.org/2000/svg";
const DAY = 86_400_000;
const ROW = 21;
const GUTTER = 96;
const MAX_LANES = 8;
const MAX_ROWS = 4;

function svg(tag, attributes = {}, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

const titled = (node, text) => {
  node.append(svg("title", {}, text));
  return node;
};

/* ---- what was there after a step ---- */

const sameKey = (row, keys) => JSON.stringify(row.slice(0, keys));

class Story {
  constructor(model) {
    this.steps = model.get("steps");
    this.nodes = model.get("nodes");
    this.keyed = model.get("keyed");
    const times = this.steps.flatMap((s) => s.operators.flatMap((o) => [...o.inputs, ...o.outputs].map((r) => r.time)));
    this.short = times.length > 0 && Math.floor(Math.min(...times) / DAY) === Math.floor(Math.max(...times) / DAY);
  }

  clock(ms) {
    if (ms === null || ms === undefined) return "";
    const text = formatMoment(Number(ms));
    return this.short && text.length > 10 ? text.slice(11) : text;
  }

  cell(value, column) {
    if (value === null || value === undefined) return "null";
    return TIMES.has(column) ? this.clock(value) : String(value);
  }

  at(position) {
    return position > 0 ? this.steps[position - 1] : null;
  }

  // What an operator did at a step; its last state is found further back.
  operator(position, node) {
    return this.at(position)?.operators.find((o) => o.node === node) ?? null;
  }

  last(position, node) {
    for (let i = position; i > 0; i--) {
      const found = this.operator(i, node);
      if (found) return found;
    }
    return null;
  }

  // Rows of the result so far: {cells, key, mark}. A table's rows replace each other.
  result(position) {
    const rows = new Map();
    this.steps.slice(0, position).forEach((step, i) => {
      step.outputs.forEach((r, n) => {
        const id = this.keyed ? JSON.stringify([r.key, r.window]) : `${i} ${n}`;
        const now = i === position - 1;
        if (r.value === null && !rows.has(id) && !now) return;
        const mark = r.value === null ? "removed" : !now ? "" : rows.has(id) ? "changed" : "added";
        rows.set(id, { record: r, mark });
      });
      if (i < position - 1) for (const [id, { mark }] of rows) if (mark === "removed") rows.delete(id);
    });
    return [...rows.values()];
  }

  windowed(node) {
    return this.steps.some((s) => s.operators.some((o) => o.node === node && o.state.some((t) => t.columns.includes("WINDOWEND"))));
  }
}

/* ---- tables ---- */

function makeTable(columns, rows, keys = 0) {
  const table = element("table", "klt-mini");
  const head = element("tr");
  columns.forEach((name, i) => {
    const th = element("th", i < keys ? "klt-key" : "", { scope: "col" });
    th.textContent = name;
    head.append(th);
  });
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  body.append(...rows);
  table.append(thead, body);
  return table;
}

function makeRow(cells, mark = "", changed = [], keys = 0) {
  const tr = element("tr", mark ? `klt-${mark}` : "");
  cells.forEach((text, i) => {
    const td = element("td", [i < keys ? "klt-key" : "", text === "null" ? "klt-null" : "", changed[i] ? "klt-hit" : ""].join(" ").trim());
    td.textContent = text;
    tr.append(td);
  });
  return tr;
}

/* ---- the view ---- */

class StepperView {
  constructor(model, el) {
    this.model = model;
    this.root = element("section", "klt-live klt-stepper", { "aria-label": "Stepper", tabindex: "0", "data-lm-suppress-shortcuts": "true" });
    this.root.addEventListener("keydown", (e) => this.key(e));
    this.timeline = element("div", "klt-time");
    this.records = element("ol", "klt-records", { "aria-label": "Records" });
    this.cards = element("div", "klt-cards", { "aria-live": "polite" });
    const main = element("div", "klt-split");
    const side = element("div", "klt-side");
    side.append(this.records, this.makeForm());
    main.append(side, this.cards);
    this.root.append(this.makeHeader(), this.timeline, main);
    hideSnapshot(model.get("uid"), this.root);
    el.append(this.root);
    this.changed = () => this.paint();
    model.on("change:steps change:position change:error", this.changed);
    this.resize = new ResizeObserver(() => this.paintTimeline());
    this.resize.observe(this.root);
    this.theme = new MutationObserver(() => this.paint());
    this.theme.observe(document.body, { attributes: true });
    this.paint();
  }

  makeHeader() {
    const header = element("header", "klt-bar");
    this.badge = element("span", "klt-count", { role: "status" });
    const title = element("code", "klt-title", { title: this.model.get("title") });
    title.textContent = this.model.get("title").replace(/\s+/g, " ");
    this.first = makeButton("|◀", () => this.go(0));
    this.back = makeButton("◀ Back", () => this.go(this.position - 1));
    this.next = makeButton("Next ▶", () => this.go(this.position + 1), "klt-button klt-main");
    this.end = makeButton("▶|", () => this.go(Infinity));
    for (const [button, label] of [[this.first, "To the beginning"], [this.end, "To the end"]]) {
      button.setAttribute("aria-label", label);
      button.title = label;
    }
    header.append(this.badge, title, this.first, this.back, this.next, this.end);
    return header;
  }

  get position() {
    return Math.min(this.model.get("position"), this.model.get("steps").length);
  }

  go(position) {
    const to = Math.max(0, Math.min(this.model.get("steps").length, position));
    this.model.set("position", to);
    this.model.save_changes();
    this.paint();
  }

  key(event) {
    if (event.target.closest("input, select, textarea")) return;
    const to = { ArrowLeft: this.position - 1, ArrowRight: this.position + 1, Home: 0, End: Infinity }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.go(to);
  }

  paint() {
    this.story = new Story(this.model);
    const { steps } = this.story;
    const { position } = this;
    this.badge.textContent = steps.length ? `${position} of ${steps.length}` : "no record yet";
    this.first.disabled = this.back.disabled = position === 0;
    this.next.disabled = this.end.disabled = position >= steps.length;
    this.failure.textContent = this.model.get("error");
    this.colours = isDark(getComputedStyle(this.root).color) ? LIGHT : DARK;
    this.paintRecords();
    this.paintCards();
    this.paintTimeline();
  }

  colour(name, names) {
    return this.colours[Math.max(0, names.indexOf(name)) % this.colours.length];
  }

  paintRecords() {
    const { steps } = this.story;
    const { position } = this;
    const names = this.model.get("sources").map((s) => s.name);
    this.records.replaceChildren(
      ...steps.map((step, i) => {
        const item = element("li");
        const button = makeButton("", () => this.go(i + 1), "klt-record");
        const state = i + 1 === position ? "now" : i + 1 > position ? "later" : "done";
        button.dataset.state = state;
        if (state === "now") button.setAttribute("aria-current", "step");
        button.style.setProperty("--klt-swatch", this.colour(step.source, names));
        const [name, what] = [element("b"), element("span")];
        const { record } = step;
        name.textContent = `${i + 1}  ${step.source}`;
        const time = element("time");
        time.textContent = this.story.clock(record.time);
        what.textContent = this.brief(record);
        button.title = what.textContent;
        button.append(name, time, what);
        item.append(button);
        return item;
      }),
    );
    this.records.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  brief({ key, value }) {
    const parts = [...(key ?? []), ...(value ?? [])];
    const text = parts.filter(([, v]) => v !== null).map(([name, v]) => `${name.toLowerCase()} ${this.story.cell(v, name)}`).join(" · ");
    return value === null ? `${text} · delete` : text;
  }

  paintCards() {
    const cards = this.story.nodes.map((node) => this.makeCard(node));
    this.cards.replaceChildren(...cards, this.makeResult());
  }

  makeCard(node) {
    const { position, story } = this;
    const done = story.operator(position, node.id);
    const card = element("article", `klt-card${done ? "" : " klt-idle"}`);
    const head = element("header");
    const [kind, detail, said] = [element("b"), element("code"), element("em")];
    kind.textContent = node.kind === "SOURCE" ? node.label : node.kind.replace("_", " ");
    detail.textContent = node.kind === "SOURCE" ? node.detail.split(" ")[0].toLowerCase() : node.shown;
    detail.title = node.shown;
    said.textContent = done?.note ?? "";
    said.dataset.kind = /late|left out|lose|drop|no /.test(said.textContent) ? "lost" : "";
    head.append(kind, detail, said);
    card.append(head);
    if (done && node.kind !== "SOURCE") {
      const flow = element("div", "klt-flow");
      flow.append(this.makeRecords("in", done.inputs), this.makeRecords("out", done.outputs));
      card.append(flow);
    }
    const state = (done ?? story.last(position, node.id))?.state ?? [];
    const before = position > 0 ? story.last(position - 1, node.id)?.state ?? [] : [];
    if (state.length) {
      const box = element("div", "klt-states");
      state.forEach((table, i) => box.append(this.makeState(table, done ? before[i] : table)));
      card.append(box);
    }
    return card;
  }

  makeRecords(label, records) {
    const box = element("figure");
    const caption = element("figcaption");
    caption.textContent = records.length ? label : `${label}: nothing`;
    box.append(caption);
    if (!records.length) return box;
    const { columns, keys, rows } = this.tabulated(records);
    box.append(makeTable(columns, rows, keys));
    return box;
  }

  // Records with the same columns, under one heading.
  tabulated(records, marks = []) {
    const { story } = this;
    const shape = records.find((r) => r.value !== null) ?? records[0];
    const keyNames = (shape.key ?? []).map(([name]) => name);
    const values = (shape.value ?? []).map(([name]) => name).filter((name) => !keyNames.includes(name));
    const windowed = records.some((r) => r.window) && !values.includes("WINDOWSTART");
    const columns = [...keyNames, ...(windowed ? ["window"] : []), ...values, "rowtime"];
    const keys = keyNames.length + (windowed ? 1 : 0);
    const rows = records.flatMap((r, n) => {
      const key = (r.key ?? keyNames.map((name) => [name, null])).map(([name, v]) => story.cell(v, name));
      const window = windowed ? [r.window ? `${story.clock(r.window[0])} – ${story.clock(r.window[1])}` : ""] : [];
      const of = (named) => values.map((name) => story.cell(new Map(named).get(name), name));
      const found = [];
      if (r.old) found.push(makeRow([...key, ...window, ...of(r.old), "before"], "old", [], keys));
      const cells = r.value === null ? values.map((_, i) => (i ? "" : "deleted")) : of(r.value);
      if (r.value === null && !values.length) key[key.length - 1] += " deleted";
      const changed = r.old && r.value ? [...key, ...window].map(() => false).concat(values.map((name) => new Map(r.old).get(name) !== new Map(r.value).get(name))) : [];
      found.push(makeRow([...key, ...window, ...cells, story.clock(r.time)], marks[n] ?? (r.value === null ? "removed" : ""), changed, keys));
      return found;
    });
    return { columns, keys, rows };
  }

  makeState(table, before) {
    const box = element("figure");
    const caption = element("figcaption");
    const old = new Map((before?.rows ?? []).map((row) => [sameKey(row, before.keys), row]));
    const rows = table.rows.map((row) => {
      const was = old.get(sameKey(row, table.keys));
      old.delete(sameKey(row, table.keys));
      const cells = row.map((v, i) => this.story.cell(v, table.columns[i]));
      return makeRow(cells, was ? "" : "added", row.map((v, i) => Boolean(was) && v !== was[i]), table.keys);
    });
    for (const row of old.values()) {
      rows.push(makeRow(row.map((v, i) => this.story.cell(v, before.columns[i])), "removed", [], table.keys));
    }
    caption.textContent = rows.length ? table.name : `${table.name}: empty`;
    box.append(caption);
    if (rows.length) box.append(makeTable(table.columns, rows, table.keys));
    return box;
  }

  makeResult() {
    const card = element("article", "klt-card klt-result");
    const head = element("header");
    const [kind, detail] = [element("b"), element("code")];
    kind.textContent = "RESULT";
    detail.textContent = this.story.keyed ? "table: the latest row of each key" : "stream: every row";
    head.append(kind, detail);
    card.append(head);
    const found = this.story.result(this.position);
    if (!found.length) {
      const none = element("p", "klt-none");
      none.textContent = "nothing emitted yet";
      card.append(none);
      return card;
    }
    const box = element("div", "klt-states");
    const { columns, keys, rows } = this.tabulated(found.map(({ record }) => ({ ...record, old: null })), found.map(({ mark }) => mark));
    box.append(makeTable(columns, rows, keys));
    card.append(box);
    for (const text of this.story.at(this.position)?.reports ?? []) {
      const report = element("p", "klt-none klt-error");
      report.textContent = text;
      card.append(report);
    }
    return card;
  }

  /* ---- a record by hand ---- */

  makeForm() {
    this.form = element("form", "klt-form", { "aria-label": "Feed a record" });
    this.source = element("select", "klt-kind", { "aria-label": "Source" });
    for (const { name } of this.model.get("sources")) this.source.append(new Option(name, name));
    this.source.hidden = this.model.get("sources").length < 2;
    this.source.addEventListener("change", () => this.makeFields());
    this.fields = element("div", "klt-fields");
    this.failure = element("p", "klt-error", { role: "alert" });
    const submit = element("button", "klt-button", { type: "submit" });
    submit.textContent = "Feed record";
    this.hint = element("small");
    this.form.append(this.source, this.fields, submit, this.hint, this.failure);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.feed();
    });
    this.makeFields();
    return this.form;
  }

  makeFields() {
    const source = this.model.get("sources").find((s) => s.name === this.source.value);
    this.hint.textContent = source.kind === "TABLE" ? " a key alone deletes" : "";
    const rows = [...source.columns.map((c) => [c.name, c.key ? `${c.type} key` : c.type]), ["ROWTIME", "a second later"]];
    this.fields.replaceChildren(
      ...rows.map(([name, type]) => {
        const label = element("label");
        const [text, input] = [element("span"), element("input", "", { name, placeholder: type, autocomplete: "off", spellcheck: "false" })];
        text.textContent = name;
        text.title = type;
        label.append(text, input);
        return label;
      }),
    );
  }

  feed() {
    const inputs = [...this.fields.querySelectorAll("input")];
    const values = Object.fromEntries(inputs.filter((i) => i.value !== "").map((i) => [`\`${i.name}\``, i.value]));
    if (!Object.keys(values).length) return;
    this.model.send({ type: "feed", source: this.source.value, values });
    for (const input of inputs) if (input.name === "ROWTIME") input.value = "";
  }

  /* ---- event time ---- */

  paintTimeline() {
    const { story, position } = this;
    const width = this.root.clientWidth;
    if (!width || !story) return;
    const scene = makeScene(story, position);
    this.timeline.hidden = !scene;
    if (!scene) return;
    this.timeline.replaceChildren(this.drawScene(scene, width));
  }

  drawScene({ lanes, bars, dots, from, to, now, late }, width) {
    const rowsOf = (name) => Math.max(1, ...bars.filter((b) => b.lane === name).map((b) => b.rows));
    const tops = new Map();
    let height = 4;
    for (const name of lanes) {
      tops.set(name, height);
      height += rowsOf(name) * ROW + 12;
    }
    height += 22;
    const root = svg("svg", { width, height, role: "img", "aria-label": "Event time" });
    const x = (ms) => GUTTER + ((ms - from) / (to - from)) * (width - GUTTER - 16);
    const lane = (name) => tops.get(name);
    if (late !== null) {
      const shade = svg("rect", { class: "klt-late", x: GUTTER, y: 0, width: Math.max(0, x(Math.min(late, to)) - GUTTER), height: height - 20 });
      root.append(titled(shade, `records before ${this.story.clock(late)} come too late`));
    }
    this.drawAxis(root, x, from, to, width, height);
    lanes.forEach((name) => {
      const text = svg("text", { class: "klt-lane", x: 8, y: lane(name) + 15 }, name.length > 13 ? `${name.slice(0, 12)}…` : name);
      root.append(titled(text, name));
    });
    for (const bar of bars) {
      const [left, right] = [x(bar.from), Math.max(x(bar.from) + 4, x(bar.to))];
      const g = svg("g", { class: `klt-window klt-${bar.state}`, style: `--klt-swatch:${this.colour(bar.lane, lanes)}` });
      const y = lane(bar.lane) + 1 + bar.row * ROW;
      g.append(svg("rect", { x: left, y, width: right - left, height: ROW - 3, rx: 4 }));
      if (bar.label && right - left > 8 + 6.4 * bar.label.length) g.append(svg("text", { x: left + 6, y: y + 13 }, bar.label));
      root.append(titled(g, `${this.story.clock(bar.from)} – ${this.story.clock(bar.to)}  ${bar.label}`));
    }
    for (const dot of dots) {
      const mark = svg("circle", { class: `klt-dot klt-${dot.state}`, style: `--klt-swatch:${this.colour(dot.lane, lanes)}`, cx: x(dot.time), cy: lane(dot.lane) + rowsOf(dot.lane) * ROW + 2, r: dot.state === "now" ? 5.5 : 3.5 });
      root.append(titled(mark, `${dot.number}: ${this.story.clock(dot.time)}`));
    }
    if (now !== null) {
      const line = svg("line", { class: "klt-now", x1: x(now), x2: x(now), y1: 0, y2: height - 20 });
      root.append(titled(line, `stream time ${this.story.clock(now)}`));
    }
    return root;
  }

  drawAxis(root, x, from, to, width, height) {
    const rough = (to - from) / Math.max(2, (width - GUTTER) / 110);
    const step = TICKS.find((s) => s >= rough) ?? Math.ceil(rough / DAY) * DAY;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      root.append(svg("line", { class: "klt-tick", x1: x(t), x2: x(t), y1: 0, y2: height - 20 }));
      root.append(svg("text", { class: "klt-ticktext", x: x(t), y: height - 6 }, this.story.clock(t)));
    }
  }

  dispose() {
    this.resize.disconnect();
    this.theme.disconnect();
    this.model.off("change:steps change:position change:error", this.changed);
    this.root.remove();
  }
}

const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, ...[1, 2, 5, 10, 15, 30].flatMap((n) => [n * 1e3]), ...[1, 2, 5, 10, 15, 30].map((n) => n * 6e4), ...[1, 2, 3, 6, 12].map((n) => n * 3.6e6), ...[1, 2, 7].map((n) => n * DAY)];

/* ---- the picture of event time: lanes, bars of windows or buffers, dots of records ---- */

// The first operator that knows windows or buffers decides what is drawn; without one there are the records alone.
function makeScene(story, position) {
  if (!story.steps.length) return null;
  const node = story.nodes.find((n) => story.windowed(n.id)) ?? story.nodes.find((n) => n.detail.includes("STREAM_STREAM"));
  const bars = node ? (story.windowed(node.id) ? windowBars(story, node.id, position) : bufferBars(story, node.id, position)) : [];
  const dots = recordDots(story, node, position);
  const lanes = [...new Set([...dots.map((d) => d.lane), ...bars.map((b) => b.lane)])].slice(0, MAX_LANES);
  const times = [...dots.map((d) => d.time), ...bars.flatMap((b) => [b.from, b.to])];
  const [low, high] = [Math.min(...times), Math.max(...times)];
  const margin = Math.max(1, (high - low) * 0.03);
  const done = node && story.last(position, node.id);
  const now = done?.streamTime ?? null;
  const grace = /grace (\d+) ms/.exec(node?.detail ?? "");
  const size = /windows of (\d+) ms/.exec(node?.detail ?? "");
  const tumbling = /TUMBLING/.test(node?.detail ?? "");
  // A tumbling window is closed when its end is grace behind stream time.
  const late = now !== null && grace && size && tumbling ? Math.floor((now - grace[1]) / size[1]) * size[1] : null;
  return { lanes, from: low - margin, to: high + margin, now, late: late !== null && late > low ? late : null,
    bars: bars.filter((b) => lanes.includes(b.lane)), dots: dots.filter((d) => d.number <= position && lanes.includes(d.lane)) };
}

const laneOf = (values) => values.map((v) => v ?? "null").join(" · ") || "all";

// Every window ever: those open now, those closed or merged since.
function windowBars(story, node, position) {
  const bars = new Map();
  for (let i = 1; i <= story.steps.length; i++) {
    const done = story.operator(i, node);
    if (!done) continue;
    const [table] = done.state;
    const [start, end] = [table.columns.indexOf("WINDOWSTART"), table.columns.indexOf("WINDOWEND")];
    if (i <= position) for (const bar of bars.values()) bar.state = bar.state === "gone" ? "gone" : "closed";
    for (const row of table.rows) {
      const id = sameKey(row, table.keys);
      const label = row.slice(table.keys).filter((_, k) => table.columns[table.keys + k] !== "ROWTIME").join(", ");
      const old = bars.get(id);
      if (i > position && old) continue;
      const fresh = i === position && (!old || old.label !== label);
      const state = i > position ? "future" : fresh ? "fresh" : "open";
      bars.set(id, { lane: laneOf(row.slice(0, start)), from: row[start], to: row[end], label, state });
    }
  }
  const all = [...bars.values()].sort((a, b) => a.from - b.from || a.to - b.to);
  return stacked(all);
}

// Windows that overlap in one lane go below each other; those to come only claim their place.
function stacked(bars) {
  const lanes = new Map();
  for (const bar of bars) {
    const ends = lanes.get(bar.lane) ?? [];
    const row = ends.findIndex((end) => end <= bar.from);
    bar.row = row < 0 ? ends.length : row;
    ends[bar.row] = bar.to;
    lanes.set(bar.lane, ends);
  }
  for (const bar of bars) bar.rows = Math.min(MAX_ROWS, lanes.get(bar.lane).length);
  return bars.filter((bar) => bar.row < MAX_ROWS);
}

function bufferBars(story, node, position) {
  const done = story.last(position, node);
  if (!done) return [];
  return stacked(done.state.flatMap((table) => {
    const at = (name) => table.columns.indexOf(name);
    return table.rows.map((row) => ({
      lane: table.name.replace(" buffer", ""), from: row[at("JOINS FROM")], to: row[at("JOINS TO")],
      label: `${row[1] ?? "null"} ${row.at(-1)}`, state: row.at(-1) === "matched" ? "fresh" : "open",
    }));
  }));
}

function recordDots(story, node, position) {
  return story.steps.flatMap((step, i) => {
    const done = node && step.operators.find((o) => o.node === node.id);
    const read = done?.inputs ?? step.operators[0]?.inputs ?? [];
    const state = /late/.test(done?.note ?? "") ? "lost" : i + 1 === position ? "now" : "done";
    return read.slice(0, 1).map((r) => {
      const side = done && node.kind === "JOIN" ? (story.nodes.findIndex((n) => n.id === node.id) && sideOf(story, node, r)) : null;
      return { lane: side ?? (done ? laneOf((r.key ?? []).map(([, v]) => v)) : step.source), time: r.time, number: i + 1, state };
    });
  });
}

// Of a join's two inputs the left one comes first in the order of the nodes.
function sideOf(story, node, record) {
  const inputs = [...new Set(story.steps.flatMap((s) => s.operators.filter((o) => o.node === node.id).flatMap((o) => o.inputs.map((r) => r.via))))];
  const order = story.nodes.map((n) => n.id);
  inputs.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const place = order.indexOf(record.via);
  // With one side fed so far, what stands before half of the sources is the left one.
  if (inputs.length < 2) return story.nodes.slice(0, place + 1).filter((n) => n.kind === "SOURCE").length > 1 ? "right" : "left";
  return record.via === inputs[0] ? "left" : "right";
}

export default {
  render({ model, el }) {
    const view = new StepperView(model, el);
    return () => view.dispose();
  },
};
