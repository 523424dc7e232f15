import type { NftablesPort, RuleHandle } from '../../host/nftables/port.ts';
import { nftFamily } from '../../host/nftables/port.ts';
import type { RuleWatch } from '../../host/rule-watch/port.ts';
import { type Clock, SystemClock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import { type Logger, silent } from '../../kit/log.ts';
import type { IPFamily } from '../../model/service.ts';
import { type ListedChain, type ListedTable, parseTable } from '../delta/nftables/parse-listing.ts';
import { assignPlaces } from '../delta/nftables/places.ts';
import { NftTransaction } from '../delta/nftables/transaction.ts';
import type { ServicePortRules, Target } from '../model.ts';
import type { BaseRules, ProxyBackend, RuleChange, SyncReport } from '../port.ts';
import { ChainNumbers } from '../render/nftables/chain-numbers.ts';
import {
  container,
  containersOf,
  endpointsMap,
  endpointsMapDefinition,
  isEndpointsMap,
} from '../render/nftables/containers.ts';
import { type Chain, nodePortAddresses, renderBase } from '../render/nftables/render-base.ts';
import { type Element, frontendKey, type Places, renderService } from '../render/nftables/render-service.ts';
import { affinityPrefix } from '../render/nftables/sticky.ts';
import { tableName, wordsOf } from '../render/nftables/words.ts';
import { excerpt } from './excerpt.ts';
import { inPieces, inTurns, Turns } from './in-turns.ts';
import { refusePartial } from './refuse-partial.ts';
import type { ServiceGroup } from './set-aside.ts';
import { sha256 } from './sha256.ts';
import { WatchAlarm } from './watch-alarm.ts';

export interface NftablesBackendDeps {
  readonly nftables: NftablesPort;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly watch?: RuleWatch;
}

/** What one Service has in the kernel. */
interface Contribution {
  /** "container\tkey" → value ("" in sets). */
  readonly elements: ReadonlyMap<string, string>;
  readonly chains: readonly string[];
  readonly affinitySets: readonly string[];
}

/** What is in the kernel and not (or not yet) known to be wanted, while everything is brought in order. */
interface Leftover {
  readonly elements: Map<string, Map<string, string>>;
  readonly table: ListedTable | undefined;
}

/** Reading chains takes at most this part of the time: 1/200. */
const readShare = 200;
/** Where one takes no longer, all are read at once. */
const cheapReadMs = 30;
/** So many Services are written in one transaction when all are. */
const servicesPerPiece = 1_000;
const nothing: Contribution = { elements: new Map(), chains: [], affinitySets: [] };

/**
 * The rules of one address family as elements of a few maps (docs/design.md, "Service rules in nftables"). A change
 * costs as many elements as it changes; one transaction holds all of it.
 */
export class NftablesBackend implements ProxyBackend {
  readonly name = 'nftables';
  readonly family: IPFamily;
  readonly checkMs = 400;
  readonly alarm: WatchAlarm;
  private readonly nft: NftablesPort;
  private readonly log: Logger;
  private readonly clock: Clock;
  private readonly table: string;
  /** By Service, packed: with 10,000 of them, maps of maps would be most of the process. */
  private contributions = new Map<string, string>();
  /** How many Services use a chain; how many want an element of a set. */
  private chainUses = new Map<string, number>();
  private setUses = new Map<string, number>();
  /** Sets of clients that are in the kernel; each belongs to one Service. */
  private affinitySets = new Set<string>();
  /** Numbered maps that are in the kernel. */
  private endpointMaps = new Set<string>();
  /** Who answers on a frontend ("container\tkey"). */
  private owners = new Map<string, string>();
  /** Frontends that more than one Service asks for. */
  private contested = new Set<string>();
  private numbers = new ChainNumbers(sha256);
  /** Chains and affinity sets that nothing leads to any more, until they are taken away. */
  private unused = { chains: new Set<string>(), sets: new Set<string>() };
  private setAside = new Map<string, string>();
  private base: string | undefined;
  /** The chains that belong to no Service, as they were written; their rules; which is read next, or whether all are, and when. */
  private frame: readonly Chain[] = [];
  private frameRules: readonly RuleHandle[] = [];
  private reads = 0;
  private readsAll = false;
  private nextReadAt = 0;
  private isReading = false;
  private foundWrong = false;
  private known = false;

  constructor(deps: NftablesBackendDeps) {
    this.nft = deps.nftables;
    this.family = deps.nftables.family;
    this.log = deps.log.child({ family: this.family });
    this.clock = deps.clock ?? new SystemClock();
    this.alarm = new WatchAlarm(deps.watch, this.log);
    this.table = `${nftFamily(this.family)} ${tableName}`;
  }

  get needsComplete(): boolean {
    return !this.known;
  }

  forget(): void {
    this.known = false;
  }

  async sync(change: RuleChange, signal?: AbortSignal): Promise<SyncReport> {
    refusePartial(change, this.family, this.known);
    try {
      return change.complete ? await this.syncAll(change, signal) : await this.syncSome(change, signal);
    } catch (error) {
      this.forget();
      throw error;
    }
  }

  /**
   * Whether every rule of the frame is there, which a flush or an edit takes away; and, as often as the cost of reading
   * allows, whether its chains have nothing else in them. Nobody waits for the reading: it rings.
   */
  async intact(): Promise<boolean> {
    const { foundWrong } = this;
    this.foundWrong = false;
    if (!foundWrong && (await this.nft.holds(tableName, this.frameRules))) {
      void this.readFrame();
      return true;
    }
    this.forget();
    return false;
  }

  async plan(change: RuleChange): Promise<readonly string[]> {
    const texts: string[] = [];
    const nftables: NftablesPort = {
      family: this.family,
      apply: async (text) => void texts.push(text),
      table: (name, handles) => this.nft.table(name, handles),
      chains: (table, names, handles) => this.nft.chains(table, names, handles),
      holds: (table, rules) => this.nft.holds(table, rules),
      close: async () => {},
    };
    await new NftablesBackend({ nftables, log: silent }).sync(change);
    return texts;
  }

  async cleanup(): Promise<void> {
    const transaction = new NftTransaction(this.table);
    transaction.dropTable();
    await this.nft.apply(transaction.text());
    this.forget();
    this.contributions = new Map();
  }

  private async readFrame(): Promise<void> {
    const { clock, frame } = this;
    const started = clock.monotonic();
    const next = frame[this.reads % Math.max(1, frame.length)];
    if (next === undefined || this.isReading || started < this.nextReadAt) return;
    this.isReading = true;
    this.reads++;
    const chains = this.readsAll ? frame : [next];
    try {
      const listed = await this.listedChains(chains.map(({ name }) => name));
      // Meanwhile the frame may have been written anew.
      if (frame !== this.frame) return;
      this.foundWrong = chains.some((chain) => !isAsWritten(chain, listed.get(chain.name)));
      if (this.foundWrong) this.alarm.ring();
    } catch (error) {
      this.log.debug({ error: messageOf(error) }, 'chains could not be read');
    } finally {
      const now = clock.monotonic();
      this.readsAll = (now - started) / chains.length < cheapReadMs;
      this.nextReadAt = now + (now - started) * readShare;
      this.isReading = false;
    }
  }

  private async listedChains(names: readonly string[], handles?: 'handles'): Promise<Map<string, ListedChain>> {
    if (names.length === 0) return new Map();
    const text = await this.nft.chains(tableName, names, handles);
    return text === undefined ? new Map() : (await inTurns(parseTable(text, () => false))).chains;
  }

  /** Learns the numbers of the frame's rules: from the list that was read at the start, or by reading what was written. */
  private async learnHandles(leftover: Leftover): Promise<void> {
    const { frame } = this;
    // Of a new table, everything is read at once while it is small.
    const text = leftover.table === undefined ? await this.nft.table(tableName, 'handles') : undefined;
    const fresh = text === undefined ? undefined : await inTurns(parseTable(text, () => false));
    const known = (fresh ?? leftover.table)?.chains ?? new Map<string, ListedChain>();
    const unknown = frame.filter((chain) => !isAsWritten(chain, known.get(chain.name))).map(({ name }) => name);
    const written = await this.listedChains(unknown, 'handles');
    const rules: RuleHandle[] = [];
    for (const chain of frame) {
      const listed = written.get(chain.name) ?? known.get(chain.name);
      for (const [index, handle] of (listed?.handles ?? []).entries()) {
        // A set without a name lives and dies with its rule; kernels have had faults in taking back such a death.
        if (!chain.rules[index]?.includes('{')) rules.push({ chain: chain.name, handle });
      }
    }
    this.frameRules = rules;
  }

  private async syncSome(change: RuleChange, signal?: AbortSignal): Promise<SyncReport> {
    const transaction = new NftTransaction(this.table);
    if (JSON.stringify(change.base) !== this.base) {
      throw new CodedError(
        'InvalidArgument',
        `sync ${this.family} rules: the base has changed, the sync must be complete`,
      );
    }
    const commit = await this.prepare(change.services, change.base, transaction, undefined);
    await this.send(transaction, signal);
    commit();
    // Only now: what is taken away may cost the kernel a grace period, and nobody waits for it.
    const cleanup = new NftTransaction(this.table);
    this.removeUnused(cleanup);
    await this.send(cleanup, signal);
    const sent = new Written();
    sent.add(transaction);
    sent.add(cleanup);
    return this.report(sent);
  }

  private async syncAll(change: RuleChange, signal?: AbortSignal): Promise<SyncReport> {
    const sent = new Written();
    const leftover = await this.readBack();
    this.reset(leftover);
    let transaction = new NftTransaction(this.table);
    const wantedBase = this.putBase(change.base, leftover, transaction);
    await this.send(transaction, signal);
    sent.add(transaction);
    await this.learnHandles(leftover);
    // In pieces: each Service is complete in itself, and neither its rules nor their text must be in memory all at once.
    for await (const services of inPieces(change.services, servicesPerPiece)) {
      await this.syncPiece(services, change.base, leftover, sent, signal);
    }
    transaction = new NftTransaction(this.table);
    this.removeLeftover(leftover, wantedBase, transaction);
    await this.send(transaction, signal);
    sent.add(transaction);
    this.base = JSON.stringify(change.base);
    this.known = true;
    return this.report(sent);
  }

  /** Applies a group, or ever smaller ones, until what the kernel refuses stands alone and is set aside. */
  private async syncPiece(
    services: ServiceGroup,
    base: BaseRules,
    leftover: Leftover,
    sent: Written,
    signal?: AbortSignal,
  ): Promise<void> {
    const transaction = new NftTransaction(this.table);
    const commit = await this.prepare(services, base, transaction, leftover);
    try {
      await this.send(transaction, signal, services.length > 1);
      commit();
      sent.add(transaction);
    } catch (error) {
      // Only what the kernel refuses can be the fault of one Service.
      if (!hasCode(error, 'CommandFailed')) throw error;
      const [first] = services;
      if (services.length === 1 && first !== undefined) {
        this.setAside.set(first[0], messageOf(error));
        this.log.warn(
          { service: first[0], reason: messageOf(error) },
          'set aside a Service whose rules the kernel refuses',
        );
        return;
      }
      const middle = services.length >> 1;
      await this.syncPiece(services.slice(0, middle), base, leftover, sent, signal);
      await this.syncPiece(services.slice(middle), base, leftover, sent, signal);
    }
  }

  /**
   * Works out what the group of Services changes, into the transaction; nothing is believed before the returned
   * function is called. With `leftover` the kernel's state is compared, else that which was written last.
   */
  private async prepare(
    services: RuleChange['services'],
    base: BaseRules,
    transaction: NftTransaction,
    leftover: Leftover | undefined,
  ): Promise<() => void> {
    const next = new Map<string, Contribution>();
    const chains = new Map<string, Chain>();
    const sets = new Set<string>();
    const refused = new Map<string, string>();
    const claims = new Map<string, string>();
    const uses = { chains: new Map<string, number>(), sets: new Map<string, number>() };
    const turns = new Turns();
    for (const [service, rules] of services) {
      if (turns.over) await turns.next();
      const before = this.contributionOf(service);
      const after = this.contribute(service, rules, base, before, leftover, { chains, sets, refused, claims });
      next.set(service, after);
      for (const name of before.chains) count(uses.chains, name, -1);
      for (const name of after.chains) count(uses.chains, name, 1);
      for (const id of before.elements.keys()) if (isShared(id)) count(uses.sets, id, -1);
      for (const id of after.elements.keys()) if (isShared(id)) count(uses.sets, id, 1);
      this.difference(before, after, leftover, transaction);
    }
    this.sharedDifference(uses.sets, leftover, transaction);
    for (const name of sets) {
      if (leftover?.table?.containers.has(name) || this.affinitySets.has(name)) continue;
      transaction.addContainer('set', name, affinityDefinition(this.family));
    }
    const maps = new Set<string>();
    for (const chain of chains.values()) {
      if (this.isThere(chain, leftover)) continue;
      transaction.putChain(chain);
      for (const rule of chain.rules) {
        const name = / map @(\S+)$/.exec(rule)?.[1];
        if (name === undefined || leftover?.table?.containers.has(name) || this.endpointMaps.has(name)) continue;
        maps.add(name);
        transaction.addContainer('map', name, endpointsMapDefinition(name, this.family));
      }
    }
    return () => {
      for (const name of maps) this.endpointMaps.add(name);
      this.commit(next, uses, refused, claims, leftover);
    };
  }

  private contribute(
    service: string,
    rules: readonly ServicePortRules[],
    base: BaseRules,
    before: Contribution,
    leftover: Leftover | undefined,
    found: {
      chains: Map<string, Chain>;
      sets: Set<string>;
      refused: Map<string, string>;
      claims: Map<string, string>;
    },
  ): Contribution {
    const elements = new Map<string, string>();
    const chains = new Set<string>();
    const affinitySets: string[] = [];
    for (const port of rules) {
      const mine = this.withOwnFrontends(service, port, found);
      const rendered = renderService(
        mine,
        base,
        this.placesOf(mine, before, leftover),
        (chain) => this.numbers.of(chain),
        sha256,
      );
      for (const { container: name, key, value } of rendered.elements) elements.set(`${name}\t${key}`, value ?? '');
      for (const chain of rendered.entries) {
        elements.set(`${container.serviceChains}\t${this.numbers.of(chain)}`, `goto ${chain}`);
      }
      for (const chain of rendered.chains) {
        found.chains.set(chain.name, chain);
        chains.add(chain.name);
      }
      for (const name of rendered.affinitySets) {
        found.sets.add(name);
        affinitySets.push(name);
      }
    }
    return { elements, chains: [...chains], affinitySets };
  }

  /** The port without frontends that another Service answers on: first come, first served. */
  private withOwnFrontends(
    service: string,
    port: ServicePortRules,
    found: { refused: Map<string, string>; claims: Map<string, string> },
  ): ServicePortRules {
    const frontends = port.frontends.filter((frontend) => {
      const id = `${frontend.kind === 'nodePort' ? container.nodePorts : container.serviceIps}\t${frontendKey(frontend, port)}`;
      const owner = found.claims.get(id) ?? this.owners.get(id);
      if (owner !== undefined && owner !== service) {
        this.contested.add(id);
        const where =
          'address' in frontend ? `${frontend.address} port ${frontend.port}` : `node port ${frontend.port}`;
        found.refused.set(service, `${owner} answers on ${where}/${port.protocol} already`);
        return false;
      }
      found.claims.set(id, service);
      return true;
    });
    return frontends.length === port.frontends.length ? port : { ...port, frontends };
  }

  /** Endpoints keep the places that they have in the kernel, as far as can be. */
  private placesOf(port: ServicePortRules, before: Contribution, leftover: Leftover | undefined): Places {
    return (list, targets) => {
      const wanted = new Map(targets.map((target) => [`${target.address} . ${target.port}`, target]));
      const earlier: string[] = [];
      const place = placesKey(port, list);
      if (place !== undefined) {
        const valueAt = (index: number): string | undefined => {
          const name = endpointsMap(place.by, place.own, index);
          return before.elements.get(`${name}\t${place.key}`) ?? leftover?.elements.get(name)?.get(place.key);
        };
        for (let at = 0, value = valueAt(0); value !== undefined; value = valueAt(++at)) earlier.push(value);
      }
      const ordered = [...wanted.keys()].sort();
      return assignPlaces(earlier, ordered).flatMap((id): Target[] => {
        const target = wanted.get(id);
        return target === undefined ? [] : [target];
      });
    };
  }

  private difference(
    before: Contribution,
    after: Contribution,
    leftover: Leftover | undefined,
    transaction: NftTransaction,
  ): void {
    for (const [id, value] of before.elements) {
      if (!isShared(id) && after.elements.get(id) !== value) this.removeElement(id, transaction);
    }
    for (const [id, value] of after.elements) {
      if (isShared(id) || before.elements.get(id) === value) continue;
      const element = elementOf(id, value);
      const there = leftover?.elements.get(element.container)?.get(element.key);
      if (there === value) continue;
      if (there !== undefined) this.removeElement(id, transaction);
      transaction.addElement(element);
    }
  }

  /** Elements that several Services may want: there while at least one does. */
  private sharedDifference(
    uses: ReadonlyMap<string, number>,
    leftover: Leftover | undefined,
    transaction: NftTransaction,
  ): void {
    for (const [id, change] of uses) {
      const before = this.setUses.get(id) ?? 0;
      const after = before + change;
      const { container: name, key } = elementOf(id, '');
      const value = name === container.serviceChains ? `goto ${this.numbers.chain(key)}` : undefined;
      if (before === 0 && after > 0) {
        const there = leftover?.elements.get(name)?.get(key);
        if (there === (value ?? '')) continue;
        if (there !== undefined) this.removeElement(id, transaction);
        transaction.addElement({ container: name, key, value });
      } else if (before > 0 && after === 0) this.removeElement(id, transaction);
    }
  }

  private removeElement(id: string, transaction: NftTransaction): void {
    const { container: name, key } = elementOf(id, '');
    transaction.removeElement(name, key);
  }

  /** Chains are named for what is in them. */
  private isThere(chain: Chain, leftover: Leftover | undefined): boolean {
    if ((this.chainUses.get(chain.name) ?? 0) > 0) return true;
    if (leftover !== undefined) {
      const listed = leftover.table?.chains.get(chain.name);
      return listed !== undefined && sameLines(listed.rules, chain.rules);
    }
    return false;
  }

  private commit(
    next: ReadonlyMap<string, Contribution>,
    uses: { chains: ReadonlyMap<string, number>; sets: ReadonlyMap<string, number> },
    refused: ReadonlyMap<string, string>,
    claims: ReadonlyMap<string, string>,
    leftover: Leftover | undefined,
  ): void {
    for (const [service, after] of next) {
      const before = this.contributionOf(service);
      for (const id of before.elements.keys()) {
        if (!isFrontend(id) || after.elements.has(id)) continue;
        this.owners.delete(id);
        // Somebody else asks for it, and only a sync of all Services finds out who.
        if (this.contested.has(id)) this.known = false;
      }
      for (const name of before.affinitySets) if (!after.affinitySets.includes(name)) this.unused.sets.add(name);
      for (const name of after.affinitySets) {
        this.affinitySets.add(name);
        this.unused.sets.delete(name);
      }
      const reason = refused.get(service);
      if (reason === undefined) this.setAside.delete(service);
      else this.setAside.set(service, reason);
      if (after.elements.size === 0) this.contributions.delete(service);
      else this.contributions.set(service, pack(after));
      for (const id of leftover === undefined ? [] : after.elements.keys()) {
        const { container: name, key } = elementOf(id, '');
        leftover?.elements.get(name)?.delete(key);
      }
    }
    for (const [id, service] of claims) this.owners.set(id, service);
    for (const [name, change] of uses.chains) {
      count(this.chainUses, name, change);
      if (this.chainUses.has(name)) this.unused.chains.delete(name);
      else if (change < 0) this.unused.chains.add(name);
    }
    for (const [id, change] of uses.sets) count(this.setUses, id, change);
  }

  private removeUnused(transaction: NftTransaction): void {
    const { chains, sets } = this.unused;
    if (chains.size > 0) transaction.removeChains([...chains].sort(leadersFirst));
    for (const name of chains) this.numbers.forget(name);
    for (const name of [...this.endpointMaps].filter((map) => chains.has(placeChainOf(map)))) {
      transaction.removeContainer('map', name);
      this.endpointMaps.delete(name);
    }
    for (const name of sets) {
      transaction.removeContainer('set', name);
      this.affinitySets.delete(name);
    }
    this.unused = { chains: new Set(), sets: new Set() };
  }

  private putBase(base: BaseRules, leftover: Leftover, transaction: NftTransaction): ReadonlySet<string> {
    if (leftover.table === undefined) transaction.addTable();
    for (const { kind, name, definition } of containersOf(this.family)) {
      if (leftover.table?.containers.get(name) === undefined) transaction.addContainer(kind, name, definition);
    }
    const chains = renderBase(base);
    for (const chain of chains) {
      const listed = leftover.table?.chains.get(chain.name);
      const sameHook = listed?.hook === chain.hook;
      if (listed !== undefined && sameHook && sameLines(listed.rules, chain.rules)) continue;
      transaction.putChain(chain, listed !== undefined && !sameHook);
    }
    const there = leftover.elements.get(container.nodePortIps) ?? new Map<string, string>();
    for (const address of nodePortAddresses(base)) {
      if (!there.delete(address))
        transaction.addElement({ container: container.nodePortIps, key: address, value: undefined });
    }
    this.frame = chains;
    this.foundWrong = false;
    return new Set(chains.map((chain) => chain.name));
  }

  private removeLeftover(leftover: Leftover, wantedBase: ReadonlySet<string>, transaction: NftTransaction): void {
    for (const [name, elements] of leftover.elements) {
      if (isEndpointsMap(name) && !this.chainUses.has(placeChainOf(name))) continue;
      for (const key of elements.keys()) transaction.removeElement(name, key);
    }
    const chains = [...(leftover.table?.chains.keys() ?? [])].filter(
      (name) => !wantedBase.has(name) && !this.chainUses.has(name),
    );
    if (chains.length > 0) transaction.removeChains(chains.sort(leadersFirst));
    for (const name of leftover.table?.containers.keys() ?? []) {
      if (isEndpointsMap(name)) {
        if (this.chainUses.has(placeChainOf(name))) this.endpointMaps.add(ownCopy(name));
        else transaction.removeContainer('map', name);
      }
      if (name.startsWith(affinityPrefix) && !this.affinitySets.has(name)) {
        transaction.removeContainer('set', name);
      }
    }
  }

  private async readBack(): Promise<Leftover> {
    const containers = containersOf(this.family);
    const text = await this.nft.table(tableName, 'handles');
    if (text === undefined) return { elements: new Map(), table: undefined };
    const table = await inTurns(parseTable(text, (name) => !name.startsWith(affinityPrefix)));
    const foreign = containers.find(
      ({ name, definition }) => (table.containers.get(name) ?? definition) !== definition,
    );
    if (foreign) {
      // Another release's layout: there is no way to change the type of a map.
      const transaction = new NftTransaction(this.table);
      transaction.dropTable();
      await this.send(transaction);
      return { elements: new Map(), table: undefined };
    }
    return { elements: table.elements, table };
  }

  private reset(leftover: Leftover): void {
    this.numbers = new ChainNumbers(sha256);
    for (const [number, value] of leftover.elements.get(container.serviceChains) ?? []) {
      this.numbers.adopt(ownCopy(number), ownCopy(value.replace('goto ', '')));
    }
    this.contributions = new Map();
    this.chainUses = new Map();
    this.setUses = new Map();
    this.owners = new Map();
    this.contested = new Set();
    this.unused = { chains: new Set(), sets: new Set() };
    this.affinitySets = new Set();
    this.endpointMaps = new Set();
    this.setAside = new Map();
  }

  private contributionOf(service: string): Contribution {
    const packed = this.contributions.get(service);
    return packed === undefined ? nothing : unpack(packed);
  }

  private async send(transaction: NftTransaction, signal?: AbortSignal, expected = false): Promise<void> {
    if (transaction.empty) return;
    const text = transaction.text();
    try {
      await this.nft.apply(text, signal);
      this.log.debug({ operations: transaction.operations }, 'wrote Service rules');
    } catch (error) {
      if (!expected) {
        this.log.error(
          { error: messageOf(error), operations: transaction.operations, rules: excerpt(text, error) },
          'the kernel refused Service rules',
        );
      }
      throw error;
    }
  }

  private report(sent: Written): SyncReport {
    return {
      operations: sent.operations,
      totals: { services: this.owners.size, chains: this.chainUses.size },
      written: sent.byContainer,
      setAside: [...this.setAside].map(([service, reason]) => ({ service, reason })),
    };
  }
}

/** What has been sent: figures alone, for the text of 44,000 Services is not to be kept until the last is written. */
class Written {
  operations = 0;
  readonly byContainer: Record<string, number> = {};

  add({ operations, written }: NftTransaction): void {
    this.operations += operations;
    for (const [name, amount] of Object.entries(written)) {
      this.byContainer[name] = (this.byContainer[name] ?? 0) + amount;
    }
  }
}

/** V8 keeps the whole listing alive for the sake of a name cut out of it. */
function ownCopy(text: string): string {
  return [...text].join('');
}

/** Where the first frontend of a port has the endpoints of a list. */
function placesKey(
  port: ServicePortRules,
  list: 'cluster' | 'local',
): { readonly by: 'vip' | 'np'; readonly own: boolean; readonly key: string } | undefined {
  for (const frontend of port.frontends) {
    const by = frontend.kind === 'nodePort' ? 'np' : 'vip';
    const key = frontendKey(frontend, port);
    if (frontend.kind === 'clusterIP') {
      if ((port.internalPolicy === 'Local') === (list === 'local')) return { by, own: false, key };
    } else if (list === 'cluster') return { by, own: false, key };
    else if (port.externalPolicy === 'Local') return { by, own: true, key };
  }
  return undefined;
}

/** The one chain that looks into a numbered map. */
function placeChainOf(map: string): string {
  const index = map.slice(map.indexOf('/') + 1);
  return `${map.includes('nodeport-') ? 'np' : 'vip'}${map.startsWith('local-') ? '-local' : ''}-place/${index}`;
}

function affinityDefinition(family: IPFamily): string {
  return `type ${wordsOf(family).addressType}; size 65535; flags dynamic,timeout`;
}

/** Chains that lead to others before those: a chain cannot go while something leads to it. */
function leadersFirst(a: string, b: string): number {
  return b.split('/').length - a.split('/').length || (a < b ? -1 : 1);
}

function isShared(id: string): boolean {
  const name = id.slice(0, id.indexOf('\t'));
  return name === container.clusterIps || name === container.hairpin || name === container.serviceChains;
}

function isFrontend(id: string): boolean {
  return id.startsWith(`${container.serviceIps}\t`) || id.startsWith(`${container.nodePorts}\t`);
}

function elementOf(id: string, value: string): Element {
  const [name = '', key = ''] = id.split('\t');
  return { container: name, key, value: isShared(id) || value === '' ? undefined : value };
}

function count(counts: Map<string, number>, key: string, change: number): void {
  const value = (counts.get(key) ?? 0) + change;
  if (value === 0) counts.delete(key);
  else counts.set(key, value);
}

function isAsWritten(chain: Chain, listed: ListedChain | undefined): boolean {
  return listed !== undefined && listed.hook === chain.hook && sameLines(listed.rules, chain.rules);
}

function sameLines(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, index) => line === b[index]);
}

function pack({ elements, chains, affinitySets }: Contribution): string {
  const lines = [...elements].map(([id, value]) => `${id}\t${value}`);
  return `${lines.join('\n')}\0${chains.join('\n')}\0${affinitySets.join('\n')}`;
}

function unpack(packed: string): Contribution {
  const [elements = '', chains = '', sets = ''] = packed.split('\0');
  const list = (text: string): string[] => (text === '' ? [] : text.split('\n'));
  return {
    elements: new Map(
      list(elements).map((line): [string, string] => {
        const at = line.lastIndexOf('\t');
        return [line.slice(0, at), line.slice(at + 1)];
      }),
    ),
    chains: list(chains),
    affinitySets: list(sets),
  };
}
