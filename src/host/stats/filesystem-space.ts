import { statfs } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode, messageOf } from '../../kit/errors.ts';
import { runCommand } from '../command/run-command.ts';
import type { MountPoints } from './mount-points.ts';
import type { FilesystemSpace } from './port.ts';

export interface FilesystemSpaceOptions {
  /** How long a server may take to answer. Default 5 s. */
  readonly deadlineMs?: number;
  /** The question; a test may put another program here. */
  readonly command?: readonly [string, ...string[]];
}

/** statfs(2), in a thread where the kernel answers by itself and in a process where it waits for a server. */
export class FilesystemSpaceReader {
  private readonly options: FilesystemSpaceOptions;
  private readonly deps: { readonly clock: Clock; readonly mountPoints: Pick<MountPoints, 'of'> };
  /** Mounts whose server has not answered: a process waits there that may not die before it does. */
  private readonly silent = new Set<string>();

  constructor(
    options: FilesystemSpaceOptions,
    deps: { readonly clock: Clock; readonly mountPoints: Pick<MountPoints, 'of'> },
  ) {
    this.options = options;
    this.deps = deps;
  }

  async read(path: string): Promise<FilesystemSpace> {
    const { real, server } = await this.deps.mountPoints.of(path);
    if (server !== undefined) return this.ask(real, server.mountPoint);
    try {
      const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(real);
      return spaceOf(bsize, blocks, bfree, bavail, files, ffree);
    } catch (error) {
      throw failed(path, messageOf(error), error);
    }
  }

  private async ask(path: string, mountPoint: string): Promise<FilesystemSpace> {
    const { deadlineMs = 5000, command = ['stat', '-f', '-c', '%S %b %f %a %c %d'] } = this.options;
    if (this.silent.has(mountPoint)) {
      const why = `filesystem mounted at ${mountPoint} does not answer: an earlier question has not ended yet`;
      throw new CodedError('DeadlineExceeded', why, { mountPoint });
    }
    const [program, ...args] = command;
    let ended = false;
    const onExit = (): void => {
      ended = true;
      this.silent.delete(mountPoint);
    };
    const asked = { deadlineMs, clock: this.deps.clock, onExit };
    const { exitCode, stdout, stderr } = await runCommand(program, [...args, '--', path], asked).catch((error) => {
      if (!ended && hasCode(error, 'DeadlineExceeded')) this.silent.add(mountPoint);
      throw error;
    });
    const numbers = stdout.trim().split(' ').map(Number);
    const [size, blocks, free, available, inodes, inodesFree] = numbers;
    if (exitCode !== 0 || inodesFree === undefined || numbers.some(Number.isNaN)) throw failed(path, stderr.trim());
    return spaceOf(size ?? 0, blocks ?? 0, free ?? 0, available ?? 0, inodes ?? 0, inodesFree);
  }
}

function spaceOf(
  size: number,
  blocks: number,
  free: number,
  available: number,
  inodes: number,
  inodesFree: number,
): FilesystemSpace {
  return {
    capacityBytes: blocks * size,
    availableBytes: available * size,
    usedBytes: (blocks - free) * size,
    inodes,
    inodesFree,
    inodesUsed: inodes - inodesFree,
  };
}

function failed(path: string, why: string, cause?: unknown): CodedError {
  const missing = (cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT' || /no such file/i.test(why);
  return new CodedError(missing ? 'NotFound' : 'Internal', `ask how much room ${path} has: ${why}`, { path }, cause);
}
