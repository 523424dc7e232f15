import type { IptablesPort } from '../../host/iptables/port.ts';
import type { RuleWatch } from '../../host/rule-watch/port.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { type Logger, silent } from '../../kit/log.ts';
import type { IPFamily } from '../../model/service.ts';
import { DesiredDispatch } from '../delta/iptables/desired-dispatch.ts';
import { countRules, type KernelBelief, parseKernelBelief } from '../delta/iptables/kernel-belief.ts';
import { type Transaction, TransactionBuilder } from '../delta/iptables/transaction.ts';
import type { ServicePortRules } from '../model.ts';
import type { Alarm, BaseRules, ProxyBackend, RuleChange, SyncReport } from '../port.ts';
import {
  canaryChain,
  dispatchChains,
  isOwnChain,
  kubeletFirewallChain,
  servicePrefix,
  servicesChain,
  type Table,
} from '../render/iptables/chains.ts';
import { type RenderedBase, renderBase } from '../render/iptables/render-base.ts';
import { type DispatchRule, type RenderedChain, renderServicePort } from '../render/iptables/render-service-port.ts';
import { kubeletCanaryChain } from '../render/iptables/util-chains.ts';
import { excerpt } from './excerpt.ts';
import { Turns } from './in-turns.ts';
import { IptablesPieces } from './iptables-pieces.ts';
import { refusePartial } from './refuse-partial.ts';
import { applyOrSetAside, type ServiceGroup, type WholeWriter } from './set-aside.ts';
import { sha256 } from './sha256.ts';

const tables: readonly Table[] = ['filter', 'nat'];
/** Unreferenced; the dispatch rules of Services are tried out in it. The prefix lets the sweep find it. */
const scratchChain = `${servicePrefix}DECKHANDSCRATCH`;

/**
 * The nft flavour takes far more than twice the time for twice the chains in one transaction (10,000 Services: minutes;
 * in pieces: seconds), so the Services' own chains go ahead in pieces of so many operations. Nothing leads to new
 * chains yet, and each Service's chains are complete in themselves: traffic sees one change, that of the last piece.
 */
const operationsPerPiece = 5_000;

/** What one Service has in the kernel: names and shared rules, not the text of its own chains. */
interface Contribution {
  readonly chains: readonly string[];
  readonly dispatch: readonly DispatchRule[];
}

interface RenderedService {
  readonly chains: readonly RenderedChain[];
  readonly dispatch: readonly DispatchRule[];
}

export interface IptablesBackendDeps {
  readonly iptables: IptablesPort;
  readonly log: Logger;
  /** Of use in the nft flavour; the legacy one writes without a word. */
  readonly watch?: RuleWatch;
}

/** The rules of one address family by iptables-restore: one process for each change, none when nothing changes. */
export class IptablesBackend implements ProxyBackend, WholeWriter {
  /** A look starts two processes: often enough that a flush is repaired within a second, where writing takes no longer. */
  readonly checkMs = 600;
  readonly name = 'iptables';
  readonly family: IPFamily;
  readonly alarm: Alarm | undefined;
  private readonly iptables: IptablesPort;
  private readonly log: Logger;
  private belief: KernelBelief | undefined;
  private contributions = new Map<string, Contribution>();
  private dispatch = new DesiredDispatch();
  private setAside = new Map<string, string>();
  private writtenBase = '';

  constructor(deps: IptablesBackendDeps) {
    this.iptables = deps.iptables;
    this.family = deps.iptables.family;
    this.log = deps.log.child({ family: this.family, flavour: deps.iptables.flavour });
    this.alarm = deps.iptables.flavour === 'nft' ? deps.watch : undefined;
  }

  get needsComplete(): boolean {
    return this.belief === undefined;
  }

  forget(): void {
    this.belief = undefined;
  }

  async sync(change: RuleChange, signal?: AbortSignal): Promise<SyncReport> {
    refusePartial(change, this.family, this.belief !== undefined);
    return await applyOrSetAside(this, this.log, change, signal);
  }

