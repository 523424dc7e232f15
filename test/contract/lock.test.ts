import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { FakeLocks } from '../../src/host/lock/fake.ts';
import type { HeldLock, LockPort } from '../../src/host/lock/port.ts';
import { RealLocks } from '../../src/host/lock/real.ts';
import { waitFor } from '../harness/wait-for.ts';

const dir = mkdtempSync(join(tmpdir(), 'dhcfg-lock-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const FLOCK = '/usr/bin/flock';
const never = new AbortController().signal;
let files = 0;
const held: HeldLock[] = [];
afterEach(async () => {
  for (const lock of held.splice(0)) await lock.release();
});
async function take(locks: LockPort, path: string): Promise<HeldLock> {
  const lock = await locks.acquire(path, never);
  held.push(lock);
  return lock;
}

describe.each<[string, () => LockPort, boolean]>([
  ['fake', () => new FakeLocks([join(dir, 'absent/lock')]), true],
  ['real', () => new RealLocks(), existsSync(FLOCK)],
])('locks: %s', (_name, make, possible) => {
  const path = (): string => join(dir, `lock-${files++}`);

  test.runIf(possible)('one holds it, the next waits until it is released, which the first can see', async () => {
    const locks = make();
    const file = path();
    const first = await take(locks, file);
    expect(await first.contended()).toBe(false);
    let second: HeldLock | undefined;
    const waiting = take(locks, file).then((lock) => {
      second = lock;
    });
    await waitFor('the waiter to be seen', () => first.contended());
    expect(second).toBeUndefined();
    await first.release();
    await waiting;
    expect(second).toBeDefined();
    expect(await second?.contended()).toBe(false);
  });

  test.runIf(possible)('different files do not wait for each other; one lock is taken again and again', async () => {
    const locks = make();
    await take(locks, path());
    const file = path();
    for (let round = 0; round < 3; round++) await (await locks.acquire(file, never)).release();
    const last = await take(locks, file);
    await last.release();
    await last.release();
  });

  test.runIf(possible)('who waits may give up, and is no longer seen', async () => {
    const locks = make();
    const file = path();
    const first = await take(locks, file);
    const stop = new AbortController();
    const second = locks.acquire(file, stop.signal);
    await waitFor('the waiter to be seen', () => first.contended());
    stop.abort();
    await expect(second).rejects.toMatchObject({ code: 'Aborted' });
    await waitFor('the waiter to be gone', async () => !(await first.contended()));
  });

  test.runIf(possible)('a file that cannot be opened', async () => {
    await expect(make().acquire(join(dir, 'absent/lock'), never)).rejects.toMatchObject({ code: 'InvalidConfig' });
  });
});

test.runIf(existsSync(FLOCK))('it is the lock that flock(1), and so kubelet, takes', async () => {
  const file = join(dir, 'shared');
  const other: ChildProcess = spawn(FLOCK, ['--exclusive', file, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = once(other, 'close');
  if (other.stdout === null || other.stdin === null) throw new Error('no pipes');
  await once(other.stdout, 'data');
  let got = false;
  const mine = new RealLocks().acquire(file, never).then((lock) => {
    got = true;
    return lock;
  });
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(got).toBe(false);
  other.stdin.end();
  await closed;
  await (await mine).release();
});
