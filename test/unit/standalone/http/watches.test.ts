import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestClient, type TestWatch } from '../api-client.ts';
import { startEmbeddedApi } from '../embedded-api.ts';

let server: Awaited<ReturnType<typeof startEmbeddedApi>>;
let client: TestClient;
let open: TestWatch[] = [];

const PATH = '/api/v1/namespaces/default/configmaps';
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';

beforeAll(async () => {
  server = await startEmbeddedApi({ historySize: 200 });
  client = await TestClient.fromKubeconfig(server.api.kubeconfigPath);
  return async () => {
    for (const watch of open) watch.close();
    open = [];
  };
});

afterAll(async () => {
  client.close();
  await server.close();
});

async function watch(query: string, accept?: string): Promise<TestWatch> {
  const opened = await client.watch(`${PATH}?watch=true&${query}`, accept === undefined ? {} : { accept });
  open.push(opened);
  return opened;
}

const make = async (
  name: string,
  labels: Record<string, string> = {},
  data: Record<string, string> = {},
): Promise<string> => (await client.post(PATH, { metadata: { name, labels }, data })).body.metadata.resourceVersion;
const merge = (name: string, patch: object) => client.patch(`${PATH}/${name}`, 'merge', patch);
const version = async (): Promise<string> => (await client.get(`${PATH}?limit=1`)).body.metadata.resourceVersion;

