/** What this machine is. Facts that do not change while it runs are asked once; the rest at each call. */
export interface MachinePort {
  /** Quick: files of /proc, /sys and /etc only. */
  facts(): Promise<MachineFacts>;
  /** What takes longer to find out, asked once in the background; never throws, knows what it can. */
  details(): Promise<MachineDetails>;
  addresses(): HostAddress[];
  /** The addresses that a name has here (getaddrinfo: /etc/hosts, DNS); empty when it has none. */
  resolve(name: string): Promise<string[]>;
  /** What is in use now. */
  load(): Promise<MachineLoad>;
  /** The file system that holds `path`. Throws NotFound. */
  filesystem(path: string): Promise<FilesystemCapacity>;
  /** This process's oom_score_adj, -1000..1000 (proc_pid_oom_score_adj(5)). Throws Forbidden without CAP_SYS_RESOURCE. */
  setOwnOomScoreAdj(score: number): Promise<void>;
  /** What a node's start depends on. */
  setup(): Promise<MachineSetup>;
  /** NUMA nodes, by number; where the kernel knows none, one with all memory. */
  numaNodes(): Promise<readonly NumaNode[]>;
}

/** Memory that some CPUs are near to (/sys/devices/system/node, Documentation/ABI/stable/sysfs-devices-node). */
export interface NumaNode {
  readonly id: number;
  /** All of it, with what stands in huge pages. */
  readonly memoryBytes: number;
  /** As MachineFacts.hugepages, of this node. */
  readonly hugepages: readonly { readonly size: string; readonly bytes: number }[];
  /** How far each node is, by number; 10 is here. Empty: the kernel does not say. */
  readonly distances: ReadonlyMap<number, number>;
}

export interface MachineSetup {
  /** Files and devices that are swapped to, of /proc/swaps. */
  readonly swaps: readonly string[];
  /** How many files this process may open at most: RLIMIT_NOFILE, hard. Node raises the soft limit to it by itself. */
  readonly openFiles: number;
  /** systemd is PID 1 (sd_booted(3)). */
  readonly systemd: boolean;
}

export interface MachineFacts {
  readonly hostname: string;
  /** CPUs that are online. */
  readonly cpuCount: number;
  readonly memoryBytes: number;
  readonly swapBytes: number;
  /** Sizes as Kubernetes writes them, "2Mi", and how many bytes stand in pages of that size. */
  readonly hugepages: readonly { readonly size: string; readonly bytes: number }[];
  /** /etc/machine-id: 32 hex digits, or "". */
  readonly machineID: string;
  /** The firmware's product UUID, else the machine id. */
  readonly systemUUID: string;
  readonly bootID: string;
  readonly kernelVersion: string;
  /** PRETTY_NAME of os-release. */
  readonly osImage: string;
  readonly operatingSystem: 'linux';
  /** As Go writes it: amd64, arm64 … */
  readonly architecture: string;
  /** kernel.pid_max, or threads-max where that is lower. */
  readonly maxPids: number;
  /** Milliseconds from the boot to the moment of asking. */
  readonly uptimeMs: number;
}

export interface MachineLoad {
  /** Memory that is not free, page cache included. */
  readonly memoryUsedBytes: number;
  /** Threads of all processes. */
  readonly tasks: number;
}

export interface MachineDetails {
  readonly manufacturer?: string;
  readonly model?: string;
  readonly virtual?: boolean;
  /** kvm, VMware, VirtualBox … */
  readonly hypervisor?: string;
  readonly cpuBrand?: string;
  readonly physicalCores?: number;
}

export interface HostAddress {
  readonly interface: string;
  readonly address: string;
  readonly family: 4 | 6;
  /** "10.0.0.5/24" */
  readonly cidr: string;
  readonly loopback: boolean;
  /** An IPv6 address that is good on its own link only. */
  readonly linkLocal: boolean;
  /** The interface has the default route of this address's family. */
  readonly defaultRoute: boolean;
}

export interface FilesystemCapacity {
  /** The kernel's number for the device: two paths with the same one share their space. */
  readonly device: number;
  readonly capacityBytes: number;
  /** For processes without privileges. */
  readonly availableBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
}
