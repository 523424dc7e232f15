import { CodedError, messageOf } from '../../kit/errors.ts';
import { parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';
import { type NftablesPort, nftFamily, probeOf, probeSays, type RuleHandle } from './port.ts';

interface Chain {
  hook: string | undefined;
  rules: readonly Rule[];
}

interface Rule {
  readonly text: string;
  readonly handle: number;
}

interface Container {
  readonly kind: 'set' | 'map';
  readonly definition: string;
  /** Key → value ("" in sets). */
  readonly elements: ReadonlyMap<string, string>;
}

interface Table {
  readonly chains: Map<string, Chain>;
  readonly containers: Map<string, Container>;
}

/**
 * nf_tables in memory, as far as Service rules use it: transactions of nft's language, whole or not at all; names must
 * be there before they are used, and nothing goes that something leads to. It does not know the grammar of rules.
 */
export class FakeNftables implements NftablesPort {
  readonly family: IPFamily;
  private tables = new Map<string, Table>();
  private failure: CodedError | undefined;
  private readonly refuses: (line: string) => boolean;
  /** Transactions so far, refused ones too, and the text of the last one. */
  applied = 0;
  last = '';
  listings = 0;
  probes = 0;
  private lastHandle = 0;

  constructor(options: { readonly family?: IPFamily; readonly refuses?: (line: string) => boolean } = {}) {
    this.family = options.family ?? 'IPv4';
    this.refuses = options.refuses ?? (() => false);
  }

  /** The next transaction fails with this error and changes nothing; undefined takes that back. */
  failNext(error: CodedError | undefined): void {
    this.failure = error;
  }

  /** `nft flush ruleset` by somebody else. */
  flush(): void {
    this.tables = new Map();
  }

  async apply(text: string): Promise<void> {
    this.applied++;
    this.last = text;
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    const draft = copyOf(this.tables);
    for (const [index, line] of text.split('\n').entries()) {
      if (line === '') continue;
      try {
        if (this.refuses(line)) throw refuse('Operation not supported');
        this.command(draft, line);
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        throw new CodedError('CommandFailed', `fake nft: line ${index + 1}: ${error.message}: ${line.slice(0, 200)}`, {
          line: index + 1,
          exitCode: 1,
        });
      }
    }
    for (const table of draft.values()) checkReferences(table);
    this.tables = draft;
  }

  async table(name: string, handles?: 'handles'): Promise<string | undefined> {
    this.listings++;
    const table = this.tables.get(name);
    if (table === undefined) return undefined;
    const containers = [...table.containers].map(([one, container]) => printContainer(one, container));
    const chains = [...table.chains].map(([one, chain]) => printChain(one, chain, handles));
    return `table ${nftFamily(this.family)} ${name} {\n${[...containers, ...chains].join('\n')}}\n`;
  }

  async chains(table: string, names: readonly string[], handles?: 'handles'): Promise<string | undefined> {
    const printed: string[] = [];
    for (const name of names) {
      const chain = this.tables.get(table)?.chains.get(name);
      if (chain === undefined) return undefined;
      printed.push(`table ${nftFamily(this.family)} ${table} {\n${printChain(name, chain, handles)}}\n`);
    }
    return printed.join('');
  }

  async holds(table: string, rules: readonly RuleHandle[]): Promise<boolean> {
    this.probes++;
    const probe = probeOf(this.family, table, rules);
    if (probe === undefined) return true;
    const draft = copyOf(this.tables);
    const complaints: string[] = [];
    for (const line of probe.trimEnd().split('\n')) {
      try {
        this.command(draft, line);
      } catch (error) {
        complaints.push(messageOf(error));
      }
    }
    const answer = probeSays(complaints.join('\n'));
    if (answer === undefined) throw refuse(complaints.join('\n'));
    return answer;
  }

  async close(): Promise<void> {}

  private command(tables: Map<string, Table>, line: string): void {
    const [verb = '', kind = '', family = '', tableName = '', ...others] = line.split(' ');
    if (family !== nftFamily(this.family)) throw refuse(`no family ${family} here`);
    if (kind === 'table') {
      if (verb === 'add' && !tables.has(tableName)) tables.set(tableName, { chains: new Map(), containers: new Map() });
      else if (verb === 'delete' && !tables.delete(tableName)) throw missing();
      return;
    }
    const table = tables.get(tableName);
    if (table === undefined) throw missing();
    const name = others.shift() ?? '';
    const rest = others.join(' ');
    switch (`${verb} ${kind}`) {
      case 'add set':
      case 'add map':
        this.addContainer(table, kind === 'set' ? 'set' : 'map', name, rest);
        return;
      case 'delete set':
      case 'delete map':
        if (!table.containers.delete(name)) throw missing();
        return;
      case 'add chain': {
        const hook = rest === '' ? undefined : rest.slice(2, -2);
        const there = table.chains.get(name);
        if (there === undefined) table.chains.set(name, { hook, rules: [] });
        else if (hook !== undefined && there.hook !== hook) throw refuse('File exists');
        return;
      }
      case 'flush chain':
        table.chains.set(name, { ...chainOf(table, name), rules: [] });
        return;
      case 'delete chain':
        chainOf(table, name);
        table.chains.delete(name);
        return;
      case 'add rule': {
        const chain = chainOf(table, name);
        table.chains.set(name, { ...chain, rules: [...chain.rules, { text: rest, handle: ++this.lastHandle }] });
        return;
      }
      case 'create chain':
        if (table.chains.has(name)) throw refuse('File exists');
        table.chains.set(name, { hook: undefined, rules: [] });
        return;
      case 'delete rule': {
        const chain = chainOf(table, name);
        const handle = Number(others[1]);
        if (!chain.rules.some((rule) => rule.handle === handle)) throw missing();
        table.chains.set(name, { ...chain, rules: chain.rules.filter((rule) => rule.handle !== handle) });
        return;
      }
      case 'add element':
      case 'delete element':
        this.changeElements(table, name, rest, verb === 'add');
        return;
      default:
        throw refuse('syntax error');
    }
  }

  private addContainer(table: Table, kind: 'set' | 'map', name: string, rest: string): void {
    const definition = rest.replace(/^\{ /, '').replace(/; \}$/, '');
    const there = table.containers.get(name);
    if (there === undefined) table.containers.set(name, { kind, definition, elements: new Map() });
    else if (there.definition !== definition) throw refuse('File exists');
  }

  private changeElements(table: Table, name: string, rest: string, add: boolean): void {
    const container = table.containers.get(name);
    if (container === undefined) throw missing();
    const elements = new Map(container.elements);
    for (const text of rest.slice(2, -2).split(', ')) {
      const [key = '', value = ''] = text.split(' : ');
      checkKey(key, container.definition);
      const there = elements.get(key);
      if (!add) {
        if (!elements.delete(key)) throw missing();
      } else {
        if ((value === '') !== (container.kind === 'set')) throw refuse('syntax error');
        if (there !== undefined && there !== value) throw refuse('File exists');
        if (container.kind === 'map' && !container.definition.endsWith('verdict'))
          checkKey(value, container.definition.split(' : ')[1] ?? '');
        elements.set(key, value);
      }
    }
    table.containers.set(name, { ...container, elements });
  }
}

/** Everything that leads somewhere leads to something that is there. */
function checkReferences(table: Table): void {
  const need = (text: string): void => {
    for (const [, chain = ''] of text.matchAll(/(?:goto|jump) ([^\s,}]+)/g)) {
      if (!table.chains.has(chain)) throw new CodedError('CommandFailed', `fake nft: no chain ${chain}: ${text}`);
    }
    for (const [, container = ''] of text.matchAll(/@([^\s,}]+)/g)) {
      if (!table.containers.has(container)) {
        throw new CodedError('CommandFailed', `fake nft: no set ${container}: ${text}`);
      }
    }
  };
  for (const chain of table.chains.values()) for (const rule of chain.rules) need(rule.text);
  for (const { definition, elements } of table.containers.values()) {
    if (definition.endsWith('verdict')) for (const value of elements.values()) need(value);
  }
}

