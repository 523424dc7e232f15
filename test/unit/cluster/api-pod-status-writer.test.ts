import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { ApiPodStatusWriter } from '../../../src/cluster/api-pod-status-writer.ts';
import { mergedStatus, restartPolicies, statusPatch } from '../../../src/cluster/pod-status-patch.ts';
import { WatchCache } from '../../../src/cluster/watch-cache.ts';
import { silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import type { ContainerStatus, Pod, PodCondition, PodStatus, RestartPolicy } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { strategicMergePatch } from '../../../src/standalone/patch/strategic-merge-patch.ts';
import { SchemaTree } from '../../../src/standalone/schema/schema-tree.ts';
import { failure, MemoryApi } from './memory-api.ts';

const { pods } = resources;
const id = { namespace: 'n', name: 'p', uid: 'u1' };
const closing: (() => Promise<void>)[] = [];

async function setUp(options: { restartPolicy?: RestartPolicy; status?: PodStatus } = {}) {
  const api = new MemoryApi();
  const clock = new ManualClock();
  api.now = () => clock.now();
  const put = (status: PodStatus | undefined, uid = 'u1'): Pod =>
    api.put<Pod>(pods, {
      metadata: { name: 'p', namespace: 'n', uid },
      spec: { containers: [{ name: 'c' }], restartPolicy: options.restartPolicy ?? 'Always' },
      ...(status === undefined ? {} : { status }),
    });
  put(options.status);
  const view = new WatchCache<Pod, Pod>({ type: pods, project: (pod) => pod }, { api, clock, logger: silent });
  const stop = new AbortController();
  const done = view.run(stop.signal);
  await clock.advance(0);
  const patches: unknown[] = [];
  const deletes: unknown[] = [];
  api.onRequest = ({ verb, body }) => {
    if (verb === 'patch') patches.push(body);
    if (verb === 'delete') deletes.push(body);
  };
  const writer = new ApiPodStatusWriter({ api, pods: view, clock, logger: silent, random: () => 0 });
  closing.push(async () => {
    await writer.close();
    stop.abort();
    await done;
  });
  const status = (): PodStatus | undefined => api.find<Pod>(pods, 'n/p')?.status;
  return { api, clock, put, view, patches, deletes, writer, status };
}

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const running: ContainerStatus = {
  name: 'c',
  ready: true,
  restartCount: 0,
  image: 'i',
  imageID: 'd',
  state: { running: { startedAt: '2026-01-01T00:00:00.123Z' } },
};
const ended = (exitCode: number): ContainerStatus => ({
  ...running,
  ready: false,
  state: { terminated: { exitCode, reason: 'Completed' } },
});
const waiting: ContainerStatus = { ...running, ready: false, state: { waiting: { reason: 'ContainerCreating' } } };

describe('ApiPodStatusWriter', () => {
  test('writes a first status at once, with the UID, and an equal one not again', async () => {
    const { clock, patches, writer, status } = await setUp();
    const wanted: PodStatus = {
      phase: 'Running',
      podIP: '10.0.0.1',
      podIPs: [{ ip: '10.0.0.1' }],
      containerStatuses: [running],
      conditions: [
        { type: 'Ready', status: 'True', lastProbeTime: null, lastTransitionTime: '2026-01-01T00:00:00.5Z' },
      ],
    };
    writer.set(id, wanted);
    await clock.advance(0);
    expect(patches).toHaveLength(1);
    expect(patches[0]).toMatchObject({ metadata: { uid: 'u1' } });
    expect(status()?.phase).toBe('Running');
    expect(status()?.containerStatuses?.[0]?.state?.running?.startedAt).toBe('2026-01-01T00:00:00Z');
    expect(writer.unwritten).toBe(0);
    writer.set(id, structuredClone(wanted));
    await clock.advance(60_000);
    expect(patches).toHaveLength(1);
  });

  test('resources of the pod stand as a whole, empty ones too', async () => {
    const { clock, patches, writer, status } = await setUp();
    const both = { requests: { cpu: '1' }, limits: { cpu: '1', memory: '64Mi' } };
    const few = { requests: { cpu: '1' } };
    const tell = async (more: PodStatus) => {
      writer.set(id, { phase: 'Running', ...more });
      await clock.advance(0);
      return [status()?.resources, status()?.allocatedResources];
    };
    expect(await tell({ resources: {} })).toEqual([{}, undefined]);
    expect(await tell({ resources: both, allocatedResources: { cpu: '1', memory: '64Mi' } })).toEqual([
      both,
      { cpu: '1', memory: '64Mi' },
    ]);
    expect(await tell({ resources: few, allocatedResources: { cpu: '1' } })).toEqual([few, { cpu: '1' }]);
    expect(await tell({ resources: {} })).toEqual([{}, undefined]);
    const count = patches.length;
    await clock.advance(60_000);
    expect(patches).toHaveLength(count);
  });

  test('what changes while a write is under way is written once, as its latest', async () => {
    const { api, clock, writer, status } = await setUp();
    const phases: unknown[] = [];
    api.onRequest = async ({ verb, body }) => {
      if (verb !== 'patch') return;
      phases.push((body as { status: PodStatus }).status.message);
      await clock.sleep(1000);
    };
    for (const message of ['1', '2', '3']) {
      writer.set(id, { phase: 'Pending', message });
      await clock.advance(10);
    }
    await clock.advance(5000);
    expect(phases).toEqual(['1', '3']);
    expect(status()?.message).toBe('3');
  });

  test("others' conditions and fields stay; ours that are gone go", async () => {
    const { clock, put, writer, status } = await setUp();
    put({
      phase: 'Pending',
      nominatedNodeName: 'x',
      message: 'old',
      podIPs: [{ ip: '1.1.1.1' }],
      conditions: [
        { type: 'example.com/gate', status: 'True' },
        { type: 'PodResizePending', status: 'True' },
        { type: 'Ready', status: 'False', reason: 'Because', lastTransitionTime: '2020-01-01T00:00:00Z' },
      ],
    });
    await clock.advance(0);
    writer.set(id, {
      phase: 'Running',
      podIPs: [{ ip: '2.2.2.2' }],
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }],
    });
    await clock.advance(0);
    expect(status()).toEqual({
      phase: 'Running',
      nominatedNodeName: 'x',
      podIPs: [{ ip: '2.2.2.2' }],
      conditions: [
        { type: 'example.com/gate', status: 'True' },
        { type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' },
      ],
    });
  });

  test('a failing API is tried again until it has the status', async () => {
    const { api, clock, writer, status } = await setUp();
    let tries = 0;
    api.onRequest = ({ verb }) => {
      if (verb === 'patch' && ++tries < 6) throw failure('Unavailable', 500, 'x', 'away');
    };
    writer.set(id, { phase: 'Running' });
    await clock.advance(3000);
    expect(status()?.phase).toBeUndefined();
    expect(writer.unwritten).toBe(1);
    await clock.advance(10_000);
    expect(status()?.phase).toBe('Running');
    expect(writer.unwritten).toBe(0);
  });

  test('a status that somebody overwrites comes back within 10 s', async () => {
    const { clock, put, writer, status } = await setUp();
    writer.set(id, { phase: 'Running' });
    await clock.advance(0);
    put({ phase: 'Unknown' });
    await clock.advance(10_100);
    expect(status()?.phase).toBe('Running');
  });

  test('never writes to another pod of the same name, and gives up on a pod that is gone', async () => {
    const { api, clock, put, patches, writer, status } = await setUp();
    put(undefined, 'u2');
    writer.set(id, { phase: 'Running' });
    await clock.advance(0);
    expect(status()).toBeUndefined();
    const sent = patches.length;
    await clock.advance(60_000);
    expect(patches).toHaveLength(sent);
    api.remove(pods, 'n/p');
    writer.set(id, { phase: 'Failed' });
    await clock.advance(60_000);
    expect(writer.unwritten).toBe(0);
  });

  test('finalize deletes with the UID, only after the last status is there', async () => {
    const { api, clock, deletes, writer } = await setUp();
    let atDelete: string | undefined;
    let refuse = 2;
    api.onRequest = ({ verb, body }) => {
      if (verb === 'patch' && refuse-- > 0) throw failure('Unavailable', 500, 'x', 'away');
      if (verb !== 'delete') return;
      deletes.push(body);
      atDelete = api.find<Pod>(pods, 'n/p')?.status?.phase;
    };
    writer.set(id, { phase: 'Succeeded' });
    writer.finalize(id);
    await clock.advance(5000);
    expect(atDelete).toBe('Succeeded');
    expect(deletes).toEqual([{ gracePeriodSeconds: 0, uid: 'u1' }]);
    expect(api.find(pods, 'n/p')).toBeUndefined();
    // A pod that is gone already is not asked for again.
    writer.finalize(id);
    await clock.advance(60_000);
    expect(deletes).toHaveLength(1);
  });

  test('finalize waits for a final phase in the API', async () => {
    const { clock, deletes, writer } = await setUp({ status: { phase: 'Running' } });
    writer.set(id, { phase: 'Running' });
    writer.finalize(id);
    await clock.advance(20_000);
    expect(deletes).toEqual([]);
    writer.set(id, { phase: 'Failed' });
    await clock.advance(20_000);
    expect(deletes).toEqual([{ gracePeriodSeconds: 0, uid: 'u1' }]);
  });

  test('a conflict of two writers passes; one about the UID ends it', async () => {
    const { api, clock, writer, status } = await setUp();
    let conflicts = 3;
    api.onRequest = ({ verb }) => {
      if (verb === 'patch' && conflicts-- > 0)
        throw failure('Conflict', 409, 'Conflict', 'the object has been modified');
    };
    writer.set(id, { phase: 'Running' });
    await clock.advance(10_000);
    expect(status()?.phase).toBe('Running');
    let tries = 0;
    api.onRequest = ({ verb }) => {
      if (verb !== 'patch') return;
      tries++;
      throw failure(
        'Conflict',
        409,
        'Conflict',
        'Precondition failed: UID in precondition: u1, UID in object meta: u2',
      );
    };
    writer.set(id, { phase: 'Failed' });
    await clock.advance(60_000);
    expect(tries).toBe(1);
    expect(writer.unwritten).toBe(0);
  });

  test('conditions stand in kubelet’s order behind those of others', async () => {
    const { clock, patches, put, writer } = await setUp();
    put({
      conditions: [
        { type: 'PodScheduled', status: 'True' },
        { type: 'example.com/gate', status: 'True' },
      ],
    });
    await clock.advance(0);
    const types = ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'];
    writer.set(id, { phase: 'Pending', conditions: types.map((type) => ({ type, status: 'True' as const })) });
    await clock.advance(0);
    expect(patches[0]).toMatchObject({
      status: { '$setElementOrder/conditions': ['example.com/gate', ...types].map((type) => ({ type })) },
    });
  });

  test('what the API drops is not sent over and over, but again when the object has changed', async () => {
    const { api, clock, put, patches, writer } = await setUp();
    // An older API does not know the field: what it stores and answers lacks it.
    const dropping = api.patch.bind(api);
    api.patch = async (type, target, patch, ...rest) => {
      const { metadata, status } = patch as { metadata: object; status: Record<string, unknown> };
      const { allocatedResources: _, ...known } = status;
      return dropping(type, target, { metadata, status: known }, ...rest);
    };
    writer.set(id, { phase: 'Running', allocatedResources: { cpu: '1' } });
    await clock.advance(120_000);
    const sent = patches.length;
    expect(sent).toBeLessThanOrEqual(2);
    put({ phase: 'Pending' });
    await clock.advance(20_000);
    expect(patches.length).toBeGreaterThan(sent);
  });

  test('quantities are compared and written as the API gives them back', () => {
    const current: PodStatus = { allocatedResources: { cpu: '500m', memory: '1Gi' } };
    const wanted: PodStatus = { allocatedResources: { cpu: '0.5', memory: '1024Mi' } };
    expect(
      statusPatch(
        'u1',
        current,
        mergedStatus(current, wanted, () => 'Always'),
      ),
    ).toBeUndefined();
  });

  test('the observed generation and ended init containers never go back', () => {
    const current: PodStatus = { observedGeneration: 5, initContainerStatuses: [ended(0)] };
    const merged = mergedStatus(
      current,
      { observedGeneration: 3, initContainerStatuses: [waiting] },
      () => 'OnFailure',
    );
    expect(merged.observedGeneration).toBe(5);
    expect(merged.initContainerStatuses).toEqual([ended(0)]);
  });

  test('the status of a static pod goes to its mirror pod as soon as there is one', async () => {
    const { api, clock, deletes, put, view, writer: own } = await setUp();
    await own.close();
    let mirror: string | undefined;
    const writer = new ApiPodStatusWriter({
      api,
      pods: view,
      target: () => (mirror === undefined ? undefined : { uid: mirror, mirror: true }),
      clock,
      logger: silent,
      random: () => 0,
    });
    closing.push(() => writer.close());
    api.remove(pods, 'n/p');
    await clock.advance(0);
    const fromFile = { namespace: 'n', name: 'p', uid: 'static' };
    writer.set(fromFile, { phase: 'Running' });
    await clock.advance(30_000);
    expect(writer.unwritten).toBe(1);
    put(undefined, 'mirror-1');
    mirror = 'mirror-1';
    await clock.advance(11_000);
    const shown = (): PodStatus | undefined => api.find<Pod>(pods, 'n/p')?.status;
    expect(shown()?.phase).toBe('Running');
    // Someone deletes the mirror pod; its maker makes another one.
    api.remove(pods, 'n/p');
    await clock.advance(0);
    put(undefined, 'mirror-2');
    mirror = 'mirror-2';
    await clock.advance(11_000);
    expect(shown()?.phase).toBe('Running');
    writer.finalize(fromFile);
    await clock.advance(20_000);
    expect(deletes).toEqual([]);
  });

  test.each<[string, RestartPolicy, ContainerStatus, ContainerStatus, boolean]>([
    ['Never, ended → waiting is refused', 'Never', ended(1), waiting, false],
    ['OnFailure, success → running is refused', 'OnFailure', ended(0), running, false],
    ['OnFailure, failure → running is fine', 'OnFailure', ended(1), running, true],
    ['Always, ended → running is fine', 'Always', ended(0), running, true],
    ['Never, running → ended is fine', 'Never', running, ended(0), true],
  ])('%s', async (_name, restartPolicy, before, after, allowed) => {
    const merged = mergedStatus({ containerStatuses: [before] }, { containerStatuses: [after] }, () => restartPolicy);
    const kind = Object.keys(merged.containerStatuses?.[0]?.state ?? {})[0];
    expect(kind).toBe(Object.keys((allowed ? after : before).state ?? {})[0]);
  });

  test('a container’s own policy goes before its pod’s', () => {
    const pod: Pod = {
      metadata: {},
      spec: {
        restartPolicy: 'Never',
        containers: [{ name: 'a', restartPolicy: 'Always' }, { name: 'b', restartPolicyRules: [{}] }, { name: 'c' }],
      },
    };
    expect(['a', 'b', 'c'].map(restartPolicies(pod))).toEqual(['Always', 'Always', 'Never']);
  });

  test('a terminal phase stays', async () => {
    const { clock, writer, status } = await setUp({ status: { phase: 'Failed', reason: 'Evicted', message: 'm' } });
    writer.set(id, { phase: 'Running' });
    await clock.advance(0);
    expect(status()).toEqual({ phase: 'Failed', reason: 'Evicted', message: 'm' });
    writer.set(id, { phase: 'Succeeded' });
    await clock.advance(0);
    expect(status()?.phase).toBe('Succeeded');
  });

  test('a restart with the same findings writes nothing: start and transition times are the API’s', () => {
    const current: PodStatus = {
      phase: 'Running',
      startTime: '2025-01-01T00:00:00Z',
      containerStatuses: [{ ...running, state: { running: { startedAt: '2026-01-01T00:00:00Z' } }, lastState: {} }],
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2025-01-01T00:00:00Z' }],
    };
    const found: PodStatus = {
      phase: 'Running',
      startTime: '2026-06-01T00:00:00Z',
      containerStatuses: [running],
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-06-01T00:00:00Z' }],
    };
    expect(
      statusPatch(
        'u',
        current,
        mergedStatus(current, found, () => 'Always'),
      ),
    ).toBeUndefined();
  });

  test('property: after the patch there is nothing more to patch', async () => {
    const condition = fc.record(
      {
        type: fc.constantFrom('Ready', 'Initialized', 'PodResizePending', 'foreign'),
        status: fc.constantFrom('True' as const, 'False' as const),
        reason: fc.constantFrom('', 'R'),
        message: fc.constantFrom('m'),
      },
      { requiredKeys: ['type', 'status'] },
    );
    const status = fc.record(
      {
        phase: fc.constantFrom<PodStatus['phase'] & string>('Pending', 'Running', 'Failed', 'Succeeded'),
        message: fc.constantFrom('', 'a'),
        podIP: fc.constantFrom('1.1.1.1', '2.2.2.2'),
        podIPs: fc.uniqueArray(fc.record({ ip: fc.constantFrom('1.1.1.1', '2.2.2.2') }), { selector: (x) => x.ip }),
        startTime: fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00.5Z'),
        containerStatuses: fc.constantFrom([running], [ended(0)], [waiting], []),
        conditions: fc.uniqueArray(condition, { selector: (item) => item.type }),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        status,
        status,
        fc.constantFrom<RestartPolicy[]>('Always', 'OnFailure', 'Never'),
        async (a, b, policy) => {
          const api = new MemoryApi();
          api.put<Pod>(pods, {
            metadata: { name: 'p', namespace: 'n', uid: 'u' },
            spec: { containers: [] },
            status: a as unknown as PodStatus,
          });
          const patch = statusPatch(
            'u',
            a as unknown as PodStatus,
            mergedStatus(a as unknown as PodStatus, b as unknown as PodStatus, () => policy),
          );
          const target = { namespace: 'n', name: 'p', subresource: 'status' };
          if (patch !== undefined) await api.patch(pods, target, patch, 'strategic');
          const now = api.find<Pod>(pods, 'n/p')?.status ?? {};
          expect(
            statusPatch(
              'u',
              now,
              mergedStatus(now, b as unknown as PodStatus, () => policy),
            ),
          ).toBeUndefined();
          // An API server's own strategic merge leads to what was wanted, with everybody else's conditions in it.
          const [before, wanted] = [a, b] as unknown as [PodStatus, PodStatus];
          const merged = mergedStatus(before, wanted, () => policy);
          const stored = strategicMergePatch(
            { metadata: { uid: 'u' }, status: before },
            patch ?? {},
            new SchemaTree().rootOf(resources.pods),
          ) as { status: PodStatus };
          expect(stored.status.phase ?? '').toBe(merged.phase ?? '');
          expect(stored.status.podIPs ?? []).toEqual(merged.podIPs ?? []);
          const foreign = (of: PodStatus): PodCondition[] =>
            (of.conditions ?? []).filter(({ type }) => type === 'foreign');
          if (foreign(wanted).length === 0) expect(foreign(stored.status)).toEqual(foreign(before));
          if (patch !== undefined && 'conditions' in (patch as { status: object }).status) {
            const types = (of: PodStatus): string[] => (of.conditions ?? []).map(({ type }) => type);
            expect(types(stored.status).slice(types(stored.status).length - types(merged).length)).toEqual(
              types(merged),
            );
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('an API that was away for five minutes has all statuses within ten seconds of its return, in no burst', async () => {
    const { api, clock, put, view } = await setUp();
    const names = Array.from({ length: 60 }, (_, index) => `p${index}`);
    for (const name of names) {
      api.put<Pod>(pods, { metadata: { name, namespace: 'n', uid: name }, spec: { containers: [] } });
    }
    put(undefined);
    await clock.advance(0);
    let seed = 1;
    const random = (): number => {
      seed = (seed * 16807) % 2147483647;
      return seed / 2147483647;
    };
    const writer = new ApiPodStatusWriter({ api, pods: view, clock, logger: silent, random });
    closing.push(() => writer.close());
    let away = true;
    const arrivals = new Map<number, number>();
    let tries = 0;
    api.onRequest = ({ verb }) => {
      if (verb !== 'patch') return;
      tries++;
      if (away) throw failure('Unavailable', 503, 'x', 'away');
      const second = Math.floor(clock.monotonic() / 1000);
      arrivals.set(second, (arrivals.get(second) ?? 0) + 1);
    };
    for (const name of names) writer.set({ namespace: 'n', name, uid: name }, { phase: 'Pending' });
    await clock.advance(150_000);
    for (const name of names) writer.set({ namespace: 'n', name, uid: name }, { phase: 'Running' });
    await clock.advance(150_000);
    expect(writer.unwritten).toBe(60);
    // Kept quiet meanwhile: a try every few seconds each.
    expect(tries).toBeLessThan(60 * 100);
    away = false;
    await clock.advance(10_000);
    expect(writer.unwritten).toBe(0);
    expect(names.map((name) => api.find<Pod>(pods, `n/${name}`)?.status?.phase)).toEqual(names.map(() => 'Running'));
    expect(Math.max(...arrivals.values())).toBeLessThanOrEqual(30);
  });
});
