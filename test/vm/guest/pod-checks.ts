import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { pause, waitFor } from '../../harness/wait-for.ts';
import type { Check } from './checks.ts';
import { startAsKubelet } from './kubelet-shaped.ts';
import { api, cgroupFile, kubectl, must, pod, pods, run, SLOWLY, unitProperty } from './machine.ts';

const CONFIG = '/etc/deckhand/config.yaml';
const BUSYBOX = 'deckhand.local/busybox:1';
const STAY = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done";
const STATIC = '/etc/deckhand/static';
const MIB = 1_048_576;

type Amounts = Readonly<Record<string, string>>;
interface Resources {
  readonly requests?: Amounts;
  readonly limits?: Amounts;
}

async function apply(object: object): Promise<void> {
  writeFileSync('/vmtest/object.json', JSON.stringify(object));
  await kubectl('apply', '-f', '/vmtest/object.json');
}

function podOf(name: string, resources: Resources, script = STAY, more: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 20,
      automountServiceAccountToken: false,
      containers: [{ name: 'main', image: BUSYBOX, command: ['sh', '-c', script], resources, ...more }],
    },
  };
}

async function running(name: string): Promise<{ uid: string; id: string }> {
  return await waitFor(
    `${name} to run`,
    async () => {
      const { metadata, status } = await pod(name);
      const [one] = status?.containerStatuses ?? [];
      if (one?.state?.running === undefined || metadata.uid === undefined) return undefined;
      return { uid: metadata.uid, id: one.containerID?.replace(/^.*:\/\//, '') ?? '' };
    },
    SLOWLY,
  );
}

/** Puts fields into the KubeletConfiguration and starts the daemon with it. */
async function configure(fields: Readonly<Record<string, unknown>>): Promise<void> {
  const document = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    staticPodPath: STATIC,
    fileCheckFrequency: '2s',
    ...fields,
  };
  mkdirSync(STATIC, { recursive: true });
  writeFileSync(CONFIG, JSON.stringify(document));
  await run('systemctl', 'restart', 'deckhand');
  must((await unitProperty('deckhand', 'ActiveState')) === 'active', 'not active with the new configuration');
  await waitFor('the API', () => api.text('/api/v1/nodes'), SLOWLY);
}

const CLASSES = [
  {
    name: 'qos-guaranteed',
    resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '100m', memory: '64Mi' } },
    path: (uid: string) => `/kubepods/pod${uid}`,
    slice: (uid: string) => `/kubepods.slice/kubepods-pod${uid}.slice`,
    // 100m are 102 shares, which are weight 1 + (102 - 2) × 9999 / 262142 = 4.
    pod: { 'cpu.weight': '4', 'cpu.max': '10000 100000', 'memory.max': `${64 * MIB}` },
    container: { 'cpu.max': '10000 100000', 'memory.max': `${64 * MIB}`, 'memory.oom.group': '1' },
  },
  {
    name: 'qos-burstable',
    resources: { requests: { cpu: '200m', memory: '32Mi' }, limits: { memory: '96Mi' } },
    path: (uid: string) => `/kubepods/burstable/pod${uid}`,
    slice: (uid: string) => `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid}.slice`,
    pod: { 'cpu.weight': '8', 'cpu.max': 'max 100000', 'memory.max': `${96 * MIB}` },
    container: { 'cpu.max': 'max 100000', 'memory.max': `${96 * MIB}`, 'memory.oom.group': '1' },
  },
  {
    name: 'qos-besteffort',
    resources: {},
    path: (uid: string) => `/kubepods/besteffort/pod${uid}`,
    slice: (uid: string) => `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${uid}.slice`,
    pod: { 'cpu.weight': '1', 'cpu.max': 'max 100000', 'memory.max': 'max' },
    container: { 'cpu.max': 'max 100000', 'memory.max': 'max' },
  },
] as const;

function holds(path: string, wanted: Amounts): string {
  const found = Object.fromEntries(Object.keys(wanted).map((file) => [file, cgroupFile(path, file)]));
  must(
    JSON.stringify(found) === JSON.stringify(wanted),
    `${path} has ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`,
  );
  return Object.values(found).join(', ');
}

async function classesHold(driver: 'cgroupfs' | 'systemd'): Promise<string> {
  const told: string[] = [];
  for (const { name, resources } of CLASSES) await apply(podOf(name, resources));
  for (const one of CLASSES) {
    const { uid, id } = await running(one.name);
    const path = driver === 'systemd' ? one.slice(uid.replaceAll('-', '_')) : one.path(uid);
    const below = driver === 'systemd' ? `${path}/cri-containerd-${id}.scope` : `${path}/${id}`;
    told.push(`${one.name}: ${holds(path, one.pod)}`);
    holds(below, one.container);
  }
  return told.join('; ');
}

