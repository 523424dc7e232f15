import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RealPrograms } from '../../src/host/command/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';

describe('RealPrograms', () => {
  const programs = new RealPrograms({ clock: new SystemClock() });
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'deckhand-test-programs-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  function script(name: string, body: string, mode = 0o755): string {
    const path = join(directory, name);
    writeFileSync(path, `#!/bin/sh\n${body}\n`);
    chmodSync(path, mode);
    return path;
  }

  const run = (path: string, more: object = {}) =>
    programs.run({ path, args: [], environment: {}, input: '', deadlineMs: 10_000, maxOutputBytes: 1000, ...more });

  it('gives input, arguments and environment, and takes both outputs', async () => {
    const path = script('echo', 'cat; echo "$1 $NAME $HOME"; echo oops >&2');
    const found = await run(path, { args: ['one'], environment: { NAME: 'two' }, input: 'in\n' });
    expect(found).toEqual({
      failure: undefined,
      stdout: `in\none two ${process.env['HOME'] ?? ''}\n`,
      stderr: 'oops\n',
    });
  });

  it('tells how it ended', async () => {
    expect(await run(script('three', 'exit 3'))).toMatchObject({ failure: 'exit status 3' });
    expect(await run(script('kill', 'kill -9 $$'))).toMatchObject({ failure: 'signal: killed' });
  });

  it('a program that reads nothing does no harm', async () => {
    expect(await run(script('deaf', 'exec 0<&-; echo ok'), { input: 'x'.repeat(1 << 20) })).toMatchObject({
      stdout: 'ok\n',
    });
  });

  it('is killed past its deadline, with its children', async () => {
    const path = script('slow', `sh -c 'sleep 60; touch ${directory}/late' & wait`);
    const began = performance.now();
    await expect(run(path, { deadlineMs: 200 })).rejects.toMatchObject({ code: 'DeadlineExceeded' });
    expect(performance.now() - began).toBeLessThan(5000);
  });

  it('may not write without end', async () => {
    await expect(run(script('loud', 'yes'))).rejects.toMatchObject({ code: 'ResourceExhausted' });
  });

  it('one that is not there, or may not be run, is told apart', async () => {
    await expect(run(join(directory, 'none'))).rejects.toMatchObject({ code: 'Unavailable' });
    await expect(programs.check(join(directory, 'none'))).rejects.toMatchObject({ code: 'NotFound' });
    await expect(programs.check(directory)).rejects.toMatchObject({ code: 'Forbidden' });
    await expect(programs.check(script('fine', ''))).resolves.toBeUndefined();
  });
});
