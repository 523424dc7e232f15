import type { DevicePlugin } from '../../host/devices/port.ts';
import { CodedError } from '../../kit/errors.ts';
import type { NumaMask } from '../managers/numa-mask.ts';
import { byAffinity, caresForNodes, type Devices } from './device-hints.ts';

export interface DeviceWish {
  readonly resource: string;
  readonly count: number;
  /** Of init containers of the pod, which have ended by then. */
  readonly reusable: ReadonlySet<string>;
  /** Undefined: near to whatever. */
  readonly nodes: NumaMask | undefined;
}

export interface DeviceOffer {
  readonly plugin: Pick<DevicePlugin, 'preferred'>;
  readonly devices: Devices;
  /** The plugin wants to be asked which devices go well together. */
  readonly asksPreferred: boolean;
  /** Ids that some container has. */
  readonly taken: ReadonlySet<string>;
}

/**
 * Which devices a container gets: first what an init container of the pod had, then those near to its nodes, then what the
 * plugin likes best (kubelet devicemanager/manager.go devicesToAllocate). Throws when there are not so many.
 */
export async function chooseDevices(
  { resource, count, reusable, nodes }: DeviceWish,
  { plugin, devices, asksPreferred, taken }: DeviceOffer,
): Promise<string[]> {
  const healthy = [...devices.values()].filter((device) => device.healthy).map(({ id }) => id);
  if (healthy.length === 0) {
    const why = `no healthy devices present; cannot allocate unhealthy devices ${resource}`;
    throw new CodedError('Unavailable', why, { resource });
  }
  const again = [...reusable].filter((id) => healthy.includes(id)).slice(0, count);
  const needed = count - again.length;
  if (needed === 0) return again;
  const available = healthy.filter((id) => !taken.has(id));
  if (available.length < needed) {
    const why = `requested number of devices unavailable for ${resource}. Requested: ${needed}, Available: ${available.length}`;
    throw new CodedError('ResourceExhausted', why, { resource });
  }
  const sorted =
    nodes === undefined || !caresForNodes(devices)
      ? { aligned: [], unaligned: [], anywhere: available }
      : byAffinity(available, devices, nodes);
  // Of more near ones than are wanted the plugin chooses; else it gets all of these, and the plugin chooses of the others.
  const enoughNear = needed < sorted.aligned.length;
  const near = enoughNear ? [] : sorted.aligned;
  const chosen = [...again, ...near];
  const open = count - chosen.length;
  if (open === 0) return chosen;
  const among = enoughNear ? sorted.aligned : [...sorted.unaligned, ...sorted.anywhere];
  let preferred: readonly string[] = [];
  if (asksPreferred && open < among.length) {
    const request = { available: [...among, ...chosen], mustInclude: chosen, size: count };
    preferred = await plugin.preferred(request);
  }
  const liked = preferred.filter((id) => among.includes(id));
  const rest = [...new Set([...liked, ...among])];
  return [...chosen, ...rest.slice(0, open)];
}
