import { isServiceChain, type Table } from '../../render/iptables/chains.ts';
import { digest } from './digest.ts';
import { editScript } from './edit-script.ts';
import type { KernelBelief } from './kernel-belief.ts';

/** Input for one `iptables-restore --noflush`. */
export interface Transaction {
  /** Empty when the kernel already holds everything. */
  readonly text: string;
  /** Chains flushed or made, rules added, inserted and deleted, chains removed. */
  readonly operations: number;
  /** Rules added or inserted, by table. */
  readonly written: Readonly<Record<Table, number>>;
}

// filter goes first: a Service that has lost its last endpoint is refused before its NAT rules go, so that no packet
// slips by in between (each table is committed by itself).
const order: readonly Table[] = ['filter', 'nat'];
/** From so many edits on, and when they are more than half of the chain, writing it anew is cheaper. */
const manyEdits = 16;

class TableText {
  /** ":CHAIN" lines: each makes the chain, or empties it. */
  readonly declared: string[] = [];
  readonly rules: string[] = [];
  readonly removed: string[] = [];
  written = 0;

  get operations(): number {
    return this.declared.length + this.rules.length + this.removed.length;
  }
}

/**
 * Collects what must be written to bring one address family from what is believed to what is wanted, and knows how
 * belief reads afterwards. Pure: nothing is sent here. Chains whose content is the same cost nothing.
 */
export class TransactionBuilder {
  private readonly belief: KernelBelief;
  private readonly texts: Readonly<Record<Table, TableText>> = { filter: new TableText(), nat: new TableText() };
  private readonly after: (() => void)[] = [];

  constructor(belief: KernelBelief) {
    this.belief = belief;
  }

  /** Wants a chain to hold exactly these rules. */
  putChain(table: Table, name: string, rules: readonly string[]): void {
    const fact = { digest: digest(rules), rules: rules.length };
    const known = this.belief[table].chains.get(name);
    if (known !== undefined && known.digest === fact.digest && known.rules === fact.rules) return;
    this.write(table, name, rules);
    this.after.push(() => this.belief[table].chains.set(name, fact));
  }

  /** Wants a chain gone. Nothing that stays may lead to it. */
  removeChain(table: Table, name: string): void {
    const { chains, dispatch } = this.belief[table];
    if (!chains.has(name) && !dispatch.has(name)) return;
    const text = this.texts[table];
    text.declared.push(`:${name} - [0:0]`);
    text.removed.push(`-X ${name}`);
    this.after.push(() => chains.delete(name) || dispatch.delete(name));
  }

  /** Wants a shared chain to hold exactly these rules, with as few edits as it takes. */
  putDispatch(table: Table, name: string, rules: readonly string[]): void {
    const known = this.belief[table].dispatch.get(name);
    const edits = known === undefined ? undefined : editScript(known, rules);
    if (edits !== undefined && edits.length === 0) {
      // The same text, but after a read-back not the same strings: those would hold on to the whole output.
      this.belief[table].dispatch.set(name, rules);
      return;
    }
    if (edits === undefined || (edits.length > manyEdits && edits.length > rules.length / 2)) {
      this.write(table, name, rules);
    } else {
      const text = this.texts[table];
      for (const edit of edits) {
        if (edit.kind === 'delete') {
          text.rules.push(`-D ${name} ${edit.text}`);
        } else {
          text.rules.push(`-I ${name} ${edit.position + 1} ${edit.text}`);
          text.written++;
        }
      }
    }
    this.after.push(() => this.belief[table].dispatch.set(name, rules));
  }

  /** Wants a built-in chain to have exactly these rules of ours, in this order; others' rules stay where they are. */
  putJumps(table: Table, from: string, rules: readonly string[]): void {
    const known = this.belief[table].jumps.get(from) ?? [];
    if (known.length === rules.length && known.every((rule, index) => rule === rules[index])) {
      if (rules.length > 0) this.belief[table].jumps.set(from, rules);
      return;
    }
    const text = this.texts[table];
    for (const rule of known) text.rules.push(`-D ${from} ${rule}`);
    // At the head: a foreign rule before ours that accepts or drops would take the Services' traffic away.
    for (const [index, rule] of rules.entries()) text.rules.push(`-I ${from} ${index + 1} ${rule}`);
    text.written += rules.length;
    this.after.push(() => {
      if (rules.length === 0) this.belief[table].jumps.delete(from);
      else this.belief[table].jumps.set(from, rules);
    });
  }

  /** Removes every chain of a Service that is believed to exist and is not in `wanted`. */
  removeStale(wanted: ReadonlySet<string>): void {
    for (const table of order) {
      for (const name of this.belief[table].chains.keys()) {
        if (isServiceChain(name) && !(table === 'nat' && wanted.has(name))) this.removeChain(table, name);
      }
    }
  }

  /** Wants nothing of ours in the kernel. */
  removeEverything(): void {
    for (const table of order) {
      for (const from of [...this.belief[table].jumps.keys()]) this.putJumps(table, from, []);
      for (const name of this.belief[table].chains.keys()) this.removeChain(table, name);
      for (const name of this.belief[table].dispatch.keys()) this.removeChain(table, name);
    }
  }

  /** What has been collected so far. */
  get operations(): number {
    return this.texts.filter.operations + this.texts.nat.operations;
  }

  build(): Transaction {
    const parts: string[] = [];
    let operations = 0;
    for (const table of order) {
      const text = this.texts[table];
      if (text.operations === 0) continue;
      operations += text.operations;
      parts.push(`*${table}`, ...text.declared, ...text.rules, ...text.removed, 'COMMIT');
    }
    const written = { filter: this.texts.filter.written, nat: this.texts.nat.written };
    return { text: parts.length === 0 ? '' : `${parts.join('\n')}\n`, operations, written };
  }

  /** The kernel has taken the transaction: belief becomes what was wanted. */
  committed(): void {
    for (const step of this.after) step();
  }

  private write(table: Table, name: string, rules: readonly string[]): void {
    const text = this.texts[table];
    text.declared.push(`:${name} - [0:0]`);
    for (const rule of rules) text.rules.push(rule === '' ? `-A ${name}` : `-A ${name} ${rule}`);
    text.written += rules.length;
  }
}
