import { CodedError } from '../../kit/errors.ts';
import { cidrContains, type Ip, isLoopback, parseIp } from '../../model/cidr.ts';
import type { IPFamily } from '../../model/service.ts';
import { type AddressMatch, type FakeRule, type Match, parseRule, refuse, wordsOf } from './fake-rule.ts';
import type { IptablesPort } from './port.ts';

export interface FakeIptablesOptions {
  readonly family?: IPFamily;
  readonly flavour?: 'nft' | 'legacy';
  /** Addresses of the node, besides loopback. */
  readonly localAddresses?: readonly string[];
  /** A line that this kernel refuses although it is well formed, as one without some module does. */
  readonly refuses?: (line: string) => boolean;
  /** Names of the sets that rules may look into. */
  readonly sets?: () => ReadonlySet<string>;
}

/** A packet that opens a connection. */
export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
  /** Where it came in; absent: a process of the node sent it. */
  readonly inInterface?: string;
  /** Default NEW. */
  readonly state?: 'NEW' | 'ESTABLISHED' | 'INVALID';
}

/** One way that a packet can go, and how likely. */
export interface Outcome {
  readonly verdict: 'accept' | 'drop' | 'reject';
  /** "address:port" after DNAT; undefined: the destination stayed. */
  readonly to: string | undefined;
  readonly masquerade: boolean;
  /** Lists of the recent match that remember the client now. */
  readonly remembered: readonly string[];
  readonly probability: number;
}

interface Chain {
  readonly builtIn: boolean;
  rules: readonly FakeRule[];
}

type Table = Map<string, Chain>;

const builtInChains: Readonly<Record<string, readonly string[]>> = {
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
};
const longestChainName = 28;

/**
 * A packet filter in memory: it takes the input of iptables-restore, applies each table as a whole or not at all,
 * refuses what the kernel refuses, prints like iptables-save, and can say where a packet goes.
 */
export class FakeIptables implements IptablesPort {
  readonly family: IPFamily;
  readonly flavour: 'nft' | 'legacy';
  private readonly tables = new Map<string, Table>();
  private readonly recent = new Map<string, Set<string>>();
  private readonly local: readonly Ip[];
  private readonly refuses: (line: string) => boolean;
  private readonly sets: () => ReadonlySet<string>;
  private failure: CodedError | undefined;
  /** How often rules were changed or refused, and how many lines that took. */
  restores = 0;
  lines = 0;
  saves = 0;

  constructor(options: FakeIptablesOptions = {}) {
    this.family = options.family ?? 'IPv4';
    this.flavour = options.flavour ?? 'nft';
    this.local = (options.localAddresses ?? []).flatMap((text) => parseIp(text) ?? []);
    this.refuses = options.refuses ?? (() => false);
    this.sets = options.sets ?? (() => new Set());
    for (const [name, chains] of Object.entries(builtInChains)) {
      this.tables.set(name, new Map(chains.map((chain) => [chain, { builtIn: true, rules: [] }])));
    }
  }

  /** The next restore fails with this error and changes nothing; undefined takes that back. */
  failNext(error: CodedError | undefined): void {
    this.failure = error;
  }

  async restore(text: string): Promise<void> {
    this.restores++;
    const failure = this.failure;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    let name: string | undefined;
    let table: Table = new Map();
    for (const [index, line] of text.split('\n').entries()) {
      if (line === '' || line.startsWith('#')) continue;
      this.lines++;
      try {
        if (line.startsWith('*')) {
          if (name !== undefined) throw refuse('COMMIT expected');
          name = line.slice(1);
          const present = this.tables.get(name);
          if (present === undefined) throw refuse(`table name '${name}' invalid`);
          table = new Map([...present].map(([chain, { builtIn, rules }]) => [chain, { builtIn, rules }]));
        } else if (name === undefined) {
          throw refuse('no table is open');
        } else if (line === 'COMMIT') {
          checkReferences(table);
          this.tables.set(name, table);
          name = undefined;
        } else if (this.refuses(line)) {
          throw refuse('Operation not supported');
        } else {
          this.applyLine(table, name, line);
        }
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        const metadata = { line: index + 1, exitCode: 1 };
        throw new CodedError('CommandFailed', `fake iptables-restore: line ${index + 1}: ${error.message}`, metadata);
      }
    }
    if (name !== undefined) throw refuse('fake iptables-restore: COMMIT expected at the end');
  }

