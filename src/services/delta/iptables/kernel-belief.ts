import { dispatchChains, isOwnChain, type Table } from '../../render/iptables/chains.ts';
import { digest } from './digest.ts';

export interface ChainFact {
  readonly digest: number;
  readonly rules: number;
}

/** What one table is believed to hold of ours. */
export interface TableBelief {
  /** Chains that are written whole. */
  readonly chains: Map<string, ChainFact>;
  /** Chains that all Services share, rule by rule; absent: the chain does not exist. */
  readonly dispatch: Map<string, readonly string[]>;
  /** Rules of built-in chains that lead to our chains, by built-in chain, from its head on. */
  readonly jumps: Map<string, readonly string[]>;
}

export type KernelBelief = Readonly<Record<Table, TableBelief>>;

const tables: readonly Table[] = ['filter', 'nat'];
/** ":NAME POLICY [packets:bytes]" */
const declaration = /^:(\S+) /;
const builtIn: ReadonlySet<string> = new Set(['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']);
const jumpTarget = /(?:^| )-[jg] (\S+)/;

/**
 * Reads the output of iptables-save and keeps what is ours; what others own is not looked at. `isOurs` says which
 * chains those are.
 */
export function parseKernelBelief(saved: string, isOurs: (chain: string) => boolean = isOwnChain): KernelBelief {
  const belief = emptyBelief();
  let table: Table | undefined;
  let open: { name: string; rules: string[] } | undefined;
  const close = (): void => {
    if (table !== undefined && open !== undefined) keep(belief[table], table, open.name, open.rules);
    open = undefined;
  };
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) {
      close();
      table = tables.find((name) => name === line.slice(1).trim());
    } else if (table === undefined) {
    } else if (line.startsWith(':')) {
      const name = declaration.exec(line)?.[1];
      // A chain without rules is seen by its declaration alone.
      if (name !== undefined && isOurs(name)) keep(belief[table], table, name, []);
    } else if (line.startsWith('-A ')) {
      const end = line.indexOf(' ', 3);
      const chain = end < 0 ? line.slice(3) : line.slice(3, end);
      const rule = end < 0 ? '' : line.slice(end + 1).trimEnd();
      if (isOurs(chain)) {
        // iptables-save prints a chain's rules next to each other.
        if (open?.name !== chain) {
          close();
          open = { name: chain, rules: [] };
        }
        open.rules.push(rule);
      } else {
        const target = jumpTarget.exec(rule)?.[1];
        if (target === undefined || !isOurs(target) || !builtIn.has(chain)) continue;
        belief[table].jumps.set(chain, [...(belief[table].jumps.get(chain) ?? []), rule]);
      }
    } else if (line.startsWith('COMMIT')) {
      close();
      table = undefined;
    }
  }
  close();
  return belief;
}

export function emptyBelief(): KernelBelief {
  const empty = (): TableBelief => ({ chains: new Map(), dispatch: new Map(), jumps: new Map() });
  return { filter: empty(), nat: empty() };
}

function keep(belief: TableBelief, table: Table, name: string, rules: readonly string[]): void {
  if (dispatchChains[table].includes(name)) belief.dispatch.set(name, rules);
  else belief.chains.set(ownCopy(name), { digest: digest(rules), rules: rules.length });
}

/** V8 keeps the whole text alive for the sake of a piece cut out of it; thousands of names would hold megabytes. */
function ownCopy(text: string): string {
  return [...text].join('');
}

/** Rules of ours in a table, jumps included. */
export function countRules(belief: TableBelief): number {
  let count = 0;
  for (const fact of belief.chains.values()) count += fact.rules;
  for (const rules of belief.dispatch.values()) count += rules.length;
  for (const rules of belief.jumps.values()) count += rules.length;
  return count;
}
