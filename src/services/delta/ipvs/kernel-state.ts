import { cidrContains, formatIp, parseCidr, parseIp } from '../../../model/cidr.ts';
import type { IPFamily } from '../../../model/service.ts';
import { type ServiceSet, setName } from '../../render/ipvs/sets.ts';

/**
 * What the kernel is believed to hold of one family. A virtual server is one text, which takes less memory than a list
 * and compares at once: its options, and then a line for each real server, "address:port weight", sorted.
 */
export interface IpvsState {
  readonly servers: Map<string, string>;
  readonly addresses: Set<string>;
  /** Members by name of the set; absent: there is no such set. */
  readonly sets: Map<string, Set<string>>;
  /** How each set was made, without what the kernel adds. */
  readonly definitions: Map<string, string>;
}

export interface ParsedServer {
  readonly options: string;
  /** "address:port" → weight; -1: of another kind than ours, to be written anew. */
  readonly reals: ReadonlyMap<string, number>;
}

export function serverText({ options, reals }: ParsedServer): string {
  const lines = [...reals].map(([real, weight]) => `${real} ${weight}`).sort();
  // A copy: what was cut out of a listing would hold on to all of it.
  return ownCopy([options, ...lines].join('\n'));
}

export function parseServer(text: string): ParsedServer {
  const [options = '', ...lines] = text.split('\n');
  const reals = new Map<string, number>();
  for (const line of lines) {
    const space = line.indexOf(' ');
    reals.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return { options, reals };
}

/** So many lines are read before others get the event loop. */
const linesPerTurn = 2_000;

/**
 * Reads `ipvsadm -S -n` and keeps one family's virtual servers, but none that is known by a firewall mark, and of those at
 * an address of `exclude` (KubeProxyConfiguration.ipvs.excludeCIDRs) only such as Services want: the others are others'.
 */
export function* parseServers(
  saved: string,
  family: IPFamily,
  exclude: readonly string[],
  isWanted: (id: string) => boolean,
): Generator<void, Map<string, string>> {
  const ranges = exclude.flatMap((text) => parseCidr(text) ?? []);
  const found = new Map<string, string>();
  let open: { readonly id: string; readonly options: string; readonly reals: Map<string, number> } | undefined;
  const close = (): void => {
    if (open !== undefined) found.set(open.id, serverText(open));
    open = undefined;
  };
  let lines = 0;
  for (const line of saved.split('\n')) {
    if (++lines % linesPerTurn === 0) yield;
    const [command = '', option = '', place = '', ...rest] = line.trim().split(/\s+/);
    if (command !== '-A' && command !== '-a') continue;
    const address = addressOf(place);
    const ip = parseIp(address);
    const isOurs =
      option !== '-f' &&
      ip?.family === family &&
      (!ranges.some((range) => cidrContains(range, ip)) || isWanted(`${option} ${place}`));
    if (!isOurs) {
      if (command === '-A') close();
      continue;
    }
    if (command === '-A') {
      close();
      open = { id: ownCopy(`${option} ${place}`), options: ownCopy(rest.join(' ')), reals: new Map() };
    } else {
      // A virtual server is printed with its real ones behind it.
      const [, real = '', method = '', , weight = ''] = rest;
      open?.reals.set(real, method === '-m' ? Number(weight) : -1);
    }
  }
  close();
  return found;
}

/** "10.0.0.1:80", "[fd00::1]:80" */
export function addressOf(place: string): string {
  return place.slice(0, place.lastIndexOf(':')).replace(/[[\]]/g, '');
}

/** Reads `ipset save` and keeps the sets that are asked for. */
export function parseSets(saved: string, isOurs: (name: string) => boolean): Pick<IpvsState, 'sets' | 'definitions'> {
  const sets = new Map<string, Set<string>>();
  const definitions = new Map<string, string>();
  for (const line of saved.split('\n')) {
    const [command = '', name = '', ...rest] = line.split(' ');
    if (!isOurs(name)) continue;
    if (command === 'create') {
      sets.set(name, new Set());
      definitions.set(name, definitionOf(rest));
    } else if (command === 'add') sets.get(name)?.add(ownCopy(rest[0] ?? ''));
  }
  return { sets, definitions };
}

/** Type and the options that we give; the kernel lets the hash grow, and adds what is its own business. */
function definitionOf([type = '', ...options]: readonly string[]): string {
  const kept: string[] = [type];
  for (let at = 0; at < options.length; at += 2) {
    const [name = '', value = ''] = options.slice(at, at + 2);
    if (name === 'family' || name === 'maxelem' || name === 'range') kept.push(name, value);
    if (name === 'hashsize') kept.push('hashsize', '1024');
  }
  return kept.join(' ');
}

/** Virtual servers that Services have: at an address of the device, or one that a set names. Others' are left out. */
export function ownServers({ servers, addresses, sets }: IpvsState, family: IPFamily): readonly string[] {
  const has = (set: ServiceSet, member: string): boolean => sets.get(setName(set, family))?.has(member) ?? false;
  return [...servers.keys()].filter((id) => {
    const [option = '', place = ''] = id.split(' ');
    const address = addressOf(place);
    const port = place.slice(place.lastIndexOf(':') + 1);
    const protocol = option === '-t' ? 'tcp' : option === '-u' ? 'udp' : 'sctp';
    const member = `${address},${protocol}:${port}`;
    if (addresses.has(address)) return true;
    if (protocol === 'tcp' && has('NODE-PORT-TCP', port)) return true;
    if (protocol === 'udp' && has('NODE-PORT-UDP', port)) return true;
    return (['EXTERNAL-IP', 'EXTERNAL-IP-LOCAL', 'LOAD-BALANCER', 'NODE-PORT-SCTP-HASH'] as const).some((set) =>
      has(set, member),
    );
  });
}

export function sameServers(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  if (a.size !== b.size) return false;
  for (const [id, text] of a) if (b.get(id) !== text) return false;
  return true;
}

export function canonicalAddress(address: string): string {
  const ip = parseIp(address);
  return ip === undefined ? address : formatIp(ip);
}

/** V8 keeps the whole text alive for the sake of a piece cut out of it. */
function ownCopy(text: string): string {
  return [...text].join('');
}
