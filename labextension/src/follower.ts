/** Keeps the Streams panel at the engine of the notebook in front. */

import { ISessionContext } from '@jupyterlab/apputils';
import { Kernel } from '@jupyterlab/services';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { PathExt } from '@jupyterlab/coreutils';
import { findKernelEngine, KernelEngine } from './kernel';
import { serverEngine } from './request';
import { StreamsPanel } from './panel';

/** Offers the engine in the current notebook's kernel, where there is one, beside the server's. */
export class Follower {
  private following = true;
  private engine: KernelEngine | null = null;
  private own = false;

  constructor(
    private notebooks: INotebookTracker,
    private panel: StreamsPanel
  ) {
    notebooks.currentChanged.connect((_, notebook) => this.turnTo(notebook));
    NotebookActions.executed.connect((_, { notebook }) => {
      if (notebook === this.notebooks.currentWidget?.content) {
        void this.look();
      }
    });
    panel.onOpened = () => void this.look();
  }

  /** Whether the panel changes to a notebook's engine by itself. */
  follow(value: boolean): void {
    this.following = value;
  }

  private turnTo(notebook: NotebookPanel | null): void {
    this.leave();
    notebook?.sessionContext.kernelChanged.connect(this.kernelChanged, this);
    notebook?.sessionContext.statusChanged.connect(this.statusChanged, this);
    void notebook?.sessionContext.ready.then(() => this.look());
  }

  private kernelChanged(context: ISessionContext): void {
    if (context === this.notebooks.currentWidget?.sessionContext) {
      this.leave();
    }
  }

  private statusChanged(context: ISessionContext, status: Kernel.Status): void {
    if (status === 'restarting' || status === 'autorestarting') {
      this.kernelChanged(context);
    }
  }

  /** Forget the engine: it went with its kernel, or another notebook came to the front. */
  private leave(): void {
    if (this.engine) {
      this.engine.onChange = () => undefined;
      this.engine = null;
      this.own = false;
      this.panel.offer([serverEngine], serverEngine);
    }
  }

  private async look(): Promise<void> {
    const notebook = this.notebooks.currentWidget;
    const kernel = notebook?.sessionContext.session?.kernel;
    if (!notebook || !kernel || !this.panel.isVisible) {
      return;
    }
    if (this.engine) {
      this.engine.watch(true);
      return;
    }
    const engine = await findKernelEngine(kernel, PathExt.basename(notebook.context.path)).catch(() => null);
    if (engine && notebook === this.notebooks.currentWidget && !this.engine) {
      this.engine = engine;
      engine.onChange = () => this.changed(engine);
      this.changed(engine);
      engine.watch(true);
    }
  }

  private changed(engine: KernelEngine): void {
    if (engine.own !== this.own) {
      this.own = engine.own;
      const engines = engine.own ? [serverEngine, engine] : [serverEngine];
      this.panel.offer(engines, engine.own && this.following ? engine : serverEngine);
    } else if (engine.own) {
      void this.panel.refresh();
    }
  }
}