  /** Names of the sets that rules look into. */
  setsInUse(): ReadonlySet<string> {
    const found = new Set<string>();
    for (const table of this.tables.values()) {
      for (const { rules } of table.values()) {
        for (const match of rules.flatMap((rule) => rule.matches)) if (match.kind === 'set') found.add(match.set);
      }
    }
    return found;
  }

  async save(only?: string): Promise<string> {
    this.saves++;
    if (only !== undefined && !this.tables.has(only)) throw refuse(`table name '${only}' invalid`);
    const out: string[] = [];
    for (const [name, table] of this.tables) {
      if (only !== undefined && name !== only) continue;
      out.push('# Generated by a fake iptables-save', `*${name}`);
      const chains = [...table].sort(([a, first], [b, second]) => {
        if (first.builtIn !== second.builtIn) return first.builtIn ? -1 : 1;
        return a < b ? -1 : 1;
      });
      for (const [chain, { builtIn }] of chains) out.push(`:${chain} ${builtIn ? 'ACCEPT' : '-'} [0:0]`);
      for (const [chain, { rules }] of chains) {
        for (const rule of rules) out.push(rule.text === '' ? `-A ${chain}` : `-A ${chain} ${rule.text}`);
      }
      out.push('COMMIT', '# Completed');
    }
    return `${out.join('\n')}\n`;
  }

  async list(table: string, chain: string): Promise<readonly string[] | undefined> {
    return this.tables
      .get(table)
      ?.get(chain)
      ?.rules.map((rule) => `-A ${chain} ${rule.text}`.trimEnd());
  }

  /** `iptables -F` and `-X` by somebody else, on one table or on all. */
  flush(only?: string): void {
    for (const [name, table] of this.tables) {
      if (only !== undefined && name !== only) continue;
      for (const [chain, entry] of table) {
        if (entry.builtIn) entry.rules = [];
        else table.delete(chain);
      }
    }
  }

  /** A client's address gets into a list of the recent match. */
  remember(list: string, client: string): void {
    const clients = this.recent.get(list) ?? new Set();
    clients.add(client);
    this.recent.set(list, clients);
  }

  /** Every way that the packet can go, the likeliest first; their probabilities add up to 1. */
  trace(packet: Packet): readonly Outcome[] {
    const fromNode = packet.inInterface === undefined;
    let states: State[] = [{ ...fresh, packet, weight: 1 }];
    states = this.hook('nat', fromNode ? 'OUTPUT' : 'PREROUTING', states);
    const ended: State[] = [];
    for (const state of states) {
      const to = parseIp(destinationOf(state).address);
      const isLocal = to !== undefined && this.isLocal(to);
      const chain = fromNode ? 'OUTPUT' : isLocal ? 'INPUT' : 'FORWARD';
      let filtered = this.hook('filter', chain, [{ ...state, end: undefined }]);
      // What the node sends to itself goes out and comes in again.
      if (fromNode && isLocal) {
        filtered = filtered.flatMap((one) =>
          one.end === 'drop' || one.end === 'reject' ? one : this.hook('filter', 'INPUT', [{ ...one, end: undefined }]),
        );
      }
      for (const passed of filtered) {
        if (passed.end === 'drop' || passed.end === 'reject' || (isLocal && !fromNode)) ended.push(passed);
        else ended.push(...this.hook('nat', 'POSTROUTING', [{ ...passed, end: undefined }]));
      }
    }
    return merge(ended);
  }

