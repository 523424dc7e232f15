import { CodedError } from '../../kit/errors.ts';
import type { BlockDevices } from './port.ts';

/** Devices in memory: what is on each, and which loop device holds which path open. */
export class FakeBlockDevices implements BlockDevices {
  /** By path: what is on a device; undefined for an empty one. */
  private readonly devices = new Map<string, string | undefined>();
  private readonly loops = new Map<string, string>();
  private readonly broken = new Set<string>();

  /** Adds a device, empty or with something on it. */
  add(device: string, contents?: string): void {
    this.devices.set(device, contents);
  }

  /** Makes the check of a device find what it cannot repair. */
  break(device: string): void {
    this.broken.add(device);
  }

  async loopOf(path: string): Promise<string | undefined> {
    for (const [device, backing] of this.loops) if (backing === path) return device;
    return undefined;
  }

  async attachLoop(path: string): Promise<string> {
    let number = 0;
    while (this.loops.has(`/dev/loop${number}`)) number++;
    this.loops.set(`/dev/loop${number}`, path);
    return `/dev/loop${number}`;
  }

  async detachLoop(device: string): Promise<void> {
    this.loops.delete(device);
  }

  async contents(device: string): Promise<string | undefined> {
    this.mustExist(device);
    return this.devices.get(device);
  }

  async format(device: string, type: string): Promise<void> {
    this.mustExist(device);
    if (!['ext3', 'ext4', 'xfs'].includes(type)) {
      throw new CodedError('Unavailable', `mkfs.${type} cannot be run: no such program`, { device });
    }
    this.devices.set(device, type);
  }

  async check(device: string): Promise<void> {
    this.mustExist(device);
    if (!this.broken.has(device)) return;
    const message = `'fsck' found errors on device ${device} but could not correct them: UNEXPECTED INCONSISTENCY`;
    throw new CodedError('CommandFailed', message, { device, exitCode: 4 });
  }

  private mustExist(device: string): void {
    if (!this.devices.has(device)) throw new CodedError('NotFound', `${device} does not exist`, { device });
  }
}