describe('a watch', () => {
  it('tells changes after its version, in order, with their versions', async () => {
    const since = await version();
    const watching = await watch(`resourceVersion=${since}&fieldSelector=metadata.name%3Dw1`);
    await make('w1');
    await make('someone-else');
    await merge('w1', { data: { a: '1' } });
    const removed = await client.delete(`${PATH}/w1`);
    expect(removed.code).toBe(200);
    await watching.until(3);
    expect(watching.summary).toEqual(['ADDED w1', 'MODIFIED w1', 'DELETED w1']);
    const versions = watching.events.map(({ object }) => Number(object.metadata.resourceVersion));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    expect(new Set(versions).size).toBe(3);
    expect(watching.events[2].object.data).toEqual({ a: '1' });
    // From the middle it goes on where it was.
    const resumed = await watch(`resourceVersion=${versions[0]}&fieldSelector=metadata.name%3Dw1`);
    await resumed.until(2);
    expect(resumed.summary).toEqual(['MODIFIED w1', 'DELETED w1']);
  });

  it('starts with what is there when no version is given', async () => {
    await make('i1', { set: 'initial' });
    await make('i2', { set: 'initial' });
    const watching = await watch('labelSelector=set%3Dinitial');
    await watching.until(2);
    await make('i3', { set: 'initial' });
    await watching.until(3);
    expect(watching.summary).toEqual(['ADDED i1', 'ADDED i2', 'ADDED i3']);
  });

  it('lets objects come and go as they match its selector', async () => {
    const watching = await watch(`resourceVersion=${await version()}&labelSelector=tier%3Da`);
    await make('t1', { tier: 'b' });
    await merge('t1', { metadata: { labels: { tier: 'a' } } });
    await merge('t1', { data: { x: '1' } });
    const left = await merge('t1', { metadata: { labels: { tier: 'b' } } });
    await merge('t1', { data: { x: '2' } });
    await client.delete(`${PATH}/t1`);
    await make('t2', { tier: 'a' });
    await watching.until(4);
    expect(watching.summary).toEqual(['ADDED t1', 'MODIFIED t1', 'DELETED t1', 'ADDED t2']);
    expect(watching.events[2].object.metadata).toMatchObject({
      labels: { tier: 'a' },
      resourceVersion: left.body.metadata.resourceVersion,
    });
  });

  it('marks the end of the initial objects when asked to (KEP-3157)', async () => {
    await make('k1', { set: 'kep' });
    const query =
      'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=set%3Dkep';
    const watching = await watch(query);
    await watching.until(2);
    expect(watching.events[1]).toMatchObject({
      type: 'BOOKMARK',
      object: { kind: 'ConfigMap', metadata: { annotations: { 'k8s.io/initial-events-end': 'true' } } },
    });
    expect((await client.get(`${PATH}?watch=1&sendInitialEvents=true`)).code).toBe(400);
  });

  it('ends at its time with a bookmark', async () => {
    const watching = await watch(`resourceVersion=${await version()}&timeoutSeconds=1&allowWatchBookmarks=true`);
    await make('late', {});
    await watching.untilEnd();
    const last = watching.events.at(-1);
    expect(last.type).toBe('BOOKMARK');
    expect(last.object.metadata.resourceVersion).toBe(await version());
  });

  it('is gone when its version is older than the history, or newer than everything', async () => {
    const since = await version();
    for (let i = 0; i < 210; i++) await merge('i1', { data: { i: String(i) } });
    for (const old of [since, '1', '987654321']) {
      const watching = await (await watch(`resourceVersion=${old}`)).untilEnd();
      expect(watching.events).toMatchObject([
        { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } },
      ]);
    }
    expect((await client.get(`${PATH}?watch=1&resourceVersion=abc`)).code).toBe(400);
  });

  it('shows rows to those who ask for tables, the columns once', async () => {
    const watching = await watch(`resourceVersion=${await version()}&fieldSelector=metadata.name%3Drow`, TABLE);
    await make('row', {}, { a: '1', b: '2' });
    await merge('row', { data: { c: '3' } });
    await watching.until(2);
    expect(watching.events[0].object.columnDefinitions[0].name).toBe('Name');
    expect(watching.events[1].object).toMatchObject({
      kind: 'Table',
      columnDefinitions: null,
      rows: [{ cells: ['row', 3, expect.any(String)] }],
    });
  });

  it('resumes after a restart of the server', async () => {
    const own = await startEmbeddedApi();
    try {
      let mine = await TestClient.fromKubeconfig(own.api.kubeconfigPath);
      const { body } = await mine.post(PATH, { metadata: { name: 'a' } });
      await mine.patch(`${PATH}/a`, 'merge', { data: { v: '2' } });
      mine.close();
      await own.api.close();
      const again = await startEmbeddedApi({ dataDir: own.dataDir });
      mine = await TestClient.fromKubeconfig(again.api.kubeconfigPath);
      const watching = await mine.watch(`${PATH}?watch=1&resourceVersion=${body.metadata.resourceVersion}`);
      await mine.patch(`${PATH}/a`, 'merge', { data: { v: '3' } });
      // The namespace has other ConfigMaps, too.
      const seen = () => watching.events.filter(({ object }) => object.metadata.name === 'a');
      await expect.poll(() => seen().map(({ object }) => object.data.v)).toEqual(['2', '3']);
      watching.close();
      mine.close();
      await again.close();
    } finally {
      await own.close();
    }
  });

  it('cuts off a watcher that does not read, and spares the others', async () => {
    const slow = await client.open('GET', `${PATH}?watch=1&resourceVersion=${await version()}`, {});
    slow.pause();
    const good = await watch(`resourceVersion=${await version()}&fieldSelector=metadata.name%3Dbulky`);
    await make('bulky', {});
    const filler = 'x'.repeat(200_000);
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 260; i++) await merge('bulky', { data: { i: String(i), filler } });
    await good.until(261, 20_000);
    // 52 MB went past it; what is buffered for it is what its connection takes.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40_000_000);
    let text = '';
    slow.on('data', (chunk) => {
      text = (text + chunk).slice(-2_000);
    });
    slow.resume();
    await new Promise((resolve) => slow.on('end', resolve));
    expect(text).toContain('"reason":"Expired"');
  });

  it('tells a hundred watchers of a change within milliseconds', async () => {
    const since = await version();
    const watches = await Promise.all(
      Array.from({ length: 100 }, () => watch(`resourceVersion=${since}&labelSelector=fan`)),
    );
    await make('fan-warm', { fan: '' });
    await Promise.all(watches.map((one) => one.until(1)));
    const store = server.api.store;
    let toldAt = 0;
    store.subscribe(() => {
      toldAt = performance.now();
    });
    const arrivals = watches.map(async (one) => {
      await one.until(2);
      return performance.now();
    });
    await make('fan-out', { fan: '' });
    const last = Math.max(...(await Promise.all(arrivals)));
    // The bound is generous: the clients live in this process too.
    expect(last - toldAt).toBeLessThan(200);
  });
});

