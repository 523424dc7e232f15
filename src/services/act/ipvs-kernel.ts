import type { IpsetPort } from '../../host/ipset/port.ts';
import type { IpvsPort } from '../../host/ipvs/port.ts';
import type { ServiceDevicePort } from '../../host/service-device/port.ts';
import type { IPFamily } from '../../model/service.ts';
import type { KernelBelief } from '../delta/iptables/kernel-belief.ts';
import { canonicalAddress, type IpvsState, ownServers, parseServers, parseSets } from '../delta/ipvs/kernel-state.ts';
import type { IpvsPlan } from '../delta/ipvs/plan.ts';
import { setDefinitions, spareSet } from '../render/ipvs/sets.ts';
import { inTurns } from './in-turns.ts';

export interface IpvsBelief {
  readonly state: IpvsState;
  readonly tables: KernelBelief;
}

/** By this alias of the device deckhand knows its own work again. */
export const deviceAlias = 'deckhand';

interface Deps {
  readonly ipvs: IpvsPort;
  readonly ipset: IpsetPort;
  readonly device: ServiceDevicePort;
}

/** One family's virtual servers, sets and addresses in the kernel: carries plans out, and reads back. */
export class IpvsKernel {
  private readonly family: IPFamily;
  private readonly exclude: readonly string[];
  private readonly deps: Deps;
  private hasDevice = false;
  /** What was written last, for the log when it is refused. */
  lastText = '';

  constructor(family: IPFamily, exclude: readonly string[], deps: Deps) {
    this.family = family;
    this.exclude = exclude;
    this.deps = deps;
  }

  /** `isWanted`: whether Services want a virtual server, by its id; see parseServers. */
  async readBack(isWanted: (id: string) => boolean): Promise<IpvsState> {
    const { ipvs, ipset, device } = this.deps;
    const found = await device.read();
    this.hasDevice = found?.alias === deviceAlias;
    const { sets, definitions } = this.ownSets(await ipset.save());
    // Left by an end in the middle of an exchange; it is no set of Services.
    sets.delete(spareSet(this.family));
    return {
      servers: await this.servers(await ipvs.save(), isWanted),
      addresses: new Set(found?.addresses[this.family].map(canonicalAddress)),
      sets,
      definitions,
    };
  }

  private ownSets(saved: string): Pick<IpvsState, 'sets' | 'definitions'> {
    const names = setDefinitions(this.family);
    return parseSets(saved, (name) => names.has(name) || name === spareSet(this.family));
  }

  /** This family's virtual servers in a listing. */
  servers(saved: string, isWanted: (id: string) => boolean): Promise<Map<string, string>> {
    return inTurns(parseServers(saved, this.family, this.exclude, isWanted));
  }

  /** Sets, members and virtual servers that come or change. */
  async put(plan: IpvsPlan, signal?: AbortSignal): Promise<void> {
    const { device } = this.deps;
    if (!this.hasDevice) await device.ensure(deviceAlias);
    this.hasDevice = true;
    await this.write('ipset', plan.members, signal);
    done(plan.afterMembers);
    await this.write('ipvs', plan.servers, signal);
    done(plan.afterServers);
  }

  /** Addresses of the device, of which those that go do so before their virtual servers. */
  async bind({ bind, unbind }: IpvsPlan, { addresses }: IpvsState, signal?: AbortSignal): Promise<void> {
    if (bind.length === 0 && unbind.length === 0) return;
    this.lastText = [...bind.map((one) => `+ ${one}`), ...unbind.map((one) => `- ${one}`)].join('\n');
    await this.deps.device.change(bind, unbind, signal);
    for (const address of bind) addresses.add(address);
    for (const address of unbind) addresses.delete(address);
  }

  /** Virtual servers and members that go. */
  async takeAway(plan: IpvsPlan, signal?: AbortSignal): Promise<void> {
    await this.write('ipvs', plan.lateServers, signal);
    done(plan.afterLateServers);
    await this.write('ipset', plan.lateMembers, signal);
    done(plan.afterLateMembers);
  }

  private async write(
    tool: 'ipvs' | 'ipset',
    lines: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (lines.length === 0) return;
    this.lastText = textOf(lines);
    await this.deps[tool].restore(this.lastText, signal);
  }

  /** Virtual servers of Services and the addresses of this family; others' virtual servers stay. */
  async removeServers(): Promise<void> {
    const { ipvs, device } = this.deps;
    // Without it there are none, and perhaps no IPVS in this kernel.
    if ((await device.read()) === undefined) return;
    const state = await this.readBack(() => true);
    const ids = ownServers(state, this.family);
    if (ids.length > 0) await ipvs.restore(textOf(ids.map((id) => `-D ${id}`)));
    if (state.addresses.size > 0) await device.change([], [...state.addresses]);
    const left = await device.read();
    if (left !== undefined && left.addresses.IPv4.length + left.addresses.IPv6.length === 0) await device.remove();
  }

  /** Nothing may look into them any more. */
  async removeSets(): Promise<void> {
    const { sets } = this.ownSets(await this.deps.ipset.save());
    if (sets.size > 0) await this.deps.ipset.destroy([...sets.keys()]);
  }
}

function textOf(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`;
}

function done(steps: readonly (() => void)[]): void {
  for (const step of steps) step();
}
