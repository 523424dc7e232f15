import { spawn } from 'node:child_process';
import { copyFile, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/kit/clock.ts';
import { type Fields, silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { KubeObject } from '../../../../src/model/meta.ts';
import { resources } from '../../../../src/model/resource.ts';
import type { StoredEvent } from '../../../../src/standalone/port.ts';
import { WalStore, type WalStoreDeps, type WalStoreOptions } from '../../../../src/standalone/store/wal-store.ts';
import { QuotaStorage } from './quota-storage.ts';

const { configmaps, pods, events, nodes } = resources;
let folder: string;
let path: string;
const opened: WalStore[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dhapi-store-'));
  path = join(folder, 'store.wal');
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close().catch(() => undefined);
  await rm(folder, { recursive: true, force: true });
});

async function openStore(options: Partial<WalStoreOptions> = {}, deps: Partial<WalStoreDeps> = {}): Promise<WalStore> {
  const store = await WalStore.open({ path, ...options }, { clock: new SystemClock(), log: silent, ...deps });
  opened.push(store);
  return store;
}

const configMap = (name: string, value: string): KubeObject & { data: Record<string, string> } => ({
  metadata: { name, namespace: 'default' },
  data: { value },
});
const dataOf = (object: KubeObject | undefined): unknown => (object as { data?: unknown } | undefined)?.data;

/** The file as it is now, under another name: what a crash at this moment would leave. */
async function crashCopy(name = 'crashed.wal'): Promise<string> {
  const copy = join(folder, name);
  await copyFile(path, copy);
  return copy;
}

describe('objects', () => {
  it('sets what is the store’s to set, and freezes what it hands out', async () => {
    const store = await openStore({}, { clock: new ManualClock(Date.UTC(2026, 0, 2, 3, 4, 5)) });
    const input = { metadata: { name: 'a', namespace: 'default' }, spec: { containers: [{ name: 'c' }] } };
    const created = await store.create(pods, input);
    expect(created).toMatchObject({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { resourceVersion: '1', generation: 1, creationTimestamp: '2026-01-02T03:04:05Z' },
    });
    expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(() => Object.assign(created.metadata, { labels: {} })).toThrow(TypeError);
    input.spec.containers.push({ name: 'mine to change' });
    expect(store.get(pods, 'default', 'a')).toMatchObject({ spec: { containers: [{ name: 'c' }] } });
  });

  it('counts generations for specs and the begin of deletion, not for status and metadata', async () => {
    const store = await openStore();
    const base = { metadata: { name: 'a', namespace: 'default' } };
    await store.create(pods, { ...base, spec: { nodeName: 'x' } } as KubeObject);
    const status = await store.update(pods, {
      ...base,
      spec: { nodeName: 'x' },
      status: { phase: 'Running' },
    } as KubeObject);
    expect(status.metadata.generation).toBe(1);
    const spec = await store.update(pods, { ...base, spec: { nodeName: 'y' } } as KubeObject);
    expect(spec.metadata.generation).toBe(2);
    const deleting = await store.update(pods, {
      metadata: { ...base.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' },
      spec: { nodeName: 'y' },
    } as KubeObject);
    expect(deleting.metadata.generation).toBe(3);
  });

  it('refuses a second create, an update of nothing, a stale version and another uid', async () => {
    const store = await openStore();
    const first = await store.create(configmaps, configMap('a', '1'));
    await expect(store.create(configmaps, configMap('a', '2'))).rejects.toMatchObject({ code: 'AlreadyExists' });
    await expect(store.update(configmaps, configMap('b', '2'))).rejects.toMatchObject({ code: 'NotFound' });
    await expect(store.remove(configmaps, 'default', 'b')).rejects.toMatchObject({ code: 'NotFound' });
    await store.update(configmaps, { ...configMap('a', '2'), metadata: first.metadata });
    await expect(store.update(configmaps, { ...configMap('a', '3'), metadata: first.metadata })).rejects.toMatchObject({
      code: 'Conflict',
    });
    const stranger = { ...configMap('a', '3'), metadata: { name: 'a', namespace: 'default', uid: 'other' } };
    await expect(store.update(configmaps, stranger)).rejects.toMatchObject({ code: 'Conflict' });
    expect(dataOf(store.get(configmaps, 'default', 'a'))).toEqual({ value: '2' });
  });

  it('writes nothing for an update without a difference, whatever the order of keys', async () => {
    const store = await openStore();
    const first = await store.create(configmaps, {
      metadata: { name: 'a', namespace: 'default' },
      data: { x: '1', y: '2' },
    } as KubeObject);
    const before = store.size.fileBytes;
    const again = await store.update(configmaps, {
      data: { y: '2', x: '1' },
      metadata: { namespace: 'default', name: 'a' },
    } as KubeObject);
    expect(again).toBe(first);
    expect(store.size.fileBytes).toBe(before);
  });

  it('lists in the order of namespace/name, one namespace apart from those that begin like it', async () => {
    const store = await openStore();
    for (const [namespace, name] of [
      ['b', 'z'],
      ['a-b', 'x'],
      ['a', 'y'],
      ['a', 'b'],
      ['a0', 'c'],
    ] as const) {
      await store.create(configmaps, { metadata: { namespace, name } });
    }
    const keys = store.list(configmaps).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    expect(keys).toEqual(['a-b/x', 'a/b', 'a/y', 'a0/c', 'b/z']);
    expect(store.list(configmaps, 'a').map(({ metadata }) => metadata.name)).toEqual(['b', 'y']);
  });

  it('shares unchanged parts between versions', async () => {
    const store = await openStore();
    const metadata = { name: 'a', namespace: 'default' };
    const before = (await store.create(pods, { metadata, spec: { deep: { list: [1, 2] } } } as KubeObject)) as never;
    const after = (await store.update(pods, {
      metadata,
      spec: { deep: { list: [1, 2] } },
      status: { phase: 'Running' },
    } as KubeObject)) as never;
    expect(after['spec']).toBe(before['spec']);
  });
});

describe('events', () => {
  it('tells subscribers in order, after the change is on disk', async () => {
    const storage = new QuotaStorage();
    const store = await openStore({}, { storage });
    const seen: [string, number, number][] = [];
    store.subscribe((event) => seen.push([event.type, event.resourceVersion, storage.syncs]));
    const before = storage.syncs;
    const created = store.create(configmaps, configMap('a', '1'));
    expect(seen).toEqual([]);
    await created;
    await store.update(configmaps, configMap('a', '2'));
    await store.remove(configmaps, 'default', 'a');
    expect(seen.map(([type, version]) => [type, version])).toEqual([
      ['ADDED', 1],
      ['MODIFIED', 2],
      ['DELETED', 3],
    ]);
    expect(seen[0]?.[2]).toBeGreaterThan(before);
  });

  it('keeps a bounded history', async () => {
    const store = await openStore({ historySize: 10 });
    for (let i = 0; i < 35; i++) await store.create(configmaps, configMap(`c${i}`, ''));
    expect(store.eventsSince(24)).toBeUndefined();
    expect(store.eventsSince(25)?.map((event) => event.resourceVersion)).toEqual([
      26, 27, 28, 29, 30, 31, 32, 33, 34, 35,
    ]);
    expect(store.eventsSince(35)).toEqual([]);
    expect(store.eventsSince(36)).toBeUndefined();
    store.forgetHistory();
    expect(store.eventsSince(34)).toBeUndefined();
    expect(store.eventsSince(35)).toEqual([]);
  });

  it('still has the history after a restart', async () => {
    const store = await openStore();
    await store.create(configmaps, configMap('a', '1'));
    await store.update(configmaps, configMap('a', '2'));
    await store.remove(configmaps, 'default', 'a');
    await store.close();
    const again = await openStore();
    expect(again.resourceVersion).toBe(3);
    const shape = (event: StoredEvent): unknown => [
      event.type,
      dataOf(event.previous),
      event.object.metadata.resourceVersion,
    ];
    expect(again.eventsSince(1)?.map(shape)).toEqual([
      ['MODIFIED', { value: '1' }, '2'],
      ['DELETED', { value: '2' }, '3'],
    ]);
  });

  it('after an unclean stop, skips versions and calls the skipped ones too old', async () => {
    const store = await openStore();
    await store.create(configmaps, configMap('a', '1'));
    const copy = await crashCopy();
    const again = await WalStore.open({ path: copy }, { clock: new SystemClock(), log: silent });
    opened.push(again);
    expect(again.resourceVersion).toBeGreaterThan(1000);
    expect(again.eventsSince(1)).toEqual([]);
    expect(again.eventsSince(2)).toBeUndefined();
    const next = await again.create(configmaps, configMap('b', '1'));
    expect(Number(next.metadata.resourceVersion)).toBe(again.resourceVersion);
    await again.close();
    const third = await WalStore.open({ path: copy }, { clock: new SystemClock(), log: silent });
    opened.push(third);
    expect(third.eventsSince(2)).toBeUndefined();
    expect(third.eventsSince(1)).toHaveLength(1);
  });
});

describe('pages', () => {
  it('continues a list as it was at its first page', async () => {
    const store = await openStore();
    for (const name of ['a', 'b', 'c', 'd', 'e']) await store.create(configmaps, configMap(name, 'old'));
    const version = store.resourceVersion;
    const first = store.page(configmaps, { limit: 2, version });
    expect(first?.remaining).toBe(3);
    await store.remove(configmaps, 'default', 'c');
    await store.update(configmaps, configMap('d', 'new'));
    await store.create(configmaps, configMap('dd', 'new'));
    void store.create(configmaps, configMap('ddd', 'not yet on disk'));
    const rest = store.page(configmaps, { after: first?.next, version });
    expect(rest?.objects.map((object) => [object.metadata.name, dataOf(object)])).toEqual([
      ['c', { value: 'old' }],
      ['d', { value: 'old' }],
      ['e', { value: 'old' }],
    ]);
    store.forgetHistory();
    expect(store.page(configmaps, { after: first?.next, version })).toBeUndefined();
  });

  it('counts the limit after the filter', async () => {
    const store = await openStore();
    for (let i = 0; i < 10; i++) await store.create(configmaps, configMap(`c${i}`, i % 3 === 0 ? 'yes' : 'no'));
    const matches = (object: KubeObject): boolean => (dataOf(object) as { value: string }).value === 'yes';
    const version = store.resourceVersion;
    const names: unknown[] = [];
    let after: string | undefined;
    do {
      const page = store.page(configmaps, { limit: 2, version, matches, after });
      names.push(page?.objects.map(({ metadata }) => metadata.name));
      after = page?.next;
    } while (after !== undefined);
    expect(names).toEqual([
      ['c0', 'c3'],
      ['c6', 'c9'],
    ]);
  });
});

describe('crashes', () => {
  // More than a thousand files are written, synced and read.
  it('opens whatever is left when the file is cut at any byte of the last records', { timeout: 120_000 }, async () => {
    const store = await openStore();
    for (let i = 0; i < 6; i++) await store.create(configmaps, configMap(`c${i}`, `ü${i}`));
    await store.update(configmaps, configMap('c0', 'changed'));
    await store.remove(configmaps, 'default', 'c1');
    const whole = await readFile(await crashCopy());
    const ends: number[] = [];
    for (let at = whole.indexOf(10); at >= 0; at = whole.indexOf(10, at + 1)) ends.push(at + 1);
    const cut = join(folder, 'cut.wal');
    for (let length = 0; length <= whole.length; length++) {
      await writeFile(cut, whole.subarray(0, length));
      const lines: [Fields, string][] = [];
      const log = { ...silent, warn: (fields: Fields, message: string) => void lines.push([fields, message]) };
      const reopened = await WalStore.open({ path: cut }, { clock: new SystemClock(), log });
      const records = Math.max(0, ends.filter((end) => end <= length).length - 1);
      const expected: string[] = [];
      for (let i = 0; i < Math.min(records, 6); i++) {
        if (i === 1 && records >= 8) continue;
        expected.push(`c${i}=${i === 0 && records >= 7 ? 'changed' : `ü${i}`}`);
      }
      const found = reopened
        .list(configmaps)
        .map((object) => `${object.metadata.name}=${(dataOf(object) as { value: string }).value}`);
      expect(found, `cut at ${length}`).toEqual(expected);
      expect(lines.length > 0, `cut at ${length} is logged`).toBe(length > 0 && !ends.includes(length));
      // It can be written and read again.
      if (length % 7 === 0) {
        await reopened.create(configmaps, configMap('after', 'crash'));
        await reopened.close();
        const third = await WalStore.open({ path: cut }, { clock: new SystemClock(), log: silent });
        expect(dataOf(third.get(configmaps, 'default', 'after'))).toEqual({ value: 'crash' });
        await third.close();
      } else {
        await reopened.close();
      }
    }
  });

  it('takes a damaged unsynced batch for a torn tail, although later blocks of it reached the disk', async () => {
    const store = await openStore();
    await store.create(configmaps, configMap('kept', '1'));
    const durable = store.size.fileBytes;
    await Promise.all(['x', 'y', 'z'].map((name) => store.create(configmaps, configMap(name, '1'))));
    const copy = await crashCopy();
    await damage(copy, durable + 40);
    const again = await WalStore.open({ path: copy }, { clock: new SystemClock(), log: silent });
    opened.push(again);
    expect(again.list(configmaps).map(({ metadata }) => metadata.name)).toEqual(['kept']);
  });

  it('sets the file aside and refuses to start when durable data is damaged', async () => {
    const store = await openStore();
    await store.create(configmaps, configMap('first', '1'));
    const durable = store.size.fileBytes;
    await store.create(configmaps, configMap('second', '1'));
    await store.create(configmaps, configMap('third', '1'));
    await store.close();
    await damage(path, durable - 30);
    const reopen = (): Promise<WalStore> => openStore();
    await expect(reopen()).rejects.toMatchObject({
      code: 'InvalidObject',
      message: expect.stringContaining('is damaged'),
    });
    expect((await stat(`${path}.corrupt`)).size).toBeGreaterThan(0);
    await expect(reopen()).rejects.toMatchObject({
      message: expect.stringContaining('remove it to start with an empty'),
    });
    await rm(`${path}.corrupt`);
    expect((await reopen()).list(configmaps)).toEqual([]);
  });

  it('refuses a file that is something else', async () => {
    await writeFile(path, '#!/bin/sh\n');
    await expect(openStore()).rejects.toMatchObject({ message: expect.stringContaining('not the header') });
  });

  it('lets one process at a time have it', async () => {
    await openStore();
    await expect(openStore()).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringContaining('has it open'),
    });
  });

  it('loses nothing acknowledged when its process is killed at any moment', async () => {
    const script = join(folder, 'writer.mjs');
    await build({
      entryPoints: [new URL('./store-writer.ts', import.meta.url).pathname],
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: script,
    });
    const acknowledged = new Map<string, string>();
    let highest = 0;
    for (let round = 0; round < 12; round++) {
      const output = await runAndKill(script, String(round), 40 + round * 17);
      for (const line of output.split('\n').slice(0, -1)) {
        const [word, name = '', value = '', version = ''] = line.split(' ');
        if (word === 'opened') expect(Number(name)).toBeGreaterThanOrEqual(highest);
        if (word !== 'ack') continue;
        acknowledged.set(name, value);
        expect(Number(version)).toBeGreaterThan(0);
        highest = Math.max(highest, Number(version));
      }
      const store = await openStore();
      for (const [name, value] of acknowledged) {
        const found =
          (dataOf(store.get(configmaps, 'default', name)) as { value: string } | undefined)?.value ?? 'lost';
        const [ackRound = 0, ackStep = 0] = value.split('/').map(Number);
        const [foundRound = -1, foundStep = -1] = found.split('/').map(Number);
        // The write after the last acknowledged one may or may not have made it.
        expect(foundRound, `${name}: acknowledged ${value}, found ${found}`).toBe(ackRound);
        expect(foundStep, `${name}: acknowledged ${value}, found ${found}`).toBeGreaterThanOrEqual(ackStep);
      }
      await store.close();
    }
    expect(acknowledged.size).toBeGreaterThan(30);
  });

  async function runAndKill(script: string, round: string, afterMs: number): Promise<string> {
    const child = spawn(process.execPath, [script, path, round], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (data) => {
        if (output === '') setTimeout(() => child.kill('SIGKILL'), afterMs);
        output += data;
      });
      // Its pipe closes before the process is gone, and until then it holds the store.
      child.on('close', () => resolve());
    });
    return output;
  }
});

