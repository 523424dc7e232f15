import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestClient } from '../api-client.ts';
import { startEmbeddedApi } from '../embedded-api.ts';

const PODS = '/api/v1/namespaces/default/pods';
let server: Awaited<ReturnType<typeof startEmbeddedApi>>;
let client: TestClient;

beforeAll(async () => {
  server = await startEmbeddedApi();
  client = await TestClient.fromKubeconfig(server.api.kubeconfigPath);
});

afterAll(async () => {
  client.close();
  await server.close();
});

const of = (cpu: string, memory: string): object => ({ requests: { cpu, memory }, limits: { cpu, memory } });
const make = async (name: string, spec: object = {}, container: object = {}): Promise<void> => {
  const created = await client.post(PODS, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { containers: [{ name: 'c', image: 'busybox', resources: of('1', '64Mi'), ...container }], ...spec },
  });
  expect(created.code).toBe(201);
};
const resize = (name: string, spec: object, metadata: object = {}) =>
  client.patch(`${PODS}/${name}/resize`, 'strategic', { metadata, spec });

describe('the subresource resize', () => {
  it('changes cpu and memory and nothing else', async () => {
    await make('r1');
    const resized = await resize(
      'r1',
      { containers: [{ name: 'c', image: 'other', resources: of('2', '128Mi') }], hostNetwork: true },
      { labels: { a: 'b' } },
    );
    expect(resized.code).toBe(200);
    expect(resized.body.spec.containers[0]).toMatchObject({ image: 'busybox', resources: of('2', '128Mi') });
    expect(resized.body.spec.hostNetwork).toBeUndefined();
    expect(resized.body.metadata.labels).toBeUndefined();
    expect(resized.body.metadata.generation).toBe(2);
    expect((await client.get(`${PODS}/r1/resize`)).body.kind).toBe('Pod');
  });

  it.each<[string, object, object, object, string]>([
    [
      'another QoS class',
      {},
      {},
      { containers: [{ name: 'c', resources: { requests: { cpu: '500m' } } }] },
      'Pod QOS Class may not change as a result of resizing',
    ],
    [
      'a limit taken away',
      {},
      {},
      { containers: [{ name: 'c', resources: { limits: { cpu: null } } }] },
      'resource limits cannot be removed',
    ],
    [
      'a container more',
      {},
      {},
      { containers: [{ name: 'd', image: 'busybox' }] },
      'containers may not be added or removed on resize',
    ],
    [
      'storage',
      {},
      {},
      { containers: [{ name: 'c', resources: { requests: { 'ephemeral-storage': '1Gi' } } }] },
      'only cpu and memory resources are mutable',
    ],
    [
      'another policy',
      {},
      {},
      { containers: [{ name: 'c', resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }] }] },
      'only cpu and memory resources are mutable',
    ],
    [
      'more requested than limited',
      {},
      {},
      { containers: [{ name: 'c', resources: { requests: { cpu: '3' } } }] },
      'must be less than or equal to cpu limit of 1',
    ],
    [
      'huge pages of the pod',
      { resources: of('2', '1Gi') },
      {},
      { resources: { limits: { 'hugepages-2Mi': '2Mi' }, requests: { 'hugepages-2Mi': '2Mi' } } },
      'only cpu and memory resources are mutable at pod-level',
    ],
    [
      'less for the pod than for its containers',
      { resources: of('2', '1Gi') },
      {},
      { resources: of('500m', '1Gi') },
      'must be',
    ],
  ])('refuses %s', async (what, spec, container, change, message) => {
    const name = `no-${what.replaceAll(/[^a-z]+/gi, '-').toLowerCase()}`;
    await make(name, spec, container);
    const refused = await resize(name, change);
    expect([refused.code, refused.body.message]).toEqual([422, expect.stringContaining(message)]);
  });

  it('resizes a pod as a whole', async () => {
    await make('whole', { resources: of('2', '1Gi') });
    const resized = await resize('whole', { resources: of('4', '2Gi') });
    expect(resized.body.spec.resources).toEqual(of('4', '2Gi'));
  });

  it('is the only way to do so', async () => {
    await make('direct');
    const refused = await client.patch(`${PODS}/direct`, 'strategic', {
      spec: { containers: [{ name: 'c', resources: of('2', '64Mi') }] },
    });
    expect(refused.code).toBe(422);
  });
});
