/** The JupyterLab plugins. Nothing of the magics needs them. */

import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, showDialog } from '@jupyterlab/apputils';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { sqlCells } from './highlight';
import { Follower } from './follower';
import { IPanelOptions, StreamsPanel, streamsIcon } from './panel';

const highlight: JupyterFrontEndPlugin<void> = {
  id: 'kalam-jupyter:highlight',
  description: 'Colours %%ksql and %%kalam cells as SQL.',
  autoStart: true,
  requires: [IEditorExtensionRegistry],
  activate: (_app: JupyterFrontEnd, registry: IEditorExtensionRegistry) => {
    registry.addExtension<boolean>(
      Object.freeze({
        name: 'kalam-jupyter:sql-cells',
        default: true,
        schema: { type: 'boolean', title: 'Colour %%ksql and %%kalam cells as SQL' },
        factory: () => EditorExtensionRegistry.createConditionalExtension(sqlCells)
      })
    );
  }
};

const PANEL = 'kalam-jupyter:panel';
const COMMANDS = {
  open: 'kalam-jupyter:open-streams',
  stopAll: 'kalam-jupyter:stop-all-queries',
  ksqlCell: 'kalam-jupyter:insert-ksql-cell',
  kalamCell: 'kalam-jupyter:insert-kalam-cell'
};
const DEFAULTS: IPanelOptions = { interval: 2000, confirmStop: true };

/** Put a cell below the current one and let the reader write on. */
function insertCell(notebook: NotebookPanel | null, source: string): void {
  if (notebook) {
    NotebookActions.insertBelow(notebook.content);
    const cell = notebook.content.activeCell;
    cell?.model.sharedModel.setSource(source);
    notebook.content.activate();
    notebook.content.mode = 'edit';
    const end = cell?.editor?.getPositionAt(source.length);
    if (end) {
      cell?.editor?.setCursorPosition(end);
    }
  }
}

async function confirm(question: string, action: string): Promise<boolean> {
  const buttons = [Dialog.cancelButton(), Dialog.warnButton({ label: action })];
  const answer = await showDialog({ title: question, buttons });
  return answer.button.accept;
}

const panel: JupyterFrontEndPlugin<void> = {
  id: PANEL,
  description: 'The Streams panel: streams, tables, topics and running queries.',
  autoStart: true,
  optional: [INotebookTracker, ICommandPalette, ILayoutRestorer, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    registry: ISettingRegistry | null
  ) => {
    const insert = (source: string) => insertCell(notebooks?.currentWidget ?? null, source);
    const streams = new StreamsPanel({ insertCell: insert, confirm }, DEFAULTS);
    const follower = notebooks ? new Follower(notebooks, streams) : null;
    app.shell.add(streams, 'left', { rank: 900 });
    restorer?.add(streams, 'kalam-jupyter:streams');

    const hasNotebook = () => !!notebooks?.currentWidget;
    app.commands.addCommand(COMMANDS.open, {
      label: 'Show Streams',
      icon: streamsIcon,
      execute: () => app.shell.activateById(streams.id)
    });
    app.commands.addCommand(COMMANDS.stopAll, {
      label: 'Stop All Streaming Queries',
      execute: () => streams.stopAll()
    });
    for (const [command, magic] of [
      [COMMANDS.ksqlCell, '%%ksql'],
      [COMMANDS.kalamCell, '%%kalam']
    ]) {
      app.commands.addCommand(command, {
        label: `Insert ${magic} Cell`,
        isEnabled: hasNotebook,
        execute: () => insert(`${magic}\n`)
      });
    }
    for (const command of Object.values(COMMANDS)) {
      palette?.addItem({ command, category: 'Streams' });
    }

    void registry?.load(PANEL).then(settings => {
      const apply = () => {
        const { interval, confirmStop, followNotebook } = settings.composite as Record<string, number | boolean>;
        streams.configure({ interval: Number(interval) * 1000, confirmStop: Boolean(confirmStop) });
        follower?.follow(Boolean(followNotebook));
      };
      settings.changed.connect(apply);
      apply();
    });
  }
};

export default [highlight, panel];