  private applyLine(table: Table, tableName: string, line: string): void {
    if (line.startsWith(':')) {
      const [name = ''] = line.slice(1).split(' ');
      checkName(name);
      if (table.get(name)?.builtIn !== true) table.set(name, { builtIn: false, rules: [] });
      else table.set(name, { builtIn: true, rules: table.get(name)?.rules ?? [] });
      return;
    }
    const [command, name = '', ...words] = wordsOf(line);
    const chain = table.get(name);
    if (chain === undefined) throw refuse('No chain/target/match by that name.');
    switch (command) {
      case '-A':
        chain.rules = [...chain.rules, this.ruleOf(table, tableName, words)];
        return;
      case '-I': {
        const numbered = /^\d+$/.test(words[0] ?? '');
        const place = numbered ? Number(words.shift()) : 1;
        if (place < 1 || place > chain.rules.length + 1) throw refuse('Index of insertion too big.');
        chain.rules = chain.rules.toSpliced(place - 1, 0, this.ruleOf(table, tableName, words));
        return;
      }
      case '-D': {
        const { text } = this.ruleOf(table, tableName, words);
        const place = chain.rules.findIndex((rule) => rule.text === text);
        if (place < 0) throw refuse('Bad rule (does a matching rule exist in that chain?).');
        chain.rules = chain.rules.toSpliced(place, 1);
        return;
      }
      case '-X':
        if (chain.builtIn) throw refuse("Can't delete built-in chain");
        if (chain.rules.length > 0) throw refuse('Directory not empty');
        for (const { rules } of table.values()) {
          if (rules.some((rule) => rule.target?.kind === 'chain' && rule.target.name === name)) {
            throw refuse(`Device or resource busy: chain ${name}`);
          }
        }
        table.delete(name);
        return;
      default:
        throw refuse(`unknown command "${command}"`);
    }
  }

  private ruleOf(table: Table, tableName: string, words: readonly string[]): FakeRule {
    const rule = parseRule(words, this.family, tableName);
    for (const match of rule.matches) {
      if (match.kind === 'set' && !this.sets().has(match.set)) throw refuse(`Set ${match.set} doesn't exist.`);
    }
    if (rule.target?.kind === 'chain') {
      checkName(rule.target.name);
      const target = table.get(rule.target.name);
      if (target === undefined) throw refuse(`Chain '${rule.target.name}' does not exist`);
      if (target.builtIn) throw refuse(`can't jump to the built-in chain ${rule.target.name}`);
    }
    return rule;
  }

  private hook(table: string, chain: string, states: readonly State[]): State[] {
    return states.flatMap((state) => this.walk(table, chain, state, 0));
  }

  /** Follows one chain; states without `end` have come to its end, or returned. */
  private walk(tableName: string, chainName: string, start: State, depth: number): State[] {
    if (depth > 32) throw refuse(`chain ${chainName} is part of a loop`);
    const rules = this.tables.get(tableName)?.get(chainName)?.rules ?? [];
    const finished: State[] = [];
    let active: State[] = [start];
    for (const rule of rules) {
      const following: State[] = [];
      for (const state of active) {
        const share = this.matches(rule, state);
        if (share < 1) following.push({ ...state, weight: state.weight * (1 - share) });
        if (share === 0) continue;
        const remembered = rule.matches.flatMap((match) =>
          match.kind === 'recent' && match.action === 'set' ? [match.list] : [],
        );
        const hit = { ...state, weight: state.weight * share, remembered: [...state.remembered, ...remembered] };
        const { target } = rule;
        switch (target?.kind) {
          case undefined:
            following.push(hit);
            break;
          case 'mark':
            // xt_MARK: the masked bits are cleared, then the value is XORed in.
            following.push({ ...hit, mark: ((hit.mark & ~target.mask) ^ target.value) >>> 0 });
            break;
          case 'chain':
            for (const after of this.walk(tableName, target.name, hit, depth + 1)) {
              (after.end === undefined ? following : finished).push(after);
            }
            break;
          case 'verdict':
            if (target.name === 'RETURN') finished.push(hit);
            else finished.push({ ...hit, end: target.name === 'ACCEPT' ? 'accept' : 'drop' });
            break;
          case 'reject':
            finished.push({ ...hit, end: 'reject' });
            break;
          case 'dnat':
            finished.push({ ...hit, to: target.to, end: 'accept' });
            break;
          case 'masquerade':
            finished.push({ ...hit, masquerade: true, end: 'accept' });
            break;
        }
      }
      active = following;
      if (active.length === 0) break;
    }
    return [...finished, ...active];
  }

