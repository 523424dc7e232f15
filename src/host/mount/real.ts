import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, type ErrorCode, hasCode } from '../../kit/errors.ts';
import { runCommand } from '../command/run-command.ts';
import { holderOf } from './holder.ts';
import { type MountEntry, parseMountInfo } from './mount-info.ts';
import type { MountRequest, Mounts, TmpfsOptions } from './port.ts';
import { isRemoteType } from './remote-types.ts';

export interface RealMountsOptions {
  /** How long one mount or umount may take. Default 10 s. */
  readonly deadlineMs?: number;
}

/** Mounts through /proc/self/mountinfo and util-linux's mount and umount. */
export class RealMounts implements Mounts {
  private readonly deadlineMs: number;
  private readonly clock: Clock;
  // tmpfs knows noswap since 6.4 (tmpfs(5)); an older kernel refuses the whole mount for it.
  private readonly noswap: boolean;
  /** Targets whose mount(8) still runs although it was given up. */
  private readonly hanging = new Set<string>();

  constructor(options: RealMountsOptions, deps: { readonly clock: Clock }) {
    this.deadlineMs = options.deadlineMs ?? 10_000;
    this.clock = deps.clock;
    const [major = 0, minor = 0] = release()
      .split('.')
      .map((part) => Number.parseInt(part, 10));
    this.noswap = major > 6 || (major === 6 && minor >= 4);
  }

  async list(below?: string): Promise<MountEntry[]> {
    return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'), below);
  }

  async isRemote(path: string): Promise<boolean> {
    return isRemoteType(holderOf(await this.list(), absolute(path)).type);
  }

  async tmpfs(target: string, options: TmpfsOptions): Promise<void> {
    const flags = [`mode=${options.mode.toString(8).padStart(4, '0')}`];
    if (options.restricted === true) flags.push('nosuid', 'nodev');
    if (options.sizeBytes !== undefined) flags.push(`size=${options.sizeBytes}`);
    if (options.gid !== undefined) flags.push(`gid=${options.gid}`);
    if (this.noswap) flags.push('noswap');
    await this.runMount(['-t', 'tmpfs', '-o', flags.join(','), '--', options.name, absolute(target)]);
  }

  async bind(source: string, target: string): Promise<void> {
    await this.runMount(['--bind', '--', absolute(source), absolute(target)]);
  }

  async remountReadOnly(target: string): Promise<void> {
    await this.runMount(['-o', 'remount,bind,ro', '--', absolute(target)]);
  }

  async shareRecursively(target: string): Promise<void> {
    if (!(await this.isMounted(target))) await this.bind(target, target);
    await this.runMount(['--make-rshared', '--', absolute(target)]);
  }

  async mount({ type, source, target, options, deadlineMs = this.deadlineMs }: MountRequest): Promise<void> {
    if (this.hanging.has(absolute(target))) {
      throw new CodedError('Conflict', `an earlier mount of ${source} at ${target} has not ended yet`, { target });
    }
    const args = ['-t', type, ...(options.length === 0 ? [] : ['-o', options.join(',')]), '--', source, target];
    // timeout(1) ends mount and the helper that it started; killing mount alone would leave the helper behind.
    const patience = String(deadlineMs / 1000);
    this.hanging.add(target);
    const result = await runCommand('timeout', ['-k', '2', patience, 'mount', ...args], {
      deadlineMs: deadlineMs + 4000,
      clock: this.clock,
      onExit: () => this.hanging.delete(target),
    });
    if (result.exitCode === 0) return;
    // timeout(1): 124 when its time was up, 137 when it had to kill.
    const tooLong = result.exitCode === 124 || result.exitCode === 137;
    const status = tooLong ? `no answer within ${deadlineMs} ms` : `exit status ${result.exitCode}`;
    const output = `${result.stdout}${result.stderr}`.trim();
    throw new CodedError(
      tooLong ? 'DeadlineExceeded' : classify(output),
      `mount failed: ${status}\nMounting command: mount\nMounting arguments: ${args.filter((arg) => arg !== '--').join(' ')}\nOutput: ${output}`,
      { exitCode: result.exitCode },
    );
  }

  async unmount(target: string, options: { readonly lazy?: boolean } = {}): Promise<void> {
    if (!(await this.isMounted(target))) return;
    try {
      await this.run('umount', ['-c', '-i', '--', absolute(target)]);
    } catch (error) {
      if (!(await this.isMounted(target))) return;
      if (options.lazy !== true || !hasCode(error, 'Conflict', 'DeadlineExceeded', 'CommandFailed')) throw error;
      await this.run('umount', ['-c', '-i', '-l', '--', target]);
    }
  }

  private async isMounted(target: string): Promise<boolean> {
    return (await this.list(target)).some((entry) => entry.mountPoint === target);
  }

  private async runMount(args: readonly string[]): Promise<void> {
    // -c: paths as they are; -i: no mount.TYPE helper programs.
    await this.run('mount', ['-c', '-i', ...args]);
  }

  private async run(program: string, args: readonly string[]): Promise<void> {
    const result = await runCommand(program, args, { deadlineMs: this.deadlineMs, clock: this.clock });
    if (result.exitCode === 0) return;
    const said = result.stderr.trim() || `exit code ${result.exitCode}`;
    throw new CodedError(classify(said), `${program} ${args.join(' ')}: ${said}`, { exitCode: result.exitCode });
  }
}

function classify(said: string): ErrorCode {
  if (/does not exist|no such file|special device .* does not exist/i.test(said)) return 'NotFound';
  if (/busy/i.test(said)) return 'Conflict';
  if (/permission denied|must be superuser|operation not permitted/i.test(said)) return 'Forbidden';
  return 'CommandFailed';
}

function absolute(path: string): string {
  if (path.startsWith('/')) return path;
  throw new CodedError('InvalidArgument', `mount path ${JSON.stringify(path)} must be absolute`);
}
