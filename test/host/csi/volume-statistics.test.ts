import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../src/model/objects.ts';
import type { Pod, Volume } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import type { CsiDriver } from '../../harness/csi/csi-driver.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { type ParsedMetrics, parseMetrics } from '../../harness/prometheus-text.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { SilentFuse } from '../node/support/silent-fuse.ts';
import { CsiLab } from './support/csi-lab.ts';

const NAME = 'deckhand-test-volstats';
const DRIVER = 'telling.csi.test';
const HANGING = 'hanging.csi.test';
/** More than the four threads that Node has for file calls. */
const DEAD = 6;
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

interface VolumeStats {
  readonly name: string;
  readonly time: string;
  readonly usedBytes: number;
  readonly capacityBytes: number;
  readonly pvcRef?: { readonly name: string; readonly namespace: string };
  readonly volumeHealthStats?: { readonly abnormal: boolean };
}

describe('how full volumes are', () => {
  let node: HarnessNode;
  let pods: NodePods;
  let lab: CsiLab;
  let driver: CsiDriver;
  let hanging: CsiDriver;
  const fuses: SilentFuse[] = [];

  beforeAll(async () => {
    node = await startNode(NAME, {
      deckhand: {
        args: [
          '--read-only-port=10255',
          '--volume-stats-agg-period=1s',
          '--feature-gates=CSIVolumeHealth=true',
          '--sync-frequency=2s',
        ],
      },
    });
    pods = new NodePods(node);
    lab = new CsiLab(node);
    driver = lab.driver(DRIVER, {
      capabilities: ['STAGE_UNSTAGE_VOLUME', 'GET_VOLUME_STATS', 'VOLUME_CONDITION', 'EXPAND_VOLUME'],
    });
    hanging = lab.driver(HANGING);
    for (const name of [DRIVER, HANGING]) await lab.describe(name, { attachRequired: false });
    await Promise.all([driver.start(), hanging.start()]);
    await Promise.all([lab.registered(DRIVER), lab.registered(HANGING)]);
    mkdirSync(`${node.run.paths.libDir}/local`);
  });

  afterAll(async () => {
    for (const fuse of fuses) await fuse.close();
    await lab?.close();
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  const get = async (path: string): Promise<string> => (await node.local.request(`http://127.0.0.1:10255${path}`)).body;
  const statsOf = async (pod: string): Promise<readonly VolumeStats[]> => {
    const summary = JSON.parse(await get('/stats/summary')) as {
      pods: { podRef: { name: string }; volume?: VolumeStats[] }[];
    };
    return summary.pods.find(({ podRef }) => podRef.name === pod)?.volume ?? [];
  };
  /** Waits until figures of a volume are newer than now. */
  const fresh = (pod: string, volume: string): Promise<VolumeStats> => {
    const now = Date.now();
    return waitFor(
      `new figures of ${volume} in ${pod}`,
      async () => (await statsOf(pod)).find(({ name, time }) => name === volume && Date.parse(time) > now),
      // Beside dead mounts, on a busy machine, each round takes its time.
      { timeoutMs: 90_000 },
    );
  };
  const value = ({ samples }: ParsedMetrics, name: string, labels: Record<string, string>): number | undefined =>
    samples.find((one) => one.name === name && Object.entries(labels).every(([key, text]) => one.labels[key] === text))
      ?.value;
  const withVolume = (name: string, volume: Volume): Pod =>
    podOf(name, sh(STAY, { volumeMounts: [{ name: 'vol', mountPath: '/data' }] }), { volumes: [volume] });

  async function localVolume(name: string): Promise<Volume> {
    const { api } = node.deckhand;
    const path = `${node.run.paths.libDir}/local/${name}`;
    mkdirSync(path);
    const capacity = { storage: '1Mi' };
    await api.create<PersistentVolume>(resources.persistentvolumes, {
      metadata: { name: `pv-${name}` },
      spec: {
        capacity,
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        claimRef: { namespace: 'default', name },
        local: { path },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['node-1'] }] },
            ],
          },
        },
      },
    });
    await api.create<PersistentVolumeClaim>(resources.persistentvolumeclaims, {
      metadata: { name, namespace: 'default' },
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        volumeName: `pv-${name}`,
        resources: { requests: capacity },
      },
    });
    return { name: 'vol', persistentVolumeClaim: { claimName: name } };
  }

  it('is told of claims: by their driver, as file systems and as devices; of emptyDirs and files of ours as well', async () => {
    await lab.volume('by-driver', { driver, driverName: DRIVER, sizeBytes: 1 << 20 });
    await lab.volume('raw', { driver, driverName: DRIVER, sizeBytes: 1 << 20, volumeMode: 'Block' });
    await localVolume('on-disk');
    const claimed = (name: string): Volume => ({ name, persistentVolumeClaim: { claimName: name } });
    await pods.create(
      podOf(
        'full',
        sh(`dd if=/dev/zero of=/scratch/file bs=1k count=300; echo filled; ${STAY}`, {
          volumeMounts: ['by-driver', 'on-disk', 'scratch', 'ram', 'words'].map((name) => ({
            name,
            mountPath: `/${name}`,
          })),
          volumeDevices: [{ name: 'raw', devicePath: '/dev/xvda' }],
        }),
        {
          volumes: [
            ...['by-driver', 'raw', 'on-disk'].map(claimed),
            { name: 'scratch', emptyDir: {} },
            { name: 'words', downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
            { name: 'ram', emptyDir: { medium: 'Memory', sizeLimit: '8Mi' } },
          ],
        },
      ),
    );
    await pods.untilLog(await pods.ready('full'), 'filled');
    expect(await fresh('full', 'by-driver')).toMatchObject({
      capacityBytes: 1 << 20,
      usedBytes: 4096,
      availableBytes: (1 << 20) - 4096,
      inodes: 100,
      inodesUsed: 7,
      inodesFree: 93,
      pvcRef: { name: 'by-driver', namespace: 'default' },
      volumeHealthStats: { abnormal: false },
    });
    expect(await fresh('full', 'raw')).toMatchObject({ capacityBytes: 1 << 20, pvcRef: { name: 'raw' } });
    const disk = await fresh('full', 'on-disk');
    expect(disk.capacityBytes).toBeGreaterThan(1 << 30);
    expect(disk.pvcRef?.name).toBe('on-disk');
    const scratch = await fresh('full', 'scratch');
    expect(scratch.usedBytes).toBeGreaterThanOrEqual(300 * 1024);
    expect(scratch.pvcRef).toBeUndefined();
    expect(await fresh('full', 'ram')).toMatchObject({ capacityBytes: 8 << 20 });
    // Its contents lie in memory, beside those of other pods.
    expect((await statsOf('full')).find(({ name }) => name === 'words')).toMatchObject({ inodesUsed: 5 });

    const metrics = parseMetrics(await get('/metrics'));
    const claim = { namespace: 'default', persistentvolumeclaim: 'by-driver' };
    expect(value(metrics, 'kubelet_volume_stats_capacity_bytes', claim)).toBe(1 << 20);
    expect(value(metrics, 'kubelet_volume_stats_available_bytes', claim)).toBe((1 << 20) - 4096);
    expect(value(metrics, 'kubelet_volume_stats_used_bytes', claim)).toBe(4096);
    expect(value(metrics, 'kubelet_volume_stats_inodes', claim)).toBe(100);
    expect(value(metrics, 'kubelet_volume_stats_inodes_free', claim)).toBe(93);
    expect(value(metrics, 'kubelet_volume_stats_inodes_used', claim)).toBe(7);
    expect(value(metrics, 'kubelet_volume_stats_health_status_abnormal', claim)).toBe(0);
    const plugin = `kubernetes.io/csi:${DRIVER}`;
    expect(
      value(metrics, 'csi_operations_seconds_count', {
        driver_name: DRIVER,
        method_name: '/csi.v1.Node/NodeStageVolume',
        grpc_status_code: 'OK',
        migrated: 'false',
      }),
    ).toBe(2);
    expect(
      value(metrics, 'volume_manager_total_volumes', { plugin_name: plugin, state: 'actual_state_of_world' }),
    ).toBe(2);
    for (const operation of ['volume_mount', 'map_volume']) {
      const labels = { volume_plugin: plugin, operation_name: operation, status: 'success' };
      expect(value(metrics, 'storage_operation_duration_seconds_count', labels)).toBeGreaterThan(0);
    }
    const log = { pod: 'full', namespace: 'default', container: 'main' };
    expect(value(metrics, 'kubelet_container_log_filesystem_used_bytes', log)).toBeGreaterThan(0);
  });

  it('goes on being told after a restart, and without the API asking anew', async () => {
    await node.deckhand.kill();
    await node.deckhand.restart();
    await Promise.all([lab.registered(DRIVER), lab.registered(HANGING)]);
    expect(await fresh('full', 'by-driver')).toMatchObject({ usedBytes: 4096, pvcRef: { name: 'by-driver' } });
    const metrics = parseMetrics(await get('/metrics'));
    expect(value(metrics, 'reconstruct_volume_operations_total', {})).toBeGreaterThanOrEqual(5);
    expect(value(metrics, 'reconstruct_volume_operations_errors_total', {})).toBe(0);
  });

  it('tells the pod’s user of a volume that its driver finds ill', async () => {
    driver.condition = { abnormal: true, message: 'the disk is gone' };
    const { message, type } = await pods.untilEvent('full', 'VolumeConditionAbnormal');
    expect([type, message]).toEqual(['Warning', expect.stringMatching(/^Volume (by-driver|raw): the disk is gone$/)]);
    await waitFor('the metric to say so', async () => {
      const claim = { persistentvolumeclaim: 'by-driver' };
      return value(parseMetrics(await get('/metrics')), 'kubelet_volume_stats_health_status_abnormal', claim) === 1;
    });
    driver.condition = undefined;
  });

  it('harms nobody else when drivers and mounts hang', async () => {
    await lab.volume('hung', { driver: hanging, driverName: HANGING });
    await pods.create(withVolume('hung', { name: 'vol', persistentVolumeClaim: { claimName: 'hung' } }));
    for (let index = 0; index < DEAD; index++) {
      await pods.create(withVolume(`dead-${index}`, await localVolume(`dead-${index}`)));
      await pods.create(withVolume(`over-${index}`, { name: 'vol', emptyDir: {} }));
    }
    await pods.ready('hung');
    hanging.fail('NodeGetVolumeStats', 'hang');
    for (let index = 0; index < DEAD; index++) {
      const dead = await pods.ready(`dead-${index}`);
      const over = await pods.ready(`over-${index}`);
      await fresh(`dead-${index}`, 'vol');
      const root = `${lab.rootDir}/pods`;
      // As when the server of a mounted volume dies, and when a pod mounts such a one in its own volume.
      const volume = `${root}/${dead.metadata.uid}/volumes/kubernetes.io~local-volume/pv-dead-${index}`;
      fuses.push(await SilentFuse.mount(volume));
      const scratch = `${root}/${over.metadata.uid}/volumes/kubernetes.io~empty-dir/vol`;
      fuses.push(await SilentFuse.mount(index % 2 === 0 ? `${scratch}/below` : scratch));
    }
    await waitFor('the driver to be asked', () => hanging.requests('NodeGetVolumeStats').length > 0);
    const asked = hanging.requests('NodeGetVolumeStats').length;
    // All of them have been asked for more than once meanwhile.
    for (let pass = 0; pass < 4; pass++) await fresh('full', 'by-driver');
    await waitFor('figures of the dead to go', async () =>
      (await statsOf('dead-0')).every(({ name }) => name !== 'vol'),
    );
    await fresh('full', 'scratch');
    await fresh('full', 'on-disk');
    expect(hanging.requests('NodeGetVolumeStats').length).toBeLessThanOrEqual(asked + 1);
    await pods.create(withVolume('beside', { name: 'vol', emptyDir: {} }));
    await pods.ready('beside');
    await fresh('beside', 'vol');
    // What is mounted in a volume is left out of it, and the rest of it is told.
    await fresh('over-0', 'vol');
    await pods.delete('beside', 0);
    await pods.gone('beside');
    expect((await node.local.request('http://127.0.0.1:10248/healthz')).status).toBe(200);
    for (const fuse of fuses.splice(0)) await fuse.close();
    await fresh('dead-0', 'vol');
  });

  it('is forgotten with the pods', async () => {
    const names = ['full', 'hung', ...Array.from({ length: DEAD }, (_, n) => [`dead-${n}`, `over-${n}`]).flat()];
    hanging.crash();
    hanging.heal('NodeGetVolumeStats');
    await hanging.start();
    await Promise.all(names.map((name) => pods.delete(name, 0)));
    await Promise.all(names.map((name) => pods.gone(name)));
    await waitFor('the metrics to be gone', async () => {
      const { samples } = parseMetrics(await get('/metrics'));
      return samples.every(({ name }) => !/^(kubelet_volume_stats_|volume_manager_total_volumes)/.test(name));
    });
  });
});
