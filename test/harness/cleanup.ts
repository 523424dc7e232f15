import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tryAll } from '../../src/kit/errors.ts';
import { cgroupDirectories, cgroupHierarchies, pidsIn, removeDirectories } from './cgroup-hierarchies.ts';
import { mountsBelow, unmountBelow } from './mounts.ts';
import { deleteNetns, inodeOf } from './netns.ts';
import {
  allPids,
  commandLine,
  endProcesses,
  identify,
  isAlive,
  netnsInode,
  type ProcessIdentity,
  signal,
} from './process-identity.ts';
import { isOwnedByAnother, pathsOf, readRecord, runNames } from './run-record.ts';
import { pause } from './wait-for.ts';

/** Names of the network namespaces of a run: its own name, or that with a part behind a dot. */
export function netnsOf(name: string): string[] {
  if (!existsSync('/run/netns')) return [];
  return readdirSync('/run/netns').filter((file) => file === name || file.startsWith(`${name}.`));
}

/**
 * Every process of a run: those recorded, those in its cgroups, those in its network namespaces (the node's and, by
 * their mounts below the run's folder, the pods'), and its containerd's shims. Never this process or one above it.
 */
export function processesOf(name: string): ProcessIdentity[] {
  const { runDir, cgroupRoot, containerdSocket } = pathsOf(name);
  const found = new Map<number, ProcessIdentity>();
  const add = (pid: number): void => {
    const identity = identify(pid);
    if (identity !== undefined) found.set(pid, identity);
  };
  for (const recorded of readRecord(name)?.processes ?? []) if (isAlive(recorded)) add(recorded.pid);
  for (const pid of pidsIn(cgroupDirectories(cgroupRoot))) add(pid);

  const own = netnsInode('self');
  const inodes = new Set<number>();
  const namespacePaths = [
    ...netnsOf(name).map((file) => `/run/netns/${file}`),
    ...mountsBelow(runDir)
      .filter((mount) => mount.type === 'nsfs')
      .map((mount) => mount.mountPoint),
  ];
  for (const path of namespacePaths) {
    const inode = inodeOf(path);
    if (inode !== undefined && inode !== own) inodes.add(inode);
  }
  for (const pid of allPids()) {
    const inode = netnsInode(pid);
    if (inode !== undefined && inodes.has(inode)) add(pid);
    else if (commandLine(pid)[0]?.endsWith('containerd-shim-runc-v2') && commandLine(pid).includes(containerdSocket)) {
      add(pid);
    }
  }
  for (let pid = process.pid; pid > 1; ) {
    found.delete(pid);
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    pid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  }
  found.delete(1);
  return [...found.values()];
}

/**
 * Shims listen in a folder that all containerds share, and a killed one leaves its socket there. Which ones are this
 * run's: unix sockets are listed per network namespace, and shims live in the node's.
 */
function shimSockets(processes: readonly ProcessIdentity[]): string[] {
  const seen = new Set<number | undefined>();
  return processes.flatMap(({ pid }) => {
    const inode = netnsInode(pid);
    if (inode === undefined || seen.has(inode) || inode === netnsInode('self')) return [];
    try {
      const sockets = readFileSync(`/proc/${pid}/net/unix`, 'utf8').match(/\/run\/containerd\/s\/\w+/g) ?? [];
      seen.add(inode);
      return sockets;
    } catch {
      // It has ended; another process of that namespace will tell.
      return [];
    }
  });
}

/** Stops processes (SIGSTOP) until a look finds no new ones, so that none starts another while they are ended. */
async function freeze(name: string): Promise<ProcessIdentity[]> {
  const stopped = new Map<string, ProcessIdentity>();
  for (let quiet = 0; quiet < 2; ) {
    const fresh = processesOf(name).filter(({ pid, startTime }) => !stopped.has(`${pid} ${startTime}`));
    for (const identity of fresh) {
      signal(identity, 'SIGSTOP');
      stopped.set(`${identity.pid} ${identity.startTime}`, identity);
    }
    quiet = fresh.length === 0 ? quiet + 1 : 0;
    // A system call under way, such as fork or bind, ends before the stop takes hold.
    if (stopped.size > 0) await pause(5);
  }
  return [...stopped.values()];
}

