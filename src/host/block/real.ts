import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import { type CommandResult, runCommand } from '../command/run-command.ts';
import { type BlockDevices, PARTITIONS } from './port.ts';

const QUICK_MS = 10_000;
/** Large disks take their time. */
const SLOW_MS = 100_000;

/** Options of mkfs that kubelet gives (mount-utils formatAndMountSensitive). */
const FORMAT: Readonly<Record<string, readonly string[]>> = { ext3: ['-F', '-m0'], ext4: ['-F', '-m0'], xfs: ['-f'] };

/** fsck(8): 1 errors corrected, 4 errors left. */
const CORRECTED = 1;
const LEFT = 4;

/** Block devices through util-linux's losetup and blkid, mkfs and fsck. */
export class RealBlockDevices implements BlockDevices {
  private readonly clock: Clock;

  constructor(deps: { readonly clock: Clock }) {
    this.clock = deps.clock;
  }

  async loopOf(path: string): Promise<string | undefined> {
    const wanted = new Set([path, await realpath(path).catch(() => path)]);
    for (const name of await readdir('/sys/block')) {
      if (!name.startsWith('loop')) continue;
      const backing = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
      // The kernel marks one whose name is gone.
      if (wanted.has(backing.trimEnd().replace(/ \(deleted\)$/, ''))) return `/dev/${name}`;
    }
    return undefined;
  }

  async attachLoop(path: string): Promise<string> {
    const { stdout } = await this.must('losetup', ['-f', '--show', path]);
    return stdout.trim();
  }

  async detachLoop(device: string): Promise<void> {
    try {
      await this.must('losetup', ['-d', device]);
    } catch (error) {
      if (hasCode(error, 'CommandFailed') && (await isFree(device))) return;
      throw error;
    }
  }

  async contents(device: string): Promise<string | undefined> {
    const args = ['-p', '-s', 'TYPE', '-s', 'PTTYPE', '-o', 'export', device];
    const { exitCode, stdout, stderr } = await this.run('blkid', args, QUICK_MS);
    // blkid(8): 2 when the device holds nothing that was asked for.
    if (exitCode === 2) {
      await mustExist(device);
      return undefined;
    }
    if (exitCode !== 0) throw failed('blkid', args, exitCode, `${stdout}${stderr}`);
    if (/^PTTYPE=/m.test(stdout)) return PARTITIONS;
    return /^TYPE=(.+)$/m.exec(stdout)?.[1];
  }

  async format(device: string, type: string): Promise<void> {
    await this.must(`mkfs.${type}`, [...(FORMAT[type] ?? []), device], SLOW_MS);
  }

  async check(device: string): Promise<void> {
    let result: CommandResult;
    try {
      result = await this.run('fsck', ['-a', device], SLOW_MS);
    } catch (error) {
      // Without the program the mount is tried as it is (mount-utils checkAndRepairFilesystem).
      if (hasCode(error, 'Unavailable')) return;
      throw error;
    }
    const { exitCode, stdout, stderr } = result;
    if ((exitCode & LEFT) === 0 || exitCode === CORRECTED) return;
    const message = `'fsck' found errors on device ${device} but could not correct them: ${stdout}${stderr}`;
    throw new CodedError('CommandFailed', message.trim(), { device, exitCode });
  }

  private async must(program: string, args: readonly string[], deadlineMs = QUICK_MS): Promise<CommandResult> {
    const result = await this.run(program, args, deadlineMs);
    if (result.exitCode === 0) return result;
    throw failed(program, args, result.exitCode, `${result.stdout}${result.stderr}`);
  }

  private run(program: string, args: readonly string[], deadlineMs: number): Promise<CommandResult> {
    return runCommand(program, args, { deadlineMs, clock: this.clock });
  }
}

async function isFree(device: string): Promise<boolean> {
  const name = device.slice(device.lastIndexOf('/') + 1);
  const backing = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => undefined);
  return backing === undefined;
}

async function mustExist(device: string): Promise<void> {
  if ((await stat(device).catch(() => undefined)) !== undefined) return;
  throw new CodedError('NotFound', `${device} does not exist`, { device });
}

function failed(program: string, args: readonly string[], exitCode: number, said: string): CodedError {
  const words = said.trim() || `exit code ${exitCode}`;
  const code = /no such file|does not exist/i.test(words) ? 'NotFound' : 'CommandFailed';
  return new CodedError(code, `${program} ${args.join(' ')} failed: ${words}`, { exitCode });
}
