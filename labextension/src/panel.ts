/** The Streams panel: what there is, what runs, and buttons to look at it or stop it. */

import { addIcon, closeIcon, inspectorIcon, LabIcon, refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { IEngine, ILiveQuery, INamespace, IOverview, IQuery, IRelation, ITopic, serverEngine } from './request';
import { counted, Rates, selectCell, short } from './rates';

const STREAMS_SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
<g class="jp-icon3" fill="none" stroke="#616161" stroke-width="2" stroke-linecap="round">
<path d="M3 7c3-3 6-3 9 0s6 3 9 0"/><path d="M3 12.5c3-3 6-3 9 0s6 3 9 0"/><path d="M3 18c3-3 6-3 9 0s6 3 9 0"/></g></svg>`;

export const streamsIcon = new LabIcon({ name: 'kalam-jupyter:streams', svgstr: STREAMS_SVG });

/** What the panel asks the rest of JupyterLab to do. */
export interface IPanelActions {
  insertCell(source: string): void;
  /** Whether the reader really means it. */
  confirm(question: string, action: string): Promise<boolean>;
}

/** What the settings say. */
export interface IPanelOptions {
  /** Milliseconds between two looks. */
  interval: number;
  confirmStop: boolean;
}

type Child = Node | string;

function element(tag: string, className: string, ...children: Child[]): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

function button(label: string, icon: LabIcon, onClick: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.className = 'kj-button';
  made.title = label;
  made.dataset.kj = label; // by it, the focus is found again after a repaint
  made.setAttribute('aria-label', label);
  icon.element({ container: made, tag: 'span', elementPosition: 'center', height: '14px', width: '14px' });
  made.onclick = event => {
    event.preventDefault();
    event.stopPropagation();
    onClick();
  };
  return made;
}

/** A side panel that refreshes while it is visible. */
export class StreamsPanel extends Widget {
  private rates = new Rates();
  private timer: number | null = null;
  private open = new Set<string>(['section:relations', 'namespace:ksql', 'section:queries']);
  private choice = element('select', 'kj-engine') as HTMLSelectElement;
  private body = element('div', 'kj-body');
  private status = element('div', 'kj-status');
  private peeked: HTMLElement | null = null;
  private engines: IEngine[] = [serverEngine];
  private engine: IEngine = serverEngine;
  private shown = '';

  constructor(
    private actions: IPanelActions,
    private options: IPanelOptions
  ) {
    super();
    this.id = 'kalam-jupyter-streams';
    this.title.icon = streamsIcon;
    this.title.caption = 'Streams';
    this.addClass('kj-panel');
    const header = element('div', 'kj-header', element('h2', '', 'Streams'));
    header.append(button('Refresh', refreshIcon, () => void this.refresh()));
    this.status.setAttribute('role', 'status');
    this.choice.setAttribute('aria-label', 'Engine');
    this.choice.onchange = () => this.turnTo(this.engines[this.choice.selectedIndex]);
    this.node.append(header, this.choice, this.status, this.body);
    this.offer([serverEngine], serverEngine);
  }

  /** Called when the panel comes into view. */
  onOpened: () => void = () => undefined;

  /** Offer these engines in the header, and show one of them. */
  offer(engines: IEngine[], chosen: IEngine): void {
    this.engines = engines;
    this.choice.replaceChildren(...engines.map(e => element('option', '', e.label)));
    this.choice.hidden = engines.length < 2;
    this.choice.selectedIndex = engines.indexOf(chosen);
    this.turnTo(chosen);
  }

  /** Take over new settings. */
  configure(options: IPanelOptions): void {
    this.options = options;
    if (this.timer !== null) {
      this.stopTimer();
      this.startTimer();
    }
  }

  /** Read everything again and show it. */
  async refresh(): Promise<void> {
    const engine = this.engine;
    try {
      const found = await engine.overview();
      if (engine === this.engine) {
        this.status.textContent = found ? '' : 'Waiting for the kernel …';
        this.paint(found ?? { namespaces: [], topics: [], queries: [], live: [], at: 0 });
      }
    } catch (error) {
      this.status.textContent = (error as Error).message;
    }
  }

  /** End every query that runs, after asking. */
  async stopAll(): Promise<void> {
    const found = await this.engine.overview().catch(error => {
      this.status.textContent = error.message;
      return null;
    });
    const queries = found?.queries ?? [];
    if (!queries.length || !(await this.agreed(`Stop ${queries.length} running queries?`, 'Stop all'))) {
      return;
    }
    for (const query of queries) {
      await this.engine.stop(query.id).catch(error => (this.status.textContent = error.message));
    }
    await this.refresh();
  }

  protected onAfterShow(_message: Message): void {
    this.onOpened();
    void this.refresh();
    this.startTimer();
  }

  protected onBeforeHide(_message: Message): void {
    this.stopTimer();
  }

  dispose(): void {
    this.stopTimer();
    super.dispose();
  }

  private turnTo(engine: IEngine): void {
    if (engine !== this.engine) {
      this.engine = engine;
      this.rates.keep([]);
      this.closePeek();
    }
    if (this.isVisible) {
      void this.refresh();
    }
  }

  private startTimer(): void {
    this.timer ??= window.setInterval(() => {
      if (document.visibilityState === 'visible') {
        void this.refresh();
      }
    }, this.options.interval);
  }

  private stopTimer(): void {
    if (this.timer !== null) {
      window.clearInterval(this.timer);
      this.timer = null;
    }
  }

  private async agreed(question: string, action: string): Promise<boolean> {
    return !this.options.confirmStop || (await this.actions.confirm(question, action));
  }

  private paint(found: IOverview): void {
    const text = JSON.stringify({ ...found, at: 0 });
    const idle = text === this.shown && found.queries.length === 0;
    this.shown = text;
    if (idle) {
      return;
    }
    this.rates.keep(found.queries.map(q => q.id));
    const focused = document.activeElement?.getAttribute('data-kj') ?? null;
    const relations = found.namespaces.reduce((count, n) => count + n.relations.length, 0);
    this.body.replaceChildren(
      this.section('relations', 'Streams and tables', relations, found.namespaces.map(n => this.namespace(n))),
      this.section('queries', 'Queries', found.queries.length, found.queries.map(q => this.query(q, found.at))),
      this.section('live', 'Live queries', found.live.length, found.live.map(q => this.live(q))),
      this.section('topics', 'Topics', found.topics.length, found.topics.map(t => this.topic(t)))
    );
    if (this.peeked) {
      this.body.append(this.peeked);
    }
    if (focused) {
      this.body.querySelector<HTMLElement>(`[data-kj="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  private section(id: string, title: string, size: number, children: HTMLElement[]): HTMLElement {
    const count = element('span', 'kj-count', String(size));
    const content = children.length ? children : [element('div', 'kj-empty', 'none')];
    return this.foldable(`section:${id}`, 'kj-section', [title, count], content);
  }

  private foldable(id: string, className: string, summary: Child[], content: HTMLElement[]): HTMLElement {
    const head = element('summary', '', ...summary);
    head.dataset.kj = id;
    const made = element('details', className, head, ...content) as HTMLDetailsElement;
    made.open = this.open.has(id);
    made.ontoggle = () => (made.open ? this.open.add(id) : this.open.delete(id));
    return made;
  }

  private namespace(namespace: INamespace): HTMLElement {
    const id = `namespace:${namespace.name}`;
    const relations = namespace.relations.map(r => this.relation(namespace.name, r));
    const count = element('span', 'kj-count', String(relations.length));
    return this.foldable(id, 'kj-namespace', [namespace.name, count], relations);
  }

  private relation(namespace: string, relation: IRelation): HTMLElement {
    const insert = button(`Insert a SELECT of ${namespace}.${relation.name} into the notebook`, addIcon, () =>
      this.actions.insertCell(selectCell(relation.dialect, namespace, relation.name, relation.kind))
    );
    const columns = relation.columns.map(c =>
      element('div', 'kj-column', element('span', c.key ? 'kj-key' : '', c.name), element('code', '', c.type))
    );
    const summary = [element('span', 'kj-name', relation.name), element('span', 'kj-kind', relation.kind), insert];
    return this.foldable(`relation:${namespace}.${relation.name}`, 'kj-relation', summary, columns);
  }

  private query(query: IQuery, now: number): HTMLElement {
    const rate = this.rates.update(query.id, query.records, now);
    const figures = [counted(query.records, 'record')];
    if (rate !== null) {
      figures.push(`${short(rate)}/s`);
    }
    if (query.lag) {
      figures.push(`${short(query.lag)} behind`);
    }
    const stop = button(`Stop query ${query.id}`, stopIcon, async () => {
      if (!(await this.agreed(`Stop ${query.id}? It ends for good; what it has written stays.`, 'Stop'))) {
        return;
      }
      stop.disabled = true;
      await this.engine.stop(query.id).catch(error => (this.status.textContent = error.message));
      await this.refresh();
    });
    const state = element('span', `kj-state kj-state-${query.state.toLowerCase()}`, query.state.toLowerCase());
    const head = element('div', 'kj-row', element('span', 'kj-name', query.id), state, stop);
    const sql = element('code', 'kj-sql', query.sql);
    const made = element('div', 'kj-query', head, sql, element('div', 'kj-figures', figures.join(' · ')));
    made.title = query.sql;
    return made;
  }

  private live(query: ILiveQuery): HTMLElement {
    const figures = element('div', 'kj-figures', `${query.user} · ${counted(query.changes, 'change')}`);
    return element('div', 'kj-query', element('code', 'kj-sql', query.sql), figures);
  }

  private topic(topic: ITopic): HTMLElement {
    const look = button(`Peek at ${topic.name}`, inspectorIcon, () => void this.peek(topic.name));
    const spread = topic.partitions > 1 ? ` in ${topic.partitions} partitions` : '';
    const count = element('span', 'kj-kind', counted(topic.records, 'record') + spread);
    return element('div', 'kj-row', element('span', 'kj-name', topic.name), count, look);
  }

  private async peek(topic: string): Promise<void> {
    try {
      const found = await this.engine.peek(topic);
      const rows = found.records.map(r =>
        element('div', 'kj-record', element('span', 'kj-kind', String(r.offset)), element('code', '', `${r.key ?? ''} ${r.value}`))
      );
      const close = button('Close', closeIcon, () => this.closePeek());
      this.closePeek();
      this.peeked = element('div', 'kj-peek', element('div', 'kj-row', element('b', 'kj-name', `Last of ${topic}`), close));
      this.peeked.append(...(rows.length ? rows : [element('div', 'kj-empty', 'no records')]));
      this.body.append(this.peeked);
      this.peeked.scrollIntoView({ block: 'nearest' });
    } catch (error) {
      this.status.textContent = (error as Error).message;
    }
  }

  private closePeek(): void {
    this.peeked?.remove();
    this.peeked = null;
  }
}
