import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cgroupDirectories, cgroupHierarchies, cgroupTree } from './cgroup-hierarchies.ts';
import { cniResultsOf, netnsOf, processesOf } from './cleanup.ts';
import { listMounts, mountsBelow } from './mounts.ts';
import { allPids, commandLine, identify, netnsInode } from './process-identity.ts';
import { tryCommand } from './run-command.ts';
import { pathsOf } from './run-record.ts';

export type LeakKind = 'process' | 'netns' | 'mount' | 'cgroup' | 'link' | 'rule' | 'socket' | 'directory';

export interface Leak {
  readonly kind: LeakKind;
  readonly what: string;
}

/** What is left of one run, found by its name. */
export async function leaksOf(name: string): Promise<Leak[]> {
  const { runDir, libDir, cgroupRoot } = pathsOf(name);
  return [
    ...processesOf(name).map(({ pid }): Leak => ({ kind: 'process', what: `${pid} ${commandLine(pid).join(' ')}` })),
    ...netnsOf(name).map((netns): Leak => ({ kind: 'netns', what: netns })),
    ...[runDir, libDir].flatMap(mountsBelow).map((mount): Leak => ({ kind: 'mount', what: mount.mountPoint })),
    ...cgroupDirectories(cgroupRoot).map((path): Leak => ({ kind: 'cgroup', what: path })),
    ...[runDir, libDir, ...cniResultsOf(name)]
      .filter(existsSync)
      .map((path): Leak => ({ kind: 'directory', what: path })),
  ];
}

/** Everything on this host that a node could leave behind, as sets of names. */
export type HostSnapshot = Readonly<Record<LeakKind, ReadonlySet<string>>>;

// A host's own services come and go in cgroups of theirs; these names are an agent's, a test's or a container runtime's.
const POD_CGROUP = /deckhand|kubepods|k8s\.io|cri-containerd|\/pod[0-9a-f]/;

export async function snapshot(): Promise<HostSnapshot> {
  return {
    process: new Set(processes()),
    netns: new Set(list('/run/netns')),
    mount: new Set(listMounts().map((mount) => `${mount.type} on ${mount.mountPoint}`)),
    cgroup: new Set(
      cgroupHierarchies()
        .flatMap(cgroupTree)
        .filter((path) => POD_CGROUP.test(path)),
    ),
    link: new Set(list('/sys/class/net')),
    rule: new Set(await rules()),
    socket: new Set([...list('/run/containerd/s'), ...list('/run/containerd/runc/k8s.io')]),
    directory: new Set(
      ['/run', '/var/lib', '/tmp'].flatMap((parent) =>
        list(parent)
          .filter((name) => name.includes('deckhand') || name.includes('kubelet'))
          .map((name) => `${parent}/${name}`),
      ),
    ),
  };
}

/** What is there after and was not there before. */
export function newSince(before: HostSnapshot, after: HostSnapshot): Leak[] {
  return (Object.keys(after) as LeakKind[]).flatMap((kind) =>
    [...after[kind]].filter((what) => !before[kind].has(what)).map((what): Leak => ({ kind, what })),
  );
}

// Container runtimes and whatever lives in another network namespace; all else on the host is none of ours.
function processes(): string[] {
  const own = netnsInode('self');
  return allPids().flatMap((pid) => {
    const identity = identify(pid);
    const inode = netnsInode(pid);
    if (identity === undefined || inode === undefined) return [];
    let executable = '';
    try {
      executable = readlinkSync(`/proc/${pid}/exe`);
    } catch {
      return [];
    }
    const ours = inode !== own || /\/(containerd|containerd-shim-runc-v2|runc)$/.test(executable);
    return ours ? [`${pid} (started ${identity.startTime}) ${commandLine(pid).join(' ').slice(0, 200)}`] : [];
  });
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

// Counters change by themselves: only the text of rules counts. Reading must not load a backend that nobody uses.
async function rules(): Promise<string[]> {
  const lines: string[] = [];
  const nft = await tryCommand(['nft', '--stateless', 'list', 'ruleset']).catch(() => undefined);
  if (nft?.code === 0) {
    let table = '';
    let chain = '';
    for (const line of nft.stdout.split('\n')) {
      if (line.startsWith('table')) table = line.replace(' {', '');
      else if (/^\tchain/.test(line)) chain = line.trim().replace(' {', '');
      lines.push(`${table} ${chain} ${line.trim()}`.replace(/counter packets \d+ bytes \d+/, 'counter'));
    }
  }
  for (const family of ['ip', 'ip6']) {
    try {
      for (const table of readFileSync(`/proc/net/${family}_tables_names`, 'utf8').split('\n').filter(Boolean)) {
        const saved = await tryCommand([
          family === 'ip' ? 'iptables-legacy-save' : 'ip6tables-legacy-save',
          '-t',
          table,
        ]);
        lines.push(
          ...saved.stdout
            .split('\n')
            .filter((line) => line.startsWith('-A'))
            .map((line) => `${table} ${line}`),
        );
      }
    } catch {
      // No legacy tables in this kernel.
    }
  }
  return lines;
}
