import { beforeEach, describe, expect, it } from 'vitest';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Pod, Volume } from '../../../../src/model/pod.ts';
import { noFigures, type VolumeFigures } from '../../../../src/pods/volumes/volume-figures.ts';
import { type MeasurableVolume, VolumeStatistics } from '../../../../src/pods/volumes/volume-statistics.ts';
import { VolumeStatisticsMetrics } from '../../../../src/pods/volumes/volume-statistics-metrics.ts';

const MINUTE = 60_000;

describe('statistics of volumes', () => {
  let clock: ManualClock;
  let pods: Map<string, Pod>;
  let volumes: Map<string, MeasurableVolume[]>;
  let asked: string[];
  let hangs: Map<string, () => void>;
  let broken: Set<string>;
  let events: string[];
  let metrics: Metrics;
  let stop: AbortController;
  let statistics: VolumeStatistics;
  let usedBytes: number;

  beforeEach(() => {
    clock = new ManualClock();
    pods = new Map();
    volumes = new Map();
    asked = [];
    hangs = new Map();
    broken = new Set();
    events = [];
    metrics = new Metrics();
    stop = new AbortController();
    usedBytes = 4;
    statistics = make(MINUTE);
  });

  function make(everyMs: number, registry = metrics): VolumeStatistics {
    const made: VolumeStatistics = new VolumeStatistics(
      { everyMs },
      {
        pods: () => pods.values(),
        measurable: (uid) => volumes.get(uid) ?? [],
        events: { event: (about, type, reason, message) => events.push(`${about.name} ${type} ${reason} ${message}`) },
        metrics: new VolumeStatisticsMetrics(registry, () => made.claims()),
        clock,
        log: silent,
      },
    );
    return made;
  }

  /** A volume of a claim of its own name unless `claim` says otherwise. */
  function add(
    uid: string,
    volume: Volume,
    by: string,
    figures: Partial<VolumeFigures> = {},
    claim = volume.name,
  ): void {
    const pod = pods.get(uid) ?? {
      metadata: { uid, name: uid, namespace: 'ns' },
      spec: { containers: [], volumes: [] },
    };
    pods.set(uid, { ...pod, spec: { ...pod.spec, volumes: [...(pod.spec.volumes ?? []), volume] } });
    const run = async (): Promise<VolumeFigures> => {
      asked.push(volume.name);
      if (hangs.has(volume.name)) await new Promise<void>((resolve) => hangs.set(volume.name, resolve));
      if (broken.has(volume.name)) throw new Error('no answer');
      return { ...noFigures, capacityBytes: 10, usedBytes, atMs: clock.now(), ...figures };
    };
    const bound = volume.persistentVolumeClaim === undefined ? {} : { claim: { namespace: 'ns', name: claim } };
    volumes.set(uid, [...(volumes.get(uid) ?? []), { name: volume.name, by, run, ...bound }]);
  }

  const claimed = (name: string): Volume => ({ name, persistentVolumeClaim: { claimName: name } });
  const line = async (start: string): Promise<string[]> =>
    (await metrics.text()).split('\n').filter((one) => one.startsWith(start));

  it('are shown by claim, once for a claim that two pods have, and go with the last of them', async () => {
    add('u1', claimed('data'), 'a.test', { inodes: 7, inodesUsed: 3, inodesFree: 4, availableBytes: 6 });
    add('u2', { ...claimed('d') }, 'a.test', {}, 'data');
    add('u1', { name: 'scratch', emptyDir: {} }, 'du');
    void statistics.run(stop.signal);
    await clock.advance(1);
    expect(statistics.of('u1').get('data')).toMatchObject({
      claim: { namespace: 'ns', name: 'data' },
      ephemeral: false,
    });
    expect([...statistics.usage('u1')]).toEqual([['scratch', { usedBytes: 4, inodes: 0 }]]);
    const labels = '{namespace="ns",persistentvolumeclaim="data"}';
    expect(await line('kubelet_volume_stats_')).toEqual([
      `kubelet_volume_stats_capacity_bytes${labels} 10`,
      `kubelet_volume_stats_available_bytes${labels} 6`,
      `kubelet_volume_stats_used_bytes${labels} 4`,
      `kubelet_volume_stats_inodes${labels} 7`,
      `kubelet_volume_stats_inodes_free${labels} 4`,
      `kubelet_volume_stats_inodes_used${labels} 3`,
    ]);
    expect(await line('kubelet_volume_metric_collection_duration_seconds_count')).toEqual([
      'kubelet_volume_metric_collection_duration_seconds_count{metric_source="a.test"} 2',
      'kubelet_volume_metric_collection_duration_seconds_count{metric_source="du"} 1',
    ]);
    pods.delete('u1');
    await clock.advance(MINUTE);
    expect(statistics.of('u1').size).toBe(0);
    expect(await line('kubelet_volume_stats_capacity_bytes')).toHaveLength(1);
    pods.delete('u2');
    await clock.advance(MINUTE);
    expect(await line('kubelet_volume_stats_')).toEqual([]);
    stop.abort();
  });

  it('of a driver or server that hangs hold up no other, and are asked for once at a time', async () => {
    for (const name of ['s1', 's2', 's3', 's4', 's5']) add('u1', claimed(name), 'statfs');
    add('u2', claimed('hung'), 'hangs.test');
    add('u3', claimed('fine'), 'fine.test');
    add('u4', { name: 'scratch', emptyDir: {} }, 'du');
    for (const name of ['s1', 's2', 'hung']) hangs.set(name, () => {});
    void statistics.run(stop.signal);
    await clock.advance(1);
    usedBytes = 5;
    await clock.advance(MINUTE);
    for (const [uid, name] of [
      ['u1', 's5'],
      ['u3', 'fine'],
      ['u4', 'scratch'],
    ] as const) {
      expect(statistics.of(uid).get(name)).toMatchObject({ usedBytes: 5 });
    }
    expect(asked.filter((name) => hangs.has(name))).toEqual(['s1', 's2', 'hung']);
    const [answer] = [hangs.get('hung')];
    hangs.clear();
    answer?.();
    await clock.advance(1);
    expect(statistics.of('u2').get('hung')).toMatchObject({ usedBytes: 5 });
    await clock.advance(MINUTE);
    expect(asked.filter((name) => name === 'hung')).toHaveLength(2);
    stop.abort();
  });

  it('of four servers that hang cost four processes, and the fifth waits', async () => {
    for (const name of ['s1', 's2', 's3', 's4', 's5']) {
      add('u1', claimed(name), 'statfs');
      hangs.set(name, () => {});
    }
    void statistics.run(stop.signal);
    await clock.advance(MINUTE * 3);
    expect(asked).toEqual(['s1', 's2', 's3', 's4']);
    hangs.get('s1')?.();
    await clock.advance(1);
    expect(asked).toEqual(['s1', 's2', 's3', 's4', 's5']);
    stop.abort();
  });

  it('of a volume that cannot be asked are gone, and come back', async () => {
    add('u1', claimed('data'), 'a.test');
    void statistics.run(stop.signal);
    await clock.advance(1);
    broken.add('data');
    await clock.advance(MINUTE);
    expect(statistics.of('u1').size).toBe(0);
    broken.clear();
    await clock.advance(MINUTE);
    expect(statistics.of('u1').size).toBe(1);
    stop.abort();
  });

  it('of files that this node writes are found out once', async () => {
    add('u1', { name: 'conf', configMap: { name: 'c' } }, 'du');
    void statistics.run(stop.signal);
    await clock.advance(MINUTE * 3);
    expect(asked).toEqual(['conf']);
    stop.abort();
  });

  it('tell the pod’s user of a volume that its driver finds ill', async () => {
    add('u1', claimed('ill'), 'a.test', { condition: { abnormal: true, message: 'the disk is gone' } });
    add('u1', claimed('well'), 'a.test', { condition: { abnormal: false, message: '' } });
    void statistics.run(stop.signal);
    await clock.advance(1);
    expect(events).toEqual(['u1 Warning VolumeConditionAbnormal Volume ill: the disk is gone']);
    expect(await line('kubelet_volume_stats_health_status_abnormal')).toEqual([
      'kubelet_volume_stats_health_status_abnormal{namespace="ns",persistentvolumeclaim="ill"} 1',
      'kubelet_volume_stats_health_status_abnormal{namespace="ns",persistentvolumeclaim="well"} 0',
    ]);
    stop.abort();
  });

  it('are not looked for where the period is negative', async () => {
    add('u1', { name: 'scratch', emptyDir: {} }, 'du');
    const off = make(-1, new Metrics());
    await off.run(stop.signal);
    await off.freshen(1000, stop.signal);
    expect(asked).toEqual([]);
  });
});
