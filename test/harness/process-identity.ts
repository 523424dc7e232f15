import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { pause } from './wait-for.ts';

/** A process that cannot be mistaken for a later one with the same number: start time in clock ticks since boot. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** The identity of a living process (a zombie is not one), or undefined. Source: proc_pid_stat(5), field 22. */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field, the name, may itself hold blanks and brackets: count from its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTime = fields[19];
    return startTime === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : { pid, startTime };
  } catch {
    return undefined;
  }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime;
}

export function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** The inode of a process's network namespace, as `net:[…]` shows it. */
export function netnsInode(pid: number | 'self'): number | undefined {
  try {
    return Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[0]);
  } catch {
    return undefined;
  }
}

export function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Sends the signal if the process is still the one that was meant. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, name);
  } catch {
    // It ended between the two lines.
  }
}

/** Ends processes: SIGTERM, then SIGKILL to those still there after `graceMs` (0: SIGKILL at once). */
export async function endProcesses(identities: readonly ProcessIdentity[], graceMs: number): Promise<void> {
  if (graceMs > 0) {
    for (const identity of identities) signal(identity, 'SIGTERM');
    const deadline = performance.now() + graceMs;
    while (identities.some(isAlive) && performance.now() < deadline) await pause(10);
  }
  for (const identity of identities) signal(identity, 'SIGKILL');
  const deadline = performance.now() + 10_000;
  while (identities.some(isAlive)) {
    if (performance.now() > deadline) {
      const left = identities.filter(isAlive).map((identity) => identity.pid);
      throw new Error(`processes ${left.join(', ')} did not end within 10 s of SIGKILL`);
    }
    await pause(5);
  }
}
