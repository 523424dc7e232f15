import { afterAll, beforeAll, expect, it } from 'vitest';
import { TestClient } from '../api-client.ts';
import { NODE_NAME, startEmbeddedApi } from '../embedded-api.ts';

const ROOT = '/apis/metrics.k8s.io/v1beta1';
const AT = Date.UTC(2026, 0, 2, 3, 4, 5);
let server: Awaited<ReturnType<typeof startEmbeddedApi>>;
let client: TestClient;

beforeAll(async () => {
  const pod = (name: string) => ({
    namespace: 'default',
    name,
    atMs: AT,
    windowMs: 12_500,
    containers: [{ name: 'c', nanoCores: 1234, memoryBytes: 5000 }],
  });
  server = await startEmbeddedApi(
    {},
    {
      measure: () =>
        Promise.resolve({
          node: { atMs: AT, windowMs: 12_500, nanoCores: 2e9, memoryBytes: 1_048_576 },
          // One that the API does not have is not shown.
          pods: [pod('a'), pod('b'), pod('gone')],
        }),
    },
  );
  client = await TestClient.fromKubeconfig(server.api.kubeconfigPath);
  await client.post('/api/v1/nodes', { metadata: { name: NODE_NAME } });
  await client.post('/api/v1/nodes', { metadata: { name: 'other' } });
  for (const name of ['a', 'b', 'young']) {
    await client.post('/api/v1/namespaces/default/pods', {
      metadata: { name, labels: { app: name } },
      spec: { nodeName: NODE_NAME, containers: [{ name: 'c', image: 'i' }] },
    });
  }
});
afterAll(async () => {
  client.close();
  await server.close();
});

const names = async (path: string): Promise<string[]> =>
  ((await client.get(path)).body as { items: { metadata: { name: string } }[] }).items.map(
    ({ metadata }) => metadata.name,
  );

it('shows what the node and its pods use', async () => {
  const timestamp = '2026-01-02T03:04:05Z';
  expect((await client.get(`${ROOT}/nodes`)).body).toMatchObject({
    kind: 'NodeMetricsList',
    apiVersion: 'metrics.k8s.io/v1beta1',
    items: [
      { metadata: { name: NODE_NAME }, timestamp, window: '12.500s', usage: { cpu: '2000000000n', memory: '1024Ki' } },
    ],
  });
  expect((await client.get(`${ROOT}/namespaces/default/pods/a`)).body).toMatchObject({
    kind: 'PodMetrics',
    metadata: { name: 'a', namespace: 'default', labels: { app: 'a' } },
    containers: [{ name: 'c', usage: { cpu: '1234n', memory: '4Ki' } }],
  });
});

it('selects as every list does, and says what is not there', async () => {
  expect(await names(`${ROOT}/pods`)).toEqual(['a', 'b']);
  expect(await names(`${ROOT}/namespaces/default/pods?labelSelector=app%3Db`)).toEqual(['b']);
  expect(await names(`${ROOT}/namespaces/empty/pods`)).toEqual([]);
  expect(await client.get(`${ROOT}/namespaces/default/pods/young`)).toMatchObject({
    code: 404,
    body: { message: 'pods.metrics.k8s.io "young" not found' },
  });
  expect(await client.get(`${ROOT}/nodes/other`)).toMatchObject({ code: 404 });
  expect(await client.get(`${ROOT}/widgets`)).toMatchObject({ code: 404 });
  expect(await client.post(`${ROOT}/pods`, {})).toMatchObject({ code: 405 });
});

it('is in discovery, and not where nobody measures', async () => {
  const groups = async (of: TestClient): Promise<string[]> =>
    ((await of.get('/apis')).body as { groups: { name: string }[] }).groups.map(({ name }) => name);
  expect(await groups(client)).toContain('metrics.k8s.io');
  expect((await client.get(ROOT)).body).toMatchObject({
    resources: [
      { name: 'nodes', kind: 'NodeMetrics' },
      { name: 'pods', kind: 'PodMetrics' },
    ],
  });
  const without = await startEmbeddedApi();
  const other = await TestClient.fromKubeconfig(without.api.kubeconfigPath);
  try {
    expect(await groups(other)).not.toContain('metrics.k8s.io');
    expect(await other.get(`${ROOT}/nodes`)).toMatchObject({ code: 404 });
  } finally {
    other.close();
    await without.close();
  }
});
