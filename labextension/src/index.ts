/** The JupyterLab plugins. Nothing of the magics needs them: they only make the cells pleasant to read. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { sqlCells } from './highlight';

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

export default [highlight];