async function classesGo(): Promise<void> {
  await kubectl('delete', 'pod', '--wait=false', ...CLASSES.map(({ name }) => name));
  await waitFor(
    'the pods of all classes to go',
    async () => !(await pods()).some(({ metadata }) => metadata.name?.startsWith('qos-')),
    SLOWLY,
  );
}

const resize: Check = {
  title: 'a container is resized in place, on cgroup v2',
  run: async () => {
    const [guaranteed] = CLASSES;
    const { uid, id } = await running(guaranteed.name);
    const wanted = { cpu: '250m', memory: '80Mi' };
    const patch = { spec: { containers: [{ name: 'main', resources: { requests: wanted, limits: wanted } }] } };
    await kubectl('patch', 'pod', guaranteed.name, '--subresource=resize', '-p', JSON.stringify(patch));
    const path = guaranteed.path(uid);
    const values = { 'cpu.max': '25000 100000', 'memory.max': `${80 * MIB}` };
    await waitFor(
      'the container to have it',
      async () => {
        const [one] = (await pod(guaranteed.name)).status?.containerStatuses ?? [];
        return one?.resources?.limits?.['cpu'] === '250m' && one.resources.limits['memory'] === '80Mi';
      },
      SLOWLY,
    );
    holds(path, values);
    const text = holds(`${path}/${id}`, values);
    const after = await running(guaranteed.name);
    must(after.id === id, 'the container is another one');
    return `${text}, the same container`;
  },
};

const pressure: Check = {
  title: 'the pressure of a busy container is told, in the summary and in metrics',
  run: async () => {
    await apply(podOf('pressed', { limits: { cpu: '100m' } }, 'while :; do :; done'));
    await running('pressed');
    const raw = (path: string): Promise<string> => api.text(`/api/v1/nodes/vm/proxy${path}`);
    interface Summary {
      readonly pods: { podRef: { name: string }; cpu?: { psi?: { some: { total: number; avg10: number } } } }[];
    }
    const some = await waitFor(
      'the pressure in the summary',
      async () => {
        const { pods } = JSON.parse(await raw('/stats/summary')) as Summary;
        const found = pods.find(({ podRef }) => podRef.name === 'pressed')?.cpu?.psi?.some;
        return found !== undefined && found.total > 0 ? found : undefined;
      },
      SLOWLY,
    );
    const metrics = await raw('/metrics/cadvisor');
    const line = metrics
      .split('\n')
      .find((one) => one.startsWith('container_pressure_cpu_waiting_seconds_total{') && one.includes('pod="pressed"'));
    must(line !== undefined, 'no container_pressure_cpu_waiting_seconds_total of it');
    await kubectl('delete', 'pod', 'pressed', '--grace-period=1');
    return `some: total ${some.total} ns, avg10 ${some.avg10}`;
  },
};

const swap: Check = {
  title: 'LimitedSwap gives a burstable container its part, and nobody else any',
  run: async () => {
    await run(
      'sh',
      '-c',
      'dd if=/dev/zero of=/swapfile bs=1M count=256 && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile',
    );
    try {
      await configure({ failSwapOn: false, memorySwap: { swapBehavior: 'LimitedSwap' } });
      const resources = { requests: { memory: '100Mi' }, limits: { memory: '200Mi' } };
      await apply(podOf('swaps', resources));
      await apply(
        podOf('swaps-not', { requests: { memory: '64Mi', cpu: '50m' }, limits: { memory: '64Mi', cpu: '50m' } }),
      );
      const [burstable, guaranteed] = [await running('swaps'), await running('swaps-not')];
      const total = (field: string): number =>
        Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) * 1024;
      // KEP-2400: the request's part of the machine's memory, of all swap; in whole pages.
      const share = Math.trunc(((100 * MIB) / total('MemTotal')) * total('SwapTotal'));
      const got = Number(cgroupFile(`/kubepods/burstable/pod${burstable.uid}/${burstable.id}`, 'memory.swap.max'));
      must(Math.abs(got - share) <= 4096, `memory.swap.max is ${got}, expected ${share}`);
      const none = cgroupFile(`/kubepods/pod${guaranteed.uid}/${guaranteed.id}`, 'memory.swap.max');
      must(none === '0', `memory.swap.max of a guaranteed container is ${none}`);
      await kubectl('delete', 'pod', 'swaps', 'swaps-not');
      return `memory.swap.max ${got} of ${total('SwapTotal')}; 0 for a guaranteed one`;
    } finally {
      await run('swapoff', '/swapfile');
      await configure({});
    }
  },
};

