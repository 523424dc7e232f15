import { existsSync, readdirSync } from 'node:fs';
import { RealCri } from '../../../../src/host/cri/real.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import type { EndpointSlice } from '../../../../src/model/service.ts';
import { cgroupDirectories } from '../../../harness/cgroup-hierarchies.ts';
import { cniResultsOf, processesOf } from '../../../harness/cleanup.ts';
import type { HarnessNode } from '../../../harness/harness-node.ts';
import { mountsBelow } from '../../../harness/mounts.ts';
import { commandLine } from '../../../harness/process-identity.ts';
import { runCommand } from '../../../harness/run-command.ts';
import { waitFor } from '../../../harness/wait-for.ts';
import { kernelRules } from './kernel-rules.ts';

/** All that pods leave traces in, as sorted text. */
export type Traces = Readonly<Record<string, readonly string[]>>;

const below = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory).sort() : []);

/** Sandboxes and containers that the runtime tells its agent of. */
async function listedOf(node: HarnessNode): Promise<string[]> {
  const cri = new RealCri({ endpoint: node.containerd.endpoint });
  try {
    const [sandboxes, containers] = await Promise.all([cri.listPodSandbox(), cri.listContainers()]);
    return [...sandboxes, ...containers].map(({ id, state }) => `${id} ${state}`).sort();
  } finally {
    cri.close();
  }
}

/** The one by which the daemon hears of others' rules ends and begins at times of its own; a second one is a leak. */
function withoutMonitor(commands: string[]): string[] {
  const at = commands.findIndex((command) => /xtables-monitor --event$/.test(command));
  return at < 0 ? commands : commands.toSpliced(at, 1);
}

/** What is on the node now. */
export async function tracesOf(node: HarnessNode): Promise<Traces> {
  const { name, paths } = node.run;
  const { runDir, libDir, cgroupRoot } = paths;
  const { api } = node.deckhand;
  const ctr = async (...args: string[]) => (await node.containerd.ctr(...args)).split('\n').filter(Boolean).sort();
  const slices = await api.list<EndpointSlice>(resources.endpointslices, 'default');
  return {
    processes: withoutMonitor(processesOf(name).map(({ pid }) => commandLine(pid).join(' '))).sort(),
    mounts: [runDir, libDir]
      .flatMap(mountsBelow)
      .map(({ mountPoint }) => mountPoint)
      .sort(),
    cgroups: cgroupDirectories(cgroupRoot).sort(),
    podNamespaces: below(`${runDir}/state/io.containerd.grpc.v1.cri/netns`),
    links: (await runCommand(['ip', '-n', node.netns, '-br', 'link']))
      .split('\n')
      .map((line) => (line.split(/\s+/)[0] ?? '').replace(/@.*/, ''))
      .filter(Boolean)
      .sort(),
    rules: [...(await kernelRules(node))].sort(),
    podDirectories: below(`${libDir}/kubelet/pods`),
    memory: below(`${libDir}/kubelet/plugins/deckhand.io~memory`),
    logs: below(`${libDir}/logs`),
    // lock and last_reserved_ip stay for good.
    addresses: below(`${libDir}/ipam/${name}`).filter((file) => /^\d/.test(file)),
    cniResults: cniResultsOf(name).sort(),
    // Not the same: what a runtime does not load after a restart, it does not list.
    listed: await listedOf(node),
    containers: await ctr('containers', 'list', '--quiet'),
    tasks: await ctr('tasks', 'list', '--quiet'),
    snapshots: (await ctr('snapshots', 'list')).filter((line) => /Active/.test(line)),
    pods: (await api.list<Pod>(resources.pods)).map(({ metadata }) => metadata.name ?? ''),
    endpoints: slices.flatMap((slice) => slice.endpoints?.flatMap(({ addresses }) => addresses) ?? []),
  };
}

/** Waits for the traces to be what they were before; returns what they are when that is so, or the time is over. */
export async function tracesGone(node: HarnessNode, before: Traces, ofNoPod?: RegExp): Promise<Traces> {
  let after: Traces = {};
  await waitFor(
    'the last traces to go',
    async () => {
      const pairs = Object.entries(await tracesOf(node)).map(([what, lines]) => {
        return [what, lines.filter((line) => ofNoPod?.test(line) !== true)] as const;
      });
      after = Object.fromEntries(pairs);
      return JSON.stringify(after) === JSON.stringify(before);
    },
    { timeoutMs: 45_000, intervalMs: 500 },
  ).catch(() => {});
  return after;
}
