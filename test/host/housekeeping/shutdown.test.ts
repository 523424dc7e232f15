import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Node } from '../../../src/model/node.ts';
import type { Event } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { TestLogind } from '../../harness/logind.ts';
import { PrivateBus } from '../../harness/private-bus.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';

const NAME = 'deckhand-test-housekeeping-down';
vi.setConfig({ testTimeout: 60_000 });

describe('a node whose machine shuts down', () => {
  let directory: string;
  let bus: PrivateBus;
  let logind: TestLogind;
  let node: HarnessNode;
  let pods: NodePods;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dhbus-'));
    bus = await PrivateBus.start(directory);
    logind = await TestLogind.start(bus, directory, { delaySeconds: 30 });
    const config = { shutdownGracePeriod: '20s', shutdownGracePeriodCriticalPods: '10s' };
    node = await startNode(NAME, { deckhand: { config, env: { DBUS_SYSTEM_BUS_ADDRESS: bus.address } } });
    pods = new NodePods(node);
  });

  afterAll(async () => {
    await node?.close();
    logind?.close();
    await bus?.stop();
    rmSync(directory, { recursive: true });
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const readiness = async (): Promise<string> => {
    const { status } = await node.deckhand.api.get<Node>(resources.nodes, undefined, 'node-1');
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    return `${ready?.status} ${ready?.reason}: ${ready?.message}`;
  };

  it('ends its pods in order, refuses new ones, tells of it, and takes it all back when it is called off', async () => {
    // Each pod notes when it was told to end; the critical one is told last.
    const note = "trap 'cat /proc/uptime; sleep 1; exit 0' TERM; while :; do sleep 1000 & wait $!; done";
    const stubborn = "trap '' TERM; while :; do sleep 1000 & wait $!; done";
    await pods.create(podOf('plain', sh(note), { terminationGracePeriodSeconds: 30 }));
    await pods.create(podOf('stubborn', sh(stubborn), { terminationGracePeriodSeconds: 2 }));
    const critical = { terminationGracePeriodSeconds: 30, priorityClassName: 'system-node-critical' };
    await pods.create(podOf('critical', sh(note), critical));
    for (const name of ['plain', 'stubborn', 'critical']) await pods.ready(name);
    await waitFor('the lock', () => logind.held().length === 1);

    const took = logind.shutDown();
    await waitFor('the node to say so', async () => (await readiness()).includes('node is shutting down'));
    expect(await readiness()).toBe('False KubeletNotReady: node is shutting down');
    await pods.create(podOf('late', sh(STAY)));
    const late = await pods.phase('late', 'Failed');
    expect(late.status).toMatchObject({
      reason: 'NodeShutdown',
      message: 'Pod was rejected: Pod was rejected as the node is shutting down.',
    });
    const ms = await took;
    // The stubborn one is killed after its own two seconds; nobody waits for the end of the periods.
    expect(ms).toBeGreaterThan(2500);
    expect(ms).toBeLessThan(18_000);

    const ended = await Promise.all(['plain', 'stubborn', 'critical'].map((name) => pods.phase(name, 'Failed')));
    for (const pod of ended) {
      expect(pod.status).toMatchObject({
        reason: 'Terminated',
        message: 'Pod was terminated in response to imminent node shutdown.',
      });
      expect(pod.status?.conditions).toContainEqual(
        expect.objectContaining({
          type: 'DisruptionTarget',
          status: 'True',
          reason: 'TerminationByKubelet',
          message: 'Pod was terminated in response to imminent node shutdown.',
        }),
      );
    }
    const [plain, , last] = ended;
    if (plain === undefined || last === undefined) throw new Error('no pods');
    const told = (pod: typeof plain): number => Number(pods.log(pod).split(' ')[0]);
    // After the others were down, the stubborn one's two seconds included.
    expect(told(last) - told(plain)).toBeGreaterThan(1.5);

    const state = JSON.parse(readFileSync(`${node.run.paths.libDir}/kubelet/graceful_node_shutdown_state`, 'utf8'));
    expect(Date.parse(state.endTime)).toBeGreaterThan(Date.parse(state.startTime));
    const events = (await node.deckhand.api.list<Event>(resources.events, 'default')).filter(
      ({ reason }) => reason === 'Shutdown',
    );
    expect(events.map(({ message }) => message)).toEqual(['Shutdown manager detected shutdown event']);

    logind.callOff();
    await waitFor('the lock again', () => logind.held().length === 1);
    await waitFor('the node to be ready', async () => (await readiness()).startsWith('True'));
    await pods.create(podOf('after', sh(STAY)));
    await pods.ready('after');
  });

  it('finds a bus that was restarted, and its lock is gone with the process', async () => {
    logind.close();
    await bus.stop();
    bus = await PrivateBus.start(directory);
    logind = await TestLogind.start(bus, directory, { delaySeconds: 30 });
    await waitFor('the lock', () => logind.held().length === 1);
    const metrics = await node.local.request(node.deckhand.healthz.replace('/healthz', '/metrics'));
    expect(metrics.body).toMatch(/kubelet_graceful_shutdown_end_time_seconds [1-9]/);
    await node.deckhand.kill();
    await waitFor('the lock to be gone', () => logind.held().length === 0);
    await node.deckhand.restart();
    await waitFor('the lock', () => logind.held().length === 1);
    const again = await node.local.request(node.deckhand.healthz.replace('/healthz', '/metrics'));
    expect(again.body).toMatch(/kubelet_graceful_shutdown_start_time_seconds [1-9]/);
  });
});