async function damage(file: string, offset: number): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(Buffer.from('\0\0\0'), 0, 3, offset);
  await handle.close();
}

describe('disk trouble', () => {
  it('shares one fsync between concurrent writes', async () => {
    const storage = new QuotaStorage();
    const store = await openStore({}, { storage });
    const before = storage.syncs;
    await Promise.all(Array.from({ length: 200 }, (_, i) => store.create(configmaps, configMap(`c${i}`, ''))));
    expect(storage.syncs - before).toBeLessThanOrEqual(2);
  });

  it('does not wait for the disk with Events, and syncs them within a second', async () => {
    const storage = new QuotaStorage();
    const clock = new ManualClock();
    const store = await openStore({}, { storage, clock });
    const before = storage.syncs;
    for (let i = 0; i < 5; i++) await store.create(events, { metadata: { name: `e${i}`, namespace: 'default' } });
    expect(storage.syncs).toBe(before);
    await clock.advance(1_100);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(storage.syncs).toBe(before + 1);
    // Written is enough to survive the death of the process.
    const again = await WalStore.open({ path: await crashCopy() }, { clock, log: silent });
    opened.push(again);
    expect(again.list(events)).toHaveLength(5);
  });

  it('undoes what a full disk refused, says so to the writers, and goes on when there is room', async () => {
    const storage = new QuotaStorage();
    const store = await openStore({}, { storage });
    await store.create(configmaps, configMap('a', '1'));
    const told: StoredEvent[] = [];
    store.subscribe((event) => told.push(event));
    storage.free = 100;
    const writes = [
      store.update(configmaps, configMap('a', '2')),
      store.create(configmaps, configMap('b', '1')),
      store.remove(configmaps, 'default', 'a'),
    ];
    const read = store.durably(() => store.get(configmaps, 'default', 'b'));
    for (const result of await Promise.allSettled(writes)) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'Unavailable', message: expect.stringContaining('no space is left') },
      });
    }
    expect(await read).toBeUndefined();
    expect(dataOf(store.get(configmaps, 'default', 'a'))).toEqual({ value: '1' });
    expect(told).toEqual([]);
    storage.free = Number.POSITIVE_INFINITY;
    const versionBefore = store.resourceVersion;
    const written = await store.create(configmaps, configMap('b', '2'));
    expect(Number(written.metadata.resourceVersion)).toBe(versionBefore + 1);
    await store.close();
    const again = await openStore();
    expect(again.list(configmaps).map(dataOf)).toEqual([{ value: '1' }, { value: '2' }]);
  });

  it('rewrites the file after a failed fsync before it takes more', async () => {
    const storage = new QuotaStorage();
    const clock = new ManualClock();
    const store = await openStore({}, { storage, clock });
    await store.create(configmaps, configMap('a', '1'));
    storage.syncFailure = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
    await expect(store.create(configmaps, configMap('b', '1'))).rejects.toMatchObject({ code: 'Unavailable' });
    await expect(store.create(configmaps, configMap('c', '1'))).rejects.toMatchObject({ code: 'Unavailable' });
    expect(store.list(configmaps)).toHaveLength(1);
    storage.syncFailure = undefined;
    await clock.advance(1_500);
    await expect
      .poll(
        () =>
          store.create(configmaps, configMap('d', '1')).then(
            () => true,
            () => false,
          ),
        { timeout: 5_000 },
      )
      .toBe(true);
    const again = await WalStore.open({ path: await crashCopy() }, { clock, log: silent });
    opened.push(again);
    expect(again.list(configmaps).map(({ metadata }) => metadata.name)).toEqual(['a', 'd']);
  });

  it('compacts when most of the file is garbage, with writers at work', async () => {
    const store = await openStore({ compactAtBytes: 50_000 });
    const writers = ['a', 'b', 'c', 'd'].map(async (name) => {
      await store.create(nodes, { metadata: { name } });
      for (let i = 0; i < 300; i++) {
        await store.update(nodes, { metadata: { name, labels: { i: String(i), filler: 'x'.repeat(300) } } });
      }
    });
    await Promise.all(writers);
    expect(store.size.fileBytes).toBeLessThan(150_000);
    const versions = store.list(nodes).map(({ metadata }) => metadata.resourceVersion);
    const version = store.resourceVersion;
    const crashed = await WalStore.open({ path: await crashCopy() }, { clock: new SystemClock(), log: silent });
    opened.push(crashed);
    expect(crashed.list(nodes).map(({ metadata }) => metadata.resourceVersion)).toEqual(versions);
    await store.close();
    const again = await openStore();
    expect(again.resourceVersion).toBe(version);
    expect(again.list(nodes).map(({ metadata }) => metadata.labels?.['i'])).toEqual(['299', '299', '299', '299']);
    await expect(stat(`${path}.new`)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('goes on with the old file when there is no room to compact', async () => {
    const storage = new QuotaStorage();
    const store = await openStore({ compactAtBytes: 20_000 }, { storage });
    // Room for records, next to none for snapshots: a compaction runs beside the writes, and must not take theirs.
    storage.spared = (path) => !path.endsWith('.new');
    await store.create(nodes, { metadata: { name: 'big', labels: { filler: 'y'.repeat(30_000) } } });
    for (let i = 0; i < 80; i++) {
      storage.free = 100;
      await store.update(nodes, { metadata: { name: 'big', labels: { i: String(i), filler: 'y'.repeat(2_000) } } });
    }
    expect(store.get(nodes, undefined, 'big')?.metadata.labels?.['i']).toBe('79');
    await store.close();
    expect(storage.refusals).toBeGreaterThan(0);
  });
});

it('is a map that survives restarts, whatever is done to it', async () => {
  const step = fc.record({
    what: fc.constantFrom('put', 'put', 'put', 'remove', 'restart', 'crash'),
    name: fc.constantFrom('a', 'b', 'c'),
    value: fc.string({ maxLength: 12 }),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      let file = join(folder, `property-${run++}.wal`);
      const deps = { clock: new SystemClock(), log: silent };
      let store = await WalStore.open({ path: file, compactAtBytes: 1_000 }, deps);
      const model = new Map<string, string>();
      let version = 0;
      for (const { what, name, value } of steps) {
        if (what === 'put') {
          if (model.has(name)) await store.update(configmaps, configMap(name, value));
          else await store.create(configmaps, configMap(name, value));
          model.set(name, value);
        } else if (what === 'remove' && model.delete(name)) {
          await store.remove(configmaps, 'default', name);
        } else if (what === 'restart') {
          await store.close();
          store = await WalStore.open({ path: file, compactAtBytes: 1_000 }, deps);
        } else if (what === 'crash') {
          const copy = join(folder, `property-${run++}.wal`);
          await copyFile(file, copy);
          await truncate(copy, (await stat(copy)).size);
          await store.close();
          file = copy;
          store = await WalStore.open({ path: file, compactAtBytes: 1_000 }, deps);
        }
        expect(store.resourceVersion).toBeGreaterThanOrEqual(version);
        version = store.resourceVersion;
        const found = store.list(configmaps).map((o) => [o.metadata.name, (dataOf(o) as { value: string }).value]);
        expect(found).toEqual([...model].sort());
      }
      await store.close();
    }),
    { numRuns: 25 },
  );
});
