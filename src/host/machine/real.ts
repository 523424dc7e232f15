import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { readFile, stat, statfs, writeFile } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import { readHugepages, readNumaNodes } from './numa-nodes.ts';
import type {
  FilesystemCapacity,
  HostAddress,
  MachineDetails,
  MachineFacts,
  MachineLoad,
  MachinePort,
  MachineSetup,
  NumaNode,
} from './port.ts';
import {
  countOfRanges,
  defaultInterfaces4,
  defaultInterfaces6,
  goArchitecture,
  meminfoBytes,
  openFilesOf,
  osReleaseValue,
  swapsOf,
  tasksOfLoadavg,
} from './proc-text.ts';

export interface RealMachineOptions {
  /** Where /proc, /sys and /etc are, for tests. Default "". */
  readonly root?: string;
}

/** This host. Starts no process, except for `details`, once. */
export class RealMachine implements MachinePort {
  private readonly root: string;
  private readonly log: Logger;
  private asked: Promise<MachineDetails> | undefined;

  constructor(options: RealMachineOptions, deps: { readonly log: Logger }) {
    this.root = options.root ?? '';
    this.log = deps.log;
  }

  async facts(): Promise<MachineFacts> {
    const [meminfo, online, machineIdText, productUuid, bootID, kernelVersion, osRelease, pidMax, threadsMax, uptime] =
      await Promise.all([
        this.need('/proc/meminfo'),
        this.text('/sys/devices/system/cpu/online'),
        this.firstOf('/etc/machine-id', '/var/lib/dbus/machine-id'),
        this.firstOf('/sys/class/dmi/id/product_uuid', '/proc/device-tree/system-id', '/proc/device-tree/vm,uuid'),
        this.text('/proc/sys/kernel/random/boot_id'),
        this.text('/proc/sys/kernel/osrelease'),
        this.firstOf('/etc/os-release', '/usr/lib/os-release'),
        this.text('/proc/sys/kernel/pid_max'),
        this.text('/proc/sys/kernel/threads-max'),
        this.text('/proc/uptime'),
      ]);
    const machineID = machineIdText ?? '';
    return {
      hostname: this.root === '' ? hostname() : ((await this.text('/proc/sys/kernel/hostname')) ?? ''),
      cpuCount: Math.max(1, countOfRanges(online ?? '')),
      memoryBytes: meminfoBytes(meminfo, 'MemTotal'),
      swapBytes: meminfoBytes(meminfo, 'SwapTotal'),
      hugepages: await readHugepages(`${this.root}/sys/kernel/mm/hugepages`),
      machineID,
      // Firmware writes capitals on some machines; Kubernetes shows it as it is.
      systemUUID: productUuid ?? machineID,
      bootID: bootID ?? '',
      kernelVersion: kernelVersion ?? '',
      osImage: osReleaseValue(osRelease ?? '', 'PRETTY_NAME') ?? 'Linux',
      operatingSystem: 'linux',
      architecture: goArchitecture(process.arch),
      maxPids: Math.min(Number(pidMax ?? 32_768), Number(threadsMax ?? Number.POSITIVE_INFINITY)),
      uptimeMs: Math.round(Number.parseFloat(uptime ?? '0') * 1000),
    };
  }

  details(): Promise<MachineDetails> {
    this.asked ??= this.ask();
    return this.asked;
  }

  addresses(): HostAddress[] {
    const routes = {
      4: defaultInterfaces4(this.textSync('/proc/net/route')),
      6: defaultInterfaces6(this.textSync('/proc/net/ipv6_route')),
    };
    const addresses: HostAddress[] = [];
    for (const [name, entries] of Object.entries(networkInterfaces())) {
      for (const entry of entries ?? []) {
        const family = entry.family === 'IPv6' ? 6 : 4;
        addresses.push({
          interface: name,
          address: entry.address,
          family,
          cidr: entry.cidr ?? `${entry.address}/${family === 6 ? 128 : 32}`,
          loopback: entry.internal,
          linkLocal: family === 6 ? /^fe[89ab]/i.test(entry.address) : entry.address.startsWith('169.254.'),
          defaultRoute: routes[family].has(name),
        });
      }
    }
    // Of several default routes the kernel's first goes first: it lists them by their metric.
    const rank = ({ interface: name, family }: HostAddress): number => {
      const at = [...routes[family]].indexOf(name);
      return at === -1 ? routes[family].size : at;
    };
    return addresses.sort((a, b) => rank(a) - rank(b));
  }

