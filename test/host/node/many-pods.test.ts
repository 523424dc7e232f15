import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { ApiFailure } from '../../harness/kube-client.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { isReady } from '../../harness/pod-summary.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from './support/manifest.ts';
import { type Traces, tracesGone, tracesOf } from './support/node-traces.ts';

const NAME = 'deckhand-test-e2e-many';
const COUNT = 100;

describe(`${COUNT} pods at once`, () => {
  let node: HarnessNode;
  let before: Traces;

  beforeAll(async () => {
    node = await startNode(NAME);
    await node.deckhand.api.create<Service>(resources.services, {
      metadata: { name: 'many', namespace: 'default' },
      spec: { selector: { app: 'many' }, ports: [{ port: 80 }] },
    });
    // One pod first: the bridge and what else is made once.
    await node.deckhand.api.create(resources.pods, pod('first'));
    await waitFor('the first pod', async () =>
      isReady(await node.deckhand.api.get<Pod>(resources.pods, 'default', 'first')),
    );
    await node.deckhand.api.delete(resources.pods, 'default', 'first');
    await waitFor('no pod', async () => (await node.deckhand.api.list<Pod>(resources.pods)).length === 0);
    before = await tracesOf(node);
    await waitFor('the first pod to be cleaned up', async () => {
      before = await tracesOf(node);
      return before['containers']?.length === 0 && before['podDirectories']?.length === 0;
    });
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const pod = (name: string): Pod =>
    podOf(
      name,
      sh(STAY, {
        readinessProbe: { exec: { command: ['true'] }, periodSeconds: 5 },
        resources: { requests: { cpu: '10m' }, limits: { memory: '16Mi' } },
        volumeMounts: [
          { name: 'disk', mountPath: '/disk' },
          { name: 'memory', mountPath: '/memory' },
        ],
      }),
      {
        volumes: [
          { name: 'disk', emptyDir: {} },
          { name: 'memory', emptyDir: { medium: 'Memory' } },
          { name: 'who', downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
        ],
      },
      { labels: { app: 'many' } },
    );

  async function nothingLeft(ofNoPod?: RegExp): Promise<void> {
    expect(await tracesGone(node, before, ofNoPod)).toEqual(before);
  }

  it('all become ready, and leave nothing behind when they are deleted', { timeout: 240_000 }, async () => {
    const { api } = node.deckhand;
    const names = Array.from({ length: COUNT }, (_, index) => `many-${index}`);
    const started = performance.now();
    const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1);
    await Promise.all(names.map((name) => api.create(resources.pods, pod(name))));
    const created = seconds();
    await waitFor(
      `${COUNT} pods to be ready`,
      async () => (await api.list<Pod>(resources.pods, 'default')).filter(isReady).length === COUNT,
      { timeoutMs: 120_000, intervalMs: 250 },
    );
    const ready = seconds();
    const full = await tracesOf(node);
    expect(full['addresses']).toHaveLength(COUNT);
    await waitFor('all endpoints', async () => (await tracesOf(node))['endpoints']?.length === COUNT, {
      intervalMs: 500,
    });
    const rss = (node.deckhand.rssBytes() / 2 ** 20).toFixed(0);

    const deleting = performance.now();
    await Promise.all(names.map((name) => api.delete(resources.pods, 'default', name)));
    await waitFor('no pod in the API', async () => (await api.list<Pod>(resources.pods, 'default')).length === 0, {
      timeoutMs: 120_000,
      intervalMs: 250,
    });
    const gone = ((performance.now() - deleting) / 1000).toFixed(1);
    console.log(
      `${COUNT} pods created after ${created} s, ready after ${ready} s (RSS ${rss} MiB), gone ${gone} s after delete`,
    );
    await nothingLeft();
  });

  it.each([
    { what: 'nothing else happens', disturb: () => Promise.resolve(), ofNoPod: undefined },
    {
      what: 'the agent dies',
      disturb: async () => {
        await pause(700);
        await node.deckhand.kill();
        await node.deckhand.restart();
      },
      // A call that is cut off in the middle costs containerd 1.6 a shim without a container in it.
      ofNoPod: /containerd-shim-runc-v2/,
    },
    {
      what: 'the runtime dies',
      disturb: async () => {
        await pause(1_000);
        await node.containerd.kill();
        await pause(300);
        await node.containerd.restart();
      },
      // What containerd was making when it died, it does not know afterwards.
      ofNoPod: /containerd-shim-runc-v2|(^|netns\/)cni-[0-9a-f]{8}-|sha256:\w+ +Active/,
    },
  ])('pods deleted while they start leave nothing behind, even when $what', { timeout: 180_000 }, async (road) => {
    const { api } = node.deckhand;
    const names = Array.from({ length: 24 }, (_, index) => `short-${index}`);
    const remove = (name: string, index: number): Promise<true> =>
      waitFor(
        `${name} to be deleted`,
        async () => {
          await api.delete(resources.pods, 'default', name, index % 3 === 0 ? 0 : undefined).catch((error: unknown) => {
            if (!(error instanceof ApiFailure && error.status === 404)) throw error;
          });
          return true as const;
        },
        { intervalMs: 100 },
      );
    await Promise.all(names.map((name) => api.create(resources.pods, pod(name))));
    const removals = Promise.all(
      names.map(async (name, index) => {
        await pause(index * 120);
        await remove(name, index);
      }),
    );
    removals.catch(() => {});
    await road.disturb();
    await removals;
    await waitFor('no pod in the API', async () => (await api.list<Pod>(resources.pods, 'default')).length === 0, {
      timeoutMs: 60_000,
      intervalMs: 250,
    });
    await nothingLeft(road.ofNoPod);
  });
});
