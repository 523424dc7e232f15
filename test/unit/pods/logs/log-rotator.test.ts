import { gunzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { type Logger, silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { LogRotator } from '../../../../src/pods/logs/log-rotator.ts';

const LOG = '/logs/ns_p_u/c/0.log';
const SECOND = 1000;

describe('LogRotator', () => {
  let files: FakeFiles;
  let clock: ManualClock;
  let warnings: string[];
  let reopened: number;
  let refuses: boolean;
  let rotator: LogRotator;

  beforeEach(async () => {
    files = new FakeFiles();
    clock = new ManualClock();
    warnings = [];
    reopened = 0;
    refuses = false;
    const log: Logger = { ...silent, warn: (_fields, message) => void warnings.push(message), child: () => log };
    rotator = new LogRotator(
      { maxBytes: 10, maxFiles: 3, workers: 1, everyMs: 10 * SECOND },
      {
        liveLogs: () => [{ containerId: 'c1', path: LOG }],
        cri: {
          // What a runtime does: it lets go of the old file and makes a new one.
          reopenContainerLog: async () => {
            if (refuses) throw new Error('container not running');
            reopened++;
            await files.createFile(LOG, 0o640);
          },
        },
        files,
        clock,
        log,
      },
    );
    await files.makeDirectory('/logs/ns_p_u/c', 0o755, 0o755);
  });

  const names = async (): Promise<string[]> => ((await files.list('/logs/ns_p_u/c')) ?? []).sort();
  const look = async (): Promise<void> => {
    rotator.look();
    await rotator.idle();
    await clock.advance(10 * SECOND);
  };

  it('leaves a small log alone', async () => {
    await files.write(LOG, 'x'.repeat(9), 0o640);
    await look();
    expect(await names()).toEqual(['0.log']);
    expect(reopened).toBe(0);
  });

  it('keeps the newest plain, gzips older ones, and keeps no more than asked', async () => {
    for (const letter of 'abcde') {
      await files.write(LOG, letter.repeat(10), 0o640);
      await look();
    }
    const [live, older, newest] = await names();
    expect(await names()).toHaveLength(3);
    expect(live).toBe('0.log');
    expect(older).toMatch(/^0\.log\.\d{8}-\d{6}\.gz$/);
    expect(newest).toMatch(/^0\.log\.\d{8}-\d{6}$/);
    expect(gunzipSync(await files.read(`/logs/ns_p_u/c/${older}`)).toString()).toBe('dddddddddd');
    expect((await files.read(`/logs/ns_p_u/c/${newest}`)).toString()).toBe('eeeeeeeeee');
    expect(reopened).toBe(5);
  });

  it('gives the log its name back when the runtime does not reopen it, and says so once', async () => {
    await files.write(LOG, 'x'.repeat(10), 0o640);
    refuses = true;
    await look();
    await look();
    expect(await names()).toEqual(['0.log']);
    expect((await files.read(LOG)).toString()).toBe('xxxxxxxxxx');
    expect(warnings).toHaveLength(1);
    refuses = false;
    await look();
    expect(await names()).toHaveLength(2);
  });

  it('has a missing log made anew', async () => {
    await look();
    expect(reopened).toBe(1);
    expect(await names()).toEqual(['0.log']);
  });

  it('touches nothing behind a link in the log’s place', async () => {
    await files.makeDirectory('/etc', 0o755);
    await files.write('/etc/passwd', 'root'.repeat(10), 0o644);
    await files.symlink('/etc/passwd', LOG);
    await look();
    expect((await files.read('/etc/passwd')).toString()).toBe('root'.repeat(10));
    expect(await names()).toEqual(['0.log']);
    expect(reopened).toBe(0);
  });

  it('rotates nothing with a negative size', async () => {
    await files.write(LOG, 'x'.repeat(99), 0o640);
    const off = new LogRotator({ maxBytes: -1, maxFiles: 3, workers: 1, everyMs: 1 }, { ...rotator['deps'] });
    await off.run(new AbortController().signal);
    expect(await names()).toEqual(['0.log']);
  });
});
