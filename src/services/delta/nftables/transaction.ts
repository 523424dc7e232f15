import type { Chain } from '../../render/nftables/render-base.ts';
import type { Element } from '../../render/nftables/render-service.ts';

/** How many elements one command takes: lines stay readable in a log. */
const perCommand = 200;

/**
 * Collects changes of one table and writes them as one nft transaction, in an order that the kernel accepts: chains
 * before what leads to them, elements taken away before others take their keys, chains away after what led to them.
 */
export class NftTransaction {
  private readonly table: string;
  private readonly head: string[] = [];
  private readonly chains: string[] = [];
  private readonly deletes = new Map<string, string[]>();
  private readonly adds = new Map<string, string[]>();
  private readonly tail: string[] = [];
  operations = 0;
  /** Elements and rules written, by container ("rules" for rules). */
  readonly written: Record<string, number> = {};

  /** `table`: "ip deckhand". */
  constructor(table: string) {
    this.table = table;
  }

  get empty(): boolean {
    return this.operations === 0;
  }

  dropTable(): void {
    // Adding it first makes the deletion work when there is none.
    this.head.push(`add table ${this.table}`, `delete table ${this.table}`);
    this.operations++;
  }

  addTable(): void {
    this.head.push(`add table ${this.table}`);
    this.operations++;
  }

  addContainer(kind: 'set' | 'map', name: string, definition: string): void {
    this.head.push(`add ${kind} ${this.table} ${name} { ${definition}; }`);
    this.operations++;
  }

  /** Makes the chain or replaces its rules. */
  putChain(chain: Chain, replaceHook = false): void {
    const { name, hook, rules } = chain;
    if (replaceHook) this.chains.push(`delete chain ${this.table} ${name}`);
    this.chains.push(`add chain ${this.table} ${name}${hook === undefined ? '' : ` { ${hook} }`}`);
    this.chains.push(`flush chain ${this.table} ${name}`);
    for (const rule of rules) this.chains.push(`add rule ${this.table} ${name} ${rule}`);
    this.operations += 1 + rules.length;
    this.written['rules'] = (this.written['rules'] ?? 0) + rules.length;
  }

  removeChains(names: readonly string[]): void {
    // Rules first: chains may lead to each other.
    for (const name of names) this.tail.push(`flush chain ${this.table} ${name}`);
    for (const name of names) this.tail.push(`delete chain ${this.table} ${name}`);
    this.operations += names.length;
  }

  removeContainer(kind: 'set' | 'map', name: string): void {
    this.tail.push(`delete ${kind} ${this.table} ${name}`);
    this.operations++;
  }

  addElement({ container, key, value }: Element): void {
    listIn(this.adds, container).push(value === undefined ? key : `${key} : ${value}`);
    this.operations++;
    this.written[container] = (this.written[container] ?? 0) + 1;
  }

  removeElement(container: string, key: string): void {
    listIn(this.deletes, container).push(key);
    this.operations++;
  }

  text(): string {
    const lines = [...this.head, ...this.chains];
    const commands = (verb: string, lists: ReadonlyMap<string, readonly string[]>): void => {
      for (const [container, elements] of lists) {
        for (let at = 0; at < elements.length; at += perCommand) {
          const some = elements.slice(at, at + perCommand).join(', ');
          lines.push(`${verb} element ${this.table} ${container} { ${some} }`);
        }
      }
    };
    commands('delete', this.deletes);
    commands('add', this.adds);
    lines.push(...this.tail);
    return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
  }
}

function listIn(lists: Map<string, string[]>, name: string): string[] {
  const list = lists.get(name) ?? [];
  lists.set(name, list);
  return list;
}