/** Ends them all; returns the sockets that they leave. */
async function endAllProcesses(name: string): Promise<ReadonlySet<string>> {
  const sockets = new Set<string>();
  for (let round = 0; round < 20; round++) {
    const processes = await freeze(name);
    if (processes.length === 0) return sockets;
    for (const socket of shimSockets(processes)) sockets.add(socket);
    await endProcesses(processes, 0);
  }
  throw new Error(`processes of run ${name} keep appearing: ${processesOf(name).map((found) => found.pid)}`);
}

async function removeCgroups(name: string): Promise<void> {
  const { cgroupRoot } = pathsOf(name);
  let left: string[] = [];
  // A cgroup stays busy for some milliseconds after its last process has gone.
  for (let round = 0; round < 100; round++) {
    left = removeDirectories(cgroupDirectories(cgroupRoot));
    if (left.length === 0) return;
    await pause(20);
  }
  throw new Error(`cannot remove cgroups ${left.join(', ')}`);
}

/**
 * Undoes a run, whether this process made it or one that crashed: processes, mounts, cgroups, namespaces (rules and
 * devices go with them), sockets, folders. Everything is tried; what failed is told in one error. Absent is fine; a run that
 * another living process works with is refused.
 */
export async function destroyRun(name: string): Promise<void> {
  const { runDir, libDir } = pathsOf(name);
  const record = readRecord(name);
  if (isOwnedByAnother(record)) {
    throw new Error(`run ${name} is in use by process ${record?.owner.pid}: wait for it or end it`);
  }
  let sockets: ReadonlySet<string> = new Set();
  await tryAll(`clean up ${name}`, [
    async () => {
      sockets = await endAllProcesses(name);
    },
    () => unmountBelow(runDir),
    () => unmountBelow(libDir),
    () => removeCgroups(name),
    ...netnsOf(name).map((file) => () => deleteNetns(file)),
    () => {
      for (const socket of sockets) rmSync(socket, { force: true });
    },
    () => {
      for (const file of cniResultsOf(name)) rmSync(file, { force: true });
    },
    () => removeTree(libDir),
    () => removeTree(runDir),
  ]);
}

/**
 * CNI's memory of a run's sandboxes: `<network>-<sandbox id>-<interface>`, in a folder that libcni does not let us
 * choose. Every containerd has the network "cni-loopback"; there the file's text names the run's folder.
 */
export function cniResultsOf(name: string): string[] {
  const directory = '/var/lib/cni/results';
  if (!existsSync(directory)) return [];
  const own = new RegExp(`^${name}-[0-9a-f]{64}-`);
  const isOfRun = (path: string): boolean => {
    try {
      return readFileSync(path, 'utf8').includes(`"${pathsOf(name).runDir}/`);
    } catch {
      // Another run's, which has just taken it away.
      return false;
    }
  };
  return readdirSync(directory)
    .filter((file) => own.test(file) || (file.startsWith('cni-loopback-') && isOfRun(`${directory}/${file}`)))
    .map((file) => `${directory}/${file}`);
}

/** Removes a folder; refuses when anything is still mounted below it. */
function removeTree(directory: string): void {
  const mounts = mountsBelow(directory);
  if (mounts.length > 0) throw new Error(`${directory} still holds mounts: ${mounts.map((mount) => mount.mountPoint)}`);
  rmSync(directory, { recursive: true, force: true });
}

/** Undoes all runs whose names begin with `prefix` and that no living process works with. Returns their names. */
export async function cleanup(prefix: string, say: (line: string) => void = () => {}): Promise<string[]> {
  const done: string[] = [];
  for (const name of runNames(prefix, cgroupHierarchies())) {
    const record = readRecord(name);
    if (isOwnedByAnother(record)) {
      say(`run ${name} belongs to process ${record?.owner.pid}, which is at work: left alone`);
      continue;
    }
    say(`cleaning up ${name}, left by an earlier run`);
    await destroyRun(name);
    done.push(name);
  }
  return done;
}
