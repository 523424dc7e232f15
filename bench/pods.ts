// npm run bench pods [-- --count 20 --burst 30 --levels 0,50,100]
// create → Ready and delete → gone of one pod, against the floor: the raw CRI calls for the same pod, made in the same
// run on the same containerd while no agent runs. Then the agent's memory and CPU with so many pods.
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { ContainerConfig, CriRuntime, PodSandboxConfig } from '../src/host/cri/port.ts';
import { RealCri } from '../src/host/cri/real.ts';
import type { Pod } from '../src/model/pod.ts';
import { resources } from '../src/model/resource.ts';
import { destroyRun } from '../test/harness/cleanup.ts';
import { Containerd } from '../test/harness/containerd.ts';
import { Deckhand, deckhandBundle } from '../test/harness/deckhand.ts';
import { NODE_ADDRESS, openNetwork, POD_CIDR, SERVICE_CIDR } from '../test/harness/harness-node.ts';
import { HarnessRun } from '../test/harness/harness-run.ts';
import { BUSYBOX_IMAGE } from '../test/harness/images.ts';
import { leaksOf } from '../test/harness/leak-check.ts';
import { NetnsDialer } from '../test/harness/netns-dialer.ts';
import { plainSecurity } from '../test/harness/plain-security.ts';
import { containerId, containerStatus, isReady } from '../test/harness/pod-summary.ts';
import { percentile } from '../test/harness/request-stream.ts';
import { pause, waitFor } from '../test/harness/wait-for.ts';

const NAME = 'deckhand-bench';
const COMMAND = ['sh', '-c', "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"];
const GRACE_SECONDS = 5;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20' },
    burst: { type: 'string', default: '30' },
    levels: { type: 'string', default: '0,50,100' },
  },
});
const count = Number(values.count);
const burst = Number(values.burst);
const levels = values.levels.split(',').map(Number);
if (![count, burst, ...levels].every((number) => Number.isInteger(number) && number >= 0)) {
  console.error('bench pods: --count and --burst must be whole numbers, --levels whole numbers with commas');
  process.exit(2);
}

interface Durations {
  readonly create: number[];
  readonly remove: number[];
}

const say = (text: string): void => console.log(text);
const ms = (value: number): string => `${value.toFixed(0)} ms`;

function figures(title: string, { create, remove }: Durations): void {
  const pair = (numbers: number[]): string =>
    `p50 ${ms(percentile(numbers, 0.5)).padStart(8)}  p90 ${ms(percentile(numbers, 0.9)).padStart(8)}`;
  say(`${title.padEnd(34)} create→Ready ${pair(create)}   delete→gone ${pair(remove)}`);
}

// ── the floor ───────────────────────────────────────────────────────────────────────────────────────────────────────

interface FloorPod {
  readonly sandbox: string;
  readonly container: string;
  readonly createMs: number;
}

class Floor {
  private readonly cri: CriRuntime;
  private readonly image: string;
  private readonly directory: string;
  private readonly cgroup: string;

  private constructor(cri: CriRuntime, image: string, run: HarnessRun) {
    this.cri = cri;
    this.image = image;
    this.directory = `${run.paths.libDir}/floor`;
    this.cgroup = `${run.paths.cgroupRoot}/floor`;
  }

  static async open(cri: CriRuntime, run: HarnessRun): Promise<Floor> {
    const image = await cri.imageStatus(BUSYBOX_IMAGE);
    if (image === undefined) throw new Error(`the runtime has no image ${BUSYBOX_IMAGE}`);
    return new Floor(cri, image.id, run);
  }

  /** Until the container runs and its status was read. */
  async create(name: string): Promise<FloorPod> {
    const directory = `${this.directory}/${name}`;
    mkdirSync(`${directory}/main`, { recursive: true });
    writeFileSync(`${directory}/hosts`, '127.0.0.1 localhost\n');
    writeFileSync(`${directory}/termination-log`, '');
    const sandboxConfig = this.sandboxConfig(name, directory);
    const started = performance.now();
    const sandbox = await this.cri.runPodSandbox(sandboxConfig, '');
    await this.cri.podSandboxStatus(sandbox);
    const container = await this.cri.createContainer(sandbox, this.containerConfig(directory), sandboxConfig);
    await this.cri.startContainer(container);
    const status = await this.cri.containerStatus(container);
    const createMs = performance.now() - started;
    if (status.state !== 'RUNNING') throw new Error(`container of ${name} is ${status.state}`);
    return { sandbox, container, createMs };
  }

