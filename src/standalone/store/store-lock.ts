import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { CodedError } from '../../kit/errors.ts';

/** Keeps a second process away from the same store: a file that names its holder by pid and start time. */
export class StoreLock {
  private readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Throws Unavailable while a living process holds it; the lock of a dead one is taken over. */
  static async take(path: string): Promise<StoreLock> {
    const mine = `${process.pid} ${(await startTimeOf(process.pid)) ?? ''}\n`;
    try {
      await writeFile(path, mine, { flag: 'wx', mode: 0o600 });
      return new StoreLock(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const [pid = '', startTime = ''] = (await readFile(path, 'utf8').catch(() => '')).trim().split(' ');
    const holder = Number(pid);
    if (holder > 0 && startTime !== '' && (await startTimeOf(holder)) === startTime) {
      throw new CodedError('Unavailable', `open the store: process ${pid} has it open (${path})`, {
        pid: holder,
        path,
      });
    }
    const temporary = `${path}.${process.pid}`;
    await writeFile(temporary, mine, { mode: 0o600 });
    await rename(temporary, path);
    return new StoreLock(path);
  }

  async release(): Promise<void> {
    await rm(this.path, { force: true });
  }
}

/** Field 22 of /proc/PID/stat (proc(5)): with the pid it names a process for good. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
