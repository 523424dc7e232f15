import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { HttpApiClient } from '../../../../src/cluster/api-client.ts';
import { type DrainOptions, NodeDrain } from '../../../../src/cluster/drain/node-drain.ts';
import { loadKubeconfig } from '../../../../src/cluster/kubeconfig.ts';
import { type Clock, SystemClock } from '../../../../src/kit/clock.ts';
import type { Node } from '../../../../src/model/node.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import { NODE_NAME, startEmbeddedApi } from '../../standalone/embedded-api.ts';

const OPTIONS: DrainOptions = {
  force: true,
  deleteEmptyDirData: false,
  disableEviction: false,
  gracePeriodSeconds: undefined,
  timeoutMs: 0,
};

/** Sleeps take no time, but time goes on; `meanwhile` is what happens on the node. */
class LeapingClock implements Clock {
  meanwhile: (now: number) => Promise<void> = async () => {};
  private time = 0;
  readonly now = (): number => Date.now();
  readonly monotonic = (): number => this.time;
  readonly after: Clock['after'] = (delayMs, run) => new SystemClock().after(delayMs, run);
  readonly sleep = async (delayMs: number): Promise<void> => {
    this.time += delayMs;
    await this.meanwhile(this.time);
  };
}

describe('draining a node, with its own identity, through the embedded API', () => {
  let server: Awaited<ReturnType<typeof startEmbeddedApi>>;
  let admin: HttpApiClient;
  let node: HttpApiClient;
  let clock: LeapingClock;
  let lines: string[];
  let drain: NodeDrain;

  beforeAll(async () => {
    server = await startEmbeddedApi();
    const clientOf = async (file: string) =>
      new HttpApiClient(
        { connection: await loadKubeconfig(join(server.dataDir, file)), requestTimeoutMs: 10_000 },
        { clock: new SystemClock() },
      );
    admin = await clientOf('kubeconfig');
    node = await clientOf('node.kubeconfig');
    await admin.create(resources.nodes, {}, { apiVersion: 'v1', kind: 'Node', metadata: { name: NODE_NAME } });
  });
  afterAll(async () => {
    admin.close();
    node.close();
    await server.close();
  });
  beforeEach(() => {
    clock = new LeapingClock();
    lines = [];
    const say = (line: string): void => void lines.push(line);
    drain = new NodeDrain({ nodeName: NODE_NAME }, { api: node, clock, say, warn: say });
  });
  afterEach(async () => {
    for (const pod of (await admin.list<Pod>(resources.pods, {})).items) await remove(pod.metadata.name ?? '');
    await admin.patch(resources.nodes, { name: NODE_NAME }, { spec: { unschedulable: null } }, 'merge');
  });

  const at = (name: string) => ({ namespace: 'default', name });
  const remove = (name: string) => admin.delete(resources.pods, at(name), { gracePeriodSeconds: 0 });
  const get = (name: string) => admin.get<Pod>(resources.pods, at(name));
  const unschedulable = async (): Promise<boolean> =>
    (await admin.get<Node>(resources.nodes, { name: NODE_NAME })).spec?.unschedulable === true;
  const running = async (
    name: string,
    metadata: Partial<Pod['metadata']> = {},
    nodeName = NODE_NAME,
  ): Promise<void> => {
    const spec = { nodeName, terminationGracePeriodSeconds: 60, containers: [{ name: 'c', image: 'i' }] };
    await admin.create(
      resources.pods,
      { namespace: 'default' },
      { apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec },
    );
    const status = { status: { phase: 'Running' } };
    await admin.patch(resources.pods, { ...at(name), subresource: 'status' }, status, 'merge');
  };

  test('cordons, evicts what is to go, waits until it is gone, and tells it in the words of kubectl', async () => {
    await running('a');
    await running('b');
    await running('elsewhere', {}, 'node-2');
    const controller = { apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'd', uid: 'u', controller: true };
    await running('daemon', { ownerReferences: [controller] });
    clock.meanwhile = async (now) => {
      if (now === 1000) {
        expect(await unschedulable()).toBe(true);
        const { metadata, status } = await get('a');
        expect(metadata.deletionGracePeriodSeconds).toBe(7);
        expect(status?.conditions?.find(({ type }) => type === 'DisruptionTarget')).toMatchObject({
          status: 'True',
          reason: 'EvictionByEvictionAPI',
          message: 'Eviction API: evicting',
        });
        await remove('b');
      }
      if (now === 2000) await remove('a');
    };
    expect(await drain.drain({ ...OPTIONS, gracePeriodSeconds: 7 })).toBe(true);
    expect(lines).toEqual([
      'node/node-1 cordoned',
      'Warning: deleting Pods that declare no controller: default/a, default/b',
      'Warning: ignoring DaemonSet-managed Pods: default/daemon',
      'evicting pod default/a',
      'evicting pod default/b',
      'pod/b evicted',
      'pod/a evicted',
      'node/node-1 drained',
    ]);
    expect((await get('elsewhere')).metadata.deletionTimestamp).toBeUndefined();
    expect((await get('daemon')).metadata.deletionTimestamp).toBeUndefined();
    lines.length = 0;
    await drain.setUnschedulable(false);
    await drain.setUnschedulable(false);
    expect(await unschedulable()).toBe(false);
    expect(lines).toEqual(['node/node-1 uncordoned', 'node/node-1 already uncordoned']);
  });

  test('asks again each 5 s while a PodDisruptionBudget holds a pod', async () => {
    await running('held');
    const fault = {
      kind: 'error',
      code: 429,
      reason: 'TooManyRequests',
      message: "Cannot evict pod as it would violate the pod's disruption budget.",
      retryAfterSeconds: 10,
    } as const;
    server.faults.add({ match: { resource: 'pods', subresource: 'eviction' }, fault, times: 2 });
    const asked: number[] = [];
    const say = (line: string): void => {
      lines.push(line);
      if (line.startsWith('evicting')) asked.push(clock.monotonic());
    };
    clock.meanwhile = async (now) => {
      if (now === 10_000) expect((await get('held')).metadata.deletionTimestamp).toBeUndefined();
      if (now === 12_000) await remove('held');
    };
    const patient = new NodeDrain({ nodeName: NODE_NAME }, { api: node, clock, say, warn: say });
    expect(await patient.drain(OPTIONS)).toBe(true);
    expect(asked).toEqual([0, 5000, 10_000]);
    expect(lines.filter((line) => line.includes('will retry after 5s'))).toHaveLength(2);
    expect(lines.find((line) => line.includes('will retry after 5s'))).toContain(
      'error when evicting pods/"held" -n "default" (will retry after 5s): create',
    );
  });

  test('tells what is left when the time is over', async () => {
    await running('slow');
    expect(await drain.drain({ ...OPTIONS, timeoutMs: 2500 })).toBe(false);
    expect(clock.monotonic()).toBe(2500);
    expect(lines.slice(-3)).toEqual([
      'error: global timeout reached: 2.5s',
      'error: unable to drain node "node-1"; there are pending pods:',
      'pod/slow -n default',
    ]);
    expect(await unschedulable()).toBe(true);
  });

  test('touches nothing, but stays cordoned, while pods need --force', async () => {
    await running('alone');
    expect(await drain.drain({ ...OPTIONS, force: false })).toBe(false);
    expect(lines.at(-1)).toBe(
      'error: unable to drain node "node-1": cannot delete Pods that declare no controller (use --force to override): default/alone',
    );
    expect((await get('alone')).metadata.deletionTimestamp).toBeUndefined();
  });

  test('gives up a pod that the API refuses to evict for good, once the others are gone', async () => {
    await running('refused');
    await running('other');
    const fault = { kind: 'error', code: 500, reason: 'InternalError', message: 'more than one budget' } as const;
    const match = { resource: 'pods', subresource: 'eviction', name: 'refused' };
    const active = server.faults.add({ match, fault });
    clock.meanwhile = async (now) => {
      if (now === 3000) await remove('other');
    };
    expect(await drain.drain(OPTIONS)).toBe(false);
    active.remove();
    expect(active.hits).toBe(1);
    expect(lines).toContain('pod/other evicted');
    expect(lines.at(-1)).toBe('pod/refused -n default');
  });

  test('--disable-eviction deletes, and no budget is asked', async () => {
    await running('held');
    const fault = { kind: 'error', code: 429, reason: 'TooManyRequests' } as const;
    const active = server.faults.add({ match: { subresource: 'eviction' }, fault });
    clock.meanwhile = () => remove('held');
    expect(await drain.drain({ ...OPTIONS, disableEviction: true })).toBe(true);
    active.remove();
    expect(active.hits).toBe(0);
    expect(lines.slice(-2)).toEqual(['pod/held deleted', 'node/node-1 drained']);
  });

  test('evicts no other pod that has the name by now', async () => {
    await running('again');
    const uid = (await get('again')).metadata.uid;
    await remove('again');
    await running('again');
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'again', namespace: 'default' } };
    const target = { ...at('again'), subresource: 'eviction' };
    await expect(
      node.create(resources.pods, target, { ...eviction, deleteOptions: { preconditions: { uid } } }),
    ).rejects.toMatchObject({ code: 'Conflict' });
    await expect(
      node.create(resources.pods, target, { ...eviction, metadata: { name: 'other' } }),
    ).rejects.toMatchObject({ code: 'InvalidObject', message: expect.stringContaining('name in URL does not match') });
    const { metadata, status } = await get('again');
    expect(metadata.deletionTimestamp).toBeUndefined();
    expect(status?.conditions?.map(({ type }) => type)).not.toContain('DisruptionTarget');
  });
});
