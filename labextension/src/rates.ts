/** Throughput, from counters seen at two moments. */

/** Turns ever-growing counters into records a second. */
export class Rates {
  private seen = new Map<string, { at: number; count: number; rate: number | null }>();

  /** Note the counter of `id` at `now` (ms); return records a second since the last moment, or null. */
  update(id: string, count: number, now: number): number | null {
    const last = this.seen.get(id);
    if (last && now === last.at) {
      return last.rate;
    }
    const grown = last !== undefined && now > last.at && count >= last.count;
    const rate = grown ? ((count - last.count) * 1000) / (now - last.at) : null;
    this.seen.set(id, { at: now, count, rate });
    return rate;
  }

  /** Forget every id that is not in `ids`. */
  keep(ids: Iterable<string>): void {
    const wanted = new Set(ids);
    for (const id of [...this.seen.keys()]) {
      if (!wanted.has(id)) {
        this.seen.delete(id);
      }
    }
  }
}

/** Print a rate or a count in at most five characters: 950, 1.2k, 34k, 5.1M. */
export function short(value: number): string {
  const steps: [number, string][] = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k']
  ];
  for (const [size, unit] of steps) {
    if (value >= size) {
      const scaled = value / size;
      return `${scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)}${unit}`;
    }
  }
  return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value)}`;
}

/** Print a count of things: 1 record, 34k records. */
export function counted(value: number, thing: string): string {
  return `${short(value)} ${thing}${value === 1 ? '' : 's'}`;
}

/** Write the cell that shows a relation's rows. */
export function selectCell(dialect: 'ksql' | 'kalam', namespace: string, name: string, kind: string): string {
  if (dialect === 'ksql') {
    const quoted = /^[A-Z_][A-Z0-9_]*$/.test(name) ? name.toLowerCase() : `\`${name}\``;
    const live = kind === 'STREAM' ? ' EMIT CHANGES' : '';
    return `%%ksql\nSELECT * FROM ${quoted}${live};`;
  }
  return `%%kalam\nSELECT * FROM ${namespace}.${name}`;
}
