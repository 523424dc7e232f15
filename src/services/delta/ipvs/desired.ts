import type { RenderedIpvs } from '../../render/ipvs/render-service.ts';
import { serverText } from './kernel-state.ts';

/** What may be other than it was. */
export interface Touched {
  readonly servers: Set<string>;
  readonly addresses: Set<string>;
  /** "SET MEMBER" */
  readonly members: Set<string>;
  outFilter: boolean;
}

export function untouched(): Touched {
  return { servers: new Set(), addresses: new Set(), members: new Set(), outFilter: false };
}

interface Contribution {
  readonly servers: ReadonlyMap<string, string>;
  readonly addresses: readonly string[];
  readonly members: readonly string[];
  readonly outFilter: readonly string[];
}

const nothing: Contribution = { servers: new Map(), addresses: [], members: [], outFilter: [] };

/**
 * What all Services together want, by what the kernel has it under. Where two want the same virtual server (an external
 * IP that is a node's, with the port of a node port) the one whose name comes first has it, so that the road does not
 * matter. What one Service wants is kept as a text, which takes less memory.
 */
export class DesiredIpvs {
  private readonly contributions = new Map<string, string>();
  private readonly owners = new Map<string, string>();
  private readonly contenders = new Map<string, Set<string>>();
  private readonly counts = new Map<string, number>();

  /** Puts what one Service wants in the place of what it wanted. */
  replace(service: string, ports: readonly RenderedIpvs[], touched: Touched): void {
    const before = this.contributionOf(service);
    const after = merge(ports);
    for (const id of before.servers.keys()) if (!after.servers.has(id)) this.giveUp(id, service);
    for (const id of after.servers.keys()) if (!before.servers.has(id)) this.claim(id, service);
    for (const id of new Set([...before.servers.keys(), ...after.servers.keys()])) {
      if (before.servers.get(id) !== after.servers.get(id)) touched.servers.add(id);
    }
    this.count(before.addresses, after.addresses, touched.addresses);
    this.count(before.members, after.members, touched.members);
    if (before.outFilter.join('\n') !== after.outFilter.join('\n')) touched.outFilter = true;
    const isEmpty = after.servers.size === 0 && after.addresses.length === 0 && after.members.length === 0;
    if (isEmpty) this.contributions.delete(service);
    else this.contributions.set(service, pack(after));
  }

  /** The virtual server as it is to be; undefined: nobody wants it. */
  server(id: string): string | undefined {
    const owner = this.owners.get(id);
    return owner === undefined ? undefined : this.contributionOf(owner).servers.get(id);
  }

  wants(addressOrMember: string): boolean {
    return this.counts.has(addressOrMember);
  }

  get serverIds(): IterableIterator<string> {
    return this.owners.keys();
  }

  /** Addresses and members; a member has a space in it. */
  get countedKeys(): IterableIterator<string> {
    return this.counts.keys();
  }

  /** The rules of KUBE-IPVS-OUT-FILTER, by the names of the Services. */
  outFilter(): string[] {
    const found: (readonly [string, readonly string[]])[] = [];
    for (const [service, packed] of this.contributions) {
      const rules = outFilterOf(packed);
      if (rules.length > 0) found.push([service, rules]);
    }
    return found.sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, rules]) => rules);
  }

  private contributionOf(service: string): Contribution {
    const packed = this.contributions.get(service);
    return packed === undefined ? nothing : unpack(packed);
  }

  private claim(id: string, service: string): void {
    const owner = this.owners.get(id);
    if (owner === undefined) {
      this.owners.set(id, service);
      return;
    }
    const [first, second] = owner < service ? [owner, service] : [service, owner];
    this.owners.set(id, first);
    const others = this.contenders.get(id) ?? new Set();
    others.delete(first);
    this.contenders.set(id, others.add(second));
  }

  private giveUp(id: string, service: string): void {
    const others = this.contenders.get(id);
    others?.delete(service);
    if (this.owners.get(id) === service) {
      const [next] = [...(others ?? [])].sort();
      if (next === undefined) this.owners.delete(id);
      else {
        this.owners.set(id, next);
        others?.delete(next);
      }
    }
    if (others?.size === 0) this.contenders.delete(id);
  }

  private count(before: readonly string[], after: readonly string[], touched: Set<string>): void {
    for (const [keys, change] of [
      [before, -1],
      [after, 1],
    ] as const) {
      for (const key of keys) {
        const value = (this.counts.get(key) ?? 0) + change;
        if (value === 0) this.counts.delete(key);
        else this.counts.set(key, value);
        touched.add(key);
      }
    }
    const both = new Set(before);
    for (const key of after) if (both.has(key)) touched.delete(key);
  }
}

function merge(ports: readonly RenderedIpvs[]): Contribution {
  const servers = new Map<string, string>();
  for (const { id, options, reals } of ports.flatMap((port) => port.servers)) {
    if (!servers.has(id)) servers.set(id, serverText({ options, reals: new Map(reals.map((real) => [real, 1])) }));
  }
  const distinct = (lists: readonly (readonly string[])[]): string[] => [...new Set(lists.flat())];
  return {
    servers,
    addresses: distinct(ports.map((port) => port.addresses)),
    members: distinct(ports.map((port) => port.members)),
    outFilter: ports.flatMap((port) => port.outFilter),
  };
}

function pack({ servers, addresses, members, outFilter }: Contribution): string {
  return JSON.stringify([[...servers], addresses, members, outFilter]);
}

type Packed = [[string, string][], string[], string[], string[]];

function unpack(packed: string): Contribution {
  const [servers, addresses, members, outFilter]: Packed = JSON.parse(packed);
  return { servers: new Map(servers), addresses, members, outFilter };
}

function outFilterOf(packed: string): readonly string[] {
  if (packed.endsWith(',[]]')) return [];
  const [, , , outFilter]: Packed = JSON.parse(packed);
  return outFilter;
}
