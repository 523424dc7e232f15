import type { IdMapping } from '../../host/cri/port.ts';
import { CodedError } from '../../kit/errors.ts';

/** Ids of this host that pods' user namespaces may be mapped to. */
export interface HostIds {
  readonly first: number;
  readonly length: number;
}

/** All 32-bit ids but those of one namespace from 0 on, which the host itself uses (kubelet getKubeletMappings). */
export function defaultHostIds(idsPerPod: number): HostIds {
  return { first: idsPerPod, length: 2 ** 32 - idsPerPod };
}

/**
 * What `getsubids kubelet` answers: one line such as "0: kubelet 65536 4294901760" (kubelet parseGetSubIdsOutput). Throws
 * InvalidConfig for anything else, and for ranges that cannot be cut into namespaces (MakeUserNsManager).
 */
export function hostIdsOf(output: string, idsPerPod: number, maxPods: number): HostIds {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const [, first, length] = /^0: \S+ (\d+) (\d+)$/.exec(lines[0]?.trim() ?? '') ?? [];
  if (lines.length !== 1 || first === undefined || length === undefined) {
    throw invalid(`getsubids kubelet: ${JSON.stringify(output)}; expected one line "0: kubelet FIRST COUNT"`, {});
  }
  const ids: HostIds = { first: Number(first), length: Number(length) };
  if (ids.first % idsPerPod !== 0 || ids.first < idsPerPod) {
    throw invalid(`kubelet's first subordinate id is ${first}; expected a multiple of ${idsPerPod}, not 0`, ids);
  }
  if (ids.length % idsPerPod !== 0 || ids.length / idsPerPod < maxPods) {
    const wanted = `a multiple of ${idsPerPod}, enough for ${maxPods} pods`;
    throw invalid(`kubelet has ${length} subordinate ids; expected ${wanted}`, ids);
  }
  return ids;
}

/** The lowest range that nobody has. Throws ResourceExhausted. */
export function freeRange(taken: readonly IdMapping[], ids: HostIds, idsPerPod: number): IdMapping {
  const end = ids.first + ids.length;
  for (let hostId = ids.first; hostId + idsPerPod <= end; hostId += idsPerPod) {
    const next = hostId + idsPerPod;
    const overlaps = taken.some((one) => one.hostId < next && hostId < one.hostId + one.length);
    if (!overlaps) return { hostId, containerId: 0, length: idsPerPod };
  }
  throw new CodedError('ResourceExhausted', 'could not find an empty slot to allocate a user namespace', { ...ids });
}

/** The text of a pod's file `userns`, as kubelet writes it. */
export function mappingsText(mapping: IdMapping): string {
  return JSON.stringify({ uidMappings: [mapping], gidMappings: [mapping] });
}

/** What such a file says. Throws InvalidObject. */
export function mappingIn(text: string): IdMapping {
  const wrong = (what: string): CodedError =>
    new CodedError('InvalidObject', `invalid user namespace mappings file: ${what}`, {});
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw wrong('it is not JSON');
  }
  const { uidMappings, gidMappings } = (found ?? {}) as { uidMappings?: unknown; gidMappings?: unknown };
  const [uids, gids] = [uidMappings, gidMappings].map(onlyMapping);
  if (uids === undefined || gids === undefined) throw wrong('expected one mapping of uids and one of gids');
  if (JSON.stringify(uids) !== JSON.stringify(gids)) throw wrong('GID and UID mapping should be identical');
  if (uids.containerId !== 0) throw wrong('UID 0 must be mapped');
  return uids;
}

function onlyMapping(list: unknown): IdMapping | undefined {
  if (!Array.isArray(list) || list.length !== 1) return undefined;
  const { hostId, containerId, length } = list[0] as Partial<IdMapping>;
  const numbers = [hostId, containerId, length];
  if (!numbers.every((number) => Number.isInteger(number) && (number ?? -1) >= 0)) return undefined;
  return { hostId: hostId ?? 0, containerId: containerId ?? 0, length: length ?? 0 };
}

function invalid(message: string, metadata: object): CodedError {
  return new CodedError('InvalidConfig', message, { ...metadata });
}