const memoryQos: Check = {
  title: 'MemoryQoS protects a request, and slows a container down before its limit',
  run: async () => {
    try {
      await configure({ featureGates: { MemoryQoS: true }, memoryReservationPolicy: 'TieredReservation' });
      await apply(podOf('throttled', { requests: { memory: '32Mi' }, limits: { memory: '96Mi' } }));
      await apply(
        podOf('protected', { requests: { memory: '48Mi', cpu: '50m' }, limits: { memory: '48Mi', cpu: '50m' } }),
      );
      const [burstable, guaranteed] = [await running('throttled'), await running('protected')];
      // KEP-2570: the request and nine tenths of what is between it and the limit, in whole pages.
      const high = Math.floor(((32 + (96 - 32) * 0.9) * MIB) / 4096) * 4096;
      const told = [
        holds(`/kubepods/burstable/pod${burstable.uid}/${burstable.id}`, {
          'memory.high': String(high),
          'memory.low': String(32 * MIB),
          'memory.min': '0',
        }),
        holds(`/kubepods/pod${guaranteed.uid}/${guaranteed.id}`, {
          'memory.high': 'max',
          'memory.min': String(48 * MIB),
        }),
        holds(`/kubepods/pod${guaranteed.uid}`, { 'memory.min': String(48 * MIB) }),
      ];
      await kubectl('delete', 'pod', 'throttled', 'protected');
      return told.join('; ');
    } finally {
      await configure({});
    }
  },
};

const nfs: Check = {
  title: 'a claim on a volume of an NFS server is mounted, shared by two pods, measured and let go',
  run: async () => {
    mkdirSync('/srv/share', { recursive: true });
    writeFileSync('/etc/exports', '/srv/share 192.0.2.0/24(rw,sync,no_subtree_check,no_root_squash,fsid=0)\n');
    await run('systemctl', 'restart', 'nfs-server');
    await run('exportfs', '-ra');
    await apply({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'share' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteMany'],
        mountOptions: ['nfsvers=4.2'],
        nfs: { server: '192.0.2.1', path: '/' },
        claimRef: { namespace: 'default', name: 'share' },
      },
    });
    await apply({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'share', namespace: 'default' },
      spec: {
        accessModes: ['ReadWriteMany'],
        storageClassName: '',
        volumeName: 'share',
        resources: { requests: { storage: '1Gi' } },
      },
    });
    const onShare = (name: string, script: string): object => {
      const object = podOf(name, {}, script, { volumeMounts: [{ name: 'share', mountPath: '/share' }] }) as {
        spec: Record<string, unknown>;
      };
      object.spec['volumes'] = [{ name: 'share', persistentVolumeClaim: { claimName: 'share' } }];
      return object;
    };
    await apply(onShare('nfs-writes', `echo shared > /share/word; ${STAY}`));
    await running('nfs-writes');
    await apply(onShare('nfs-reads', `until grep shared /share/word; do sleep 1; done; ${STAY}`));
    const { uid } = await running('nfs-reads');
    await waitFor(
      'the word to be read',
      async () => (await api.text('/api/v1/namespaces/default/pods/nfs-reads/log')).includes('shared'),
      SLOWLY,
    );
    must(readFileSync('/srv/share/word', 'utf8') === 'shared\n', 'the server has something else');
    const mounted = readFileSync('/proc/mounts', 'utf8').split('\n');
    const line = mounted.find((one) => one.includes(`/pods/${uid}/volumes/kubernetes.io~nfs/share`)) ?? 'no mount';
    must(/ nfs4 .*vers=4\.2/.test(line), line);
    await kubectl('delete', 'pod', 'nfs-writes', 'nfs-reads', '--grace-period=1');
    await waitFor(
      'the mounts to go',
      () => !readFileSync('/proc/mounts', 'utf8').includes('kubernetes.io~nfs'),
      SLOWLY,
    );
    await kubectl('delete', 'pvc', 'share');
    await run('systemctl', 'stop', 'nfs-server');
    return line.split(' ').slice(0, 3).join(' ');
  },
};

