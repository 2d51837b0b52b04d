// The view of kalam_jupyter.widgets.Topology: the picture comes drawn; here it gets figures, focus and details.

const STATES = { RUNNING: "running", PAUSED: "paused", ERROR: "failed", ENDED: "ended", "": "plan" };
const DOTS = { RUNNING: "running", PAUSED: "paused", ERROR: "failed" };

class TopologyView {
  constructor(model, el) {
    this.model = model;
    this.chosen = null;
    this.root = element("section", "klt-live klt-topology", { "aria-label": "Topology" });
    const header = element("header", "klt-bar");
    this.badge = element("span", "klt-badge", { role: "status" });
    const title = element("code", "klt-title", { title: model.get("title") });
    title.textContent = model.get("title");
    header.append(this.badge, title);
    this.box = element("div", "klt-graph");
    this.box.innerHTML = model.get("picture"); // the kernel's own drawing, its texts escaped there
    this.details = element("dl", "klt-details", { "aria-live": "polite" });
    this.root.append(header, this.box, this.details);
    hideSnapshot(model.get("uid"), this.root);
    el.append(this.root);
    this.nodes = new Map([...this.box.querySelectorAll(".node")].map((g) => [g.dataset.id, g]));
    for (const [id, g] of this.nodes) this.makeActive(id, g);
    this.changed = () => this.paint();
    model.on("change:figures change:state change:error", this.changed);
    this.observer = new IntersectionObserver((entries) => {
      this.inSight = entries.at(-1).isIntersecting;
      this.tellSight();
    });
    this.observer.observe(this.root);
    this.sight = new Sight(model);
    this.onVisibility = () => this.tellSight();
    document.addEventListener("visibilitychange", this.onVisibility);
    this.paint();
  }

  makeActive(id, g) {
    g.setAttribute("tabindex", "0");
    g.setAttribute("role", "button");
    g.setAttribute("data-lm-suppress-shortcuts", "true");
    g.addEventListener("click", () => this.choose(this.chosen === id ? null : id));
    g.addEventListener("focus", () => this.choose(id));
    g.addEventListener("keydown", (event) => this.key(event, id));
  }

  // Along the arrows, and between the inputs of one operator.
  key(event, id) {
    const edges = this.model.get("edges");
    const below = edges.find(([a]) => a === id)?.[1];
    const above = edges.find(([, b]) => b === id)?.[0];
    const beside = edges.filter(([, b]) => b === below).map(([a]) => a);
    const at = beside.indexOf(id);
    const to = { ArrowDown: below, ArrowUp: above, ArrowLeft: beside[at - 1], ArrowRight: beside[at + 1] }[event.key];
    if (event.key === "Escape") this.choose(null);
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    this.nodes.get(to).focus();
  }

  choose(id) {
    this.chosen = id;
    for (const [other, g] of this.nodes) g.classList.toggle("klt-chosen", other === id);
    this.paintDetails();
  }

  tellSight() {
    this.sight.tell(Boolean(this.inSight) && document.visibilityState === "visible");
  }

  paint() {
    const state = this.model.get("state");
    this.badge.textContent = STATES[state] ?? state.toLowerCase();
    this.badge.dataset.status = DOTS[state] ?? "";
    this.root.title = this.model.get("error");
    const figures = this.model.get("figures");
    for (const [id, g] of this.nodes) {
      const found = figures[id];
      if (!found) continue;
      g.querySelector(".count").textContent = found.text;
      g.classList.toggle("klt-behind", found.lag > 0);
      for (const mark of this.box.querySelectorAll(`[data-from="${CSS.escape(id)}"]`)) {
        if (mark.classList.contains("rate")) mark.textContent = found.rate ? `${count.format(found.rate)}/s` : "";
        else mark.classList.toggle("klt-moves", found.rate > 0);
      }
    }
    this.paintDetails();
  }

  paintDetails() {
    const node = this.model.get("nodes").find((n) => n.id === this.chosen);
    const error = this.model.get("error");
    this.details.hidden = !node && !error;
    const rows = node ? [["", node.kind === node.label ? node.kind : `${node.kind} ${node.label}`], ["does", node.shown], ["topic", node.topic], ["emits", node.schema], ["keeps", node.stores.join(", ")]] : [];
    if (error) rows.push(["error", error]);
    this.details.replaceChildren(
      ...rows.filter(([, text]) => text).flatMap(([name, text]) => {
        const [dt, dd] = [element("dt"), element("dd", name === "error" ? "klt-error" : "")];
        dt.textContent = name;
        dd.textContent = text;
        return [dt, dd];
      }),
    );
  }

  dispose() {
    this.observer.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.model.off("change:figures change:state change:error", this.changed);
    this.sight.tell(false);
    this.root.remove();
  }
}

export default {
  render({ model, el }) {
    const view = new TopologyView(model, el);
    return () => view.dispose();
  },
};
