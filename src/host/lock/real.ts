import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { CodedError } from '../../kit/errors.ts';
import type { HeldLock, LockPort } from './port.ts';

/** Of util-linux. */
const FLOCK = 'flock';

/**
 * Node has no flock(2): flock(1) of util-linux holds the lock, in a child that lives as long as this process keeps the
 * pipe to it open. The kernel closes that pipe whichever way this process ends, kill -9 too.
 */
export class RealLocks implements LockPort {
  async acquire(path: string, signal: AbortSignal): Promise<HeldLock> {
    const child = spawn(FLOCK, ['--exclusive', path, 'sh', '-c', 'echo held; exec cat'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // A signal to the group of this process is not meant for the lock.
      detached: true,
    });
    const ended = once(child, 'close');
    ended.catch(() => {});
    const end = (): void => {
      child.stdin.end();
      // While it waits for the lock, flock does not read its input.
      child.kill();
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    const held = new Promise<boolean>((resolve, reject) => {
      child.once('error', reject);
      child.stdout.once('data', () => resolve(true));
      child.once('close', () => resolve(false));
    });
    try {
      if (!(await held)) {
        if (signal.aborted) throw new CodedError('Aborted', `lock ${path}: no longer waited for`);
        throw new CodedError(
          'InvalidConfig',
          `lock ${path}: ${complaint.trim() || 'flock ended'}; expected a file in a folder that is there`,
        );
      }
    } catch (error) {
      if (error instanceof CodedError) throw error;
      throw new CodedError('Unavailable', `lock ${path}: cannot run flock; install util-linux`, {}, error);
    } finally {
      signal.removeEventListener('abort', end);
    }
    const { ino } = await stat(path);
    return {
      contended: async () => isContended(await readFile('/proc/locks', 'utf8'), ino),
      release: async () => {
        child.stdin.end();
        await ended;
      },
    };
  }
}

/** /proc/locks marks who waits by an arrow: "1: -> FLOCK  ADVISORY  WRITE 123 fd:01:4711 0 EOF" (proc_locks(5)). */
function isContended(locks: string, inode: number): boolean {
  return locks.split('\n').some((line) => / -> FLOCK /.test(line) && line.includes(`:${inode} `));
}
