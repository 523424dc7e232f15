import { CodedError } from '../../kit/errors.ts';
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

const GIB = 2 ** 30;

/** A machine made up for tests: two CPUs, four GiB, one interface; any fact can be given. */
export class FakeMachine implements MachinePort {
  private readonly known: MachineFacts;
  private readonly hostAddresses: HostAddress[];
  private readonly filesystems = new Map<string, FilesystemCapacity>();

  constructor(facts: Partial<MachineFacts> = {}, addresses: readonly HostAddress[] = [ETH0]) {
    this.known = { ...FACTS, ...facts };
    this.hostAddresses = [...addresses];
    this.mount('/', { capacityBytes: 100 * GIB, availableBytes: 80 * GIB, inodes: 6_000_000, inodesFree: 5_000_000 });
  }

  /** Gives everything below `path` a file system of its own. */
  mount(path: string, capacity: Omit<FilesystemCapacity, 'device'>): void {
    if (!path.startsWith('/')) throw new CodedError('InvalidArgument', `mount point ${path} needs to be absolute`);
    const device = this.filesystems.get(path)?.device ?? this.filesystems.size + 1;
    this.filesystems.set(path, { ...capacity, device });
  }

  /** What names resolve to. */
  readonly names = new Map<string, string[]>();
  /** Memory in use and threads. */
  inUse: MachineLoad = { memoryUsedBytes: GIB, tasks: 100 };

  async resolve(name: string): Promise<string[]> {
    return [...(this.names.get(name) ?? [])];
  }

  async load(): Promise<MachineLoad> {
    if (this.inUse.memoryUsedBytes > this.known.memoryBytes) {
      throw new CodedError('Internal', `a machine of ${this.known.memoryBytes} bytes cannot use more`);
    }
    return this.inUse;
  }

  addAddress(address: HostAddress): void {
    this.hostAddresses.push(address);
  }

  async facts(): Promise<MachineFacts> {
    return this.known;
  }

  async details(): Promise<MachineDetails> {
    return { virtual: true };
  }

  addresses(): HostAddress[] {
    return [...this.hostAddresses];
  }

  swaps: readonly string[] = [];
  openFiles = 1_048_576;
  systemd = true;

  async setup(): Promise<MachineSetup> {
    return { swaps: this.swaps, openFiles: this.openFiles, systemd: this.systemd };
  }

  /** Undefined: one node with everything. */
  numa: readonly NumaNode[] | undefined;

  async numaNodes(): Promise<readonly NumaNode[]> {
    const { memoryBytes, hugepages } = this.known;
    return this.numa ?? [{ id: 0, memoryBytes, hugepages, distances: new Map([[0, 10]]) }];
  }

  /** 0 as for a process that nobody cared for. */
  oomScoreAdj = 0;
  /** Whether this process has CAP_SYS_RESOURCE. */
  mayLowerScore = true;

  async setOwnOomScoreAdj(score: number): Promise<void> {
    if (!Number.isInteger(score) || Math.abs(score) > 1000) {
      throw new CodedError('Internal', `write ${score} to oom_score_adj: invalid argument; needs -1000 to 1000`);
    }
    if (score < this.oomScoreAdj && !this.mayLowerScore) {
      throw new CodedError(
        'Forbidden',
        `write ${score} to oom_score_adj: permission denied; lowering it needs CAP_SYS_RESOURCE`,
      );
    }
    this.oomScoreAdj = score;
  }

  async filesystem(path: string): Promise<FilesystemCapacity> {
    let best = '';
    for (const mountPoint of this.filesystems.keys()) {
      const inside =
        mountPoint === '/' ? path.startsWith('/') : path === mountPoint || path.startsWith(`${mountPoint}/`);
      if (inside && mountPoint.length > best.length) best = mountPoint;
    }
    const capacity = this.filesystems.get(best);
    if (capacity === undefined)
      throw new CodedError('NotFound', `ask the size of the file system of ${path}: no such directory`);
    return capacity;
  }
}

const FACTS: MachineFacts = {
  hostname: 'node-a',
  cpuCount: 2,
  memoryBytes: 4 * GIB,
  swapBytes: 0,
  hugepages: [{ size: '2Mi', bytes: 0 }],
  machineID: '0123456789abcdef0123456789abcdef',
  systemUUID: '01234567-89ab-cdef-0123-456789abcdef',
  bootID: '11111111-2222-3333-4444-555555555555',
  kernelVersion: '6.1.0-1-amd64',
  osImage: 'Debian GNU/Linux 12 (bookworm)',
  operatingSystem: 'linux',
  architecture: 'amd64',
  maxPids: 32_768,
  uptimeMs: 60_000,
};

const ETH0: HostAddress = {
  interface: 'eth0',
  address: '192.168.7.5',
  family: 4,
  cidr: '192.168.7.5/24',
  loopback: false,
  linkLocal: false,
  defaultRoute: true,
};
