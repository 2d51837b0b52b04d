// The view of kalam_jupyter.widgets.LiveChart: draws the retained rows on a canvas, at most once a frame.

const MAX_SERIES = 10; // as in chart_svg.py
const KINDS = ["line", "bar", "area", "points"];
const PAD = { left: 12, right: 16, top: 24, bottom: 38 };
const DAY = 86_400_000;
const TIME_STEPS = [
  ...[1, 10, 100].flatMap((u) => [1, 2, 5].map((n) => n * u)),
  ...[1e3, 6e4].flatMap((u) => [1, 2, 5, 10, 15, 30].map((n) => n * u)),
  ...[1, 2, 3, 6, 12].map((n) => n * 3_600_000),
  ...[1, 2, 7, 14, 30, 90, 180, 365, 730, 1825, 3650].map((n) => n * DAY),
];

/* ---- axes ---- */

// A range wide enough for ticks; zero stays an end of it.
function apart(low, high) {
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > Math.max(1e-9 * size, 1e-290)) return [low, high];
  const wide = Math.max(1, 1e-6 * size);
  return [low - wide * (low !== 0), high + wide * (high !== 0 || low === 0)];
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((n) => n * power >= rough * 0.999) * power;
}

function ticks(low, high, step) {
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n <= Math.floor(high / step + 1e-9); n++) found.push(n * step || 0); // no -0
  return found;
}

