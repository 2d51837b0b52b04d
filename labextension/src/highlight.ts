/** The CodeMirror extension that lays `cellSpans` over a cell as decorations. */

import { Extension, Prec, RangeSetBuilder, StateField, Text } from '@codemirror/state';
import { Decoration, DecorationSet, EditorView } from '@codemirror/view';
import { cellSpans } from './spans';

const marks = new Map<string, Decoration>();

function mark(className: string): Decoration {
  let found = marks.get(className);
  if (!found) {
    found = Decoration.mark({ class: className });
    marks.set(className, found);
  }
  return found;
}

function decorate(doc: Text): DecorationSet {
  // The first line decides, so that Python cells cost one short slice per keystroke.
  if (!/^[ \t]*%%k/.test(doc.line(1).text)) {
    return Decoration.none;
  }
  const builder = new RangeSetBuilder<Decoration>();
  for (const span of cellSpans(doc.toString())) {
    builder.add(span.from, span.to, mark(span.className));
  }
  return builder.finish();
}

const field = StateField.define<DecorationSet>({
  create: state => decorate(state.doc),
  update: (value, tr) => (tr.docChanged ? decorate(tr.newDoc) : value),
  provide: f => EditorView.decorations.from(f)
});

/** Colours `%%ksql` and `%%kalam` cells; other cells are left alone. */
export const sqlCells: Extension = Prec.highest(field);
