/** The Streams panel: what there is, what runs, and buttons to look at it or stop it. */

import { LabIcon, refreshIcon, stopIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import { ILiveQuery, INamespace, IOverview, IQuery, IRelation, ITopic, overview, peek, stopQuery } from './request';
import { Rates, selectCell, short } from './rates';

const STREAMS_SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
<g class="jp-icon3" fill="none" stroke="#616161" stroke-width="2" stroke-linecap="round">
<path d="M3 7c3-3 6-3 9 0s6 3 9 0"/><path d="M3 12.5c3-3 6-3 9 0s6 3 9 0"/><path d="M3 18c3-3 6-3 9 0s6 3 9 0"/></g></svg>`;

export const streamsIcon = new LabIcon({ name: 'kalam-jupyter:streams', svgstr: STREAMS_SVG });

/** What the panel asks the rest of JupyterLab to do. */
export interface IPanelActions {
  insertCell(source: string): void;
}

type Child = Node | string;

function element(tag: string, className: string, ...children: Child[]): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

function button(label: string, icon: LabIcon | string, onClick: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.className = 'kj-button';
  made.title = label;
  made.setAttribute('aria-label', label);
  if (typeof icon === 'string') {
    made.textContent = icon;
  } else {
    icon.element({ container: made, tag: 'span' });
  }
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
  private open = new Set<string>(['section:relations', 'section:queries']);
  private body = element('div', 'kj-body');
  private status = element('div', 'kj-status');
  private peeked: HTMLElement | null = null;
  private shown = '';

  constructor(
    private actions: IPanelActions,
    private interval = 2000
  ) {
    super();
    this.id = 'kalam-jupyter-streams';
    this.title.icon = streamsIcon;
    this.title.caption = 'Streams';
    this.addClass('kj-panel');
    const header = element('div', 'kj-header', element('h2', '', 'Streams'));
    header.append(button('Refresh', refreshIcon, () => void this.refresh()));
    this.status.setAttribute('role', 'status');
    this.node.append(header, this.status, this.body);
  }

  /** Read everything again and show it. */
  async refresh(): Promise<void> {
    try {
      const found = await overview();
      this.status.textContent = '';
      this.paint(found, Date.now());
    } catch (error) {
      this.status.textContent = (error as Error).message;
    }
  }

  protected onAfterShow(): void {
    void this.refresh();
    this.timer ??= window.setInterval(() => {
      if (document.visibilityState === 'visible') {
        void this.refresh();
      }
    }, this.interval);
  }

  protected onBeforeHide(): void {
    this.stopTimer();
  }

  dispose(): void {
    this.stopTimer();
    super.dispose();
  }

  private stopTimer(): void {
    if (this.timer !== null) {
      window.clearInterval(this.timer);
      this.timer = null;
    }
  }

  private paint(found: IOverview, now: number): void {
    const text = JSON.stringify(found);
    const idle = text === this.shown && found.queries.length === 0;
    this.shown = text;
    if (idle) {
      return;
    }
    this.rates.keep(found.queries.map(q => q.id));
    const focused = document.activeElement?.getAttribute('data-kj') ?? null;
    this.body.replaceChildren(
      this.section('relations', 'Streams and tables', found.namespaces.map(n => this.namespace(n))),
      this.section('queries', 'Queries', found.queries.map(q => this.query(q, now))),
      this.section('live', 'Live queries', found.live.map(q => this.live(q))),
      this.section('topics', 'Topics', found.topics.map(t => this.topic(t)))
    );
    if (this.peeked) {
      this.body.append(this.peeked);
    }
    if (focused) {
      this.body.querySelector<HTMLElement>(`[data-kj="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  private section(id: string, title: string, children: HTMLElement[]): HTMLElement {
    const count = element('span', 'kj-count', String(children.length));
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
    return this.foldable(id, 'kj-namespace', [namespace.name], relations);
  }

  private relation(namespace: string, relation: IRelation): HTMLElement {
    const insert = button('Insert a SELECT into the notebook', '+', () =>
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
    const figures = [`${short(query.records)} records`];
    if (rate !== null) {
      figures.push(`${short(rate)}/s`);
    }
    if (query.lag) {
      figures.push(`${short(query.lag)} behind`);
    }
    const stop = button(`Stop query ${query.id}`, stopIcon, async () => {
      stop.disabled = true;
      await stopQuery(query.id).catch(error => (this.status.textContent = error.message));
      await this.refresh();
    });
    stop.dataset.kj = `stop:${query.id}`;
    const state = element('span', `kj-state kj-state-${query.state.toLowerCase()}`, query.state.toLowerCase());
    const head = element('div', 'kj-row', element('span', 'kj-name', query.id), state, stop);
    const made = element('div', 'kj-query', head, element('div', 'kj-figures', figures.join(' · ')));
    made.title = query.sql;
    return made;
  }

  private live(query: ILiveQuery): HTMLElement {
    const figures = element('div', 'kj-figures', `${query.user} · ${short(query.changes)} changes`);
    return element('div', 'kj-query', element('code', 'kj-sql', query.sql), figures);
  }

  private topic(topic: ITopic): HTMLElement {
    const look = button(`Peek at ${topic.name}`, '👁', () => void this.peek(topic.name));
    const count = element('span', 'kj-kind', `${short(topic.records)} in ${topic.partitions}`);
    return element('div', 'kj-row', element('span', 'kj-name', topic.name), count, look);
  }

  private async peek(topic: string): Promise<void> {
    try {
      const found = await peek(topic);
      const rows = found.records.map(r =>
        element('div', 'kj-record', element('span', 'kj-kind', String(r.offset)), element('code', '', `${r.key ?? ''} ${r.value}`))
      );
      const close = button('Close', '×', () => {
        this.peeked?.remove();
        this.peeked = null;
      });
      this.peeked?.remove();
      this.peeked = element('div', 'kj-peek', element('div', 'kj-row', element('b', 'kj-name', `Last of ${topic}`), close));
      this.peeked.append(...(rows.length ? rows : [element('div', 'kj-empty', 'no records')]));
      this.body.append(this.peeked);
      this.peeked.scrollIntoView({ block: 'nearest' });
    } catch (error) {
      this.status.textContent = (error as Error).message;
    }
  }
}
