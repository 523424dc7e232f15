import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PodSpec } from '../../../src/model/pod.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { isReady, restartCount } from '../../harness/pod-summary.ts';
import { podOf, STAY, sh } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-admission';

describe('a real node that cannot run everything', () => {
  let node: HarnessNode;
  let pods: NodePods;
  const create = (name: string, spec: Partial<PodSpec>, cpu = '1m'): Promise<unknown> =>
    pods.create(
      podOf(name, sh(STAY, { resources: { requests: { cpu } } }), { nodeName: node.deckhand.nodeName, ...spec }),
    );

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
  }, 120_000);

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it.each<[string, Partial<PodSpec>, string, RegExp]>([
    [
      'a node selector',
      { nodeSelector: { disk: 'none' } },
      'NodeAffinity',
      /^Pod was rejected: Predicate NodeAffinity failed/,
    ],
    ['another system', { os: { name: 'windows' } }, 'PodOSNotSupported', /OS field doesn't match node OS$/],
    [
      'an unsafe sysctl',
      { securityContext: { sysctls: [{ name: 'kernel.shmmax', value: '1' }] } },
      'SysctlForbidden',
      /forbidden sysctl: "kernel.shmmax" not allowlisted$/,
    ],
    [
      'memory',
      { containers: [sh(STAY, { resources: { requests: { memory: '900Ti' } } })] },
      'OutOfmemory',
      /^Pod was rejected: Node didn't have enough resource: memory, requested: 989560464998400, used: 0, capacity: \d+$/,
    ],
  ])('is not started for %s', async (_what, spec, reason, message) => {
    const name = `refused-${reason.toLowerCase()}`;
    await create(name, spec);
    const pod = await pods.until(name, 'be refused', (seen) => seen.status?.phase === 'Failed' && seen);
    expect(pod.status?.reason).toBe(reason);
    expect(pod.status?.message).toMatch(message);
    expect(pod.status?.containerStatuses).toBeUndefined();
    expect((await pods.untilEvent(name, reason)).type).toBe('Warning');
    expect(await pods.sandboxIds(pod)).toEqual([]);
    await pods.delete(name);
    await pods.gone(name);
  });

  it('gives a host port to one pod only', async () => {
    const port = sh(STAY, { ports: [{ containerPort: 80, hostPort: 18080 }] });
    await create('port-a', { containers: [port] });
    await pods.ready('port-a');
    await create('port-b', { containers: [port] });
    const refused = await pods.until('port-b', 'be refused', (seen) => seen.status?.phase === 'Failed' && seen);
    expect(refused.status?.reason).toBe('NodePorts');
    await pods.delete('port-a');
    await pods.gone('port-a');
    await create('port-c', { containers: [port] });
    await pods.ready('port-c');
  });

  it('kills what it must for a critical pod, and what it has admitted survives a restart of the agent', async () => {
    await create('spared', {}, '100m');
    // It never ends by itself: the whole grace has to pass.
    const stubborn = sh("trap '' TERM; while :; do sleep 1; done", { resources: { requests: { cpu: '1500m' } } });
    await create('victim', { containers: [stubborn], terminationGracePeriodSeconds: 2 });
    await Promise.all(['spared', 'victim'].map((name) => pods.ready(name)));
    const from = Date.now();
    await create('critical', { priorityClassName: 'system-node-critical' }, '1500m');
    const critical = await pods.ready('critical');
    expect(Date.now() - from).toBeGreaterThan(2000);
    const victim = await pods.until('victim', 'be Failed', (seen) => seen.status?.phase === 'Failed' && seen);
    expect(victim.status).toMatchObject({
      reason: 'Preempting',
      message: 'Preempted in order to admit critical pod',
    });
    expect(victim.status?.conditions?.find(({ type }) => type === 'DisruptionTarget')).toMatchObject({
      status: 'True',
      reason: 'TerminationByKubelet',
    });
    expect((await pods.untilEvent('victim', 'Preempting')).type).toBe('Warning');
    await create('late', {}, '1500m');
    const late = await pods.until('late', 'be refused', (seen) => seen.status?.phase === 'Failed' && seen);
    expect(late.status?.reason).toBe('OutOfcpu');

    const before = critical.metadata.resourceVersion;
    await node.deckhand.restart();
    const after = await pods.ready('critical');
    expect(after.metadata.resourceVersion).toBe(before);
    expect(restartCount(after)).toBe(0);
    expect(isReady(await pods.ready('spared'))).toBe(true);
  }, 120_000);
});