  /** Milliseconds until container and sandbox are stopped; that they are removed comes after a pod is gone. */
  async remove({ sandbox, container }: FloorPod): Promise<number> {
    const started = performance.now();
    await this.cri.stopContainer(container, GRACE_SECONDS);
    await this.cri.stopPodSandbox(sandbox);
    const removeMs = performance.now() - started;
    await this.cri.removeContainer(container);
    await this.cri.removePodSandbox(sandbox);
    return removeMs;
  }

  private sandboxConfig(name: string, directory: string): PodSandboxConfig {
    return {
      metadata: { name, uid: name, namespace: 'floor', attempt: 0 },
      hostname: name,
      logDirectory: directory,
      portMappings: [],
      labels: {},
      annotations: {},
      linux: {
        cgroupParent: `${this.cgroup}/${name}`,
        namespaceOptions: { network: 'POD', pid: 'CONTAINER', ipc: 'POD' },
        // As every agent that follows kubelet gives its sandboxes.
        seccomp: { type: 'RuntimeDefault' },
      },
    };
  }

  private containerConfig(directory: string): ContainerConfig {
    return {
      metadata: { name: 'main', attempt: 0 },
      image: this.image,
      userSpecifiedImage: BUSYBOX_IMAGE,
      command: COMMAND,
      args: [],
      workingDir: '',
      envs: [{ key: 'KUBERNETES_SERVICE_HOST', value: '10.96.0.1' }],
      mounts: [
        { containerPath: '/etc/hosts', hostPath: `${directory}/hosts`, readonly: false, propagation: 'PRIVATE' },
        {
          containerPath: '/dev/termination-log',
          hostPath: `${directory}/termination-log`,
          readonly: false,
          propagation: 'PRIVATE',
        },
      ],
      devices: [],
      labels: {},
      annotations: {},
      logPath: 'main/0.log',
      stdin: false,
      stdinOnce: false,
      tty: false,
      resources: { cpuShares: 10, memoryLimitInBytes: 64 * 2 ** 20 },
      // As every agent that follows kubelet gives its sandboxes.
      security: { ...plainSecurity, seccomp: { type: 'RuntimeDefault' } },
    };
  }
}

async function measureFloor(floor: Floor, label: string): Promise<Durations> {
  const single: Durations = { create: [], remove: [] };
  for (let index = 0; index < count; index++) {
    const pod = await floor.create(`floor-${label}-${index}`);
    single.create.push(pod.createMs);
    single.remove.push(await floor.remove(pod));
  }
  return single;
}

async function measureFloorBurst(floor: Floor): Promise<Durations> {
  const names = Array.from({ length: burst }, (_, index) => `floor-burst-${index}`);
  let started = performance.now();
  const pods = await Promise.all(names.map((name) => floor.create(name)));
  say(`floor, ${burst} at once: all running in ${ms(performance.now() - started)}`);
  started = performance.now();
  const remove = await Promise.all(pods.map((pod) => floor.remove(pod)));
  say(`floor, ${burst} at once: all stopped and removed in ${ms(performance.now() - started)}`);
  return { create: pods.map((pod) => pod.createMs), remove };
}

// ── deckhand ────────────────────────────────────────────────────────────────────────────────────────────────────────

const benchPod = (name: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: GRACE_SECONDS,
    restartPolicy: 'Never',
    containers: [
      {
        name: 'main',
        image: BUSYBOX_IMAGE,
        command: COMMAND,
        resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
      },
    ],
  },
});

/** Pods as a watching client sees them, with the moment of each thing seen. */
class PodWatch {
  readonly pods = new Map<string, Pod>();
  private readonly waiting = new Set<() => void>();
  private readonly deckhand: Deckhand;

