import { describe, expect, it } from 'vitest';
import { cellSpans } from '../src/spans';

const tokens = (text: string): [string, string][] =>
  cellSpans(text)
    .filter(s => s.className !== 'kj-text')
    .map(s => [s.className.replace('kj-', ''), text.slice(s.from, s.to)]);

describe('cellSpans', () => {
  it('leaves Python cells and other magics alone', () => {
    expect(cellSpans('x = 1')).toEqual([]);
    expect(cellSpans('%%sql\nSELECT 1')).toEqual([]);
    expect(cellSpans('%%ksqlx\nSELECT 1')).toEqual([]);
  });

  it('names the tokens of a ksqlDB statement', () => {
    expect(tokens("%%ksql --limit 5\nSELECT id, 'a' FROM s -- all\nWINDOW TUMBLING (SIZE 1 HOUR) EMIT CHANGES;")).toEqual([
      ['magic', '%%ksql'],
      ['option', '--limit'],
      ['keyword', 'SELECT'],
      ['string', "'a'"],
      ['keyword', 'FROM'],
      ['comment', '-- all'],
      ['keyword', 'WINDOW'],
      ['keyword', 'TUMBLING'],
      ['keyword', 'SIZE'],
      ['number', '1'],
      ['keyword', 'EMIT'],
      ['keyword', 'CHANGES']
    ]);
  });

  it('knows the words of each dialect', () => {
    expect(tokens('%%kalam\nSUBSCRIBE TO app.t').map(t => t[1])).toContain('SUBSCRIBE');
    expect(tokens('%%ksql\nSUBSCRIBE TO app.t').map(t => t[1])).not.toContain('SUBSCRIBE');
  });

  it('covers every character exactly once, in order', () => {
    const text = '%%kalam --live\nSELECT "a" /* x */ , 1.5\n  FROM app.t WHERE b = \'c\'\n';
    let at = 0;
    for (const span of cellSpans(text)) {
      expect(span.from).toBe(at);
      at = span.to;
    }
    expect(at).toBe(text.length);
  });

  it('survives a cell that is only the magic, and unfinished strings', () => {
    expect(tokens('%%ksql')).toEqual([['magic', '%%ksql']]);
    expect(tokens("%%ksql\nSELECT 'a").at(-1)?.[0]).toBe('string');
  });
});
