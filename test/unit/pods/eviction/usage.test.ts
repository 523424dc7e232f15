import { beforeEach, describe, expect, it } from 'vitest';
import type { ContainerStats } from '../../../../src/host/cri/port.ts';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import type { CgroupUsage, DiskUsage } from '../../../../src/host/stats/port.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { Pod, PodSpec } from '../../../../src/model/pod.ts';
import { UsageSource } from '../../../../src/pods/eviction/usage-source.ts';
import { ContainerLogs } from '../../../../src/pods/logs/container-logs.ts';
import type { PodRuntime } from '../../../../src/pods/observe/pod-runtime.ts';
import { PodPaths } from '../../../../src/pods/volumes/pod-paths.ts';
import { noFigures } from '../../../../src/pods/volumes/volume-figures.ts';
import { VolumeStatistics } from '../../../../src/pods/volumes/volume-statistics.ts';
import { record } from '../builders.ts';

const never = new AbortController().signal;

describe('what pods use', () => {
  let pods: Map<string, Pod>;
  let runtimes: Map<string, PodRuntime>;
  let cgroups: Map<string, Omit<CgroupUsage, 'atMs'>>;
  let disks: Map<string, Omit<DiskUsage, 'atMs'>>;
  let hangs: Set<string>;
  let asked: string[];
  let files: FakeFiles;
  let clock: ManualClock;
  let volumes: VolumeStatistics;
  let source: UsageSource;

  beforeEach(async () => {
    pods = new Map();
    runtimes = new Map();
    cgroups = new Map();
    disks = new Map();
    hangs = new Set();
    asked = [];
    files = new FakeFiles();
    clock = new ManualClock();
    const stats = {
      cgroup: async (path: string) => {
        const found = cgroups.get(path);
        return found && { atMs: 0, ...found };
      },
      disk: async (path: string, signal?: AbortSignal) => {
        if (hangs.has(path)) {
          await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('cut off'))));
        }
        const found = disks.get(path);
        return found && { atMs: 0, ...found };
      },
    };
    const paths = new PodPaths('/kubelet');
    volumes = new VolumeStatistics(
      { everyMs: 60_000 },
      {
        pods: () => pods.values(),
        measurable: (uid) =>
          (pods.get(uid)?.spec.volumes ?? []).map((volume) => ({
            name: volume.name,
            by: 'du',
            run: async (signal) => {
              const plugin = volume.emptyDir === undefined ? 'kubernetes.io/configmap' : 'kubernetes.io/empty-dir';
              const used = await stats.disk(paths.volume(uid, plugin, volume.name), signal);
              return used && { ...noFigures, atMs: used.atMs, usedBytes: used.usedBytes, inodesUsed: used.inodes };
            },
          })),
        events: { event: () => {} },
        metrics: { took: () => {} },
        clock,
        log: silent,
      },
    );
    source = new UsageSource({
      runtime: { get: (uid) => runtimes.get(uid) },
      cri: {
        listContainerStats: async (filter) => {
          asked.push(JSON.stringify(filter?.labels ?? 'all'));
          const layer = { atMs: 0, mountpoint: '/', usedBytes: 7000, inodesUsed: 7 };
          return [{ id: 'c1', writableLayer: layer } as ContainerStats];
        },
      },
      stats,
      files,
      logs: new ContainerLogs({ podLogsDir: '/logs', containerLogsDir: '/links' }, { files, log: silent }),
      paths,
      volumes,
      cgroupOf: ({ metadata }) => `/kubepods/pod${metadata.uid}`,
      cgroupsIn: async (path) =>
        [...cgroups.keys()].filter((key) => key.startsWith(`${path}/`)).map((key) => key.slice(path.length + 1)),
    });
  });

  function add(uid: string, spec: Partial<PodSpec> = {}): Pod {
    const pod: Pod = {
      metadata: { uid, name: uid, namespace: 'ns' },
      spec: { containers: [{ name: 'app', image: 'i' }], ...spec },
    };
    pods.set(uid, pod);
    const running = record({ name: 'app', image: 'i' }, { id: 'c1', name: 'app' });
    runtimes.set(uid, { uid, namespace: 'ns', name: uid, sandboxes: [], containers: [running] });
    return pod;
  }

  it('memory and processes are those of the pod’s cgroup; a container’s only where they are asked for', async () => {
    const pod = add('u1');
    cgroups.set('/kubepods/podu1', { workingSetBytes: 900, processes: 4 });
    cgroups.set('/kubepods/podu1/cri-containerd-c1.scope', { workingSetBytes: 800 });
    const usage = (await source.forResource('memory', [pod], never))(pod);
    expect(usage).toMatchObject({ memoryBytes: 900, processes: 4, containers: [] });
    expect(usage && (await source.withContainerMemory(pod, usage)).containers).toEqual([
      { name: 'app', memoryBytes: 800 },
    ]);
    expect(asked).toEqual([]);
  });

  it('nothing is known of a pod that does not run', async () => {
    const pod = add('u1');
    cgroups.set('/kubepods/podu1', { workingSetBytes: 900 });
    runtimes.delete('u1');
    expect((await source.forResource('memory', [pod], never))(pod)).toBeUndefined();
    expect((await source.forResource('ephemeral-storage', [pod], never))(pod)).toBeUndefined();
  });

  it('disk is layer, logs of all attempts, volumes on nodefs and the hosts file', async () => {
    const volumesOf = [
      { name: 'scratch', emptyDir: {} },
      { name: 'conf', configMap: { name: 'c' } },
      { name: 'ram', emptyDir: { medium: 'Memory' } },
    ];
    const pod = add('u1', { volumes: volumesOf });
    await files.makeDirectory('/logs/ns_u1_u1/app', 0o755, 0o755);
    for (const name of ['0.log', '0.log.20260101-000000.gz']) {
      await files.write(`/logs/ns_u1_u1/app/${name}`, '', 0o640);
      disks.set(`/logs/ns_u1_u1/app/${name}`, { usedBytes: 100, inodes: 1 });
    }
    disks.set('/kubelet/pods/u1/volumes/kubernetes.io~empty-dir/scratch', { usedBytes: 5000, inodes: 50 });
    disks.set('/kubelet/pods/u1/volumes/kubernetes.io~empty-dir/ram', { usedBytes: 1, inodes: 1 });
    disks.set('/kubelet/pods/u1/volumes/kubernetes.io~configmap/conf', { usedBytes: 12, inodes: 3 });
    disks.set('/kubelet/pods/u1/etc-hosts', { usedBytes: 8, inodes: 1 });
    const usage = (await source.forResource('inodes', [pod], never))(pod);
    expect(usage?.containers).toEqual([
      { name: 'app', rootfs: { usedBytes: 7000, inodes: 7 }, logs: { usedBytes: 200, inodes: 2 } },
    ]);
    expect([...(usage?.volumes.keys() ?? [])]).toEqual(['scratch', 'conf']);
    expect(usage?.own).toMatchObject({ usedBytes: 8 });
    expect(asked).toEqual(['{"io.kubernetes.pod.uid":"u1"}']);
  });

  it('asks the runtime for all at once where many are wanted, and not at all for volumes', async () => {
    const many = ['1', '2', '3', '4', '5'].map((uid) => add(uid));
    await source.disk(many, never);
    await source.disk(many, never, true);
    expect(asked).toEqual(['"all"']);
  });

  it('a volume that takes too long to measure holds up nobody, and keeps its last figure', async () => {
    const slow = '/kubelet/pods/u1/volumes/kubernetes.io~empty-dir/v';
    const pod = add('u1', { volumes: [{ name: 'v', emptyDir: {} }] });
    disks.set(slow, { usedBytes: 5, inodes: 1 });
    const stop = new AbortController();
    const done = volumes.run(stop.signal);
    await clock.advance(1);
    expect(volumes.of('u1').get('v')).toMatchObject({ usedBytes: 5 });
    hangs.add(slow);
    let usage: unknown;
    void source.forResource('ephemeral-storage', [pod], never).then((usageOf) => {
      usage = usageOf(pod);
    });
    await clock.advance(4000);
    expect(usage).toBeUndefined();
    await clock.advance(2000);
    expect(usage).toBeDefined();
    expect(volumes.of('u1').get('v')).toMatchObject({ usedBytes: 5 });
    hangs.clear();
    pods.clear();
    await clock.advance(120_000);
    expect(volumes.of('u1').size).toBe(0);
    stop.abort();
    await done;
  });

  it('measures nothing where the period is negative', async () => {
    const off = new VolumeStatistics({ everyMs: -1 }, volumes['deps']);
    add('u1', { volumes: [{ name: 'v', emptyDir: {} }] });
    disks.set('/kubelet/pods/u1/volumes/kubernetes.io~empty-dir/v', { usedBytes: 5, inodes: 1 });
    await off.run(never);
    await off.freshen(1000, never);
    expect(off.of('u1').size).toBe(0);
  });
});