  async intact(): Promise<boolean> {
    for (const table of tables) {
      const rules = await this.iptables.list(table, canaryChain);
      // A flush leaves the chain and takes its rule.
      if (rules === undefined || rules.length === 0) {
        this.forget();
        return false;
      }
    }
    return true;
  }

  async plan(change: RuleChange): Promise<readonly string[]> {
    const texts: string[] = [];
    const iptables: IptablesPort = {
      family: this.family,
      flavour: this.iptables.flavour,
      restore: async (text) => void texts.push(text),
      save: (table) => this.iptables.save(table),
      list: (table, chain) => this.iptables.list(table, chain),
    };
    await new IptablesBackend({ iptables, log: silent }).sync(change);
    return texts;
  }

  async cleanup(): Promise<void> {
    // Where somebody keeps kubelet's chains, the firewall among them stays (kube-proxy's clean-up leaves it always).
    const isKept = (await this.iptables.list('filter', kubeletCanaryChain)) !== undefined;
    const belief = await this.readBack((chain) => isOwnChain(chain) && !(isKept && chain === kubeletFirewallChain));
    const builder = new TransactionBuilder(belief);
    builder.removeEverything();
    const transaction = builder.build();
    if (transaction.text !== '') await this.send(transaction);
    this.forget();
    this.contributions = new Map();
  }

  async apply(change: RuleChange, refused: ReadonlyMap<string, string>, signal?: AbortSignal): Promise<SyncReport> {
    const belief = this.belief ?? (await this.readBack((chain) => isManaged(chain, change.base)));
    this.belief = belief;
    if (change.complete) {
      this.contributions = new Map();
      this.dispatch = new DesiredDispatch();
      this.setAside = new Map(refused);
    }
    const pieces = new IptablesPieces(belief, (transaction) => this.send(transaction, signal));
    try {
      await this.collect(change, refused, pieces);
    } finally {
      // Nothing is written any more when this has ended, however it ends.
      await pieces.end();
    }
    return this.report(pieces.sent, belief);
  }

  private async collect(
    change: RuleChange,
    refused: ReadonlyMap<string, string>,
    pieces: IptablesPieces,
  ): Promise<void> {
    const base = renderBase(change.base);
    for (const chain of base.chains) pieces.builder.putChain(chain.table, chain.name, chain.rules);

    const gone = new Set<string>();
    const turns = new Turns();
    for (const [service, rules] of change.services) {
      if (turns.over) await turns.next();
      if (refused.has(service)) continue;
      this.setAside.delete(service);
      this.contribute(service, this.render(rules, change.base), pieces.builder, gone);
      if (this.iptables.flavour === 'nft' && pieces.builder.operations >= operationsPerPiece) await pieces.flush();
    }
    const { builder } = pieces;
    for (const chain of gone) builder.removeChain('nat', chain);
    if (change.complete) {
      const wanted = new Set<string>();
      for (const { chains } of this.contributions.values()) for (const chain of chains) wanted.add(chain);
      builder.removeStale(wanted);
    }
    this.putShared(builder, base, change.complete);
    await pieces.flush();
  }

  private render(rules: readonly ServicePortRules[], base: BaseRules): RenderedService {
    const ports = rules.map((port) => renderServicePort(port, base, sha256));
    return { chains: ports.flatMap((port) => port.chains), dispatch: ports.flatMap((port) => port.dispatch) };
  }

  private contribute(service: string, rendered: RenderedService, builder: TransactionBuilder, gone: Set<string>): void {
    const before = this.contributions.get(service);
    const names = rendered.chains.map((chain) => chain.name);
    for (const chain of rendered.chains) builder.putChain('nat', chain.name, chain.rules);
    for (const name of before?.chains ?? []) if (!names.includes(name)) gone.add(name);
    this.dispatch.replace(before?.dispatch ?? [], rendered.dispatch);
    if (names.length === 0 && rendered.dispatch.length === 0) this.contributions.delete(service);
    else this.contributions.set(service, { chains: names, dispatch: rendered.dispatch });
  }