  constructor(deckhand: Deckhand) {
    this.deckhand = deckhand;
  }

  async start(): Promise<void> {
    const version = await this.deckhand.api.version(resources.pods);
    void this.follow(version).catch((error: unknown) => {
      if (this.deckhand.alive) throw error;
    });
  }

  /** When `check` first holds of the pod (undefined: it is gone); on performance.now(). */
  seen(name: string, check: (pod: Pod | undefined) => boolean, timeoutMs = 120_000): Promise<number> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        reject(new Error(`${name} was not seen in ${timeoutMs} ms: ${JSON.stringify(this.pods.get(name)?.status)}`));
      }, timeoutMs);
      const look = (): void => {
        if (!check(this.pods.get(name))) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(performance.now());
      };
      this.waiting.add(look);
      look();
    });
  }

  private async follow(version: string): Promise<void> {
    for await (const { type, object } of this.deckhand.api.watch<Pod>(resources.pods, version)) {
      const name = object.metadata.name ?? '';
      if (type === 'DELETED') this.pods.delete(name);
      else if (type === 'ADDED' || type === 'MODIFIED') this.pods.set(name, object);
      for (const look of this.waiting) look();
    }
  }
}

async function createPod(deckhand: Deckhand, watch: PodWatch, name: string): Promise<number> {
  const started = performance.now();
  const ready = watch.seen(name, (pod) => pod !== undefined && isReady(pod));
  await deckhand.api.create(resources.pods, benchPod(name));
  return (await ready) - started;
}

async function deletePod(deckhand: Deckhand, watch: PodWatch, name: string): Promise<number> {
  const started = performance.now();
  await deckhand.api.delete(resources.pods, 'default', name);
  return (await watch.seen(name, (pod) => pod === undefined)) - started;
}

async function measureSingle(deckhand: Deckhand, watch: PodWatch): Promise<Durations> {
  const durations: Durations = { create: [], remove: [] };
  for (let index = 0; index < count; index++) {
    durations.create.push(await createPod(deckhand, watch, `single-${index}`));
    durations.remove.push(await deletePod(deckhand, watch, `single-${index}`));
  }
  return durations;
}

async function measureBurst(deckhand: Deckhand, watch: PodWatch): Promise<Durations> {
  const names = Array.from({ length: burst }, (_, index) => `burst-${index}`);
  let started = performance.now();
  const create = await Promise.all(names.map((name) => createPod(deckhand, watch, name)));
  say(`deckhand, ${burst} at once: all Ready in ${ms(performance.now() - started)}`);
  started = performance.now();
  const remove = await Promise.all(names.map((name) => deletePod(deckhand, watch, name)));
  say(`deckhand, ${burst} at once: all gone in ${ms(performance.now() - started)}`);
  return { create, remove };
}

/** From the death of a container's process until a watching client sees it. */
async function measureExits(deckhand: Deckhand, containerd: Containerd, watch: PodWatch): Promise<number[]> {
  const seen: number[] = [];
  for (let index = 0; index < Math.min(count, 10); index++) {
    const name = `exit-${index}`;
    await createPod(deckhand, watch, name);
    const pod = watch.pods.get(name);
    const id = pod === undefined ? '' : containerId(pod, 'main');
    const pid = Number(new RegExp(`^${id}\\s+(\\d+)`, 'm').exec(await containerd.ctr('tasks', 'list'))?.[1]);
    if (!(pid > 1)) throw new Error(`${name} has no task`);
    const started = performance.now();
    process.kill(pid, 'SIGKILL');
    const at = await watch.seen(
      name,
      (now) => now !== undefined && containerStatus(now, 'main')?.state?.terminated !== undefined,
    );
    seen.push(at - started);
    await deletePod(deckhand, watch, name);
  }
  return seen;
}

