import { describe, expect, it } from 'vitest';
import { counted, Rates, selectCell, short } from '../src/rates';

describe('Rates', () => {
  it('needs two looks, then gives records a second', () => {
    const rates = new Rates();
    expect(rates.update('q', 100, 1000)).toBeNull();
    expect(rates.update('q', 400, 3000)).toBe(150);
  });

  it('says the same of the same moment', () => {
    const rates = new Rates();
    rates.update('q', 100, 1000);
    rates.update('q', 400, 3000);
    expect(rates.update('q', 400, 3000)).toBe(150);
  });

  it('starts again when a counter went back, as after a restart', () => {
    const rates = new Rates();
    rates.update('q', 100, 1000);
    expect(rates.update('q', 5, 2000)).toBeNull();
    expect(rates.update('q', 15, 3000)).toBe(10);
  });

  it('forgets what is gone', () => {
    const rates = new Rates();
    rates.update('q', 100, 1000);
    rates.keep([]);
    expect(rates.update('q', 200, 2000)).toBeNull();
  });
});

describe('short', () => {
  it('prints at most five characters', () => {
    expect([0, 0.5, 9, 950, 1234, 34567, 5.1e6, 7e9].map(short)).toEqual(['0', '0.5', '9', '950', '1.2k', '35k', '5.1M', '7.0G']);
  });
});

describe('counted', () => {
  it('takes the plural for everything but one', () => {
    expect([0, 1, 2000].map(n => counted(n, 'record'))).toEqual(['0 records', '1 record', '2.0k records']);
  });
});

describe('selectCell', () => {
  it('writes a push query for a stream and a pull query for a table', () => {
    expect(selectCell('ksql', 'ksql', 'ORDERS', 'STREAM')).toBe('%%ksql\nSELECT * FROM orders EMIT CHANGES;');
    expect(selectCell('ksql', 'ksql', 'totals', 'TABLE')).toBe('%%ksql\nSELECT * FROM `totals`;');
    expect(selectCell('kalam', 'app', 'notes', 'USER')).toBe('%%kalam\nSELECT * FROM app.notes');
  });
});