describe('faults', () => {
  it('answers the next requests that match with an error, then no more', async () => {
    const fault = server.faults.failNext(2, { verb: 'get', resource: 'configmaps' }, 500);
    expect(await client.get(`${PATH}/i1`)).toMatchObject({ code: 500, body: { reason: 'InternalError' } });
    expect((await client.get(PATH)).code).toBe(200);
    expect((await client.get(`${PATH}/i1`)).code).toBe(500);
    expect((await client.get(`${PATH}/i1`)).code).toBe(200);
    expect(fault.hits).toBe(2);
  });

  it('asks for patience with Retry-After', async () => {
    const fault = { kind: 'error', code: 429, reason: 'TooManyRequests', retryAfterSeconds: 3 } as const;
    server.faults.add({ match: { verb: 'list' }, fault, times: 1 });
    const answer = await client.get(PATH);
    expect(answer).toMatchObject({ code: 429, body: { details: { retryAfterSeconds: 3 } } });
    expect(answer.headers['retry-after']).toBe('3');
  });

  it('delays, resets and loses answers', async () => {
    server.faults.add({ fault: { kind: 'latency', ms: 80 }, times: 1 });
    const before = performance.now();
    await client.get(PATH);
    expect(performance.now() - before).toBeGreaterThan(75);
    server.faults.add({ fault: { kind: 'reset' }, times: 1 });
    await expect(client.get(PATH)).rejects.toThrow();
    server.faults.add({ match: { verb: 'create' }, fault: { kind: 'loseAnswer' }, times: 1 });
    await expect(make('unsure')).rejects.toThrow();
    expect((await client.get(`${PATH}/unsure`)).code).toBe(200);
  });

  it('hits a share of the requests', async () => {
    const fault = server.faults.add({
      match: { verb: 'get' },
      fault: { kind: 'error', code: 503, reason: 'ServiceUnavailable' },
      rate: 0.5,
    });
    for (let i = 0; i < 60; i++) await client.get(`${PATH}/i1`);
    fault.remove();
    expect(fault.hits).toBeGreaterThan(10);
    expect(fault.hits).toBeLessThan(50);
  });

  it('drops, tears, ends and silences watches', async () => {
    const fresh = async (): Promise<TestWatch> => await watch(`resourceVersion=${await version()}&labelSelector=fault`);
    for (const how of ['drop', 'tear', 'gone', 'withhold'] as const) {
      const watching = await fresh();
      server.faults.add({ match: { resource: 'configmaps' }, fault: { kind: 'watch', how }, times: 1 });
      await make(`fault-${how}`, { fault: '' });
      if (how === 'withhold') {
        await merge(`fault-${how}`, { data: { a: '1' } });
        await watching.until(1);
        expect(watching.summary).toEqual(['MODIFIED fault-withhold']);
        continue;
      }
      await watching.untilEnd();
      expect(watching.summary).toEqual(how === 'gone' ? ['ERROR Expired'] : []);
      expect(watching.rest !== '').toBe(how === 'tear');
    }
    const watching = await fresh();
    expect(server.faults.endWatches('drop', { resource: 'pods' })).toBe(0);
    expect(server.faults.endWatches('drop', { resource: 'configmaps' })).toBeGreaterThan(0);
    await watching.untilEnd();
  });
});
