import type { DeviceCounters, InterfaceCounters, Pressure, PressureShare } from './port.ts';

/**
 * The value of `name value`, on a line of its own; undefined where there is none. Looked for rather than taken apart: of the
 * fifty lines of a memory.stat ten are wanted, and there are two hundred such files in a scrape.
 */
export function keyed(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const line = `${name} `;
  let at = 0;
  if (!text.startsWith(line)) {
    at = text.indexOf(`\n${line}`) + 1;
    if (at === 0) return undefined;
  }
  const end = text.indexOf('\n', at);
  return Number(text.slice(at + line.length, end < 0 ? undefined : end));
}

/** undefined: not there, or "max". */
export function number(text: string | undefined): number | undefined {
  const trimmed = text?.trim();
  return trimmed === undefined || trimmed === '' || trimmed === 'max' ? undefined : Number(trimmed);
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and `full …`, which older kernels do not say of the CPU. */
export function pressure(text: string | undefined): Pressure | undefined {
  if (text === undefined || !text.startsWith('some')) return undefined;
  const share = (kind: string): PressureShare => {
    const line = new RegExp(`^${kind} avg10=(\\S+) avg60=(\\S+) avg300=(\\S+) total=(\\d+)`, 'm').exec(text);
    const [avg10, avg60, avg300, total] = (line?.slice(1) ?? []).map(Number);
    return { avg10: avg10 ?? 0, avg60: avg60 ?? 0, avg300: avg300 ?? 0, totalNanoseconds: (total ?? 0) * 1000 };
  };
  return { some: share('some'), full: share('full') };
}

/** cgroup v2 io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` */
export function ioStat(text: string | undefined): readonly DeviceCounters[] | undefined {
  if (text === undefined) return undefined;
  const devices: DeviceCounters[] = [];
  for (const line of text.split('\n')) {
    const [device = '', ...pairs] = line.split(' ');
    if (!/^\d+:\d+$/.test(device)) continue;
    const values = new Map(pairs.map((pair) => pair.split('=') as [string, string]));
    const value = (name: string): number => Number(values.get(name) ?? 0);
    devices.push({
      device,
      readBytes: value('rbytes'),
      writeBytes: value('wbytes'),
      reads: value('rios'),
      writes: value('wios'),
    });
  }
  return devices;
}

/** cgroup v1 blkio.throttle.io_service_bytes_recursive and io_serviced_recursive: `8:0 Read 1` */
export function blkio(
  bytes: string | undefined,
  operations: string | undefined,
): readonly DeviceCounters[] | undefined {
  if (bytes === undefined) return undefined;
  const devices = new Map<string, { -readonly [K in keyof DeviceCounters]: DeviceCounters[K] }>();
  const take = (text: string, read: 'readBytes' | 'reads', write: 'writeBytes' | 'writes'): void => {
    for (const line of text.split('\n')) {
      const [device = '', kind, value] = line.split(' ');
      if (!/^\d+:\d+$/.test(device) || (kind !== 'Read' && kind !== 'Write')) continue;
      const counters = devices.get(device) ?? { device, readBytes: 0, writeBytes: 0, reads: 0, writes: 0 };
      counters[kind === 'Read' ? read : write] = Number(value);
      devices.set(device, counters);
    }
  };
  take(bytes, 'readBytes', 'writeBytes');
  take(operations ?? '', 'reads', 'writes');
  return [...devices.values()];
}

/** "/dev/sda" from the uevent file of a block device (sysfs). */
export function deviceName(uevent: string | undefined): string | undefined {
  const name = /^DEVNAME=(.+)$/m.exec(uevent ?? '')?.[1];
  return name === undefined ? undefined : `/dev/${name}`;
}

/** /proc/PID/net/dev (proc_pid_net(5)); no loopback. */
export function interfaces(text: string): readonly InterfaceCounters[] {
  const found: InterfaceCounters[] = [];
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (at < 0) continue;
    const name = line.slice(0, at).trim();
    const values = line
      .slice(at + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    if (name === 'lo' || values.length < 16) continue;
    const value = (index: number): number => values[index] ?? 0;
    found.push({
      name,
      rxBytes: value(0),
      rxPackets: value(1),
      rxErrors: value(2),
      rxDropped: value(3),
      txBytes: value(8),
      txPackets: value(9),
      txErrors: value(10),
      txDropped: value(11),
    });
  }
  return found;
}
