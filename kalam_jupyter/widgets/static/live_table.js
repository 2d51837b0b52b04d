// The view of kalam_jupyter.widgets.LiveTable. `flechette` (Arrow IPC decoder) stands in front of this file.
//
// One model per widget holds the rows; every view of it paints only the rows that are in sight. Frames
// come as custom messages {type: "frame", seq, reset, deletes, stats} with one Arrow IPC buffer; the
// model acknowledges every fifth, and asks for a fresh start when a sequence number is missing.

const ROW_HEIGHT = 24;
const ACK_EVERY = 5;
const ACK_AFTER_MS = 500;
const FLASH_MS = 1200;
const EPOCH_COLUMNS = new Set(["WINDOWSTART", "WINDOWEND", "ROWTIME"]);
const ARROW_OPTIONS = { useBigInt: true, useDecimalInt: true };
const count = new Intl.NumberFormat("en-US");

/* ---- values as text ---- */

const pad = (n, width = 2) => String(n).padStart(width, "0");

function formatMoment(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return String(ms);
  const text = date.toISOString().replace("T", " ");
  return text.slice(0, text.endsWith(".000Z") ? -5 : -1);
}

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

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

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
    this.next = 0;
  }

  get upsert() {
    return this.keys.length > 0;
  }

  get size() {
    return this.upsert ? this.map.size : this.list.length;
  }

  all() {
    return this.upsert ? [...this.map.values()].sort((a, b) => a.order - b.order) : this.list;
  }

  add(table, deletes, fresh) {
    const width = this.columns.length;
    const vectors = this.columns.map((_, i) => table.getChildAt(i));
    const deleted = deletes ? table.getChildAt(width) : null;
    const now = fresh ? 0 : performance.now();
    for (let i = 0; i < table.numRows; i++) {
      const values = vectors.map((v) => v.at(i));
      if (!this.upsert) this.list.push({ values, order: this.next++, at: now, changed: null });
      else this.put(values, deleted !== null && deleted.at(i), now);
    }
    this.trim();
  }

  put(values, deleted, now) {
    const key = this.keys.map((i) => this.formats[i](values[i])).join("\u0000");
    const old = this.map.get(key);
    this.map.delete(key);
    if (deleted) return;
    const text = (row, i) => this.formats[i](row[i]);
    const changed = old ? values.map((_, i) => text(values, i) !== text(old.values, i)) : null;
    this.map.set(key, { values, order: old ? old.order : this.next++, at: now, changed });
  }

  trim() {
    if (this.upsert) {
      for (const key of this.map.keys()) {
        if (this.map.size <= this.capacity) break;
        this.map.delete(key);
      }
    } else if (this.list.length > this.capacity) {
      this.list = this.list.slice(-this.capacity);
    }
  }
}

const typeText = (column) => (column.key ? `${column.type} · key` : column.type);

// In characters of a cell: room for the arrow of a sorted column, and for the smaller print of the type.
const headWidth = (c) => Math.max(c.name.length + 5, Math.min(typeText(c).length, 18) * 0.85 + 3);

class Live {
  constructor(model) {
    this.model = model;
    this.columns = model.get("columns");
    this.rows = new Rows(this.columns, model.get("max_rows"));
    this.stats = {};
    this.widths = this.columns.map((c) => headWidth(c));
    this.seq = 0;
    this.acked = 0;
    this.timer = null;
    this.views = new Map(); // view -> is it in sight?
    this.scroll = null; // survives a view that is made again
    this.sort = model.get("sort");
    this.filter = "";
    this.typing = false;
    this.onVisibility = () => this.sight();
    document.addEventListener("visibilitychange", this.onVisibility);
    model.on("msg:custom", (message, buffers) => this.receive(message, buffers));
    model.send({ type: "resync" });
  }

  receive(message, buffers) {
    if (message.type === "stats") this.stats = message.stats;
    if (message.type !== "frame") return this.changed();
    const expected = this.seq + 1;
    if (message.reset) this.rows.clear();
    else if (message.seq !== expected) this.model.send({ type: "resync" });
    this.seq = message.seq;
    this.stats = message.stats;
    const view = buffers[0];
    const bytes = new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
    const table = flechette.tableFromIPC(bytes.slice(), ARROW_OPTIONS);
    this.describe(table);
    this.rows.add(table, message.deletes, message.reset);
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
    this.sight();
  }

  see(view, visible) {
    if (!this.views.has(view)) return;
    this.views.set(view, visible);
    this.sight();
  }

  detach(view) {
    this.views.delete(view);
    this.sight();
  }

  // Frames nobody can see are not worth sending.
  sight() {
    const visible = document.visibilityState === "visible" && [...this.views.values()].some(Boolean);
    if (visible === this.visible) return;
    this.visible = visible;
    this.model.send({ type: "visible", value: visible });
  }

  command(name) {
    this.model.send({ type: "command", name });
  }

