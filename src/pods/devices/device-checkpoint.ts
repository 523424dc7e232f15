import type { Files } from '../../host/files/port.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import { fnv1a32 } from '../fnv1a32.ts';

/** One container's devices of one resource, as kubelet's checkpoint has them (devicemanager/checkpoint). */
export interface DeviceEntry {
  readonly PodUID: string;
  readonly ContainerName: string;
  readonly ResourceName: string;
  /** By NUMA node, "-1" for devices that are near to none. */
  readonly DeviceIDs: Readonly<Record<string, readonly string[]>>;
  /** The plugin's ContainerAllocateResponse, base64 of its bytes. */
  readonly AllocResp: string;
}

export interface DeviceData {
  readonly PodDeviceEntries: readonly DeviceEntry[];
  /** Healthy devices by resource: what a plugin had when it was seen last. */
  readonly RegisteredDevices: Readonly<Record<string, readonly string[]>>;
}

/** kubelet_internal_checkpoint in device-plugins/. */
export class DeviceCheckpoint {
  private readonly path: string;
  private readonly files: Files;
  private last: Promise<unknown> = Promise.resolve();

  constructor(directory: string, files: Files) {
    this.path = `${directory}/kubelet_internal_checkpoint`;
    this.files = files;
  }

  /** undefined: there is none. Throws what is wrong with one that cannot be read, or that was changed. */
  async read(): Promise<DeviceData | undefined> {
    let text: string;
    try {
      text = (await this.files.read(this.path)).toString();
    } catch (error) {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    }
    const { Data, Checksum } = JSON.parse(text) as { Data?: Partial<DeviceData>; Checksum?: number };
    const data = { PodDeviceEntries: Data?.PodDeviceEntries ?? [], RegisteredDevices: Data?.RegisteredDevices ?? {} };
    // kubelet writes null where there is nothing, and its checksum is that of null.
    const sums = [data, { ...data, ...(Data?.PodDeviceEntries ? {} : { PodDeviceEntries: null }) }].map(checksumOf);
    if (Checksum !== 0 && Checksum !== undefined && !sums.includes(Checksum)) {
      const why = `its checksum is ${sums[0]}, it says ${String(Checksum)}`;
      throw new CodedError('InvalidObject', `${this.path} is corrupt: ${why}`, { path: this.path });
    }
    return data;
  }

  /** One write after the other; the file is there whole or as it was. */
  write(data: DeviceData): Promise<void> {
    const mine = this.last.then(async () => {
      const temporary = `${this.path}.tmp`;
      await this.files.write(temporary, JSON.stringify({ Data: data, Checksum: checksumOf(data) }), 0o600);
      await this.files.rename(temporary, this.path);
    });
    this.last = mine.catch(() => {});
    return mine;
  }
}

type Nullable<T> = { readonly [K in keyof T]: T[K] | null };

/** Over the struct as Go's spew prints it ("%#v", keys sorted), as kubelet's checkpoints have it. */
function checksumOf({ PodDeviceEntries, RegisteredDevices }: Nullable<DeviceData>): number {
  const entries = listText(PodDeviceEntries?.map(entryText));
  const registered = mapText(RegisteredDevices, (a, b) => (a < b ? -1 : 1));
  return fnv1a32(
    `(checkpoint.checkpointData){PodDeviceEntries:([]checkpoint.PodDevicesEntry)${entries} ` +
      `RegisteredDevices:(map[string][]string)${registered}}`,
  );
}

function entryText({ PodUID, ContainerName, ResourceName, DeviceIDs, AllocResp }: DeviceEntry): string {
  const devices = mapText(DeviceIDs, (a, b) => Number(a) - Number(b));
  const bytes = [...Buffer.from(AllocResp, 'base64')].map(String);
  return (
    `{PodUID:(string)${PodUID} ContainerName:(string)${ContainerName} ResourceName:(string)${ResourceName} ` +
    `DeviceIDs:(checkpoint.DevicesPerNUMA)${devices} AllocResp:([]uint8)${listText(bytes)}}`
  );
}

function mapText(
  map: Readonly<Record<string, readonly string[] | null>> | null,
  order: (a: string, b: string) => number,
): string {
  if (map === null) return '<nil>';
  const keys = Object.keys(map).sort(order);
  return `map[${keys.map((key) => `${key}:${listText(map[key])}`).join(' ')}]`;
}

function listText(list: readonly string[] | null | undefined): string {
  return list === null || list === undefined ? '<nil>' : `[${list.join(' ')}]`;
}
