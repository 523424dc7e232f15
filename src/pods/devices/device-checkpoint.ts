import type { Files } from '../../host/files/port.ts';
import { hasCode } from '../../kit/errors.ts';

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

/** kubelet_internal_checkpoint in device-plugins/. Its checksum is Go's own and is not read; writing makes none. */
export class DeviceCheckpoint {
  private readonly path: string;
  private readonly files: Files;
  private last: Promise<unknown> = Promise.resolve();

  constructor(directory: string, files: Files) {
    this.path = `${directory}/kubelet_internal_checkpoint`;
    this.files = files;
  }

  /** undefined: there is none. Throws what is wrong with one that cannot be read. */
  async read(): Promise<DeviceData | undefined> {
    let text: string;
    try {
      text = (await this.files.read(this.path)).toString();
    } catch (error) {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    }
    const { Data } = JSON.parse(text) as { Data?: Partial<DeviceData> };
    return {
      PodDeviceEntries: Data?.PodDeviceEntries ?? [],
      RegisteredDevices: Data?.RegisteredDevices ?? {},
    };
  }

  /** One write after the other; the file is there whole or as it was. */
  write(data: DeviceData): Promise<void> {
    const mine = this.last.then(async () => {
      const temporary = `${this.path}.tmp`;
      await this.files.write(temporary, JSON.stringify({ Data: data, Checksum: 0 }), 0o600);
      await this.files.rename(temporary, this.path);
    });
    this.last = mine.catch(() => {});
    return mine;
  }
}