  async resolve(name: string): Promise<string[]> {
    try {
      return (await lookup(name, { all: true })).map(({ address }) => address);
    } catch {
      return [];
    }
  }

  async load(): Promise<MachineLoad> {
    const [meminfo, loadavg] = await Promise.all([this.need('/proc/meminfo'), this.need('/proc/loadavg')]);
    return {
      memoryUsedBytes: meminfoBytes(meminfo, 'MemTotal') - meminfoBytes(meminfo, 'MemFree'),
      tasks: tasksOfLoadavg(loadavg),
    };
  }

  async setup(): Promise<MachineSetup> {
    const [swaps, limits, systemd] = await Promise.all([
      // A kernel without swap has no such file.
      this.text('/proc/swaps'),
      this.text('/proc/self/limits'),
      stat(`${this.root}/run/systemd/system`).then(
        (found) => found.isDirectory(),
        () => false,
      ),
    ]);
    return { swaps: swapsOf(swaps ?? ''), openFiles: openFilesOf(limits ?? ''), systemd };
  }

  async numaNodes(): Promise<readonly NumaNode[]> {
    const nodes = await readNumaNodes(`${this.root}/sys/devices/system/node`);
    if (nodes.length > 0) return nodes;
    const { memoryBytes, hugepages } = await this.facts();
    return [{ id: 0, memoryBytes, hugepages, distances: new Map() }];
  }

  async setOwnOomScoreAdj(score: number): Promise<void> {
    const path = `${this.root}/proc/self/oom_score_adj`;
    try {
      await writeFile(path, String(score));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new CodedError(
        code === 'EACCES' || code === 'EPERM' ? 'Forbidden' : 'Internal',
        `write ${score} to ${path}: ${messageOf(error)}; lowering it needs CAP_SYS_RESOURCE`,
        {},
        error,
      );
    }
  }

  async filesystem(path: string): Promise<FilesystemCapacity> {
    try {
      const [{ bsize, blocks, bavail, files, ffree }, { dev }] = await Promise.all([statfs(path), stat(path)]);
      return {
        device: dev,
        capacityBytes: bsize * blocks,
        availableBytes: bsize * bavail,
        inodes: files,
        inodesFree: ffree,
      };
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      throw new CodedError(
        missing ? 'NotFound' : 'Internal',
        `ask the size of the file system of ${path}: ${messageOf(error)}`,
        {},
        error,
      );
    }
  }

  private async ask(): Promise<MachineDetails> {
    try {
      // Large, and it starts shells for these calls: loaded when somebody asks, and asked once.
      const { default: systeminformation } = await import('systeminformation');
      const system = await systeminformation.system();
      const cpu = await systeminformation.cpu();
      const word = (text: string | undefined): string | undefined =>
        text === undefined || text === '' || text === '-' ? undefined : text;
      const details: { [K in keyof MachineDetails]: MachineDetails[K] | undefined } = {
        manufacturer: word(system.manufacturer),
        model: word(system.model),
        virtual: system.virtual,
        hypervisor: word(system.virtualHost),
        cpuBrand: word(`${cpu.manufacturer} ${cpu.brand}`.trim()),
        physicalCores: cpu.physicalCores,
      };
      return Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined));
    } catch (error) {
      this.log.debug({ error: messageOf(error) }, 'the details of this machine cannot be found out');
      return {};
    }
  }

  /** The file's text without blanks and NULs around it; undefined when it cannot be read or is empty. */
  private async text(path: string): Promise<string | undefined> {
    try {
      return strip(await readFile(`${this.root}${path}`, 'utf8'));
    } catch {
      return undefined;
    }
  }

  private textSync(path: string): string {
    try {
      return readFileSync(`${this.root}${path}`, 'utf8');
    } catch {
      return '';
    }
  }

  private async firstOf(...paths: readonly string[]): Promise<string | undefined> {
    for (const path of paths) {
      const text = await this.text(path);
      if (text !== undefined) return text;
    }
    return undefined;
  }

  private async need(path: string): Promise<string> {
    const text = await this.text(path);
    if (text === undefined)
      throw new CodedError('Internal', `read ${this.root}${path}: cannot be read, is /proc mounted?`);
    return text;
  }
}

function strip(text: string): string | undefined {
  const stripped = text.replaceAll('\0', '').trim();
  return stripped === '' ? undefined : stripped;
}
