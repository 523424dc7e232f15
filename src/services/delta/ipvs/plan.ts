import type { IPFamily } from '../../../model/service.ts';
import { setDefinitions, spareSet } from '../../render/ipvs/sets.ts';
import type { DesiredIpvs, Touched } from './desired.ts';
import { changeServer } from './diff.ts';
import type { IpvsState } from './kernel-state.ts';

/** All that a sync writes besides iptables rules, in the words of the tools, and how belief reads afterwards. */
export interface IpvsPlan {
  /** For ipset, before all else: sets that are missing, members that come. */
  readonly members: readonly string[];
  /** For ipvsadm: virtual servers that come or change. */
  readonly servers: readonly string[];
  /** Addresses for the device. */
  readonly bind: readonly string[];
  readonly unbind: readonly string[];
  /** What goes, at last. */
  readonly lateServers: readonly string[];
  readonly lateMembers: readonly string[];
  readonly operations: number;
  /** Belief after `members`, `servers`, and the late ones. */
  readonly afterMembers: readonly (() => void)[];
  readonly afterServers: readonly (() => void)[];
  readonly afterLateServers: readonly (() => void)[];
  readonly afterLateMembers: readonly (() => void)[];
}

interface Member {
  readonly set: string;
  readonly member: string;
}

/**
 * Lines for the sets that are not there, or were made otherwise (kube-proxy's hold fewer members): those are exchanged for
 * sets that are `filled` already, because rules look into them.
 */
function makeSets(
  wanted: readonly (readonly [name: string, definition: string])[],
  coming: readonly Member[],
  { definitions }: IpvsState,
  spare: string,
): { readonly lines: readonly string[]; readonly filled: readonly string[] } {
  const lines = definitions.has(spare) ? [`destroy ${spare}`] : [];
  const filled: string[] = [];
  for (const [name, definition] of wanted) {
    if (!definitions.has(name)) {
      lines.push(`create ${name} ${definition}`);
      continue;
    }
    filled.push(name);
    lines.push(`create ${spare} ${definition}`);
    for (const { set, member } of coming) if (set === name) lines.push(`add ${spare} ${member}`);
    lines.push(`swap ${spare} ${name}`, `destroy ${spare}`);
  }
  return { lines, filled };
}

/** Everything that is wanted or there may have to be changed. */
export function everything(desired: DesiredIpvs, state: IpvsState, touched: Touched): void {
  for (const id of desired.serverIds) touched.servers.add(id);
  for (const id of state.servers.keys()) touched.servers.add(id);
  for (const key of desired.countedKeys) (key.includes(' ') ? touched.members : touched.addresses).add(key);
  for (const address of state.addresses) touched.addresses.add(address);
  for (const [set, members] of state.sets) for (const member of members) touched.members.add(`${set} ${member}`);
  touched.outFilter = true;
}

/** So much is looked at before others get the event loop. */
const looksPerTurn = 1_000;

/** What has to be written for everything touched to be as it is wanted. Pure. */
export function* planIpvs(
  desired: DesiredIpvs,
  touched: Touched,
  state: IpvsState,
  family: IPFamily,
): Generator<void, IpvsPlan> {
  const definitions = setDefinitions(family);
  const afterMembers: (() => void)[] = [];
  const afterLateMembers: (() => void)[] = [];
  const isNew = (name: string): boolean => state.definitions.get(name) !== definitions.get(name);
  const order = new Map([...definitions.keys()].map((name, at) => [name, at]));
  const coming: Member[] = [];
  const going: Member[] = [];
  let looks = 0;
  for (const key of touched.members) {
    if (++looks % looksPerTurn === 0) yield;
    const space = key.indexOf(' ');
    const set = key.slice(0, space);
    const member = key.slice(space + 1);
    const isThere = !isNew(set) && (state.sets.get(set)?.has(member) ?? false);
    if (desired.wants(key) === isThere) continue;
    (isThere ? going : coming).push({ set, member });
  }
  const place = ({ set }: Member): number => order.get(set) ?? 0;
  coming.sort((a, b) => place(a) - place(b));
  going.sort((a, b) => place(b) - place(a));
  const made = makeSets(
    [...definitions].filter(([name]) => isNew(name)),
    coming,
    state,
    spareSet(family),
  );
  afterMembers.push(() => {
    state.definitions.delete(spareSet(family));
    for (const [name, definition] of definitions) {
      if (!isNew(name)) continue;
      state.sets.set(name, new Set());
      state.definitions.set(name, definition);
    }
    for (const { set, member } of coming) state.sets.get(set)?.add(member);
  });
  afterLateMembers.push(() => {
    for (const { set, member } of going) state.sets.get(set)?.delete(member);
  });

  const servers: string[] = [];
  const lateServers: string[] = [];
  const afterServers: (() => void)[] = [];
  const afterLateServers: (() => void)[] = [];
  for (const id of touched.servers) {
    if (++looks % looksPerTurn === 0) yield;
    const { lines, after } = changeServer(id, state.servers.get(id), desired.server(id));
    if (lines.length === 0) continue;
    if (after === undefined) {
      lateServers.push(...lines);
      afterLateServers.push(() => state.servers.delete(id));
    } else {
      servers.push(...lines);
      afterServers.push(() => state.servers.set(id, after));
    }
  }

  const bind: string[] = [];
  const unbind: string[] = [];
  for (const address of touched.addresses) {
    if (desired.wants(address) === state.addresses.has(address)) continue;
    (state.addresses.has(address) ? unbind : bind).push(address);
  }
  const filled = new Set(made.filled);
  const members = [
    ...made.lines,
    ...coming.flatMap(({ set, member }) => (filled.has(set) ? [] : [`add ${set} ${member}`])),
  ];
  const lateMembers = going.map(({ set, member }) => `del ${set} ${member}`);
  const lists = [members, servers, bind, unbind, lateServers, lateMembers];
  return {
    members,
    servers,
    bind,
    unbind,
    lateServers,
    lateMembers,
    operations: lists.reduce((sum, list) => sum + list.length, 0),
    afterMembers,
    afterServers,
    afterLateServers,
    afterLateMembers,
  };
}
