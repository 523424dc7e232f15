import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import type { Service } from '../../../src/model/service.ts';
import { cgroupHierarchies } from '../cgroup-hierarchies.ts';
import { type HarnessNode, NODE_ADDRESS } from '../harness-node.ts';
import { containerId, containerStatus, isReady, restartCount } from '../pod-summary.ts';
import { projectRoot } from '../project-root.ts';
import { percentile, RequestStream, type Sample } from '../request-stream.ts';
import { pause, waitFor } from '../wait-for.ts';
import type { Screen } from './screen.ts';

const REPLICAS = ['web-1', 'web-2', 'web-3'];
const NODE_PORT = 30080;

/** What a claim of the demo works with. */
export interface Stage {
  readonly node: HarnessNode;
  readonly screen: Screen;
  /** The folder that deckhand follows. */
  readonly manifests: string;
}

/** A claim shows one thing and returns a sentence with its figures; it throws when the thing does not happen. */
export interface Claim {
  readonly title: string;
  readonly show: (stage: Stage) => Promise<string>;
}

function must(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

const getPod = ({ node }: Stage, name: string): Promise<Pod> => node.deckhand.api.get(resources.pods, 'default', name);

async function webPods(stage: Stage): Promise<Pod[]> {
  return Promise.all(REPLICAS.map((name) => getPod(stage, name)));
}

async function serviceUrl({ node }: Stage): Promise<string> {
  const service = await node.deckhand.api.get<Service>(resources.services, 'default', 'web');
  return `http://${service.spec?.clusterIP}/`;
}

const podUrl = (pod: Pod, path: string): string => `http://${pod.status?.podIP}:8080${path}`;

function countAnswers(samples: readonly Sample[]): Map<string, number> {
  const counts = new Map(REPLICAS.map((name) => [name, 0]));
  for (const { answer } of samples) if (answer !== undefined) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return counts;
}

async function showEnvironment(stage: Stage): Promise<string> {
  const pod = await getPod(stage, 'web-1');
  const { body } = await stage.node.local.request(podUrl(pod, '/cgi-bin/env'));
  must(body.includes('GREETING=hello from a ConfigMap\n'), 'GREETING of the ConfigMap is not in the environment');
  must(body.includes('TOKEN=not-really-a-secret\n'), 'TOKEN of the Secret is not in the environment');
  must(/^WEB_SERVICE_HOST=10\.96\./m.test(body) || /^KUBERNETES_SERVICE_HOST=/m.test(body), 'no Service variables');
  return 'web-1 has GREETING from the ConfigMap, TOKEN from the Secret and the Service variables in its environment';
}

async function showSpread(stage: Stage): Promise<string> {
  const { node } = stage;
  const ways = [
    { name: 'ClusterIP, from the node', dialer: node.local, url: await serviceUrl(stage) },
    { name: `NodePort ${NODE_PORT}, from outside`, dialer: node.client, url: `http://${NODE_ADDRESS}:${NODE_PORT}/` },
  ];
  const said: string[] = [];
  for (const { name, dialer, url } of ways) {
    const stream = new RequestStream(dialer, url, 0, 4);
    await waitFor('300 answers', () => stream.samples.length >= 300, { intervalMs: 10 });
    const samples = await stream.stop();
    must(
      stream.failures.length === 0,
      `${name}: ${stream.failures.length} requests failed: ${stream.failures[0]?.error}`,
    );
    const counts = countAnswers(samples);
    const shares = [...counts].map(([pod, count]) => `${pod} ${count}`);
    // Each of three random picks gets a third; a sixth of 300 is more than six standard deviations away.
    must(
      [...counts].every(([pod, count]) => REPLICAS.includes(pod) && count > samples.length / 6),
      `${name}: uneven spread: ${shares.join(', ')}`,
    );
    const median = percentile(
      samples.map((sample) => sample.ms),
      0.5,
    ).toFixed(1); //
    said.push(`${name}: ${samples.length} requests, 0 failed: ${shares.join(', ')} (median ${median} ms)`);
  }
  return said.join('\n');
}

async function showRestart(stage: Stage): Promise<string> {
  const before = await getPod(stage, 'web-2');
  const started = performance.now();
  await stage.node.containerd.ctr('tasks', 'kill', '--signal', 'SIGKILL', containerId(before, 'web'));
  let seenMs: number | undefined;
  const after = await waitFor(
    'web-2 to be restarted and ready',
    async () => {
      const pod = await getPod(stage, 'web-2');
      if (!isReady(pod)) seenMs ??= performance.now() - started;
      return restartCount(pod) === restartCount(before) + 1 && isReady(pod) ? pod : undefined;
    },
    { timeoutMs: 60_000, intervalMs: 20 },
  );
  const last = containerStatus(after, 'web')?.lastState?.terminated;
  must(last?.exitCode === 137, `lastState has exit code ${last?.exitCode}, not 137`);
  const seen = seenMs === undefined ? '' : `not ready in the API after ${seenMs.toFixed(0)} ms, `;
  const ready = (performance.now() - started).toFixed(0);
  return `web-2 killed (SIGKILL): ${seen}ready again after ${ready} ms, restarts ${restartCount(after)}, last exit code 137`;
}

async function showReadiness(stage: Stage): Promise<string> {
  const pod = await getPod(stage, 'web-3');
  const stream = new RequestStream(stage.node.local, await serviceUrl(stage), 2, 3);
  try {
    await waitFor('answers of web-3', () => stream.lastAnswerOf('web-3', 0) !== undefined, { intervalMs: 10 });
    await stage.node.local.request(podUrl(pod, '/cgi-bin/fail'));
    const failedAt = performance.now();
    await waitFor('web-3 to be not ready', async () => !isReady(await getPod(stage, 'web-3')), { intervalMs: 10 });
    const noticedMs = performance.now() - failedAt;
    await waitFor(
      'web-3 to leave the Service',
      () => performance.now() - (stream.lastAnswerOf('web-3', failedAt) ?? failedAt) > 500,
      { intervalMs: 20 },
    );
    const leftMs = (stream.lastAnswerOf('web-3', failedAt) ?? failedAt) - failedAt;
    await stage.node.local.request(podUrl(pod, '/cgi-bin/recover'));
    const recoveredAt = performance.now();
    const returnedAt = await waitFor('web-3 to return', () => stream.firstAnswerOf('web-3', recoveredAt), {
      intervalMs: 5,
    });
    const samples = await stream.stop();
    must(stream.failures.length === 0, `${stream.failures.length} of ${samples.length} requests failed meanwhile`);
    const back = (returnedAt - recoveredAt).toFixed(0);
    return (
      `web-3 failed its readiness (asked once a second): Ready=False after ${noticedMs.toFixed(0)} ms, last request to it ` +
      `${leftMs.toFixed(0)} ms after the failure\nrecovered: first request to it after ${back} ms; ` +
      `${samples.length} requests to the Service meanwhile, none failed`
    );
  } finally {
    await stream.stop();
  }
}

async function showOutOfMemory(stage: Stage): Promise<string> {
  const started = performance.now();
  copyFileSync(join(projectRoot(), 'examples', '60-memory-hog.yaml'), join(stage.manifests, '60-memory-hog.yaml'));
  const ended = await waitFor(
    'memory-hog to be killed',
    async () => {
      const pod = await stage.node.deckhand.api.find<Pod>(resources.pods, 'default', 'memory-hog');
      return pod === undefined ? undefined : containerStatus(pod, 'hog')?.state?.terminated;
    },
    { timeoutMs: 60_000, intervalMs: 20 },
  );
  must(ended.reason === 'OOMKilled', `the container ended with reason ${ended.reason}, not OOMKilled`);
  must(ended.exitCode === 137, `the container ended with exit code ${ended.exitCode}, not 137`);
  const ms = (performance.now() - started).toFixed(0);
  return `memory-hog (256 MiB wanted, 32 MiB allowed) added to the manifest folder: OOMKilled, exit code 137, after ${ms} ms`;
}

/** The files of a process's own cgroups by name, from whichever hierarchy has them. */
function cgroupFiles(pid: number, names: readonly string[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')) {
    const path = line.split(':').slice(2).join(':');
    if (path === '') continue;
    for (const mount of cgroupHierarchies()) {
      for (const name of names) {
        try {
          values.set(name, readFileSync(join(mount, path, name), 'utf8').trim());
        } catch {
          // Another controller's hierarchy, or the other cgroup version's file.
        }
      }
    }
  }
  return values;
}

async function showCgroups(stage: Stage): Promise<string> {
  const pod = await getPod(stage, 'web-1');
  const tasks = await stage.node.containerd.ctr('tasks', 'list');
  const pid = Number(new RegExp(`^${containerId(pod, 'web')}\\s+(\\d+)`, 'm').exec(tasks)?.[1]);
  must(pid > 0, `no task for container ${containerId(pod, 'web')}`);
  const cgroup = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  must(
    cgroup.includes(`${stage.node.run.paths.cgroupRoot}/`),
    `the container is not below ${stage.node.run.paths.cgroupRoot}`,
  );
  // limits: cpu 200m, memory 64Mi; requests: cpu 50m.
  const version1 = { 'memory.limit_in_bytes': '67108864', 'cpu.cfs_quota_us': '20000', 'cpu.shares': '51' };
  const version2 = { 'memory.max': '67108864', 'cpu.max': '20000 100000' };
  const found = cgroupFiles(pid, Object.keys({ ...version1, ...version2 }));
  const wanted: Record<string, string> = found.has('memory.max') ? version2 : version1;
  for (const [file, value] of Object.entries(wanted)) {
    must(found.get(file) === value, `${file} of web-1 is ${found.get(file)}, not ${value}`);
  }
  const read = Object.keys(wanted).map((file) => `${file} ${found.get(file)}`);
  return `web-1 (limits cpu 200m, memory 64Mi) in the kernel: ${read.join(', ')}`;
}

async function showAgentRestart(stage: Stage): Promise<string> {
  const { deckhand, local } = stage.node;
  const before = await webPods(stage);
  const stream = new RequestStream(local, await serviceUrl(stage), 2, 3);
  try {
    await pause(200);
    const started = performance.now();
    await deckhand.kill();
    await pause(500);
    await deckhand.restart();
    const upMs = performance.now() - started;
    const after = await waitFor(
      'the web pods to be ready after the restart',
      async () => {
        const pods = await webPods(stage);
        return pods.every(isReady) ? pods : undefined;
      },
      { intervalMs: 20 },
    );
    await pause(1_000);
    const samples = await stream.stop();
    const same = after.every(
      (pod, index) =>
        before[index] !== undefined &&
        containerId(pod, 'web') === containerId(before[index], 'web') &&
        restartCount(pod) === restartCount(before[index]),
    );
    must(same, 'a container was replaced, or a restart counted');
    must(stream.failures.length === 0, `${stream.failures.length} of ${samples.length} requests failed meanwhile`);
    return (
      `deckhand killed (kill -9) and started: up again after ${upMs.toFixed(0)} ms (500 of them on purpose), same ` +
      `containers, same restart counts; ${samples.length} requests to the Service meanwhile, none failed`
    );
  } finally {
    await stream.stop();
  }
}

/** In the order of showing. */
export const claims: readonly Claim[] = [
  { title: 'Environment from a ConfigMap and a Secret', show: showEnvironment },
  { title: 'Requests spread over the three replicas', show: showSpread },
  { title: 'A killed container comes back', show: showRestart },
  { title: 'A replica that is not ready leaves the Service, and returns', show: showReadiness },
  { title: 'A container over its memory limit', show: showOutOfMemory },
  { title: 'Limits, read back from the kernel', show: showCgroups },
  { title: 'The agent dies; the pods do not', show: showAgentRestart },
];
