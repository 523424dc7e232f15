import type { PluginDevice } from '../../host/devices/port.ts';
import type { Hint } from '../managers/hints.ts';
import { masksOf, type NumaMask, sizeOf } from '../managers/numa-mask.ts';

export type Devices = ReadonlyMap<string, PluginDevice>;

/** Whether any device of a resource is near to some nodes and not to others. */
export function caresForNodes(devices: Devices): boolean {
  return [...devices.values()].some(({ numaNodes }) => numaNodes.length > 0);
}

/**
 * The sets of NUMA nodes that have so many devices free, those of the fewest nodes preferred (kubelet
 * devicemanager/topology_hints.go). Only nodes with devices count, of those that the machine knows.
 */
export function deviceHints(
  devices: Devices,
  {
    free,
    reusable,
    count,
  }: { readonly free: Iterable<string>; readonly reusable: Iterable<string>; readonly count: number },
  machineNodes: readonly number[],
): Hint[] {
  const withDevices = new Set([...devices.values()].flatMap(({ numaNodes }) => numaNodes));
  const known = machineNodes.filter((node) => withDevices.has(node));
  const nodes = known.length === 0 ? machineNodes : known;
  const near = (mask: NumaMask, id: string): boolean => isNear(devices.get(id), mask);
  const again = [...reusable].filter((id) => (devices.get(id)?.numaNodes.length ?? 0) > 0);
  let least = nodes.length;
  const found: NumaMask[] = [];
  for (const mask of masksOf(nodes)) {
    const all = [...devices.values()].filter((device) => isNear(device, mask)).length;
    if (all >= count) least = Math.min(least, sizeOf(mask));
    if (again.some((id) => !near(mask, id))) continue;
    if (again.length + [...free].filter((id) => near(mask, id)).length >= count) found.push(mask);
  }
  return found.map((mask) => ({ nodes: mask, preferred: sizeOf(mask) === least }));
}

/** Devices near to these nodes, near to others only, and near to none. */
export function byAffinity(
  ids: readonly string[],
  devices: Devices,
  nodes: NumaMask,
): { readonly aligned: string[]; readonly unaligned: string[]; readonly anywhere: string[] } {
  const aligned = ids.filter((id) => isNear(devices.get(id), nodes));
  const others = ids.filter((id) => !aligned.includes(id));
  const anywhere = others.filter((id) => (devices.get(id)?.numaNodes.length ?? 0) === 0);
  return { aligned, unaligned: others.filter((id) => !anywhere.includes(id)), anywhere };
}

function isNear(device: PluginDevice | undefined, nodes: NumaMask): boolean {
  return device?.numaNodes.some((node) => node >= 0 && ((nodes >> BigInt(node)) & 1n) === 1n) === true;
}
