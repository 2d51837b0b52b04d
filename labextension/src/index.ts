/** The JupyterLab plugins. Nothing of the magics needs them. */

import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import { sqlCells } from './highlight';
import { StreamsPanel, streamsIcon } from './panel';

const highlight: JupyterFrontEndPlugin<void> = {
  id: 'kalam-jupyter:highlight',
  description: 'Colours %%ksql and %%kalam cells as SQL.',
  autoStart: true,
  requires: [IEditorExtensionRegistry],
  activate: (_app: JupyterFrontEnd, registry: IEditorExtensionRegistry) => {
    registry.addExtension(
      Object.freeze({
        name: 'kalam-jupyter:sql-cells',
        factory: () => EditorExtensionRegistry.createImmutableExtension(sqlCells)
      })
    );
  }
};

const panel: JupyterFrontEndPlugin<void> = {
  id: 'kalam-jupyter:panel',
  description: 'The Streams panel: streams, tables, topics and running queries.',
  autoStart: true,
  optional: [INotebookTracker, ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ) => {
    const streams = new StreamsPanel({
      insertCell: source => {
        const current = notebooks?.currentWidget;
        if (current) {
          NotebookActions.insertBelow(current.content);
          current.content.activeCell?.model.sharedModel.setSource(source);
          current.content.activate();
        }
      }
    });
    app.shell.add(streams, 'left', { rank: 900 });
    restorer?.add(streams, 'kalam-jupyter:streams');
    app.commands.addCommand('kalam-jupyter:open-streams', {
      label: 'Show Streams',
      icon: streamsIcon,
      execute: () => app.shell.activateById(streams.id)
    });
    palette?.addItem({ command: 'kalam-jupyter:open-streams', category: 'Kalam' });
  }
};

export default [highlight, panel];