  /** The share of packets that match, 0..1. */
  private matches(rule: FakeRule, state: State): number {
    const { packet } = state;
    const to = destinationOf(state);
    if (!addressMatches(rule.source, packet.source) || !addressMatches(rule.destination, to.address)) return 0;
    if (rule.inInterface !== undefined) {
      const { name, negated } = rule.inInterface;
      const seen = packet.inInterface ?? '';
      const same = name.endsWith('+') ? seen.startsWith(name.slice(0, -1)) && seen !== '' : seen === name;
      if (same === negated) return 0;
    }
    if (rule.protocol !== undefined && rule.protocol !== packet.protocol) return 0;
    let share = 1;
    for (const match of rule.matches) share *= this.matchShare(match, state, to);
    return share;
  }

  private matchShare(match: Match, state: State, to: { address: string; port: number }): number {
    const yes = (condition: boolean): number => (condition ? 1 : 0);
    switch (match.kind) {
      case 'comment':
        return 1;
      case 'port':
        return yes(match.port === undefined || match.port === to.port);
      case 'statistic':
        return match.probability;
      case 'recent':
        return match.action === 'set' ? 1 : yes(this.recent.get(match.list)?.has(state.packet.source) === true);
      case 'mark':
        return yes(((state.mark & match.mask) >>> 0 === match.value) !== match.negated);
      case 'conntrack': {
        const is = match.states.some((one) => one === (state.packet.state ?? 'NEW') || (one === 'DNAT' && state.to));
        return yes(is !== match.negated);
      }
      case 'addrtype': {
        if (match.type !== 'LOCAL') throw refuse(`the tracer does not know addrtype ${match.type}`);
        const ip = parseIp(match.side === 'src' ? state.packet.source : to.address);
        return yes((ip !== undefined && this.isLocal(ip)) !== match.negated);
      }
      case 'set':
      case 'ipvs':
        throw refuse(`the tracer does not know the match ${match.kind}`);
    }
  }

  private isLocal(ip: Ip): boolean {
    return isLoopback(ip) || this.local.some((one) => one.words.join() === ip.words.join());
  }
}

interface State {
  readonly packet: Packet;
  readonly weight: number;
  readonly mark: number;
  readonly to: string | undefined;
  readonly masquerade: boolean;
  readonly remembered: readonly string[];
  readonly end: 'accept' | 'drop' | 'reject' | undefined;
}

const fresh = { mark: 0, to: undefined, masquerade: false, remembered: [], end: undefined };

function destinationOf(state: State): { address: string; port: number } {
  if (state.to === undefined) return { address: state.packet.destination, port: state.packet.port };
  const colon = state.to.lastIndexOf(':');
  return { address: state.to.slice(0, colon).replace(/[[\]]/g, ''), port: Number(state.to.slice(colon + 1)) };
}

function addressMatches(match: AddressMatch | undefined, address: string): boolean {
  if (match === undefined) return true;
  const ip = parseIp(address);
  return ip !== undefined && cidrContains(match.cidr, ip) !== match.negated;
}

function checkName(name: string): void {
  if (name === '' || name.length > longestChainName) {
    throw refuse(`chain name \`${name}' must have 1 to ${longestChainName} characters`);
  }
}

/** A chain may have gone while a rule still leads to it, within the transaction; not after it. */
function checkReferences(table: Table): void {
  for (const { rules } of table.values()) {
    for (const { target } of rules) {
      if (target?.kind === 'chain' && !table.has(target.name)) throw refuse(`Chain '${target.name}' does not exist`);
    }
  }
}

function merge(states: readonly State[]): Outcome[] {
  const outcomes = new Map<string, { outcome: Omit<Outcome, 'probability'>; probability: number }>();
  for (const { end = 'accept', to, masquerade, remembered, weight } of states) {
    if (weight === 0) continue;
    const outcome = { verdict: end, to, masquerade, remembered };
    const key = JSON.stringify(outcome);
    const known = outcomes.get(key);
    if (known === undefined) outcomes.set(key, { outcome, probability: weight });
    else known.probability += weight;
  }
  return [...outcomes.values()]
    .map(({ outcome, probability }) => ({ ...outcome, probability }))
    .sort((a, b) => b.probability - a.probability || ((a.to ?? '') < (b.to ?? '') ? -1 : 1));
}
