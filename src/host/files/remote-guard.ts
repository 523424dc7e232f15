import { lstat, readlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import { runCommand } from '../command/run-command.ts';
import { isAtOrBelow } from '../mount/mount-info.ts';
import type { Mounts } from '../mount/port.ts';
import { isRemoteType } from '../mount/remote-types.ts';

export interface RemoteGuardOptions {
  /** How long a network filesystem may take to answer. Default 5 s. */
  readonly deadlineMs?: number;
  /** The question; a test may put another program here. */
  readonly command?: readonly [string, ...string[]];
  /** Which filesystem types are asked first. */
  readonly isRemote?: (type: string) => boolean;
}

// The kernel's own limit on symlinks in one path (path_resolution(7)).
const LINKS = 40;

/**
 * Keeps the few threads that Node has for file calls (libuv: four) away from filesystems whose server may be gone: a
 * stat there sleeps uninterruptibly and takes its thread with it. Before such a filesystem is touched, a child process
 * asks it; at most one is asking per mount at any time, so that retries do not pile up processes that cannot die.
 */
export class RemoteGuard {
  private readonly asking = new Map<string, Promise<void>>();
  private readonly options: RemoteGuardOptions;
  private readonly mounts: Pick<Mounts, 'list'>;
  private readonly clock: Clock;

  constructor(options: RemoteGuardOptions, deps: { readonly mounts: Pick<Mounts, 'list'>; readonly clock: Clock }) {
    this.options = options;
    this.mounts = deps.mounts;
    this.clock = deps.clock;
  }

  /** Resolves when every remote filesystem on the way to `path` has answered. */
  async answers(path: string): Promise<void> {
    const isRemote = this.options.isRemote ?? isRemoteType;
    const table = await this.mounts.list();
    if (!table.some(({ type }) => isRemote(type))) return;
    const mountOf = (at: string) =>
      table.reduce((best, entry) =>
        isAtOrBelow(at, entry.mountPoint) && entry.mountPoint.length >= best.mountPoint.length ? entry : best,
      );
    // One component at a time, so that the first remote mount is seen before anything on it is touched.
    let done = '/';
    let rest = resolve('/', path).split('/').filter(Boolean);
    let links = 0;
    while (rest.length > 0) {
      const next = resolve(done, rest[0] ?? '');
      const holder = mountOf(next);
      if (isRemote(holder.type)) {
        await this.ask(holder.mountPoint, [next, ...rest.slice(1)].join('/'));
        return;
      }
      rest = rest.slice(1);
      const info = await lstat(next).catch(() => undefined);
      if (info === undefined) return;
      if (!info.isSymbolicLink()) {
        done = next;
        continue;
      }
      if (++links > LINKS) return;
      const target = resolve(dirname(next), await readlink(next));
      rest = [...target.split('/').filter(Boolean), ...rest];
      done = '/';
    }
  }

  private async ask(mountPoint: string, path: string): Promise<void> {
    const deadlineMs = this.options.deadlineMs ?? 5_000;
    const [program, ...args] = this.options.command ?? ['stat', '-L', '--'];
    const earlier = this.asking.get(mountPoint);
    if (earlier !== undefined) {
      await earlier;
      return;
    }
    let ended = (): void => {};
    const asking = runCommand(program, [...args, path], {
      deadlineMs,
      clock: this.clock,
      onExit: () => ended(),
    }).then(
      () => {},
      (error: unknown) => {
        if (!hasCode(error, 'DeadlineExceeded')) throw error;
        throw new CodedError(
          'DeadlineExceeded',
          `filesystem mounted at ${mountPoint} does not answer: want an answer about ${path} within ${deadlineMs} ms`,
          { mountPoint },
          error,
        );
      },
    );
    // Kept until the process is really gone: until then later callers get the same refusal without a new process.
    ended = () => this.asking.delete(mountPoint);
    this.asking.set(mountPoint, asking);
    await asking;
  }
}
