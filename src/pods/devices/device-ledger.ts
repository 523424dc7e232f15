import type { DeviceGrant } from '../../host/devices/port.ts';
import type { DeviceEntry } from './device-checkpoint.ts';

/** One container's devices of one resource. */
export interface Allocation {
  readonly ids: readonly string[];
  /** By NUMA node, "-1" for devices that are near to none. */
  readonly byNode: Readonly<Record<string, readonly string[]>>;
  readonly grant: DeviceGrant;
  /** The grant as the checkpoint has it. */
  readonly text: string;
}

type OfContainer = Map<string, Allocation>;

/** Who has which devices. */
export class DeviceLedger {
  private readonly pods = new Map<string, Map<string, OfContainer>>();

  of(podUid: string, container: string): ReadonlyMap<string, Allocation> {
    return this.pods.get(podUid)?.get(container) ?? new Map<string, Allocation>();
  }

  set(podUid: string, container: string, resource: string, allocation: Allocation): void {
    const ofPod = this.pods.get(podUid) ?? new Map<string, OfContainer>();
    this.pods.set(podUid, ofPod);
    const ofContainer = ofPod.get(container) ?? new Map<string, Allocation>();
    ofPod.set(container, ofContainer.set(resource, allocation));
  }

  /** Forgets a pod; false: it had nothing. */
  drop(podUid: string): boolean {
    return this.pods.delete(podUid);
  }

  uids(): string[] {
    return [...this.pods.keys()];
  }

  /** Ids of a resource's devices that some container has. */
  taken(resource: string): Set<string> {
    const ids = new Set<string>();
    for (const ofPod of this.pods.values()) {
      for (const ofContainer of ofPod.values()) for (const id of ofContainer.get(resource)?.ids ?? []) ids.add(id);
    }
    return ids;
  }

  entries(): DeviceEntry[] {
    const entries: DeviceEntry[] = [];
    for (const [PodUID, ofPod] of this.pods) {
      for (const [ContainerName, ofContainer] of ofPod) {
        for (const [ResourceName, { byNode, text }] of ofContainer) {
          entries.push({ PodUID, ContainerName, ResourceName, DeviceIDs: byNode, AllocResp: text });
        }
      }
    }
    return entries;
  }
}

/** All grants of a container in one; of two for the same thing the first counts (pod_devices.go). */
export function mergeGrants(grants: Iterable<DeviceGrant>): DeviceGrant {
  const envs: Record<string, string> = {};
  const annotations: Record<string, string> = {};
  const mounts = new Map<string, DeviceGrant['mounts'][number]>();
  const devices = new Map<string, DeviceGrant['devices'][number]>();
  const cdiDevices = new Set<string>();
  for (const grant of grants) {
    for (const [name, value] of Object.entries(grant.envs)) envs[name] ??= value;
    for (const [name, value] of Object.entries(grant.annotations)) annotations[name] ??= value;
    for (const mount of grant.mounts) if (!mounts.has(mount.containerPath)) mounts.set(mount.containerPath, mount);
    for (const device of grant.devices) {
      if (!devices.has(device.containerPath)) devices.set(device.containerPath, device);
    }
    for (const name of grant.cdiDevices) cdiDevices.add(name);
  }
  return {
    envs,
    annotations,
    mounts: [...mounts.values()],
    devices: [...devices.values()],
    cdiDevices: [...cdiDevices],
  };
}
