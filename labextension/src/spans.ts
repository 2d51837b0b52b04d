/**
 * Where the tokens of a `%%ksql` or `%%kalam` cell are, and what they are.
 *
 * A notebook's Python grammar reads such a cell as Python. The spans found here are laid over it,
 * gaps included, so that none of the Python colours show through.
 */

import { highlightTree, tagHighlighter, tags } from '@lezer/highlight';
import { DIALECTS } from './dialects';

export interface ISpan {
  from: number;
  to: number;
  className: string;
}

/** The first line of the cell: the magic, then its options. */
const HEAD = /^[ \t]*%%(ksql|kalam)\b[^\n]*(?:\n|$)/;
const OPTION = /(^|\s)(--?[a-z][\w-]*|<<)/gi;

const CLASSES = tagHighlighter([
  { tag: tags.keyword, class: 'kj-keyword' },
  { tag: tags.typeName, class: 'kj-type' },
  { tag: tags.standard(tags.name), class: 'kj-builtin' },
  { tag: [tags.bool, tags.null], class: 'kj-atom' },
  { tag: [tags.string, tags.special(tags.string)], class: 'kj-string' },
  { tag: tags.number, class: 'kj-number' },
  { tag: [tags.lineComment, tags.blockComment], class: 'kj-comment' },
  { tag: tags.operator, class: 'kj-operator' }
]);

/** Return the spans of a cell in document order, or none if it is not one of our cells. */
export function cellSpans(text: string): ISpan[] {
  const head = HEAD.exec(text);
  if (!head) {
    return [];
  }
  const spans = headSpans(head[0]);
  const start = head[0].length;
  const body = text.slice(start);
  let done = 0;
  const fill = (to: number): void => {
    if (to > done) {
      spans.push({ from: start + done, to: start + to, className: 'kj-text' });
    }
  };
  const tree = DIALECTS[head[1]].language.parser.parse(body);
  highlightTree(tree, CLASSES, (from, to, className) => {
    fill(from);
    spans.push({ from: start + from, to: start + to, className });
    done = to;
  });
  fill(body.length);
  return spans;
}

function headSpans(line: string): ISpan[] {
  const magicEnd = line.search(/%%/) + /%%\w+/.exec(line)![0].length;
  const spans: ISpan[] = [{ from: 0, to: magicEnd, className: 'kj-magic' }];
  let done = magicEnd;
  for (const match of line.slice(magicEnd).matchAll(OPTION)) {
    const from = magicEnd + match.index! + match[1].length;
    if (from > done) {
      spans.push({ from: done, to: from, className: 'kj-text' });
    }
    done = from + match[2].length;
    spans.push({ from, to: done, className: 'kj-option' });
  }
  if (line.length > done) {
    spans.push({ from: done, to: line.length, className: 'kj-text' });
  }
  return spans;
}
