import type { IpsetPort } from '../../host/ipset/port.ts';
import type { IptablesPort } from '../../host/iptables/port.ts';
import type { IpvsPort } from '../../host/ipvs/port.ts';
import type { ServiceDevicePort } from '../../host/service-device/port.ts';
import { hasCode, messageOf } from '../../kit/errors.ts';
import { type Logger, silent } from '../../kit/log.ts';
import type { IPFamily } from '../../model/service.ts';
import { countRules } from '../delta/iptables/kernel-belief.ts';
import { DesiredIpvs, untouched } from '../delta/ipvs/desired.ts';
import { drainingOf, withoutReals } from '../delta/ipvs/diff.ts';
import { sameServers } from '../delta/ipvs/kernel-state.ts';
import { everything, type IpvsPlan, planIpvs } from '../delta/ipvs/plan.ts';
import type { ServicePortRules } from '../model.ts';
import type { BaseRules, ProxyBackend, RuleChange, SyncReport } from '../port.ts';
import { canaryChain, type Table } from '../render/iptables/chains.ts';
import { isIpvsAlone, isManagedChain } from '../render/ipvs/chains.ts';
import { type IpvsSettings, type RenderedIpvs, renderIpvsPort } from '../render/ipvs/render-service.ts';
import { excerpt } from './excerpt.ts';
import { inTurns, Turns } from './in-turns.ts';
import { type IpvsBelief, IpvsKernel } from './ipvs-kernel.ts';
import { recordingPorts } from './ipvs-recording.ts';
import { IpvsRules } from './ipvs-rules.ts';
import { refusePartial } from './refuse-partial.ts';
import { applyOrSetAside, type ServiceGroup, type WholeWriter } from './set-aside.ts';

const tables: readonly Table[] = ['filter', 'nat'];

export interface IpvsBackendOptions extends IpvsSettings {
  /** Virtual servers at these addresses are others' (KubeProxyConfiguration.ipvs.excludeCIDRs). */
  readonly excludeCIDRs: readonly string[];
}

export interface IpvsBackendDeps {
  readonly iptables: IptablesPort;
  readonly ipvs: IpvsPort;
  readonly ipset: IpsetPort;
  readonly device: ServiceDevicePort;
  readonly log: Logger;
}

/**
 * Services as virtual servers of the kernel (IPVS), with sets and a few iptables rules around them, as kube-proxy's ipvs
 * mode has them. A change is a line or two for ipvsadm and ipset, among any number of Services.
 */
export class IpvsBackend implements ProxyBackend, WholeWriter {
  /** A look starts two or three processes, for half of what there is to see. */
  readonly checkMs = 500;
  readonly name = 'ipvs';
  readonly family: IPFamily;
  readonly ownDevice: string;
  private readonly options: IpvsBackendOptions;
  private readonly deps: IpvsBackendDeps;
  private readonly log: Logger;
  private readonly kernel: IpvsKernel;
  private readonly rules: IpvsRules;
  private belief: IpvsBelief | undefined;
  private desired = new DesiredIpvs();
  private setAside = new Map<string, string>();
  private baseText = '';
  private looks = 0;
  /** The last listing of virtual servers that was found to be as believed. */
  private seen = '';

  constructor(options: IpvsBackendOptions, deps: IpvsBackendDeps) {
    this.options = options;
    this.deps = deps;
    this.family = deps.iptables.family;
    this.ownDevice = deps.device.name;
    this.log = deps.log.child({ family: this.family, flavour: deps.iptables.flavour });
    this.kernel = new IpvsKernel(this.family, options.excludeCIDRs, deps);
    this.rules = new IpvsRules(deps.iptables, this.log);
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
    if (this.belief !== undefined && (await this.isAsBelieved(this.belief))) return true;
    this.forget();
    return false;
  }

  /** Takes away real servers whose last connection is over. */
  async tend(): Promise<void> {
    const servers = this.belief?.state.servers;
    if (servers === undefined) return;
    const draining = new Map<string, readonly string[]>();
    for (const [id, text] of servers) {
      const reals = drainingOf(text);
      if (reals.length > 0) draining.set(id, reals);
    }
    if (draining.size === 0) return;
    const gone = new Map<string, string[]>();
    for (const { server, real, weight, connections } of await this.deps.ipvs.connections()) {
      if (weight !== 0 || connections > 0 || !(draining.get(server)?.includes(real) ?? false)) continue;
      gone.set(server, [...(gone.get(server) ?? []), real]);
    }
    const lines = [...gone].flatMap(([id, reals]) => reals.map((real) => `-d ${id} -r ${real}`));
    if (lines.length === 0) return;
    try {
      await this.deps.ipvs.restore(`${lines.join('\n')}\n`);
    } catch (error) {
      this.forget();
      throw error;
    }
    for (const [id, reals] of gone) servers.set(id, withoutReals(servers.get(id) ?? '', reals));
    this.log.debug({ realServers: lines.length }, 'took away real servers without connections');
  }

  async plan(change: RuleChange): Promise<readonly string[]> {
    const { ports, texts } = recordingPorts(this.deps);
    await new IpvsBackend(this.options, { ...ports, log: silent }).sync(change);
    return texts;
  }

