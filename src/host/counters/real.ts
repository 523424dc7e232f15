import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import type { Clock } from '../../kit/clock.ts';
import { parseCgroupMounts } from '../cgroup/mounts.ts';
import { CgroupCounterReader } from './cgroup-counters.ts';
import { deviceName, interfaces } from './kernel-text.ts';
import type { CgroupCounters, CountersPort, InterfaceCounters } from './port.ts';

/** Reading goes on for this long at a time, in milliseconds. */
const SLICE_MS = 3;
const LONGEST_TEXT = 65_536;

/**
 * Counters of this host. The kernel makes these files from memory: reading one without leaving the thread takes some
 * microseconds, a fifth of what handing it to a thread costs.
 */
export class RealCounters implements CountersPort {
  private readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  private readonly buffer = Buffer.allocUnsafe(LONGEST_TEXT);
  private reader: CgroupCounterReader | undefined;

  constructor(deps: { readonly clock: Pick<Clock, 'now' | 'monotonic'> }) {
    this.clock = deps.clock;
  }

  async cgroups(paths: readonly string[], detail: 'usage' | 'all'): Promise<readonly (CgroupCounters | undefined)[]> {
    this.reader ??= new CgroupCounterReader(parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8')), {
      read: (path) => this.text(path),
      now: () => this.clock.now(),
    });
    const found: (CgroupCounters | undefined)[] = [];
    // Not for longer: a number may be given to another device.
    const names = new Map<string, string>();
    let since = this.clock.monotonic();
    for (const path of paths) {
      found.push(this.withNames(this.reader.counters(path, detail), names));
      if (this.clock.monotonic() - since < SLICE_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      since = this.clock.monotonic();
    }
    return found;
  }

  private withNames(counters: CgroupCounters | undefined, names: Map<string, string>): CgroupCounters | undefined {
    if (counters?.devices === undefined || counters.devices.length === 0) return counters;
    const devices = counters.devices.map((one) => {
      let device = names.get(one.device);
      if (device === undefined) {
        device = deviceName(this.text(`/sys/dev/block/${one.device}/uevent`)) ?? one.device;
        names.set(one.device, device);
      }
      return { ...one, device };
    });
    return { ...counters, devices };
  }

  network(pid: number | 'self'): readonly InterfaceCounters[] | undefined {
    const text = this.text(`/proc/${pid}/net/dev`);
    return text === undefined ? undefined : interfaces(text);
  }

  files(directory: string): { readonly bytes: number; readonly count: number } | undefined {
    let names: string[];
    try {
      names = readdirSync(directory);
    } catch {
      return undefined;
    }
    let bytes = 0;
    for (const name of names) bytes += statSync(`${directory}/${name}`, { throwIfNoEntry: false })?.size ?? 0;
    return { bytes, count: names.length };
  }

  private text(path: string): string | undefined {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch {
      return undefined;
    }
    try {
      return this.buffer.toString('latin1', 0, readSync(fd, this.buffer, 0, LONGEST_TEXT, 0));
    } catch {
      // The cgroup went away meanwhile, or the kernel counts nothing here.
      return undefined;
    } finally {
      closeSync(fd);
    }
  }
}