function numberText(value, step) {
  const unit = [[1e12, "T"], [1e9, "G"], [1e6, "M"]].find(([size]) => Math.abs(value) >= size);
  if (unit) return `${Number((value / unit[0]).toPrecision(6))}${unit[1]}`;
  const digits = Math.max(0, Math.min(9, -Math.floor(Math.log10(step) + 1e-9)));
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function timeText(ms, step) {
  const text = new Date(ms).toISOString();
  if (step >= DAY || (ms % DAY === 0 && step >= 6e4)) return text.slice(0, 10);
  return text.slice(11, step >= 6e4 ? 16 : step >= 1e3 ? 19 : 23);
}

// A linear map from values to pixels.
const axis = (low, high, start, end) => {
  const map = (v) => start + ((v - low) / (high - low)) * (end - start);
  return Object.assign(map, { low, high, start, end });
};

/* ---- rows as series ---- */

const NUMBERS = { 7: (type) => (v) => Number(formatDecimal(v, type.scale)) };
const toNumber = (type) => {
  const convert = NUMBERS[type.typeId]?.(type) ?? Number;
  return (v) => {
    const n = v === null || v === undefined ? NaN : convert(v);
    return Number.isFinite(n) ? n : null;
  };
};

class ChartLive extends Live {
  constructor(model) {
    super(model);
    const at = (name) => this.columns.findIndex((c) => c.name === name);
    this.scale = model.get("scale");
    this.x = at(model.get("x"));
    this.y = model.get("y").map(at);
    this.by = model.get("by").map(at);
    this.kind = model.get("kind");
    this.names = new Map(); // series -> its number, which it keeps, and with it its colour
    this.off = new Set(); // series that were clicked away
  }

  changed() {
    this.data = null;
    super.changed();
  }

  describe(table) {
    this.numbers ??= table.schema.fields.map((f) => toNumber(f.type));
    super.describe(table);
  }

  series() {
    this.data ??= this.collect();
    return this.data;
  }

  collect() {
    const [found, categories] = [new Map(), new Map()];
    const { formats } = this.rows;
    for (const { values, order } of this.rows.all()) {
      const x = this.place(values, order, categories);
      if (x === null) continue;
      const group = this.by.map((i) => formats[i](values[i])).join(" · ");
      for (const i of this.y) {
        const name = [group, group && this.y.length < 2 ? "" : this.columns[i].name].filter(Boolean).join(" · ");
        if (!found.has(name)) found.set(name, []);
        found.get(name).push([x, this.numbers[i](values[i])]);
      }
    }
    for (const name of found.keys()) if (!this.names.has(name)) this.names.set(name, this.names.size);
    const all = [...found].map(([name, points]) => ({
      name,
      number: this.names.get(name),
      points: (this.scale === "category" ? [...new Map(points)] : points).sort((a, b) => a[0] - b[0]),
    }));
    all.sort((a, b) => a.number - b.number);
    return { series: all.slice(0, MAX_SERIES), more: Math.max(0, all.length - MAX_SERIES), categories: [...categories.keys()] };
  }

  place(values, order, categories) {
    if (this.scale === "row") return order;
    if (this.scale !== "category") return this.numbers[this.x](values[this.x]);
    const text = this.rows.formats[this.x](values[this.x]);
    if (!categories.has(text)) categories.set(text, categories.size);
    return categories.get(text);
  }
}

/* ---- the view ---- */

class ChartView extends LiveView {
  constructor(live, model, el) {
    super(live, model, el, "Live chart");
    this.at = null; // the place on x that is read out
    this.resize = new ResizeObserver(() => this.schedule());
    this.resize.observe(this.plot);
    this.theme = new MutationObserver(() => this.schedule());
    this.theme.observe(document.body, { attributes: true });
    this.paint();
  }

  makeTool() {
    this.kinds = element("select", "klt-kind", { "aria-label": "Kind of chart" });
    for (const kind of KINDS) this.kinds.append(new Option(kind, kind, false, kind === this.live.kind));
    this.kinds.addEventListener("change", () => {
      this.live.kind = this.kinds.value;
      this.live.changed();
    });
    return this.kinds;
  }

  makeBody() {
    this.plot = element("div", "klt-plot");
    this.plot.style.height = `${this.model.get("height")}px`;
    this.canvas = element("canvas", "", { tabindex: "0", role: "img" });
    this.tip = element("div", "klt-tip", { "aria-live": "polite" });
    this.empty = element("p", "klt-empty");
    this.plot.append(this.canvas, this.tip, this.empty);
    this.canvas.addEventListener("pointermove", (e) => this.readAt(this.nearest(e.offsetX)));
    this.canvas.addEventListener("pointerleave", () => this.readAt(null));
    this.canvas.addEventListener("blur", () => this.readAt(null));
    this.canvas.addEventListener("keydown", (e) => this.key(e));
    this.legend = element("div", "klt-legend", { role: "group", "aria-label": "Series" });
    return [this.plot, this.legend];
  }

  readAt(x) {
    this.at = x;
    this.schedule();
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.readAt(null);
    if (step === undefined || !this.places?.length) return;
    event.preventDefault();
    event.stopPropagation();
    const last = this.places.length - 1;
    const now = this.at === null ? last + (step < 0 ? 1 : 0) : this.places.indexOf(this.at);
    this.readAt(this.places[Math.max(0, Math.min(last, now + step))]);
  }

  // The place with a mark that is nearest to a pixel.
  nearest(pixel) {
    let best = null;
    for (const x of this.places ?? []) {
      if (best === null || Math.abs(this.toX(x) - pixel) < Math.abs(this.toX(best) - pixel)) best = x;
    }
    return best;
  }

  paint() {
    this.paintStatus();
    const { series, more, categories } = this.live.series();
    this.ink = getComputedStyle(this.tip);
    this.colours = isDark(this.ink.color) ? LIGHT : DARK;
    const shown = series.filter((s) => !this.live.off.has(s.name));
    const drawn = shown.some((s) => s.points.some(([, y]) => y !== null));
    this.paintCanvas(drawn ? shown : [], categories);
    this.paintLegend(series, more);
    this.paintTip(shown);
    const { size } = this.live.rows;
    this.paintNumbers(`${count.format(size)} drawn`);
    this.empty.hidden = drawn;
    this.empty.textContent = series.length ? "Nothing to draw: no values, or every series is off." : this.emptyText();
  }

  get lines() {
    return this.live.scale !== "category" && ["line", "area"].includes(this.live.kind);
  }

  colour(series) {
    return this.colours[series.number % this.colours.length];
  }

  paintCanvas(series, categories) {
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    const g = this.canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    this.canvas.setAttribute("aria-label", `${this.live.kind} chart, ${series.length} series; arrow keys read values`);
    this.places = [...new Set(series.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b);
    if (!series.length || width < 80) return;
    this.step = this.places.reduce((least, x, i, all) => (i ? Math.min(least, x - all[i - 1]) : least), Infinity);
    if (this.step === Infinity) this.step = 1;
    g.font = `11px ${this.ink.fontFamily}`;
    const y = this.scaleY(g, series, height);
    const x = this.scaleX(categories, width);
    this.toX = x;
    this.paintGrid(g, x, y, categories, width, height);
    if (this.at !== null && !this.places.includes(this.at)) this.at = null;
    if (this.at !== null) this.paintCross(g, x, y);
    g.save();
    g.beginPath();
    g.rect(x.start - 6, y.end - 6, x.end - x.start + 12, y.start - y.end + 12);
    g.clip();
    series.forEach((one, i) => this.paintSeries(g, one, i, series.length, x, y));
    if (this.at !== null && this.live.kind !== "bar") this.paintDots(g, series, x, y);
    g.restore();
  }

  scaleY(g, series, height) {
    let [low, high] = ["bar", "area"].includes(this.live.kind) ? [0, 0] : [Infinity, -Infinity];
    for (const { points } of series) {
      for (const [, v] of points) if (v !== null) [low, high] = [Math.min(low, v), Math.max(high, v)];
    }
    [low, high] = apart(low, high);
    const step = niceStep((high - low) / Math.max(2, height / 48));
    const y = axis(Math.floor(low / step) * step, Math.ceil(high / step) * step, height - PAD.bottom, PAD.top);
    this.yTicks = ticks(y.low, y.high, step).map((v) => [v, numberText(v, step)]);
    this.gutter = PAD.left + Math.max(...this.yTicks.map(([, text]) => g.measureText(text).width)) + 8;
    return y;
  }

  scaleX(categories, width) {
    let [low, high] = [this.places[0], this.places.at(-1)];
    if (this.live.scale === "category") [low, high] = [-0.5, categories.length - 0.5];
    else if (this.live.kind === "bar") [low, high] = [low - this.step / 2, high + this.step / 2];
    [low, high] = apart(low, high);
    return axis(low, high, this.gutter, width - PAD.right);
  }

  xTicks(g, x, categories) {
    const { scale } = this.live;
    const span = x.end - x.start;
    if (scale === "category") {
      const widest = Math.max(...categories.map((c) => g.measureText(c.slice(0, 16)).width)) + 10;
      const every = Math.ceil((Math.min(widest, 110) * categories.length) / span);
      return categories.map((c, i) => [i, c.length > 16 ? `${c.slice(0, 15)}…` : c]).filter(([i]) => i % every === 0);
    }
    const rough = (x.high - x.low) / Math.max(2, span / 95);
    const step = (scale === "time" && TIME_STEPS.find((s) => s >= rough)) || niceStep(rough);
    const whole = scale === "row" ? Math.max(1, step) : step;
    return ticks(x.low, x.high, whole).map((v) => [v, scale === "time" ? timeText(v, whole) : numberText(v, whole)]);
  }

  paintGrid(g, x, y, categories, width, height) {
    const { color, borderTopColor } = this.ink;
    g.lineWidth = 1;
    g.fillStyle = color;
    g.textAlign = "right";
    g.textBaseline = "middle";
    for (const [v, text] of this.yTicks) {
      const at = Math.round(y(v)) + 0.5;
      g.globalAlpha = v === 0 ? 1 : 0.6;
      g.strokeStyle = borderTopColor;
      g.beginPath();
      g.moveTo(x.start, at);
      g.lineTo(x.end, at);
      g.stroke();
      g.globalAlpha = 1;
      g.fillText(text, x.start - 8, at);
    }
    g.textAlign = "center";
    g.textBaseline = "top";
    for (const [v, text] of this.xTicks(g, x, categories)) {
      const half = g.measureText(text).width / 2;
      g.fillText(text, Math.max(half + 2, Math.min(width - half - 2, x(v))), y.start + 7);
    }
    g.textAlign = "right";
    g.textBaseline = "bottom";
    const name = this.model.get("x") || "row";
    const day = this.live.scale === "time" ? ` · UTC, ${new Date(x.high).toISOString().slice(0, 10)}` : "";
    g.fillText(name + day, x.end, height - 3);
    g.textAlign = "left";
    g.textBaseline = "top";
    g.fillText(this.model.get("y").join(", "), PAD.left, 5);
  }

  paintCross(g, x, y) {
    g.strokeStyle = g.fillStyle = this.ink.color;
    const at = x(this.at);
    const half = this.live.kind === "bar" ? Math.max(3, (x(x.low + this.step) - x.start) / 2) : 0;
    g.globalAlpha = half ? 0.12 : 0.7;
    if (half) g.fillRect(at - half, y.end, half * 2, y.start - y.end);
    else g.fillRect(Math.round(at), y.end, 1, y.start - y.end);
    g.globalAlpha = 1;
  }

  paintSeries(g, one, i, n, x, y) {
    g.fillStyle = g.strokeStyle = this.colour(one);
    if (this.live.kind === "bar") return this.paintBars(g, one, i, n, x, y);
    if (this.live.kind === "points") return this.paintPoints(g, one, x, y, one.points.length > 2000 ? 1.5 : 3);
    const sparse = one.points.length <= 40;
    for (const run of runs(one.points)) {
      const path = new Path2D();
      run.forEach(([px, py], k) => (k ? path.lineTo(x(px), y(py)) : path.moveTo(x(px), y(py))));
      if (this.live.kind === "area") {
        const under = new Path2D(path);
        under.lineTo(x(run.at(-1)[0]), y(0));
        under.lineTo(x(run[0][0]), y(0));
        g.globalAlpha = 0.22;
        g.fill(under);
        g.globalAlpha = 1;
      }
      g.lineWidth = 1.8;
      g.lineJoin = g.lineCap = "round";
      g.stroke(path);
    }
    if (sparse) this.paintPoints(g, one, x, y, 2.5);
  }

  paintBars(g, { points }, i, n, x, y) {
    const full = Math.max(1, (x(x.low + this.step) - x.start) * 0.84);
    const width = Math.max(1, full / n - (full / n > 6 ? 1 : 0));
    const zero = y(0);
    for (const [px, py] of points) {
      if (py === null) continue;
      const [left, top] = [x(px) - full / 2 + (i * full) / n, y(py)];
      const round = Math.min(3, width / 3, Math.abs(zero - top));
      g.beginPath();
      const corners = py >= 0 ? [round, round, 0, 0] : [0, 0, round, round];
      g.roundRect(left, Math.min(top, zero), width, Math.abs(zero - top), corners);
      g.fill();
    }
  }

  paintPoints(g, { points }, x, y, radius) {
    g.globalAlpha = this.live.kind === "points" ? 0.75 : 1;
    g.beginPath();
    for (const [px, py] of points) {
      if (py === null) continue;
      g.moveTo(x(px) + radius, y(py));
      g.arc(x(px), y(py), radius, 0, 7);
    }
    g.fill();
    g.globalAlpha = 1;
  }

  paintDots(g, series, x, y) {
    for (const one of series) {
      const value = valueAt(one, this.at, this.lines);
      if (value === undefined) continue;
      g.fillStyle = this.colour(one);
      g.strokeStyle = this.ink.backgroundColor;
      g.lineWidth = 2;
      g.beginPath();
      g.arc(x(this.at), y(value), 4.5, 0, 7);
      g.fill();
      g.stroke();
    }
  }

  paintLegend(series, more) {
    const wanted = series.map((s) => `${s.name}${this.colour(s)}${this.live.off.has(s.name)}`).join() + more;
    if (wanted === this.legendShown) return;
    const focused = document.activeElement?.dataset?.series;
    this.legendShown = wanted;
    this.legend.replaceChildren(...series.map((s) => this.makeSwitch(s)));
    if (more) this.legend.append(Object.assign(element("span"), { textContent: `+ ${count.format(more)} more series` }));
    [...this.legend.children].find((b) => focused !== undefined && b.dataset.series === focused)?.focus();
  }

  makeSwitch(series) {
    const { off } = this.live;
    const button = makeButton(series.name, () => {
      if (!off.delete(series.name)) off.add(series.name);
      this.live.changed();
    });
    button.className = "klt-series";
    button.dataset.series = series.name;
    button.setAttribute("aria-pressed", String(!off.has(series.name)));
    button.title = `${series.name}: show or hide`;
    button.style.setProperty("--klt-swatch", this.colour(series));
    return button;
  }

  paintTip(series) {
    const found = this.at === null ? [] : series.map((s) => [s, valueAt(s, this.at, this.lines)]).filter(([, v]) => v !== undefined);
    this.tip.hidden = !found.length;
    if (!found.length) return;
    const { scale } = this.live;
    const head = element("b");
    const { categories } = this.live.series();
    const plain = scale === "row" ? `row ${count.format(this.at)}` : formatFloat(this.at);
    head.textContent = scale === "time" ? formatMoment(this.at) : scale === "category" ? categories[this.at] : plain;
    this.tip.replaceChildren(head, ...found.map(([s, v]) => {
      const line = element("div");
      line.style.setProperty("--klt-swatch", this.colour(s));
      const [name, value] = [element("span"), element("em")];
      name.textContent = s.name;
      value.textContent = Number(v.toPrecision(7)).toLocaleString("en-US", { maximumFractionDigits: 7 });
      line.append(name, value);
      return line;
    }));
    const at = this.toX(this.at);
    const width = this.tip.offsetWidth;
    this.tip.style.left = `${at + 14 + width > this.plot.clientWidth ? Math.max(2, at - 14 - width) : at + 14}px`;
  }

  dispose() {
    this.resize.disconnect();
    this.theme.disconnect();
    super.dispose();
  }
}

// What a series reads at a place; a line also says what it was last, before the place.
function valueAt({ points }, x, line) {
  const point = points.findLast(([px]) => (line ? px <= x : px === x));
  return point?.[1] ?? undefined;
}

// A line is cut where a value is missing.
function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (point[1] !== null) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length);
}

export default widget(ChartLive, ChartView);
