import { dispatchChains, type Table } from '../../render/iptables/chains.ts';
import type { DispatchRule } from '../../render/iptables/render-service-port.ts';

interface Entry {
  readonly key: string;
  readonly rule: string;
}

/**
 * The rules that all Services together want in the shared chains, ordered by key: the order depends on the Services
 * alone and not on which came first, so a long life and a cold start end in the same text.
 */
export class DesiredDispatch {
  private readonly lists = new Map<string, Entry[]>();
  private readonly touched = new Set<string>();

  constructor() {
    for (const table of ['filter', 'nat'] satisfies Table[]) {
      for (const chain of dispatchChains[table]) this.lists.set(`${table} ${chain}`, []);
    }
  }

  /** Puts one Service's rules in the place of those that it had. Equal lists cost nothing. */
  replace(before: readonly DispatchRule[], after: readonly DispatchRule[]): void {
    if (sameRules(before, after)) return;
    for (const { table, chain, key } of before) {
      const list = this.listOf(table, chain);
      const index = lowerBound(list, key);
      if (list[index]?.key === key) list.splice(index, 1);
    }
    for (const { table, chain, key, rule } of after) {
      const list = this.listOf(table, chain);
      list.splice(lowerBound(list, key), 0, { key, rule });
    }
  }

  /** The chains that `replace` has changed since the last call. */
  takeTouched(): readonly { readonly table: Table; readonly chain: string }[] {
    const touched = [...this.touched].map(splitName);
    this.touched.clear();
    return touched;
  }

  rules(table: Table, chain: string): string[] {
    return (this.lists.get(`${table} ${chain}`) ?? []).map((entry) => entry.rule);
  }

  private listOf(table: Table, chain: string): Entry[] {
    const name = `${table} ${chain}`;
    this.touched.add(name);
    let list = this.lists.get(name);
    if (list === undefined) {
      list = [];
      this.lists.set(name, list);
    }
    return list;
  }
}

function splitName(name: string): { table: Table; chain: string } {
  const [table = '', chain = ''] = name.split(' ');
  return { table: table === 'filter' ? 'filter' : 'nat', chain };
}

function sameRules(a: readonly DispatchRule[], b: readonly DispatchRule[]): boolean {
  return (
    a.length === b.length &&
    a.every((one, index) => {
      const other = b[index];
      return (
        other !== undefined &&
        one.key === other.key &&
        one.rule === other.rule &&
        one.chain === other.chain &&
        one.table === other.table
      );
    })
  );
}

/** The first place whose key is not below `key`. */
function lowerBound(list: readonly Entry[], key: string): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.key ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