  visibleRows() {
    let rows = this.rows.all();
    const needle = this.filter.toLowerCase();
    if (needle && this.rows.formats) {
      rows = rows.filter((r) => r.values.some((v, i) => this.rows.formats[i](v).toLowerCase().includes(needle)));
    }
    const [name, direction] = this.sort ?? [];
    const at = this.columns.findIndex((c) => c.name === name);
    if (at < 0) return rows;
    const sign = direction === "desc" ? -1 : 1;
    const missing = (v) => v === null || v === undefined;
    return [...rows].sort((a, b) => {
      const [x, y] = [a.values[at], b.values[at]];
      return missing(x) || missing(y) ? compare(x, y) : sign * compare(x, y);
    });
  }

  dispose() {
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisibility);
  }
}

/* ---- the view ---- */

function element(tag, className, attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const STATUS_TEXT = {
  running: "live",
  paused: "paused",
  stopped: "stopped",
  finished: "finished",
  failed: "failed",
};
const isOver = (status) => ["stopped", "finished", "failed"].includes(status);

class View {
  constructor(live, model, el) {
    Object.assign(this, { live, model, el, frame: null, pool: [], asked: null });
    this.root = element("section", "klt-live", { "aria-label": "Live table" });
    this.root.append(this.makeHeader(), this.makeTable(), this.makeFooter());
    el.append(this.root);
    this.following = live.scroll === null;
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
    this.paint();
    // JupyterLab makes the view again whenever the saved form of the output changes.
    if (live.scroll !== null) this.box.scrollTop = live.scroll;
    if (live.typing) requestAnimationFrame(() => this.search.focus({ preventScroll: true }));
  }

  makeHeader() {
    const header = element("header", "klt-bar");
    this.badge = element("span", "klt-badge", { role: "status" });
    const title = element("code", "klt-title", { title: this.model.get("title") });
    title.textContent = this.model.get("title").replace(/\s+/g, " ");
    this.search = element("input", "klt-filter", { type: "search", placeholder: "Filter", "aria-label": "Filter rows" });
    this.search.value = this.live.filter;
    this.search.addEventListener("focus", () => {
      this.live.typing = true;
    });
    this.search.addEventListener("blur", () => {
      if (this.root.isConnected) this.live.typing = false;
    });
    this.search.addEventListener("input", () => {
      this.live.filter = this.search.value;
      this.live.changed();
    });
    // JupyterLab's own keys (dd deletes the cell) must not hear what is typed here.
    this.search.setAttribute("data-lm-suppress-shortcuts", "true");
    this.pause = this.makeButton("Pause", () =>
      this.ask(this.model.get("status") === "paused" ? "resume" : "pause"),
    );
    this.stop = this.makeButton("Stop", () => this.ask("stop"));
    header.append(this.badge, title, this.search, this.pause, this.stop);
    return header;
  }

  makeButton(text, action) {
    const button = element("button", "klt-button", { type: "button" });
    button.textContent = text;
    button.addEventListener("click", action);
    return button;
  }

  makeTable() {
    this.box = element("div", "klt-box", { tabindex: "0", role: "region", "aria-label": "Rows" });
    this.box.style.maxHeight = `${this.model.get("height")}px`;
    this.table = element("table", "klt-table");
    this.cols = element("colgroup");
    const head = element("tr");
    this.heads = this.live.columns.map((column) => {
      const th = element("th", column.key ? "klt-key" : "", { scope: "col" });
      const button = element("button", "klt-sort", { type: "button", title: "Sort" });
      const name = element("span");
      name.textContent = column.name;
      const type = element("small");
      type.textContent = typeText(column);
      button.append(name, type);
      button.addEventListener("click", () => this.sortBy(column.name));
      th.append(button);
      head.append(th);
      this.cols.append(element("col"));
      return th;
    });
    // An empty last column takes the width that the others do not need.
    head.append(element("td", "klt-fill"));
    this.cols.append(element("col"));
    const thead = element("thead");
    thead.append(head);
    this.body = element("tbody");
    [this.above, this.below] = [element("tr", "klt-space"), element("tr", "klt-space")];
    this.body.append(this.above, this.below);
    this.table.append(this.cols, thead, this.body);
    this.empty = element("p", "klt-empty");
    this.box.append(this.table, this.empty);
    this.box.addEventListener("scroll", () => this.scrolled());
    return this.box;
  }

  makeFooter() {
    const footer = element("footer", "klt-foot");
    this.numbers = element("span", "klt-numbers");
    this.latest = this.makeButton("Latest ↓", () => {
      this.following = true;
      this.live.scroll = null;
      this.schedule();
    });
    this.latest.classList.add("klt-latest");
    footer.append(this.numbers, this.latest);
    return footer;
  }

  ask(name) {
    this.asked = name;
    this.live.command(name);
    this.schedule();
  }

  sortBy(name) {
    const [now, direction] = this.live.sort ?? [];
    if (now !== name) this.live.sort = [name, "asc"];
    else this.live.sort = direction === "asc" ? [name, "desc"] : null;
    this.live.changed();
  }

  // A tail follows its end, unless somebody scrolled up to read, or sorted it.
  get tails() {
    return !this.live.rows.upsert && !this.live.sort;
  }

  scrolled() {
    const atEnd = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - ROW_HEIGHT;
    this.following = atEnd;
    this.live.scroll = atEnd && this.tails ? null : this.box.scrollTop;
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    this.paintStatus();
    const rows = this.live.visibleRows();
    this.paintRows(rows);
    this.paintNumbers(rows.length);
    this.latest.hidden = !this.tails || this.following || rows.length === 0;
  }

  paintStatus() {
    const status = this.model.get("status");
    const busy = this.asked !== null && !isOver(status);
    this.badge.textContent = busy ? `${this.asked}…` : STATUS_TEXT[status];
    this.badge.dataset.status = status;
    this.badge.title = busy ? "Takes effect when the kernel is free" : "";
    this.pause.textContent = status === "paused" ? "Resume" : "Pause";
    this.pause.hidden = this.stop.hidden = isOver(status);
  }

  paintRows(rows) {
    const live = this.live;
    const height = this.box.clientHeight || this.model.get("height");
    if (this.tails && this.following) this.box.scrollTop = rows.length * ROW_HEIGHT;
    const first = Math.max(0, Math.min(Math.floor(this.box.scrollTop / ROW_HEIGHT) - 4, rows.length));
    const last = Math.min(rows.length, first + Math.ceil(height / ROW_HEIGHT) + 8);
    this.setPool(last - first);
    const now = performance.now();
    for (let i = first; i < last; i++) this.paintRow(this.pool[i - first], rows[i], now, i);
    this.above.style.height = `${first * ROW_HEIGHT}px`;
    this.below.style.height = `${(rows.length - last) * ROW_HEIGHT}px`;
    live.widths.forEach((width, i) => {
      this.cols.children[i].style.width = `${Math.min(width, 44)}ch`;
    });
    this.heads.forEach((th, i) => {
      const [name, direction] = live.sort ?? [];
      const sorted = name === live.columns[i].name ? `${direction}ending` : "none";
      if (th.getAttribute("aria-sort") !== sorted) th.setAttribute("aria-sort", sorted);
      th.classList.toggle("klt-number", Boolean(live.numeric?.[i]));
    });
    this.empty.hidden = rows.length > 0;
    const none = live.filter && live.rows.size ? "No row matches the filter." : "Waiting for the first row…";
    this.empty.textContent = isOver(this.model.get("status")) && !live.rows.size ? "No rows." : none;
    if (this.tails && this.following) this.box.scrollTop = this.box.scrollHeight;
  }

  setPool(size) {
    while (this.pool.length > size) this.pool.pop().tr.remove();
    while (this.pool.length < size) {
      const tr = element("tr");
      const cells = this.live.columns.map((c, i) => {
        const td = element("td", `${c.key ? "klt-key" : ""} ${this.live.numeric[i] ? "klt-number" : ""}`.trim());
        tr.append(td);
        return { td, value: undefined, flash: 0 };
      });
      tr.append(element("td", "klt-fill"));
      this.body.insertBefore(tr, this.below);
      this.pool.push({ tr, cells, order: -1 });
    }
  }

  paintRow(slot, row, now, index) {
    const { live } = this;
    const age = now - row.at;
    // The stripes of a tail move with its rows; elsewhere they stand still.
    const stripe = this.tails && !live.filter ? row.order : index;
    slot.tr.classList.toggle("klt-odd", stripe % 2 === 1);
    slot.cells.forEach((cell, i) => {
      const value = row.values[i];
      if (cell.value !== value || slot.order !== row.order) {
        const text = live.rows.formats[i](value);
        cell.td.textContent = text;
        cell.td.title = text.length > 24 || live.numeric[i] ? String(value) : "";
        cell.td.classList.toggle("klt-null", value === null || value === undefined);
        live.widths[i] = Math.max(live.widths[i], text.length + 3);
        cell.value = value;
      }
      const flash = row.changed?.[i] && age < FLASH_MS ? row.at : 0;
      if (flash !== cell.flash) {
        cell.td.style.animation = flash ? `klt-flash ${FLASH_MS}ms ease-out -${Math.round(age)}ms` : "";
        cell.flash = flash;
      }
    });
    slot.order = row.order;
  }

  paintNumbers(shown) {
    const { stats, rows, filter } = this.live;
    const error = this.model.get("error");
    this.numbers.classList.toggle("klt-error", Boolean(error));
    if (error) {
      this.numbers.textContent = error;
      return;
    }
    const parts = isOver(this.model.get("status")) ? [] : [`${count.format(stats.rate ?? 0)} rows/s`];
    parts.push(`${count.format(stats.rows_in ?? 0)} in`);
    parts.push(filter ? `${count.format(shown)} of ${count.format(rows.size)} shown` : `${count.format(shown)} shown`);
    if (stats.conflated) parts.push(`${count.format(stats.conflated)} conflated`);
    if (stats.lost) parts.push(`${count.format(stats.lost)} lost`);
    if (stats.lag) parts.push(`lag ${count.format(stats.lag)}`);
    this.numbers.textContent = parts.join("  ·  ");
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

export default {
  initialize({ model }) {
    const uid = model.get("uid");
    const live = new Live(model);
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
};
