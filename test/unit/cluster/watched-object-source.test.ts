import { afterEach, expect, test } from 'vitest';
import { WatchedObjectSource } from '../../../src/cluster/watched-object-source.ts';
import { CodedError } from '../../../src/kit/errors.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { failure, MemoryApi } from './memory-api.ts';

const { configmaps, secrets } = resources;
const closing: WatchedObjectSource[] = [];

function setUp() {
  const api = new MemoryApi();
  const clock = new ManualClock();
  const source = new WatchedObjectSource({ firstGetMs: 1000 }, { api, clock, logger: silent, random: () => 0.5 });
  closing.push(source);
  const told: string[] = [];
  source.subscribe((owners, key) => told.push(`${[...owners].sort().join('+')} ${key}`));
  const put = (x: string, more: Partial<ConfigMap> = {}): void => {
    api.put<ConfigMap>(configmaps, { metadata: { name: 'c', namespace: 'n' }, data: { x }, ...more });
  };
  return { api, clock, source, told, put };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof CodedError ? error.code : String(error)),
  );
}

afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});

test('owners share one watch, which ends with the last of them', async () => {
  const { api, clock, source, told, put } = setUp();
  put('1');
  source.need('a', configmaps, 'n', 'c');
  source.need('b', configmaps, 'n', 'c');
  source.need('b', configmaps, 'n', 'c');
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '1' });
  await clock.advance(0);
  expect(api.openWatches).toBe(1);
  told.length = 0;
  put('2');
  await clock.advance(0);
  expect(told).toEqual(['a+b ConfigMap/n/c']);
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '2' });
  source.release('a');
  await clock.advance(0);
  expect(api.openWatches).toBe(1);
  source.release('b');
  await clock.advance(0);
  expect(api.openWatches).toBe(0);
  expect(source.size).toBe(0);
});

test('release keeps what is in keep; kinds of one name are apart', async () => {
  const { api, clock, source, put } = setUp();
  put('1');
  api.put(secrets, { metadata: { name: 'c', namespace: 'n' } });
  source.need('a', configmaps, 'n', 'c');
  source.need('a', secrets, 'n', 'c');
  await clock.advance(0);
  expect(api.openWatches).toBe(2);
  source.release('a', new Set(['Secret/n/c']));
  await clock.advance(0);
  expect(api.openWatches).toBe(1);
  expect((await source.get(secrets, 'n', 'c')).kind).toBe('Secret');
});

test('an immutable object is not watched any longer', async () => {
  const { api, clock, source, put } = setUp();
  put('1', { immutable: true });
  source.need('a', configmaps, 'n', 'c');
  await clock.advance(0);
  expect(api.openWatches).toBe(0);
  let requests = 0;
  api.onRequest = () => {
    requests++;
  };
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '1' });
  expect(requests).toBe(0);
});

test('becoming immutable ends the watch, too', async () => {
  const { api, clock, source, put } = setUp();
  put('1');
  source.need('a', configmaps, 'n', 'c');
  await clock.advance(0);
  expect(api.openWatches).toBe(1);
  put('2', { immutable: true });
  await clock.advance(0);
  expect(api.openWatches).toBe(0);
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '2' });
});

test('an immutable object that was made anew is found by those who need it later', async () => {
  const { api, clock, source, told, put } = setUp();
  put('1', { immutable: true });
  source.need('a', configmaps, 'n', 'c');
  await clock.advance(0);
  told.length = 0;
  source.need('b', configmaps, 'n', 'c');
  await clock.advance(0);
  expect(told).toEqual([]);
  expect(api.openWatches).toBe(0);
  api.remove(configmaps, 'n/c');
  put('2', { immutable: true });
  source.need('d', configmaps, 'n', 'c');
  await clock.advance(0);
  expect(told).toContain('a+b+d ConfigMap/n/c');
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '2' });
  expect(api.openWatches).toBe(0);
});

test('what only container starts read is not watched for long, and is read anew when one does', async () => {
  const { api, clock, source, told, put } = setUp();
  put('1');
  source.need('a', configmaps, 'n', 'c', true);
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '1' });
  await clock.advance(4 * 60_000);
  expect(api.openWatches).toBe(1);
  await source.get(configmaps, 'n', 'c');
  await clock.advance(4 * 60_000);
  expect(api.openWatches).toBe(1);
  await clock.advance(2 * 60_000);
  expect(api.openWatches).toBe(0);
  told.length = 0;
  put('2');
  await clock.advance(0);
  expect(told).toEqual([]);
  const again = source.get<ConfigMap>(configmaps, 'n', 'c');
  await clock.advance(0);
  expect((await again).data).toEqual({ x: '2' });
  expect(api.openWatches).toBe(1);
});

test('what a volume shows is watched for as long as its pod lives', async () => {
  const { api, clock, source, put } = setUp();
  put('1');
  source.need('a', configmaps, 'n', 'c', true);
  source.need('b', configmaps, 'n', 'c');
  await clock.advance(60 * 60_000);
  expect(api.openWatches).toBe(1);
  source.release('b');
  await clock.advance(10 * 60_000);
  expect(api.openWatches).toBe(0);
});

test('deleted and made anew under the same name is told of and read', async () => {
  const { api, clock, source, told, put } = setUp();
  put('1');
  source.need('a', configmaps, 'n', 'c');
  await clock.advance(0);
  told.length = 0;
  api.remove(configmaps, 'n/c');
  await clock.advance(0);
  expect(await codeOf(source.get(configmaps, 'n', 'c'))).toBe('NotFound');
  put('2');
  await clock.advance(0);
  expect(told).toHaveLength(2);
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '2' });
});

test('absent is NotFound, and appears when it is made', async () => {
  const { clock, source, told, put } = setUp();
  source.need('a', configmaps, 'n', 'c');
  expect(await codeOf(source.get(configmaps, 'n', 'c'))).toBe('NotFound');
  put('1');
  await clock.advance(0);
  expect(told).toEqual(['a ConfigMap/n/c']);
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '1' });
});

test('what the watch has not brought yet is asked for before saying NotFound', async () => {
  const { api, clock, source, put } = setUp();
  source.need('a', configmaps, 'n', 'c');
  await clock.advance(0);
  api.onRequest = ({ verb }) => {
    if (verb === 'list' || verb === 'watch') throw failure('Unavailable', 500, 'x', 'away');
  };
  api.dropWatches();
  await clock.advance(0);
  put('1');
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '1' });
});

test('unknown while the API is away is Unavailable after a second, with the reason', async () => {
  const { api, clock, source, put } = setUp();
  put('1');
  api.onRequest = () => {
    throw failure('Forbidden', 403, 'Forbidden', 'not yours');
  };
  source.need('a', configmaps, 'n', 'c');
  const get = source.get(configmaps, 'n', 'c').catch((error: unknown) => error);
  await clock.advance(1000);
  const error = await get;
  expect(error).toMatchObject({ code: 'Unavailable' });
  expect((error as Error).message).toContain('not yours');
  expect(await codeOf(source.get(configmaps, 'n', 'unneeded'))).toBe('Unavailable');
  api.onRequest = () => {};
  await clock.advance(30_000);
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '1' });
});

test('what nobody needs is read directly', async () => {
  const { api, source, put } = setUp();
  put('1');
  expect((await source.get<ConfigMap>(configmaps, 'n', 'c')).data).toEqual({ x: '1' });
  expect(await codeOf(source.get(configmaps, 'n', 'other'))).toBe('NotFound');
  expect(api.openWatches).toBe(0);
});
