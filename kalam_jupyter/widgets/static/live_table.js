// The view of kalam_jupyter.widgets.LiveTable: paints only the rows that are in sight.

const ROW_HEIGHT = 24;
const FLASH_MS = 1200;
// Characters that a column gets at most, where not all have room.
const NARROW = 44;

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

const typeText = (column) => (column.key ? `${column.type} · key` : column.type);

// In characters of a cell: room for the arrow of a sorted column, and for the smaller print of the type.
const headWidth = (c) => Math.max(c.name.length + 5, Math.min(typeText(c).length, 18) * 0.85 + 3);

class TableLive extends Live {
  constructor(model) {
    super(model);
    this.widths = this.columns.map((c) => headWidth(c));
    this.scroll = null; // survives a view that is made again
    this.sort = model.get("sort");
    this.filter = "";
    this.typing = false;
  }

  changed() {
    this.stale = true;
    super.changed();
  }

  // Sorted and filtered. What takes long is done less often: a fifth of the time at most.
  visibleRows() {
    const [name, direction] = this.sort ?? [];
    const at = this.columns.findIndex((c) => c.name === name);
    const needle = this.filter.toLowerCase();
    if (at < 0 && !needle) return this.rows.all();
    const asked = `${at} ${direction} ${needle}`;
    const began = performance.now();
    const known = this.chosen?.asked === asked;
    if (known && !this.stale) return this.chosen.rows;
    if (known && began < this.chosen.again) {
      this.later ??= setTimeout(() => {
        this.later = null;
        super.changed();
      }, this.chosen.again - began);
      return this.chosen.rows;
    }
    const rows = this.sorted(this.matching(needle), at, direction);
    const done = performance.now();
    this.chosen = { asked, rows, again: done + 4 * (done - began) };
    this.stale = false;
    return rows;
  }

  matching(needle) {
    const { formats } = this.rows;
    if (!needle || !formats) return this.rows.all();
    const text = (r) => (r.text ??= r.values.map((v, i) => formats[i](v)).join("\u0000").toLowerCase());
    return this.rows.all().filter((r) => text(r).includes(needle));
  }

  sorted(rows, at, direction) {
    if (at < 0) return rows;
    const sign = direction === "desc" ? -1 : 1;
    const missing = (v) => v === null || v === undefined;
    return [...rows].sort((a, b) => {
      const [x, y] = [a.values[at], b.values[at]];
      return missing(x) || missing(y) ? compare(x, y) : sign * compare(x, y);
    });
  }

  dispose() {
    clearTimeout(this.later);
    super.dispose();
  }
}

class TableView extends LiveView {
  constructor(live, model, el) {
    super(live, model, el, "Live table");
    this.pool = [];
    this.following = live.scroll === null;
    this.paint();
    // JupyterLab makes the view again whenever the saved form of the output changes.
    if (live.scroll !== null) this.box.scrollTop = live.scroll;
    if (live.typing) requestAnimationFrame(() => this.search.focus({ preventScroll: true }));
  }

  makeTool() {
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
    return this.search;
  }

  makeFooter() {
    const footer = super.makeFooter();
    this.latest = makeButton("Latest ↓", () => {
      this.following = true;
      this.live.scroll = null;
      this.schedule();
    });
    this.latest.classList.add("klt-latest");
    footer.append(this.latest);
    return footer;
  }

  makeBody() {
    this.box = element("div", "klt-box", { tabindex: "0", role: "region", "aria-label": "Rows" });
    this.box.style.maxHeight = `${this.model.get("height")}px`;
    this.table = element("table", "klt-table");
    this.ruler = element("i", "klt-ruler");
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
    this.box.append(this.table, this.ruler, this.empty);
    this.box.addEventListener("scroll", () => this.scrolled());
    return [this.box];
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

  paint() {
    this.paintStatus();
    const rows = this.live.visibleRows();
    this.paintRows(rows);
    const { filter, rows: { size } } = this.live;
    this.paintNumbers(filter ? `${count.format(rows.length)} of ${count.format(size)} shown` : `${count.format(size)} shown`);
    this.latest.hidden = !this.tails || this.following || rows.length === 0;
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
    this.paintWidths();
    this.heads.forEach((th, i) => {
      const [name, direction] = live.sort ?? [];
      const sorted = name === live.columns[i].name ? `${direction}ending` : "none";
      if (th.getAttribute("aria-sort") !== sorted) th.setAttribute("aria-sort", sorted);
      th.classList.toggle("klt-number", Boolean(live.numeric?.[i]));
    });
    this.empty.hidden = rows.length > 0;
    this.empty.textContent = live.rows.size ? "No row matches the filter." : this.emptyText();
    if (this.tails && this.following) this.box.scrollTop = this.box.scrollHeight;
  }

  // Wide columns share the room that the narrow ones leave.
  paintWidths() {
    const { widths } = this.live;
    const narrow = widths.reduce((sum, width) => sum + Math.min(width, NARROW), 0);
    const room = this.table.clientWidth / this.ruler.getBoundingClientRect().width;
    const wide = widths.filter((width) => width > NARROW).length;
    const most = room > narrow ? NARROW + (room - narrow) / Math.max(1, wide) : NARROW;
    widths.forEach((width, i) => {
      this.cols.children[i].style.width = `${Math.min(width, most)}ch`;
    });
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
}

export default widget(TableLive, TableView);
