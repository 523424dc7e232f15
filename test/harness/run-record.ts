import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { identify, isAlive, type ProcessIdentity } from './process-identity.ts';

/** What a run leaves on disk so that a later process can end it. All else is found by the run's name. */
export interface RunRecord {
  readonly name: string;
  /** Who may still be working with it. */
  readonly owner: ProcessIdentity;
  /** True: the owner left it up on purpose. */
  readonly kept: boolean;
  readonly processes: readonly (ProcessIdentity & { readonly what: string })[];
  readonly netns: readonly string[];
}

/** Folders, cgroup root and file names of a run: all derive from its name, so that a crashed one can be found again. */
export function pathsOf(name: string) {
  if (!/^deckhand-[a-z0-9][a-z0-9-]*$/.test(name)) {
    throw new Error(`run name "${name}" must be "deckhand-" and then lower case letters, digits and dashes`);
  }
  return {
    /** Sockets, containerd's state, logs; short, since a unix socket's path has at most 107 bytes. */
    runDir: `/run/${name}`,
    /** containerd's root, deckhand's data. */
    libDir: `/var/lib/${name}`,
    cgroupRoot: `/${name}`,
    recordFile: `/run/${name}/run.json`,
    containerdSocket: `/run/${name}/containerd.sock`,
  } as const;
}

export type RunPaths = ReturnType<typeof pathsOf>;

export function readRecord(name: string): RunRecord | undefined {
  try {
    return JSON.parse(readFileSync(pathsOf(name).recordFile, 'utf8')) as RunRecord;
  } catch {
    return undefined;
  }
}

export function writeRecord(record: RunRecord): void {
  const { runDir, recordFile } = pathsOf(record.name);
  mkdirSync(runDir, { recursive: true, mode: 0o711 });
  writeFileSync(`${recordFile}.new`, JSON.stringify(record, undefined, 1));
  renameSync(`${recordFile}.new`, recordFile);
}

export function newRecord(name: string): RunRecord {
  const owner = identify(process.pid);
  if (owner === undefined) throw new Error('/proc does not show this process');
  return { name, owner, kept: false, processes: [], netns: [] };
}

/** True while another process is at work with this run. */
export function isOwnedByAnother(record: RunRecord | undefined): boolean {
  return record !== undefined && record.owner.pid !== process.pid && isAlive(record.owner);
}

/** Names that begin so of runs that left anything under their own name: a folder, a namespace or a cgroup. */
export function runNames(prefix: string, cgroupMounts: readonly string[]): string[] {
  const names = new Set<string>();
  for (const directory of ['/run', '/var/lib', ...cgroupMounts]) {
    if (!existsSync(directory)) continue;
    for (const name of readdirSync(directory)) {
      if (name === prefix || name.startsWith(prefix.endsWith('-') ? prefix : `${prefix}-`)) names.add(name);
    }
  }
  // A namespace may be "<run>" or "<run>.<part>".
  if (existsSync('/run/netns')) {
    for (const file of readdirSync('/run/netns')) {
      const name = file.split('.')[0] ?? file;
      if (name === prefix || name.startsWith(prefix.endsWith('-') ? prefix : `${prefix}-`)) names.add(name);
    }
  }
  return [...names].filter((name) => /^deckhand-[a-z0-9][a-z0-9-]*$/.test(name)).sort();
}