  /** Removes what this mode has written. `besideIptables`: the chains that both modes have stay. */
  async cleanup(besideIptables = false): Promise<void> {
    await this.kernel.removeServers();
    await this.rules.remove(besideIptables ? isIpvsAlone : isManagedChain);
    await this.kernel.removeSets();
    this.forget();
    this.desired = new DesiredIpvs();
  }

  async apply(change: RuleChange, refused: ReadonlyMap<string, string>, signal?: AbortSignal): Promise<SyncReport> {
    try {
      return await this.write(change, refused, signal);
    } catch (error) {
      const text = excerpt(this.kernel.lastText, error);
      this.log.error({ error: messageOf(error), text }, 'the kernel refused what Services need of IPVS');
      throw error;
    }
  }

  private async write(
    change: RuleChange,
    refused: ReadonlyMap<string, string>,
    signal?: AbortSignal,
  ): Promise<SyncReport> {
    const { base } = change;
    const touched = untouched();
    if (change.complete) {
      this.desired = new DesiredIpvs();
      this.setAside = new Map(refused);
    }
    const turns = new Turns();
    for (const [service, rules] of change.services) {
      if (turns.over) await turns.next();
      if (refused.has(service)) continue;
      this.setAside.delete(service);
      this.desired.replace(service, this.render(rules, base), touched);
    }
    const belief = this.belief ?? {
      state: await this.kernel.readBack((id) => this.desired.server(id) !== undefined),
      tables: await this.rules.readBack(isManagedChain),
    };
    this.belief = belief;
    if (change.complete) everything(this.desired, belief.state, touched);
    const plan = await inTurns(planIpvs(this.desired, touched, belief.state, this.family));
    // Sets before the rules that look into them, and who may pass before what is balanced; a virtual server before its
    // address is local, and that before the rules, for those take away what iptables mode has. What goes, goes at last.
    await this.kernel.put(plan, signal);
    await this.kernel.bind(plan, belief.state, signal);
    const baseText = JSON.stringify(base);
    const written =
      touched.outFilter || change.complete || baseText !== this.baseText
        ? await this.rules.put(base, this.desired.outFilter(), belief.tables, signal)
        : { operations: 0, written: { filter: 0, nat: 0 } };
    this.baseText = baseText;
    await this.kernel.takeAway(plan, signal);
    return this.report(plan, written, belief);
  }

  private render(rules: readonly ServicePortRules[], base: BaseRules): readonly RenderedIpvs[] {
    return rules.map((port) => renderIpvsPort(port, base, this.options));
  }

  /** Half of it at a time, for each part takes a process. */
  private async isAsBelieved({ state }: IpvsBelief): Promise<boolean> {
    const { iptables, ipvs, ipset, device } = this.deps;
    this.looks++;
    if (this.looks % 2 === 0) {
      for (const table of tables) {
        const rules = await iptables.list(table, canaryChain);
        // A flush leaves the chain and takes its rule.
        if (rules === undefined || rules.length === 0) return false;
      }
      const found = await device.read();
      return found !== undefined && found.addresses[this.family].length === state.addresses.size;
    }
    const sizes = await ipset.sizes();
    for (const [name, members] of state.sets) if (sizes.get(name) !== members.size) return false;
    const saved = await ipvs.save();
    if (saved === this.seen) return true;
    if (!sameServers(await this.kernel.servers(saved, (id) => state.servers.has(id)), state.servers)) return false;
    this.seen = saved;
    return true;
  }

  /** What is not refused is wanted anyway. */
  async tryOut(group: ServiceGroup, base: BaseRules, signal?: AbortSignal): Promise<unknown> {
    const desired = new DesiredIpvs();
    const touched = untouched();
    for (const [service, rules] of group) desired.replace(service, this.render(rules, base), touched);
    const state = await this.kernel.readBack((id) => desired.server(id) !== undefined);
    try {
      const plan = await inTurns(planIpvs(desired, touched, state, this.family));
      await this.kernel.put(plan, signal);
      await this.kernel.bind(plan, state, signal);
      return undefined;
    } catch (error) {
      if (hasCode(error, 'CommandFailed')) return error;
      throw error;
    }
  }

  private report(
    plan: IpvsPlan,
    rules: { readonly operations: number; readonly written: Readonly<Record<Table, number>> },
    { state, tables: believed }: IpvsBelief,
  ): SyncReport {
    let members = 0;
    for (const set of state.sets.values()) members += set.size;
    return {
      operations: plan.operations + rules.operations,
      totals: {
        filter: countRules(believed.filter),
        nat: countRules(believed.nat),
        servers: state.servers.size,
        addresses: state.addresses.size,
        members,
      },
      written: {
        ...rules.written,
        servers: plan.servers.length + plan.lateServers.length,
        addresses: plan.bind.length + plan.unbind.length,
        members: plan.members.length + plan.lateMembers.length,
      },
      setAside: [...this.setAside].map(([service, reason]) => ({ service, reason })),
    };
  }
}
