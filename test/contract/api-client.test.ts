import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { HttpApiClient } from '../../src/cluster/api-client.ts';
import { ApiPodStatusWriter } from '../../src/cluster/api-pod-status-writer.ts';
import { loadKubeconfig } from '../../src/cluster/kubeconfig.ts';
import { WatchCache } from '../../src/cluster/watch-cache.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { silent } from '../../src/kit/log.ts';
import type { ConfigMap } from '../../src/model/objects.ts';
import type { Pod } from '../../src/model/pod.ts';
import { resources } from '../../src/model/resource.ts';
import { MemoryApi } from '../unit/cluster/memory-api.ts';
import { serveMemoryApi } from '../unit/cluster/memory-api-server.ts';
import { TestPki } from '../unit/cluster/test-pki.ts';
import { NODE_NAME, startEmbeddedApi } from '../unit/standalone/embedded-api.ts';
import { apiClientContract } from './api-client.contract.ts';

const { configmaps, pods } = resources;

function seeded(): MemoryApi {
  const memory = new MemoryApi();
  memory.put(resources.serviceaccounts, { metadata: { name: 'default', namespace: 'default' } });
  return memory;
}

async function eventually(check: () => boolean, ms = 15_000): Promise<void> {
  const end = performance.now() + ms;
  while (!check()) {
    if (performance.now() > end) throw new Error(`not so after ${ms} ms: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

apiClientContract('the fake', async () => {
  const memory = seeded();
  return { api: memory, close: async () => memory.close(), serviceAccount: 'default' };
});

apiClientContract('HTTP to the fake', async () => {
  const server = await serveMemoryApi(seeded());
  const api = new HttpApiClient({ connection: { server: new URL(server.url) } }, { clock: new SystemClock() });
  return {
    api,
    serviceAccount: 'default',
    close: async () => {
      api.close();
      await server.close();
    },
  };
});

apiClientContract('HTTP/2 to the fake', async () => {
  const pki = new TestPki();
  const server = await serveMemoryApi(seeded(), { ...pki.server(), ca: pki.ca }, {});
  const connection = { server: new URL(server.url), ca: pki.ca };
  const api = new HttpApiClient({ connection }, { clock: new SystemClock() });
  return {
    api,
    serviceAccount: 'default',
    close: async () => {
      expect(server.sessions.size).toBe(1);
      api.close();
      await server.close();
      pki.close();
    },
  };
});

apiClientContract('HTTP to the embedded API', async () => {
  const embedded = await startEmbeddedApi();
  const connection = await loadKubeconfig(embedded.api.kubeconfigPath);
  const api = new HttpApiClient({ connection }, { clock: new SystemClock() });
  await eventually(() => embedded.api.store.get(resources.serviceaccounts, 'default', 'default') !== undefined);
  return {
    api,
    serviceAccount: 'default',
    close: async () => {
      api.close();
      await embedded.close();
    },
  };
});

describe('the cluster room against the embedded API', () => {
  let embedded: Awaited<ReturnType<typeof startEmbeddedApi>>;
  let api: HttpApiClient;
  const clock = new SystemClock();

  beforeAll(async () => {
    embedded = await startEmbeddedApi();
    const connection = await loadKubeconfig(embedded.api.kubeconfigPath);
    api = new HttpApiClient({ connection, qps: -1, watchSilenceMs: 2000, requestTimeoutMs: 3000 }, { clock });
  });
  afterAll(async () => {
    api.close();
    await embedded.close();
  });
  beforeEach(() => embedded.faults.clear());

  const watching = (pageSize = 3) => {
    const cache = new WatchCache<ConfigMap, string>(
      { type: configmaps, namespace: 'kube-public', project: (raw) => raw.data?.['x'], pageSize },
      { api, clock, logger: silent },
    );
    const mirror = new Map<string, string>();
    cache.subscribe(({ key, previous, current }) => {
      expect(previous).toBe(mirror.get(key));
      if (current === undefined) mirror.delete(key);
      else mirror.set(key, current);
    });
    const stop = new AbortController();
    const done = cache.run(stop.signal);
    return {
      cache,
      mirror,
      close: async () => {
        stop.abort();
        await done;
      },
    };
  };
  const put = async (name: string, x: string): Promise<void> => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'kube-public' }, data: { x } };
    await api.patch(configmaps, { namespace: 'kube-public', name }, object, 'apply');
  };
  const truth = (): Map<string, string> =>
    new Map(
      (embedded.api.store.list(configmaps, 'kube-public') as ConfigMap[])
        .filter((object) => object.data?.['x'] !== undefined)
        .map((object) => [`kube-public/${object.metadata.name}`, object.data?.['x'] ?? '']),
    );
  const same = (left: Map<string, string>, right: Map<string, string>): boolean =>
    left.size === right.size && [...left].every(([key, value]) => right.get(key) === value);

  test('a watch cache comes through every fault with the server’s state', async () => {
    for (let i = 0; i < 10; i++) await put(`m${i}`, '0');
    const { cache, mirror, close } = watching();
    await cache.whenSynced();
    const { faults } = embedded;
    const troubles: (() => unknown)[] = [
      () => faults.endWatches('close'),
      () => faults.endWatches('drop'),
      () => faults.endWatches('tear'),
      () => faults.endWatches('gone'),
      () => {
        faults.compactHistory();
        faults.endWatches('drop');
      },
      () => {
        faults.failNext(2, { verb: 'watch' }, 500);
        faults.endWatches('drop');
      },
      () => {
        faults.failNext(1, { verb: 'list' }, 503, 'ServiceUnavailable');
        faults.compactHistory();
        faults.endWatches('gone');
      },
      () => faults.add({ match: { resource: 'configmaps' }, fault: { kind: 'watch', how: 'tear' }, times: 1 }),
      () => faults.add({ match: { resource: 'configmaps' }, fault: { kind: 'watch', how: 'gone' }, times: 1 }),
      () => faults.add({ match: { resource: 'configmaps' }, fault: { kind: 'watch', how: 'drop' }, times: 1 }),
    ];
    for (const [round, trouble] of troubles.entries()) {
      trouble();
      await put(`m${round % 10}`, `${round}`);
      await put(`new${round}`, 'x');
      if (round > 1) await api.delete(configmaps, { namespace: 'kube-public', name: `new${round - 1}` });
      await eventually(() => same(mirror, truth()));
      expect(cache.size).toBe(mirror.size);
    }
    await close();
  });

  test('a server that hangs is left after the silence, and heard again', async () => {
    await put('hang', '1');
    const hang = embedded.faults.add({
      match: { verb: 'watch', resource: 'configmaps' },
      fault: { kind: 'hang' },
      times: 1,
    });
    const { cache, close } = watching();
    await cache.whenSynced();
    await put('hang', '2');
    await eventually(() => cache.get('kube-public/hang') === '2');
    expect(hang.hits).toBe(1);
    await close();
  });

  test('pod statuses get through lost answers, conflicts and errors, and the pod is deleted last', async () => {
    const { faults } = embedded;
    const made = await api.create<Pod>(
      pods,
      { namespace: 'default' },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'written', namespace: 'default' },
        spec: { nodeName: NODE_NAME, containers: [{ name: 'c', image: 'i' }] },
      },
    );
    const view = new WatchCache<Pod, Pod>({ type: pods, project: (pod) => pod }, { api, clock, logger: silent });
    const stop = new AbortController();
    const done = view.run(stop.signal);
    await view.whenSynced();
    const writer = new ApiPodStatusWriter({ api, pods: view, clock, logger: silent });
    const id = { namespace: 'default', name: 'written', uid: made.metadata.uid ?? '' };
    const stored = (): Pod | undefined => embedded.api.store.get(pods, 'default', 'written') as Pod | undefined;
    faults.failNext(2, { verb: 'patch', resource: 'pods' }, 500);
    faults.add({ match: { verb: 'patch', resource: 'pods' }, fault: { kind: 'loseAnswer' }, times: 1 });
    const condition = { type: 'Ready', status: 'True' as const, lastTransitionTime: '2026-01-01T00:00:00Z' };
    writer.set(id, { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }], conditions: [condition] });
    await eventually(() => writer.unwritten === 0);
    expect(stored()?.status).toMatchObject({ phase: 'Running', podIPs: [{ ip: '10.0.0.1' }] });
    const version = stored()?.metadata.resourceVersion;
    writer.set(id, { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }], conditions: [condition] });
    await eventually(() => writer.unwritten === 0);
    expect(stored()?.metadata.resourceVersion).toBe(version);
    writer.set(id, { phase: 'Running', podIP: '10.0.0.2', podIPs: [{ ip: '10.0.0.2' }], conditions: [] });
    await eventually(() => stored()?.status?.podIP === '10.0.0.2');
    expect(stored()?.status?.podIPs).toEqual([{ ip: '10.0.0.2' }]);
    expect(stored()?.status?.conditions?.some(({ type }) => type === 'Ready')).not.toBe(true);
    await api.delete(pods, { namespace: 'default', name: 'written' }, { gracePeriodSeconds: 30 });
    faults.add({ match: { verb: 'delete', resource: 'pods' }, fault: { kind: 'loseAnswer' }, times: 1 });
    writer.set(id, { phase: 'Succeeded' });
    writer.finalize(id);
    await eventually(() => stored() === undefined);
    await writer.close();
    stop.abort();
    await done;
  });
});
