import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeLogind } from '../../src/host/logind/fake.ts';
import type { LogindPort } from '../../src/host/logind/port.ts';
import { RealLogind } from '../../src/host/logind/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { TestLogind } from '../harness/logind.ts';
import { PrivateBus } from '../harness/private-bus.ts';
import { waitFor } from '../harness/wait-for.ts';

const clock = new SystemClock();

interface Harness {
  readonly port: LogindPort;
  held(): number;
  announce(active: boolean): void;
  /** The bus goes away. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

function fake(): Harness {
  const port = new FakeLogind();
  return {
    port,
    held: () => port.held,
    announce: (active) => port.announce(active),
    stop: async () => {
      port.present = false;
      port.drop();
    },
    close: async () => {},
  };
}

/** RealLogind and a login manager of the tests' own, with a real dbus-daemon between them. */
async function real(): Promise<Harness & { readonly logind: TestLogind; readonly bus: PrivateBus }> {
  const directory = mkdtempSync(join(tmpdir(), 'dhbus-'));
  const bus = await PrivateBus.start(directory);
  const logind = await TestLogind.start(bus, directory);
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (!stopped) await bus.stop();
    stopped = true;
  };
  const environment = { DBUS_SYSTEM_BUS_ADDRESS: bus.address };
  return {
    port: new RealLogind({ environment, dropInDirectory: logind.dropInDirectory }, { clock }),
    logind,
    bus,
    held: () => logind.held().length,
    announce: (active) => (active ? void logind.shutDown() : logind.callOff()),
    stop,
    close: async () => {
      logind.close();
      await stop();
      rmSync(directory, { recursive: true });
    },
  };
}

describe.each(['fake', 'real'])('logind (%s)', (kind) => {
  let harness: Harness;

  beforeEach(async () => {
    harness = kind === 'fake' ? fake() : await real();
  });
  afterEach(() => harness.close());

  it('gives locks that hold until they are released, whatever becomes of the connection', async () => {
    const connection = await harness.port.connect();
    const [first, second] = [await connection.inhibitShutdown(), await connection.inhibitShutdown()];
    expect(harness.held()).toBe(2);
    first.release();
    first.release();
    await waitFor('the first lock to be gone', () => harness.held() === 1);
    connection.close();
    expect(harness.held()).toBe(1);
    second.release();
    await waitFor('the second lock to be gone', () => harness.held() === 0);
  });

  it('tells of shutdowns from then on', async () => {
    const connection = await harness.port.connect();
    const seen: boolean[] = [];
    await connection.watchShutdown((active) => seen.push(active));
    harness.announce(true);
    harness.announce(false);
    await waitFor('both', () => seen.length === 2);
    expect(seen).toEqual([true, false]);
    connection.close();
  });

  it('waits for longer when it is told to', async () => {
    const connection = await harness.port.connect();
    expect(await connection.inhibitDelayMs()).toBe(5000);
    await connection.overrideInhibitDelay(30_000);
    await waitFor('the new delay', async () => (await connection.inhibitDelayMs()) === 30_000);
    connection.close();
  });

  it('says that it has ended, and does nothing more', async () => {
    const connection = await harness.port.connect();
    await harness.stop();
    expect(await connection.ended).toMatch(/closed|reset/i);
    await expect(connection.inhibitShutdown()).rejects.toMatchObject({ code: 'Unavailable' });
    await expect(harness.port.connect()).rejects.toMatchObject({ code: 'Unavailable' });
  });
});

describe('logind over a real bus', () => {
  let harness: Awaited<ReturnType<typeof real>>;

  beforeEach(async () => {
    harness = await real();
  });
  afterEach(() => harness.close());

  it('asks in kubelet’s words, and leaves a drop-in in kubelet’s place', async () => {
    const { logind, port } = harness;
    const connection = await port.connect();
    const lock = await connection.inhibitShutdown();
    expect(logind.held()).toMatchObject([
      { what: 'shutdown', who: 'kubelet', why: 'Kubelet needs time to handle node shutdown', mode: 'delay' },
    ]);
    await connection.overrideInhibitDelay(30_000);
    expect(logind.killed).toEqual(['systemd-logind.service all 1']);
    expect(readFileSync(`${logind.dropInDirectory}/99-kubelet.conf`, 'utf8')).toBe(
      '# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=30\n',
    );
    lock.release();
    connection.close();
  });

  it('says what is wrong where there is a bus and no logind, or no bus', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dhbus-'));
    const bus = await PrivateBus.start(directory);
    const alone = new RealLogind({ environment: { DBUS_SYSTEM_BUS_ADDRESS: bus.address } }, { clock });
    const connection = await alone.connect();
    await expect(connection.inhibitDelayMs()).rejects.toMatchObject({ code: 'CommandFailed' });
    connection.close();
    await bus.stop();
    await expect(alone.connect()).rejects.toMatchObject({ code: 'Unavailable' });
    rmSync(directory, { recursive: true });
    const nowhere = new RealLogind({ environment: { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nowhere' } }, { clock });
    await expect(nowhere.connect()).rejects.toThrow(/connect to \/nowhere/);
  });
});
