// What all views share. It stands in front of the other files, which are one module together.

const count = new Intl.NumberFormat("en-US");

const pad = (n, width = 2) => String(n).padStart(width, "0");

function formatMoment(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return String(ms);
  const text = date.toISOString().replace("T", " ");
  return text.slice(0, text.endsWith(".000Z") ? -5 : -1);
}

function element(tag, className, attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function makeButton(text, action, className = "klt-button") {
  const button = element("button", className, { type: "button" });
  button.textContent = text;
  button.addEventListener("click", action);
  return button;
}

// Colours of series and lanes, on a light and on a dark background.
const LIGHT = ["#1f6fd6", "#d9730d", "#128a66", "#c2357a", "#7450d0", "#0b86a0", "#a27700", "#c0392f", "#55822a", "#5b6775"];
const DARK = ["#6aa9ff", "#ff9f4a", "#45d0a0", "#ff7eb8", "#b79aff", "#4fcfe6", "#f0c64a", "#ff8a80", "#a5d46a", "#aeb9c6"];

// Whether a text of this colour is meant for a light background; "" before the view is in the page.
const isDark = (colour) => {
  const parts = (colour.match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
  return parts.reduce((a, b) => a + b, 0) < (colour.startsWith("color(") ? 1.5 : 382);
};

// What a page tells the kernel: whether the widget can be seen. See sight.py for the numbers.
class Sight {
  constructor(model) {
    Object.assign(this, { model, page: Math.random().toString(36).slice(2), turn: 0, value: null });
  }

  tell(value) {
    if (value === this.value) return;
    this.value = value;
    this.turn += 1;
    this.model.send({ type: "visible", page: this.page, turn: this.turn, value });
  }
}

// While a view is in the page, the saved output of its widget is not: see shown.py.
function hideSnapshot(uid, root) {
  const style = element("style");
  style.textContent = `[data-klt="${uid}"], .jp-OutputArea-child:has([data-klt="${uid}"]) { display: none; }`;
  root.append(style);
}
