import { mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigMap, Event, RuntimeClass, Secret } from '../../../src/model/objects.ts';
import type { Pod, PodSpec } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { ApiFailure } from '../../harness/kube-client.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { type Outcome, outcomeOf } from '../../harness/random-pods/outcome.ts';
import { type RandomPod, randomPods } from '../../harness/random-pods/random-pods.ts';
import { CONFIG_MAP, HOST_ENTRIES, SECRET } from '../../harness/random-pods/volume-tables.ts';
import { pathsOf } from '../../harness/run-record.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, web } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { type Traces, tracesGone, tracesOf } from '../node/support/node-traces.ts';

/**
 * The whole thing: RANDOM_PODS=1000 RANDOM_SEED=random npx vitest run test/host/random-pods
 * It prints the seed; RANDOM_SEED=<that> makes the same pods again.
 */
const COUNT = Number(process.env['RANDOM_PODS'] ?? 48);
const wanted = process.env['RANDOM_SEED'] ?? '2026';
const SEED = wanted === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(wanted);
const WAVE = 24;
/** Eight connections for requests and eight for watches may be kept, and both ends of each are this process's own here. */
const KEPT_SOCKETS = 32;

const NAME = 'deckhand-test-random';
const FOLDER = `${pathsOf(NAME).libDir}/host`;

/** Traces of which none is there without a pod. */
const OF_PODS = [
  'containers',
  'tasks',
  'snapshots',
  'podDirectories',
  'memory',
  'logs',
  'cniResults',
  'addresses',
  'pods',
];

interface Made extends RandomPod {
  readonly name: string;
  outcome?: Outcome;
  tookMs?: number;
}