async function measureLevel(deckhand: Deckhand, watch: PodWatch, level: number): Promise<void> {
  const present = watch.pods.size;
  const names = Array.from({ length: Math.max(0, level - present) }, (_, index) => `level-${present + index}`);
  const started = performance.now();
  await Promise.all(names.map((name) => createPod(deckhand, watch, name)));
  const took = names.length > 0 ? `, ${names.length} more Ready in ${ms(performance.now() - started)}` : '';
  await pause(10_000);
  const cpuBefore = deckhand.cpuMs();
  const rss: number[] = [];
  for (let second = 0; second < 10; second++) {
    await pause(1_000);
    rss.push(deckhand.rssBytes() / 1e6);
  }
  const cpu = (deckhand.cpuMs() - cpuBefore) / 100;
  const range = `${Math.min(...rss).toFixed(0)}–${Math.max(...rss).toFixed(0)} MB`;
  say(
    `deckhand with ${String(watch.pods.size).padStart(3)} pods: RSS ${range}, CPU ${cpu.toFixed(1)} % of one core${took}`,
  );
}

// ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────────────

let interrupted = false;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (interrupted) return;
    interrupted = true;
    void destroyRun(NAME).finally(() => process.exit(130));
  });
}

async function bench(): Promise<void> {
  deckhandBundle();
  const run = await HarnessRun.open(NAME);
  const { netns } = await openNetwork(run);
  const dialer = await NetnsDialer.start(run, netns);
  const containerd = await Containerd.start(run, netns, { subnet: POD_CIDR });
  const cri = new RealCri({ endpoint: containerd.endpoint }, {});
  const floor = await Floor.open(cri, run);
  say(`containerd ${containerd.version}, Node ${process.versions.node}, ${count} pods one at a time, ${burst} at once`);
  await measureFloor(floor, 'warm');
  const floorBefore = await measureFloor(floor, 'before');
  const floorBurst = await measureFloorBurst(floor);
  figures('floor, one at a time', floorBefore);
  figures(`floor, ${burst} at once`, floorBurst);

  const deckhand = await Deckhand.start(run, netns, dialer, {
    endpoint: containerd.endpoint,
    nodeIp: NODE_ADDRESS,
    podCidr: POD_CIDR,
    serviceCidr: SERVICE_CIDR,
    args: ['--max-pods', '250'],
  });
  // As controllers and schedulers talk to an API: a handshake per request would be most of what is measured.
  deckhand.api.keepAlive();
  const watch = new PodWatch(deckhand);
  await watch.start();
  await deletePod(deckhand, watch, await createPod(deckhand, watch, 'warm').then(() => 'warm'));
  const single = await measureSingle(deckhand, watch);
  figures('deckhand, one at a time', single);
  figures(`deckhand, ${burst} at once`, await measureBurst(deckhand, watch));
  const exits = await measureExits(deckhand, containerd, watch);
  say(`container exit seen by a client: p50 ${ms(percentile(exits, 0.5))}, worst ${ms(Math.max(...exits))}`);
  for (const level of levels) await measureLevel(deckhand, watch, level);

  const left = [...watch.pods.keys()];
  const started = performance.now();
  await Promise.all(left.map((name) => deletePod(deckhand, watch, name)));
  say(`deckhand: ${left.length} pods deleted at once, all gone in ${ms(performance.now() - started)}`);
  await waitFor('no container is left', async () => (await cri.listContainers()).length === 0, { timeoutMs: 60_000 });
  deckhand.api.close();
  await deckhand.stop();

  const floorAfter = await measureFloor(floor, 'after');
  figures('floor, one at a time, afterwards', floorAfter);
  const base = (kind: keyof Durations): number => percentile([...floorBefore[kind], ...floorAfter[kind]], 0.5);
  const times = (kind: keyof Durations): string => (percentile(single[kind], 0.5) / base(kind)).toFixed(2);
  say(`one at a time, p50 over the floor: create→Ready ${times('create')} ×, delete→gone ${times('remove')} ×`);
  cri.close();
}

try {
  await bench();
} catch (error) {
  console.error(error instanceof Error ? error.stack : error);
  process.exitCode = 1;
} finally {
  if (!interrupted) {
    await destroyRun(NAME);
    for (const leak of await leaksOf(NAME)) {
      console.error(`left behind: ${leak.kind} ${leak.what}`);
      process.exitCode = 1;
    }
  }
}
process.exit();