const migration: Check = {
  title: 'a pod that an agent of kubelet’s shape started goes on under deckhand',
  run: async () => {
    const uid = '5d4c1b6e-0000-4000-8000-00000000abcd';
    await configure({});
    await run('systemctl', 'stop', 'deckhand');
    const resources = { requests: { cpu: '100m', memory: '32Mi' }, limits: { memory: '64Mi' } };
    const manifest = podOf('migrates', resources) as { metadata: Record<string, unknown> };
    manifest.metadata['uid'] = uid;
    manifest.metadata['namespace'] = 'default';
    const id = await startAsKubelet({ name: 'migrates-vm', uid, image: BUSYBOX, command: ['sh', '-c', STAY] });
    writeFileSync(`${STATIC}/migrates.json`, JSON.stringify(manifest));
    await run('systemctl', 'start', 'deckhand');
    const first = await running('migrates-vm');
    must(first.id === id, `its container is ${first.id}, not ${id}`);
    await pause(20_000);
    const { status } = await pod('migrates-vm');
    const [one] = status?.containerStatuses ?? [];
    must(one?.containerID?.endsWith(id) === true && one.restartCount === 0, `later: ${JSON.stringify(one)}`);
    return `container ${id.slice(0, 12)} runs on, ready ${one?.ready}, restarts 0`;
  },
};

const ENDED = '/vmtest/ended';

const shutdownAhead: Check = {
  title: 'deckhand holds a delay lock of logind, for as long as its pods may take',
  run: async () => {
    await configure({ shutdownGracePeriod: '60s', shutdownGracePeriodCriticalPods: '10s' });
    const script = `trap 'sleep 3; date +%s > /vmtest/ended; exit 0' TERM; while :; do sleep 1000 & wait $!; done`;
    const object = podOf('ends-in-order', {}, script, { volumeMounts: [{ name: 'host', mountPath: '/vmtest' }] }) as {
      spec: Record<string, unknown>;
    };
    object.spec['volumes'] = [{ name: 'host', hostPath: { path: '/vmtest' } }];
    await apply(object);
    await running('ends-in-order');
    const locks = await run('systemd-inhibit', '--list', '--no-pager', '--no-legend');
    const lock = locks.split('\n').find((line) => /shutdown.*delay/.test(line));
    must(lock !== undefined, `no delay lock: ${locks}`);
    return lock?.trim().replace(/\s+/g, ' ') ?? '';
  },
};

const shutdownBehind: Check = {
  title: 'the reboot waited for a pod to end in order',
  run: async () => {
    must(existsSync(ENDED), 'its pod was killed before it could end');
    await waitFor('the API', () => api.text('/api/v1/nodes'), SLOWLY);
    const { status } = await pod('ends-in-order');
    must(status?.phase === 'Failed' || status?.phase === 'Succeeded', `its phase is ${status?.phase}`);
    return `ended by itself at ${readFileSync(ENDED, 'utf8').trim()}; phase ${status?.phase}, ${status?.reason}: ${status?.message}`;
  },
};

const systemdDriver: Check = {
  title: 'the systemd driver: slices and scopes of each QoS class',
  run: async () => {
    await kubectl('delete', 'pod', '--all', '--grace-period=1');
    await run('systemctl', 'stop', 'deckhand');
    const toml = readFileSync('/etc/containerd/config.toml', 'utf8');
    const runc = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]';
    const options = `${runc}\n  runtime_type = "io.containerd.runc.v2"\n${runc.replace(']', '.options]')}\n  SystemdCgroup = true\n`;
    writeFileSync('/etc/containerd/config.toml', `${toml}\n${options}`);
    await run('systemctl', 'restart', 'containerd');
    await configure({ cgroupDriver: 'systemd' });
    const told = await classesHold('systemd');
    for (const slice of ['kubepods.slice', 'kubepods-burstable.slice', 'kubepods-besteffort.slice']) {
      must((await unitProperty(slice, 'ActiveState')) === 'active', `${slice} is not active`);
    }
    const [{ name, slice }] = CLASSES;
    const { uid } = await running(name);
    await classesGo();
    const left = slice(uid.replaceAll('-', '_'));
    await waitFor('the slice of a pod to go', () => !existsSync(`/sys/fs/cgroup${left}`) || undefined, SLOWLY);
    const pods = readdirSync('/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice').filter((one) =>
      one.includes('-pod'),
    );
    return `${told}; gone with their pods (${pods.length} burstable ones left)`;
  },
};

/** With what the package's checks have left running. */
export const podChecks: readonly Check[] = [
  {
    title: 'cgroup v2 values of each QoS class',
    run: () => classesHold('cgroupfs'),
  },
  resize,
  pressure,
  swap,
  memoryQos,
  nfs,
  migration,
];
/** Before and after a reboot, and last: pods do not survive a change of the driver. */
export const shutdownChecks: readonly Check[] = [shutdownAhead];
export const lastChecks: readonly Check[] = [shutdownBehind, systemdDriver];