function checkKey(key: string, definition: string): void {
  const types = (/^(?:type )?([^;:]*?)(?: :|;|$)/.exec(definition)?.[1] ?? '').split(' . ');
  const parts = key.split(' . ');
  if (types.length !== parts.length) throw refuse(`datatype mismatch: ${key} in ${definition}`);
  for (const [index, type] of types.entries()) {
    const part = parts[index] ?? '';
    const ip = parseIp(part);
    if (type === 'classid' && /^[0-9a-f]{1,4}:[0-9a-f]{1,4}$/.test(part)) continue;
    const isRight =
      type === 'ipv4_addr' ? ip?.family === 'IPv4' : type === 'ipv6_addr' ? ip?.family === 'IPv6' : /^\d+$/.test(part);
    if (!isRight) throw refuse(`${part} is no ${type}`);
  }
}

function copyOf(tables: ReadonlyMap<string, Table>): Map<string, Table> {
  return new Map(
    [...tables].map(([name, { chains, containers }]) => [
      name,
      { chains: new Map(chains), containers: new Map(containers) },
    ]),
  );
}

function chainOf(table: Table, name: string): Chain {
  const chain = table.chains.get(name);
  if (chain === undefined) throw missing();
  return chain;
}

function printContainer(name: string, { kind, definition, elements }: Container): string {
  const lines = definition.split('; ').map((line) => `\t\t${line}\n`);
  const listed = [...elements].map(([key, value]) => (value === '' ? key : `${key} : ${value}`));
  const text = listed.length === 0 ? '' : `\t\telements = { ${listed.join(',\n\t\t\t     ')} }\n`;
  return `\t${kind} ${name} {\n${lines.join('')}${text}\t}\n`;
}

function printChain(name: string, { hook, rules }: Chain, handles?: 'handles'): string {
  const texts = rules.map(({ text, handle }) => (handles === undefined ? text : `${text} # handle ${handle}`));
  const lines = hook === undefined ? texts : [hook, ...texts];
  return `\tchain ${name} {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n`;
}

function missing(): CodedError {
  return refuse('No such file or directory');
}

function refuse(why: string): CodedError {
  return new CodedError('CommandFailed', why);
}
