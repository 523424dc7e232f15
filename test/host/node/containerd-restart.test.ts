import { renameSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RealCri } from '../../../src/host/cri/real.ts';
import type { Node } from '../../../src/model/node.ts';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { containerId, isReady, restartCount } from '../../harness/pod-summary.ts';
import { RequestStream } from '../../harness/request-stream.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';
import { fingerprints } from './support/stable-pods.ts';

const NAME = 'deckhand-test-e2e-runtime';
const STABLE = ['web-1', 'web-2', 'probed', 'with-side'];

describe('containerd is killed and comes back', () => {
  let node: HarnessNode;
  let pods: NodePods;

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
    await node.deckhand.api.create<Service>(resources.services, {
      metadata: { name: 'web', namespace: 'default' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    for (const name of ['web-1', 'web-2']) await pods.create(podOf(name, web(), {}, { labels: { app: 'web' } }));
    await pods.create(
      podOf(
        'probed',
        sh(STAY, {
          readinessProbe: { exec: { command: ['cat', '/etc/passwd'] }, periodSeconds: 1, failureThreshold: 1 },
          livenessProbe: { exec: { command: ['cat', '/etc/passwd'] }, periodSeconds: 1, failureThreshold: 2 },
        }),
      ),
    );
    await pods.create(
      podOf('with-side', sh(STAY), { initContainers: [sh(STAY, { name: 'side', restartPolicy: 'Always' })] }),
    );
    await pods.create(podOf('dies', sh(STAY)));
    await pods.create(podOf('goes', sh(STAY)));
    await Promise.all([...STABLE, 'dies', 'goes'].map((name) => pods.ready(name)));
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('pods and requests go on, and all recovers by itself within 10 s', { timeout: 180_000 }, async () => {
    const { api } = node.deckhand;
    const { spec } = await api.get<Service>(resources.services, 'default', 'web');
    const url = `http://${spec?.clusterIP}/`;
    await waitFor('the Service to answer', async () => (await node.local.request(url)).status === 200);
    const stream = new RequestStream(node.local, url, 5, 2);
    const before = await fingerprints(pods, STABLE);
    const dies = await pods.get('dies');
    const diesPid = await pods.pid(dies);

    await node.containerd.kill();
    process.kill(diesPid, 'SIGKILL');
    await pods.create(podOf('made-meanwhile', sh(STAY)));
    await pods.delete('goes');
    // Long enough for every probe to fail its threshold if an error of the runtime counted as a failure.
    await pause(6_000);
    expect(await fingerprints(pods, STABLE)).toEqual(before);
    expect(isReady(await pods.get('made-meanwhile'))).toBe(false);
    const nodeReady = async (): Promise<string | undefined> =>
      (await api.get<Node>(resources.nodes, undefined, node.deckhand.nodeName)).status?.conditions?.find(
        ({ type }) => type === 'Ready',
      )?.status;
    await waitFor('the node to say that it is not ready', async () => (await nodeReady()) !== 'True', {
      timeoutMs: 60_000,
    });

    await node.containerd.restart();
    const since = performance.now();
    const ms = async (work: Promise<unknown>): Promise<string> => {
      await work;
      return (performance.now() - since).toFixed(0);
    };
    const figures = await Promise.all([
      ms(pods.ready('made-meanwhile')),
      ms(pods.until('dies', 'be restarted', (pod) => restartCount(pod) === 1 && isReady(pod))),
      ms(pods.gone('goes')),
      ms(waitFor('the node to be ready', async () => (await nodeReady()) === 'True')),
    ]);
    console.log(`after containerd answers: new pod, died container, deleted pod, node: ${figures.join(', ')} ms`);
    expect(Math.max(...figures.map(Number))).toBeLessThan(10_000);

    // Exec probes work again: what they say has consequences.
    const probed = await pods.get('probed');
    const root = `/proc/${await pods.pid(probed)}/root`;
    renameSync(`${root}/etc/passwd`, `${root}/etc/gone`);
    await pods.until('probed', 'be not ready', (pod) => !isReady(pod));
    renameSync(`${root}/etc/gone`, `${root}/etc/passwd`);
    await pods.ready('probed');

    const others = (lines: string[]): string[] => lines.filter((line) => !line.startsWith('probed'));
    expect(others(await fingerprints(pods, STABLE))).toEqual(others(before));
    expect(containerId(await pods.get('dies'), 'main')).not.toBe(containerId(dies, 'main'));
    await stream.stop();
    console.log(`${stream.samples.length} requests`);
    expect(stream.failures).toEqual([]);
    expect(stream.samples.length).toBeGreaterThan(500);
  });

  /**
   * Sandboxes beside the newest that could be stopped and were not. One whose CNI result was cut short by the kill can
   * never be: containerd refuses to stop it for ever, and all that an agent can do is to go on without it.
   */
  async function surplusSandboxes(pod: Pod): Promise<string[]> {
    const cri = new RealCri({ endpoint: node.containerd.endpoint });
    try {
      const all = await cri.listPodSandbox({ labels: { 'io.kubernetes.pod.uid': pod.metadata.uid ?? '' } });
      const older = all.sort((a, b) => b.createdAt - a.createdAt).slice(1);
      const stopped = await Promise.allSettled(older.map(({ id }) => cri.stopPodSandbox(id)));
      return older.flatMap(({ id }, index) => (stopped[index]?.status === 'fulfilled' ? [id] : []));
    } finally {
      await cri.close();
    }
  }

  it('killed while pods start, end and crash: each of them arrives', { timeout: 180_000 }, async () => {
    const before = await fingerprints(pods, ['web-1', 'web-2', 'with-side']);
    for (const ms of [50, 250, 600]) {
      const names = [1, 2, 3].map((number) => `burst-${ms}-${number}`);
      await pods.create(podOf(`ends-${ms}`, sh(STAY)));
      await pods.ready(`ends-${ms}`);
      for (const name of names)
        await pods.create(podOf(name, sh(STAY), { initContainers: [sh('true', { name: 'i' })] }));
      await pods.delete(`ends-${ms}`);
      await pause(ms);
      await node.containerd.kill();
      await pause(300);
      await node.containerd.restart();
      await Promise.all([...names.map((name) => pods.ready(name)), pods.gone(`ends-${ms}`)]);
      for (const name of names) {
        const pod = await pods.get(name);
        // A start that died with containerd is one attempt; more would be somebody's mistake.
        expect(restartCount(pod), name).toBeLessThanOrEqual(1);
        await waitFor(`one sandbox of ${name}`, async () => (await surplusSandboxes(pod)).length === 0);
      }
    }
    expect(await fingerprints(pods, ['web-1', 'web-2', 'with-side'])).toEqual(before);
  });
});