describe(`${COUNT} random pods`, () => {
  let node: HarnessNode;
  let pods: NodePods;
  let socket: Server;
  let before: Traces;
  let descriptors: Readonly<Record<string, number>>;

  beforeAll(async () => {
    node = await startNode(NAME, {
      beforeDeckhand: () => {
        mkdirSync(`${FOLDER}/${HOST_ENTRIES.directory}`, { recursive: true });
        writeFileSync(`${FOLDER}/${HOST_ENTRIES.file}`, 'untouched\n');
        socket = createServer().listen(`${FOLDER}/${HOST_ENTRIES.socket}`);
      },
    });
    pods = new NodePods(node);
    const { api } = node.deckhand;
    const data = { a: 'value of a', b: 'value of b' };
    await api.create<ConfigMap>(resources.configmaps, { metadata: { name: CONFIG_MAP, namespace: 'default' }, data });
    const secret = { a: Buffer.from('secret of a').toString('base64') };
    await api.create<Secret>(resources.secrets, { metadata: { name: SECRET, namespace: 'default' }, data: secret });
    for (const [name, handler] of [
      ['test', 'test-handler'],
      ['unknown-handler', 'nobody'],
    ] as const) {
      await api.create<RuntimeClass>(resources.runtimeclasses, { metadata: { name }, handler });
    }
    // What is made once and stays: the bridge, chains for host ports, cgroups of the classes, memory for Secrets.
    await controlPod('first', {
      containers: [
        web({
          ports: [{ name: 'http', containerPort: 8080, hostPort: 31_000 }],
          resources: { requests: { cpu: '1m' } },
          volumeMounts: [{ name: 'secret', mountPath: '/secret' }],
        }),
      ],
      volumes: [{ name: 'secret', secret: { secretName: SECRET } }],
    });
    await controlPod('second');
    await waitFor('the first pods to be cleaned up', async () => {
      before = await tracesOf(node);
      return OF_PODS.every((what) => before[what]?.length === 0);
    });
    descriptors = descriptorsOf(node.deckhand.pid);
  });

  afterAll(async () => {
    socket?.close();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  /** A plain pod comes and goes; returns how long it took to be ready, in milliseconds. */
  async function controlPod(name: string, spec: Partial<PodSpec> = {}): Promise<number> {
    const since = performance.now();
    await pods.create(podOf(name, web(), spec));
    await pods.ready(name);
    const tookMs = performance.now() - since;
    await pods.delete(name);
    await pods.gone(name);
    return tookMs;
  }

  it('start or are refused with a reason, wedge nothing and leave nothing', {
    timeout: 120_000 + COUNT * 5_000,
  }, async () => {
    console.log(`RANDOM_SEED=${SEED} RANDOM_PODS=${COUNT}`);
    const made = fc
      .sample(randomPods({ hostFolder: FOLDER }), { seed: SEED, numRuns: COUNT })
      .map((one, index): Made => ({ ...one, name: `random-${index}` }));
    const started = performance.now();
    const rss = [node.deckhand.rssBytes()];
    const control: number[] = [];
    for (let first = 0; first < made.length; first += WAVE) {
      const wave = made.slice(first, first + WAVE);
      await Promise.all(wave.map(create));
      // While some of them are stuck, and some are still starting.
      control.push(await controlPod(`control-${first}`));
      await settle(wave);
      await remove(wave);
      expect(await tracesGone(node, before), `what ${wave[0]?.name} to ${wave.at(-1)?.name} left`).toEqual(before);
      rss.push(node.deckhand.rssBytes());
    }
    report(made, control, performance.now() - started, rss);

    expect(node.deckhand.alive).toBe(true);
    const mute = made.filter(({ outcome }) => outcome?.kind === 'refused' && !(outcome.reason && outcome.message));
    expect(mute.map(describePod)).toEqual([]);
    expect(made.filter(({ outcome }) => outcome?.kind === 'runs').length).toBeGreaterThan(COUNT / 3);
    expect(
      readdirSync(FOLDER)
        .filter((name) => !name.startsWith('made'))
        .sort(),
    ).toEqual(Object.values(HOST_ENTRIES).sort());
    // Connections to the API are kept, so many of them at most; nothing else stays open.
    const { socket: socketsBefore = 0, ...othersBefore } = descriptors;
    await waitFor('descriptors to be closed', () => {
      const { socket: sockets = 0, ...others } = descriptorsOf(node.deckhand.pid);
      return sockets <= socketsBefore + KEPT_SOCKETS && JSON.stringify(others) === JSON.stringify(othersBefore);
    }).catch(() => expect(descriptorsOf(node.deckhand.pid)).toEqual(descriptors));
  });

  async function create(one: Made): Promise<void> {
    try {
      await pods.create({ ...one.pod, metadata: { ...one.pod.metadata, name: one.name } });
    } catch (error) {
      if (!(error instanceof ApiFailure) || error.status < 400 || error.status >= 500) throw error;
      one.outcome = { kind: 'refused', reason: `API: ${error.reason}`, message: error.message };
    }
  }

  /** Waits until each pod runs or says why not, and gives some of them a container to debug with. */
  async function settle(wave: readonly Made[]): Promise<void> {
    const { api } = node.deckhand;
    const since = performance.now();
    const open = (): Made[] => wave.filter(({ outcome }) => outcome === undefined);
    await waitFor(
      'every pod to run or to be refused',
      async () => {
        const found = new Map((await api.list<Pod>(resources.pods, 'default')).map((pod) => [pod.metadata.name, pod]));
        const events = await api.list<Event>(resources.events, 'default');
        for (const one of open()) {
          const pod = found.get(one.name);
          const outcome = pod === undefined ? undefined : outcomeOf(pod, events);
          if (outcome === undefined) continue;
          one.outcome = outcome;
          one.tookMs = performance.now() - since;
          if (one.debug !== undefined && outcome.kind === 'runs') {
            const spec = { ephemeralContainers: [one.debug] };
            await api.mergePatch<Pod>(resources.pods, 'default', one.name, { spec }, 'ephemeralcontainers');
          }
        }
        return open().length === 0;
      },
      { timeoutMs: 120_000, intervalMs: 200 },
    ).catch(async () => {
      const events = await api.list<Event>(resources.events, 'default');
      const told = open().map((one) => {
        const of = events.filter(({ involvedObject }) => involvedObject.name === one.name);
        return `${describePod(one)}\n${of.map(({ reason, message }) => `  ${reason}: ${message}`).join('\n')}`;
      });
      expect(told, 'pods of which nothing is heard').toEqual([]);
    });
  }

  async function remove(wave: readonly Made[]): Promise<void> {
    const ignoreGone = (error: unknown): void => {
      if (!(error instanceof ApiFailure && error.status === 404)) throw error;
    };
    const left = async (): Promise<string[]> => {
      const names = new Set(wave.map(({ name }) => name));
      const found = await node.deckhand.api.list<Pod>(resources.pods, 'default');
      return found.filter(({ metadata }) => names.has(metadata.name ?? '')).map((pod) => JSON.stringify(pod));
    };
    await Promise.all(wave.map(({ name, graceSeconds }) => pods.delete(name, graceSeconds).catch(ignoreGone)));
    await waitFor('the pods to be gone', async () => (await left()).length === 0, {
      timeoutMs: 120_000,
      intervalMs: 250,
    }).catch(async () => expect(await left(), 'pods that stay').toEqual([]));
  }

  function report(made: readonly Made[], control: readonly number[], tookMs: number, rss: readonly number[]): void {
    const reasons = new Map<string, number>();
    for (const { outcome } of made) {
      const what = outcome?.kind === 'refused' ? outcome.reason : 'runs';
      reasons.set(what, (reasons.get(what) ?? 0) + 1);
    }
    const counted = [...reasons].sort(([, a], [, b]) => b - a).map(([reason, count]) => `${reason} ${count}`);
    const ms = control.map(Math.round).sort((a, b) => a - b);
    const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
    const { pid } = node.deckhand;
    console.log(
      `${made.length} random pods, seed ${SEED}, in ${(tookMs / 1000).toFixed(0)} s: ${counted.join(', ')}\n` +
        `a plain pod between them was ready after ${ms[0]} to ${ms.at(-1)} ms (median ${ms[ms.length >> 1]})\n` +
        `RSS before and after each wave: ${rss.map(mib).join(', ')} MiB\n` +
        `descriptors ${total(descriptors)} before, ${total(descriptorsOf(pid))} after`,
    );
  }
});

function describePod({ name, oddities, outcome, pod }: Made): string {
  return `${name} [${oddities.join(' + ')}] ${outcome?.reason ?? ''} ${JSON.stringify(pod.spec)}`;
}

/** What a process has open, by kind: sockets, pipes, and files by their names. */
function descriptorsOf(pid: number): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const number of readdirSync(`/proc/${pid}/fd`).sort()) {
    try {
      const what = readlinkSync(`/proc/${pid}/fd/${number}`).replace(/:\[\d+\]$/, '');
      counted[what] = (counted[what] ?? 0) + 1;
    } catch {
      // Closed since it was listed.
    }
  }
  return Object.fromEntries(Object.entries(counted).sort());
}

function total(counted: Readonly<Record<string, number>>): number {
  return Object.values(counted).reduce((sum, count) => sum + count, 0);
}
