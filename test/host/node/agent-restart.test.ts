import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { type HarnessNode, NODE_ADDRESS, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { isReady } from '../../harness/pod-summary.ts';
import { RequestStream } from '../../harness/request-stream.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { addressOf, kernelRules, missingFrom, rulesLeadingTo } from './support/kernel-rules.ts';
import { podOf, STAY, sh, web } from './support/manifest.ts';
import { NodePods } from './support/node-pods.ts';
import { fingerprints } from './support/stable-pods.ts';

const NAME = 'deckhand-test-e2e-restart';
const STABLE = ['web-1', 'web-2', 'web-3', 'probed', 'with-init', 'with-files'];

/** What is under way when the agent is killed, and what must come of it afterwards. */
interface Moment {
  readonly what: string;
  readonly provoke?: () => Promise<unknown>;
  readonly afterMs?: number;
  readonly settle?: () => Promise<unknown>;
}

describe('kill -9 of deckhand at any moment', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let streams: RequestStream[];

  beforeAll(async () => {
    node = await startNode(NAME);
    pods = new NodePods(node);
    const { api } = node.deckhand;
    await api.create<ConfigMap>(resources.configmaps, {
      metadata: { name: 'files', namespace: 'default' },
      data: { key: 'one' },
    });
    const service: Service = {
      metadata: { name: 'web', namespace: 'default' },
      spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080, nodePort: 30_080 }] },
    };
    await api.create(resources.services, service);
    for (const name of ['web-1', 'web-2', 'web-3'])
      await pods.create(podOf(name, web(), {}, { labels: { app: 'web' } }));
    await pods.create(
      podOf(
        'probed',
        sh(STAY, {
          readinessProbe: { exec: { command: ['sleep', '0.7'] }, periodSeconds: 1, timeoutSeconds: 5 },
          livenessProbe: { exec: { command: ['sleep', '0.3'] }, periodSeconds: 1, timeoutSeconds: 5 },
          startupProbe: { exec: { command: ['true'] }, periodSeconds: 1, failureThreshold: 30 },
          lifecycle: { postStart: { exec: { command: ['true'] } } },
        }),
      ),
    );
    await pods.create(
      podOf('with-init', sh(STAY), {
        initContainers: [sh('exit 0', { name: 'init' }), sh(STAY, { name: 'side', restartPolicy: 'Always' })],
      }),
    );
    await pods.create(
      podOf(
        'with-files',
        sh(STAY, {
          volumeMounts: [
            { name: 'f', mountPath: '/f' },
            { name: 'e', mountPath: '/e' },
          ],
        }),
        {
          volumes: [
            { name: 'f', configMap: { name: 'files' } },
            { name: 'e', emptyDir: { medium: 'Memory' } },
          ],
        },
      ),
    );
    await Promise.all(STABLE.map((name) => pods.ready(name)));
    const { spec } = await api.get<Service>(resources.services, 'default', 'web');
    const urls = [`http://${spec?.clusterIP}/`, `http://${NODE_ADDRESS}:30080/`] as const;
    await rulesLeadingTo(node, 'default/web', 3);
    await waitFor('the Service to answer', async () => (await node.client.request(urls[1])).status === 200);
    await waitFor('the Service to answer', async () => (await node.local.request(urls[0])).status === 200);
    streams = [new RequestStream(node.local, urls[0], 5, 2), new RequestStream(node.client, urls[1], 5, 2)];
  });

  afterAll(async () => {
    await Promise.all((streams ?? []).map((stream) => stream.stop()));
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  let goes = '';
  const service = (name: string, selector: Record<string, string>): Promise<Service> =>
    node.deckhand.api.create<Service>(resources.services, {
      metadata: { name, namespace: 'default' },
      spec: { selector, ports: [{ port: 80, targetPort: 8080 }] },
    });

  const startsAt = (name: string, afterMs: number): Moment => ({
    what: `${afterMs} ms after a pod was made`,
    provoke: () =>
      pods.create(
        podOf(name, sh(STAY), {
          initContainers: [sh('sleep 0.2', { name: 'init' })],
          volumes: [{ name: 'e', emptyDir: {} }],
        }),
      ),
    afterMs,
    settle: async () => {
      const pod = await pods.ready(name);
      // Not two of anything: what the killed agent had begun is adopted or taken down.
      await waitFor(`one sandbox of ${name}`, async () => (await pods.sandboxIds(pod)).length === 1);
      const running = (await node.containerd.ctr('tasks', 'list')).split('\n').filter((line) => / RUNNING/.test(line));
      const pids = new Set(pods.processes(pod));
      expect(running.filter((line) => pids.has(Number(line.split(/\s+/)[1])))).toHaveLength(2);
    },
  });
  const deletionAt = (name: string, afterMs: number): Moment => ({
    what: `${afterMs} ms after a pod was deleted`,
    provoke: async () => {
      const preStop = { exec: { command: ['sleep', '1'] } };
      await pods.create(podOf(name, sh(STAY, { lifecycle: { preStop } }), { terminationGracePeriodSeconds: 5 }));
      await pods.ready(name);
      await pods.delete(name);
    },
    afterMs,
    settle: () => pods.gone(name),
  });

  const moments: Moment[] = [
    { what: 'an idle time' },
    startsAt('starts-0', 0),
    startsAt('starts-60', 60),
    startsAt('starts-200', 200),
    startsAt('starts-400', 400),
    startsAt('starts-800', 800),
    {
      what: 'an image is asked for',
      provoke: () => pods.create(podOf('absent', sh(STAY, { image: '127.0.0.1:9/absent:1' }))),
      afterMs: 400,
      settle: () => pods.until('absent', 'say so', (pod) => JSON.stringify(pod.status).includes('ErrImagePull')),
    },
    deletionAt('deleted-30', 30),
    deletionAt('deleted-500', 500),
    deletionAt('deleted-1400', 1400),
    { what: 'an exec probe is running', afterMs: 450 },
    {
      what: 'a Service is made',
      provoke: () => service('made', { app: 'web' }),
      afterMs: 20,
      settle: async () => {
        const { spec } = await node.deckhand.api.get<Service>(resources.services, 'default', 'made');
        const answers = async () => (await node.local.request(`http://${spec?.clusterIP}/`)).status === 200;
        await waitFor('the new Service to answer', answers);
      },
    },
    {
      what: 'a Service is changed and another one goes',
      provoke: async () => {
        await service('goes', { app: 'web' });
        goes = await addressOf(node, 'default/goes');
        await node.deckhand.api.mergePatch(resources.services, 'default', 'made', {
          spec: { ports: [{ port: 81, targetPort: 8080 }] },
        });
        await node.deckhand.api.delete(resources.services, 'default', 'goes');
      },
      afterMs: 40,
      settle: async () => {
        const { spec } = await node.deckhand.api.get<Service>(resources.services, 'default', 'made');
        const answers = async () => (await node.local.request(`http://${spec?.clusterIP}:81/`)).status === 200;
        await waitFor('the changed Service to answer', answers);
        await waitFor('the rules of what went to go', async () => {
          return ![...(await kernelRules(node))].some((rule) => rule.includes(`${goes} . `));
        });
      },
    },
    {
      what: 'a ConfigMap changes',
      provoke: () => node.deckhand.api.mergePatch(resources.configmaps, 'default', 'files', { data: { key: 'two' } }),
      afterMs: 5,
      settle: async () => {
        const pod = await pods.get('with-files');
        await waitFor('the new content', async () => (await pods.file(pod, '/f/key')) === 'two');
      },
    },
    {
      what: 'a killed container is about to come back',
      provoke: async () => {
        await pods.create(podOf('crashes', sh(`echo up; ${STAY}`)));
        const pod = await pods.ready('crashes');
        process.kill(await pods.pid(pod), 'SIGKILL');
      },
      afterMs: 60,
      settle: () =>
        pods.until('crashes', 'be restarted', (pod) => {
          // A start that is cut off with its caller has failed for the runtime, and is one more attempt.
          const restarts = pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
          return isReady(pod) && restarts >= 1 && restarts <= 2;
        }),
    },
    {
      what: 'it is itself starting',
      provoke: async () => {
        await node.deckhand.kill();
        for (const ms of [150, 400, 800, 1_200]) {
          const starting = node.deckhand.restart().catch(() => {});
          await pause(ms);
          await node.deckhand.kill();
          await starting;
        }
      },
    },
  ];

  it('keeps containers, readiness, rules and every request', { timeout: 240_000 }, async () => {
    const before = await fingerprints(pods, STABLE);
    const rulesBefore = await kernelRules(node);
    // A request that is under way all the time: no connection is cut.
    const { spec } = await node.deckhand.api.get<Service>(resources.services, 'default', 'web');
    const slow = node.local.request(`http://${spec?.clusterIP}/cgi-bin/slow?20`, { timeoutMs: 60_000 });
    const downMs: number[] = [];
    for (const { what, provoke, afterMs = 0, settle } of moments) {
      try {
        await provoke?.();
        await pause(afterMs);
        const killedAt = performance.now();
        await node.deckhand.kill();
        expect(missingFrom(await kernelRules(node), rulesBefore), 'rules lost with the process').toEqual([]);
        await node.deckhand.restart();
        downMs.push(performance.now() - killedAt);
        await settle?.();
        expect(await fingerprints(pods, STABLE)).toEqual(before);
        expect(missingFrom(await kernelRules(node), rulesBefore), 'rules lost after the start').toEqual([]);
      } catch (error) {
        throw new Error(`killed when ${what}: ${error instanceof Error ? error.stack : error}`);
      }
    }
    // What probes and sweeps do some time after a start must not disturb either.
    await pause(12_000);
    expect(await fingerprints(pods, STABLE)).toEqual(before);
    expect(missingFrom(await kernelRules(node), rulesBefore)).toEqual([]);
    expect((await slow).body).toBe('after 20 s\n');
    const samples = (await Promise.all(streams.map((stream) => stream.stop()))).flat();
    const failures = streams.flatMap((stream) => stream.failures.map(({ error }) => error));
    const worst = Math.max(...downMs).toFixed(0);
    console.log(`${moments.length} kills, up again after at most ${worst} ms; ${samples.length} requests`);
    expect(failures).toEqual([]);
    expect(samples.length).toBeGreaterThan(1_000);
  });

  it('a SIGTERM ends it in order and disturbs nothing either', async () => {
    const before = await fingerprints(pods, STABLE);
    const rulesBefore = await kernelRules(node);
    expect(await node.deckhand.stop()).toBe(0);
    expect(missingFrom(await kernelRules(node), rulesBefore)).toEqual([]);
    await node.deckhand.restart();
    await pause(1_000);
    expect(await fingerprints(pods, STABLE)).toEqual(before);
    expect(missingFrom(await kernelRules(node), rulesBefore)).toEqual([]);
  });
});