  /** Shared chains: all of them in a complete sync, else those that a Service's rules have touched. */
  private putShared(builder: TransactionBuilder, base: RenderedBase, complete: boolean): void {
    const touched = this.dispatch.takeTouched();
    // The tail and the jumps depend on the base alone.
    const baseText = JSON.stringify([base.servicesTail, base.jumps]);
    const all = complete || baseText !== this.writtenBase;
    const chains = all ? tables.flatMap((table) => dispatchChains[table].map((chain) => ({ table, chain }))) : touched;
    for (const { table, chain } of chains) {
      const rules = this.dispatch.rules(table, chain);
      if (table === 'nat' && chain === servicesChain) rules.push(...base.servicesTail);
      builder.putDispatch(table, chain, rules);
    }
    if (!all) return;
    for (const table of tables) {
      const here = base.jumps.filter((jump) => jump.table === table);
      const froms = new Set([...here.map((jump) => jump.from), ...(this.belief?.[table].jumps.keys() ?? [])]);
      for (const from of froms) {
        builder.putJumps(
          table,
          from,
          here.filter((jump) => jump.from === from).map((jump) => jump.rule),
        );
      }
    }
    this.writtenBase = baseText;
  }

  private async send(transaction: Transaction, signal?: AbortSignal): Promise<void> {
    try {
      await this.iptables.restore(transaction.text, signal);
      this.log.debug({ operations: transaction.operations }, 'wrote Service rules');
    } catch (error) {
      this.log.error(
        { error: messageOf(error), operations: transaction.operations, rules: excerpt(transaction.text, error) },
        'the kernel refused Service rules',
      );
      throw error;
    }
  }

  private async readBack(isOurs: (chain: string) => boolean): Promise<KernelBelief> {
    return parseKernelBelief(await this.iptables.save(), isOurs);
  }

  /**
   * A group's chains are written for good (they are wanted anyway), its shared rules into a chain that nothing leads to:
   * traffic does not notice.
   */
  async tryOut(group: ServiceGroup, base: BaseRules, signal?: AbortSignal): Promise<unknown> {
    const belief = await this.readBack((chain) => isManaged(chain, base));
    const builder = new TransactionBuilder(belief);
    const { chains } = renderBase(base);
    for (const chain of chains) builder.putChain(chain.table, chain.name, chain.rules);
    const shared: Record<Table, string[]> = { filter: [], nat: [] };
    for (const [, rules] of group) {
      const rendered = this.render(rules, base);
      for (const chain of rendered.chains) builder.putChain('nat', chain.name, chain.rules);
      for (const { table, rule } of rendered.dispatch) shared[table].push(rule);
    }
    for (const table of tables) builder.putChain(table, scratchChain, shared[table]);
    const transaction = builder.build();
    try {
      if (transaction.text !== '') await this.iptables.restore(transaction.text, signal);
      return undefined;
    } catch (error) {
      if (hasCode(error, 'CommandFailed')) return error;
      throw error;
    }
  }

  private report(sent: readonly Transaction[], belief: KernelBelief): SyncReport {
    const sum = (count: (transaction: Transaction) => number): number =>
      sent.reduce((total, transaction) => total + count(transaction), 0);
    return {
      operations: sum((transaction) => transaction.operations),
      totals: { filter: countRules(belief.filter), nat: countRules(belief.nat) },
      written: { filter: sum(({ written }) => written.filter), nat: sum(({ written }) => written.nat) },
      setAside: [...this.setAside].map(([service, reason]) => ({ service, reason })),
    };
  }
}

/** kubelet's chain is ours only while our own settings ask for it. */
function isManaged(chain: string, base: BaseRules): boolean {
  if (chain === kubeletFirewallChain) return base.localhostNodePorts && base.family === 'IPv4';
  return isOwnChain(chain);
}
