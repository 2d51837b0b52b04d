// What the views of live tables and live charts share. `flechette` (Arrow IPC decoder) and common.js stand in
// front of this file, the view's own file behind it.
//
// One model per widget holds the rows; its views only paint them. Frames
// come as custom messages {type: "frame", seq, reset, deletes, stats} with one Arrow IPC buffer; the
// model acknowledges every fifth, and asks for a fresh start when a sequence number is missing: what was sent
// before the model was there is not in it. {type: "stats", seq, stats} has the number of the last frame.

const ACK_EVERY = 5;
const ACK_AFTER_MS = 500;
const EPOCH_COLUMNS = new Set(["WINDOWSTART", "WINDOWEND", "ROWTIME"]);
const ARROW_OPTIONS = { useBigInt: true, useDecimalInt: true };

/* ---- values as text ---- */

function formatClock(value, unit) {
  const ms = Number(value) / [1e-3, 1, 1e3, 1e6][unit];
  const s = Math.floor(ms / 1000);
  const text = `${pad(Math.floor(s / 3600))}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
  return ms % 1000 ? `${text}.${pad(Math.floor(ms % 1000), 3)}` : text;
}

function formatDecimal(value, scale) {
  if (scale <= 0) return String(value) + "0".repeat(-scale);
  const digits = String(value).replace("-", "").padStart(scale + 1, "0");
  return `${String(value).startsWith("-") ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function formatFloat(value) {
  if (Number.isInteger(value) || !Number.isFinite(value)) return String(value);
  return String(Number(value.toPrecision(7)));
}

const formatHex = (bytes) => "0x" + Array.from(bytes, (b) => pad(b.toString(16))).join("");

// Type ids of the Arrow format.
const FORMATS = {
  3: () => formatFloat,
  4: () => formatHex,
  7: (type) => (v) => formatDecimal(v, type.scale),
  8: () => (v) => formatMoment(v).slice(0, 10),
  9: (type) => (v) => formatClock(v, type.unit),
  10: () => formatMoment,
  12: (type) => formatList(type.children[0].type),
  13: (type) => formatStruct(type.children),
  15: () => formatHex,
  16: (type) => formatList(type.children[0].type),
  17: (type) => formatMap(type.children[0].type.children),
  19: () => formatHex,
  21: (type) => formatList(type.children[0].type),
};

function formatter(type) {
  const make = FORMATS[type.typeId];
  const format = make ? make(type) : String;
  return (v) => (v === null || v === undefined ? "null" : format(v));
}

function formatList(element) {
  const inner = formatter(element);
  return (v) => `[${Array.from(v, inner).join(", ")}]`;
}

function formatStruct(fields) {
  const inner = fields.map((f) => [f.name, formatter(f.type)]);
  return (v) => `{${inner.map(([name, f]) => `${name}: ${f(v[name])}`).join(", ")}}`;
}

function formatMap([key, value]) {
  const [k, v] = [formatter(key.type), formatter(value.type)];
  return (entries) => `{${Array.from(entries, ([a, b]) => `${k(a)}: ${v(b)}`).join(", ")}}`;
}

const isNumeric = (type) => [2, 3, 7].includes(type.typeId);

/* ---- the model: rows, acknowledgements ---- */

class Rows {
  constructor(columns, capacity) {
    this.columns = columns;
    this.formats = null;
    this.keys = columns.flatMap((c, i) => (c.key ? [i] : []));
    this.capacity = capacity;
    this.clear();
  }

  clear() {
    this.list = []; // append mode
    this.map = new Map(); // upsert mode: key -> row, least recently changed first
    this.ordered = []; // its rows as they came first; null: to be made again
    this.next = 0;
  }

  get upsert() {
    return this.keys.length > 0;
  }

  get size() {
    return this.upsert ? this.map.size : this.list.length;
  }

  all() {
    if (!this.upsert) return this.list;
    this.ordered ??= [...this.map.values()].sort((a, b) => a.order - b.order);
    return this.ordered;
  }

  // `last` is the number of the last row, counted from 1.
  add(table, deletes, fresh, last) {
    const width = this.columns.length;
    const vectors = this.columns.map((_, i) => table.getChildAt(i));
    const deleted = deletes ? table.getChildAt(width) : null;
    const now = fresh ? 0 : performance.now();
    if (!this.upsert) this.next = last - table.numRows + 1;
    for (let i = 0; i < table.numRows; i++) {
      const values = vectors.map((v) => v.at(i));
      if (!this.upsert) this.list.push({ values, order: this.next++, at: now, changed: null, text: null });
      else this.put(values, deleted !== null && deleted.at(i), now);
    }
    this.trim();
  }

  put(values, deleted, now) {
    const key = this.keys.map((i) => this.formats[i](values[i])).join("\u0000");
    const old = this.map.get(key);
    this.map.delete(key);
    if (deleted) {
      if (old) this.ordered = null;
      return;
    }
    if (!old) {
      const row = { values, order: this.next++, at: now, changed: null, text: null };
      this.map.set(key, row);
      this.ordered?.push(row);
      return;
    }
    const text = (row, i) => this.formats[i](row[i]);
    const changed = values.map((_, i) => text(values, i) !== text(old.values, i));
    // The same object: it keeps its place in `ordered`.
    this.map.set(key, Object.assign(old, { values, at: now, changed, text: null }));
  }

  trim() {
    if (this.upsert) {
      for (const key of this.map.keys()) {
        if (this.map.size <= this.capacity) break;
        this.map.delete(key);
        this.ordered = null;
      }
    } else if (this.list.length > this.capacity) {
      this.list = this.list.slice(-this.capacity);
    }
  }
}

class Live {
  constructor(model) {
    this.model = model;
    this.columns = model.get("columns");
    this.rows = new Rows(this.columns, model.get("max_rows"));
    this.stats = {};
    this.seq = 0;
    this.acked = 0;
    this.timer = null;
    this.views = new Map(); // view -> is it in sight?
    this.sight = new Sight(model);
    this.onVisibility = () => this.tellSight();
    document.addEventListener("visibilitychange", this.onVisibility);
    model.on("msg:custom", (message, buffers) => this.receive(message, buffers));
    model.send({ type: "resync" });
  }

  receive(message, buffers) {
    const isFrame = message.type === "frame";
    const expected = isFrame ? this.seq + 1 : this.seq;
    if (message.reset) this.rows.clear();
    else if (message.seq !== expected) this.model.send({ type: "resync" });
    this.seq = message.seq;
    this.stats = message.stats;
    if (!isFrame) return this.changed();
    const view = buffers[0];
    const bytes = new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
    const table = flechette.tableFromIPC(bytes.slice(), ARROW_OPTIONS);
    this.describe(table);
    this.rows.add(table, message.deletes, message.reset, this.stats.rows_in);
    this.acknowledge();
    this.changed();
  }

  describe(table) {
    if (this.rows.formats) return;
    const fields = table.schema.fields;
    this.rows.formats = this.columns.map((c, i) =>
      EPOCH_COLUMNS.has(c.name) && fields[i].type.typeId === 2
        ? (v) => (v === null ? "null" : formatMoment(Number(v)))
        : formatter(fields[i].type),
    );
    this.numeric = this.columns.map((c, i) => isNumeric(fields[i].type) && !EPOCH_COLUMNS.has(c.name));
  }

  acknowledge() {
    if (this.seq - this.acked >= ACK_EVERY) this.sendAck();
    else if (this.timer === null) this.timer = setTimeout(() => this.sendAck(), ACK_AFTER_MS);
  }

  sendAck() {
    clearTimeout(this.timer);
    this.timer = null;
    this.acked = this.seq;
    this.model.send({ type: "ack", seq: this.seq });
  }

  changed() {
    for (const view of this.views.keys()) view.schedule();
  }

  attach(view) {
    this.views.set(view, true);
    this.tellSight();
  }

  see(view, visible) {
    if (!this.views.has(view)) return;
    this.views.set(view, visible);
    this.tellSight();
  }

  detach(view) {
    this.views.delete(view);
    this.tellSight();
  }

  // Frames nobody can see are not worth sending.
  tellSight() {
    this.sight.tell(document.visibilityState === "visible" && [...this.views.values()].some(Boolean));
  }

  command(name) {
    this.model.send({ type: "command", name });
  }

  dispose() {
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisibility);
  }
}

/* ---- views ---- */

const STATUS_TEXT = {
  running: "live",
  reconnecting: "reconnecting",
  paused: "paused",
  stopped: "stopped",
  finished: "finished",
  failed: "failed",
};
const isOver = (status) => ["stopped", "finished", "failed"].includes(status);

// A header with status, title and buttons; a footer with the figures; between them what a subclass makes.
class LiveView {
  constructor(live, model, el, label) {
    Object.assign(this, { live, model, frame: null, asked: null });
    // JupyterLab's own keys (dd deletes the cell, arrows leave it) must not hear what is typed here.
    this.root = element("section", "klt-live", { "aria-label": label, "data-lm-suppress-shortcuts": "true" });
    this.root.append(this.makeHeader(), ...this.makeBody(), this.makeFooter());
    hideSnapshot(model.get("uid"), this.root);
    el.append(this.root);
    this.onStatus = () => {
      this.asked = null;
      this.schedule();
    };
    model.on("change:status change:error", this.onStatus);
    this.observer = new IntersectionObserver((entries) => {
      live.see(this, entries.at(-1).isIntersecting);
      this.schedule(); // the first time it has a height
    });
    this.observer.observe(this.root);
    live.attach(this);
  }

  makeHeader() {
    const header = element("header", "klt-bar");
    this.badge = element("span", "klt-badge", { role: "status" });
    const title = element("code", "klt-title", { title: this.model.get("title") });
    title.textContent = this.model.get("title").replace(/\s+/g, " ");
    this.pause = makeButton("Pause", () =>
      this.ask(this.model.get("status") === "paused" ? "resume" : "pause"),
    );
    this.stop = makeButton("Stop", () => this.ask("stop"));
    header.append(this.badge, title, this.makeTool(), this.pause, this.stop);
    return header;
  }

  makeFooter() {
    const footer = element("footer", "klt-foot");
    this.numbers = element("span", "klt-numbers");
    footer.append(this.numbers);
    return footer;
  }

  ask(name) {
    this.asked = name;
    this.live.command(name);
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paintStatus() {
    const status = this.model.get("status");
    const error = this.model.get("error");
    const busy = this.asked !== null && !isOver(status);
    // A stream that runs and tells an error is one whose connection is being made again.
    const shown = status === "running" && error ? "reconnecting" : status;
    this.badge.textContent = busy ? `${this.asked}…` : STATUS_TEXT[shown];
    this.badge.dataset.status = shown;
    this.badge.title = busy ? "Takes effect when the kernel is free" : error;
    this.pause.textContent = status === "paused" ? "Resume" : "Pause";
    this.pause.hidden = this.stop.hidden = isOver(status);
  }

  paintNumbers(shown) {
    const { stats } = this.live;
    const error = this.model.get("error");
    this.numbers.classList.toggle("klt-error", Boolean(error));
    if (error) {
      this.numbers.textContent = error;
      return;
    }
    const parts = isOver(this.model.get("status")) ? [] : [`${count.format(stats.rate ?? 0)} rows/s`];
    parts.push(`${count.format(stats.rows_in ?? 0)} in`, shown);
    if (stats.conflated) parts.push(`${count.format(stats.conflated)} conflated`);
    this.numbers.textContent = parts.join("  ·  ");
  }

  // What stands where no row is.
  emptyText() {
    const over = isOver(this.model.get("status"));
    return over ? "No rows." : `Waiting for the first row… ${this.model.get("waiting")}`.trim();
  }

  dispose() {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.model.off("change:status change:error", this.onStatus);
    this.live.detach(this);
    this.root.remove();
  }
}

// anywidget hands every call its own proxy of the model, so the trait `uid` says whose rows they are.
const lives = new Map();

const widget = (Model, View) => ({
  initialize({ model }) {
    const uid = model.get("uid");
    const live = new Model(model);
    lives.set(uid, live);
    return () => {
      lives.delete(uid);
      live.dispose();
    };
  },
  render({ model, el }) {
    const view = new View(lives.get(model.get("uid")), model, el);
    return () => view.dispose();
  },
});
