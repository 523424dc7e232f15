import type { Config } from '../config/config.ts';
import type { CriRuntime } from '../host/cri/port.ts';
import type { MachinePort } from '../host/machine/port.ts';
import type { NetPort } from '../host/net/port.ts';
import { CodedError, hasCode, messageOf } from '../kit/errors.ts';
import type { Logger } from '../kit/log.ts';

export interface HostRequirementsDeps {
  readonly machine: MachinePort;
  /** Its sysctls. */
  readonly net: Pick<NetPort, 'readSysctl' | 'writeSysctl'>;
  readonly log: Logger;
}

/** pkg/kubelet/cm/container_manager_linux.go setupKernelTunables */
const KERNEL_TUNABLES: Readonly<Record<string, number>> = {
  // Promise all memory that is asked for: requests and limits say what is really there.
  'vm.overcommit_memory': 1,
  'vm.panic_on_oom': 0,
  // A node that has crashed comes back after 10 s.
  'kernel.panic': 10,
  'kernel.panic_on_oops': 1,
  // Each container takes one of root's keys.
  'kernel.keys.root_maxkeys': 1_000_000,
  'kernel.keys.root_maxbytes': 25_000_000,
};

/**
 * What the machine has to be like before a node starts on it, in kubelet's order. Throws InvalidConfig where kubelet
 * refuses to start; what this process may not do here is a warning.
 */
export async function ensureHost(
  { host, cgroupVersion }: { readonly host: Config['host']; readonly cgroupVersion: 1 | 2 },
  { machine, net, log }: HostRequirementsDeps,
): Promise<void> {
  const { swaps, openFiles } = await machine.setup();
  if (host.failCgroupV1 && cgroupVersion === 1) {
    throw new CodedError(
      'InvalidConfig',
      'kubelet is configured to not run on a host using cgroup v1: failCgroupV1 is true; expected cgroup v2 ' +
        '(boot with systemd.unified_cgroup_hierarchy=1), or failCgroupV1: false',
    );
  }
  if (cgroupVersion === 1) {
    log.warn(
      {},
      'this host uses cgroup v1, which Kubernetes no longer supports: what needs v2 (swap limits, memory QoS) is missing',
    );
  }
  if (host.failSwapOn && swaps.length > 0) {
    throw new CodedError(
      'InvalidConfig',
      'running with swap on is not supported, please disable swap or set --fail-swap-on flag to false: ' +
        `/proc/swaps has ${swaps.join(', ')}; expected none (swapoff -a)`,
      { swaps: swaps.length },
    );
  }
  await tuneKernel(host.protectKernelDefaults, net, log);
  await machine
    .setOwnOomScoreAdj(host.oomScoreAdj)
    .catch((error: unknown) =>
      log.warn({ error: messageOf(error) }, 'under memory pressure the kernel may end deckhand'),
    );
  if (host.maxOpenFiles !== undefined && openFiles < host.maxOpenFiles) {
    log.warn(
      { maxOpenFiles: host.maxOpenFiles, limit: openFiles },
      'maxOpenFiles is more than this process may open; a process cannot raise its own limit here, so set LimitNOFILE= of its service',
    );
  }
}

/** Sets sysctls, or only checks them where they are the administrator's. A kernel without one of them goes without. */
async function tuneKernel(protect: boolean, net: HostRequirementsDeps['net'], log: Logger): Promise<void> {
  const wrong: string[] = [];
  for (const [sysctl, wanted] of Object.entries(KERNEL_TUNABLES)) {
    const found = await net.readSysctl(sysctl);
    if (found === undefined || Number(found) === wanted) continue;
    if (protect) {
      wrong.push(`invalid kernel flag: ${sysctl}, expected value: ${wanted}, actual value: ${found}`);
      continue;
    }
    try {
      await net.writeSysctl(sysctl, String(wanted));
      log.info({ sysctl, from: Number(found), to: wanted }, 'set a sysctl for pods');
    } catch (error) {
      log.warn({ sysctl, found, wanted, error: messageOf(error) }, 'cannot set a sysctl that kubelet sets for pods');
    }
  }
  if (wrong.length > 0) {
    throw new CodedError(
      'InvalidConfig',
      `protectKernelDefaults is true, and ${wrong.join('; ')}; set them by sysctl(8), or protectKernelDefaults: false`,
    );
  }
}

/**
 * Who owns the cgroup tree: systemd, so that each cgroup of ours is a slice, or nobody. What the runtime says of its own
 * driver goes before the configuration (KEP-4033); both must do the same, or the runtime looks for pods elsewhere.
 */
export async function cgroupDriver(
  configured: Config['cgroups']['driver'],
  { cri, machine, log }: { cri: Pick<CriRuntime, 'runtimeConfig'>; machine: MachinePort; log: Logger },
): Promise<'cgroupfs' | 'systemd'> {
  let told: 'cgroupfs' | 'systemd';
  try {
    told = (await cri.runtimeConfig()).cgroupDriver;
  } catch (error) {
    if (!hasCode(error, 'Unimplemented')) throw error;
    if (configured === 'cgroupfs' || (await machine.setup()).systemd) return configured;
    log.warn({}, 'cgroupDriver is systemd, but systemd is not PID 1 here; going on with cgroupfs');
    return 'cgroupfs';
  }
  if (configured !== told) {
    log.warn({ configured, runtime: told }, 'the runtime’s own cgroup driver goes before the configured one');
  }
  return told;
}
