import { beforeEach, describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../src/host/files/fake.ts';
import { type Logger, silent } from '../../../src/kit/log.ts';
import { ManualClock } from '../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../src/kit/metrics.ts';
import { Housekeeping } from '../../../src/pods/housekeeping.ts';

/** What pods have on a host, by UID. */
class Host {
  readonly volumes = new Set<string>();
  readonly cgroups = new Set<string>();
  readonly files = new FakeFiles();
  readonly known = new Set<string>();
  readonly warnings: string[] = [];
  readonly events: string[] = [];
  linkSweeps = 0;
  readonly metrics = new Metrics();
  readonly clock = new ManualClock();
  /** UIDs whose volumes cannot be taken down. */
  readonly wedged = new Set<string>();
  broken = false;
  readonly housekeeping: Housekeeping;

  constructor() {
    const log: Logger = { ...silent, warn: (_fields, message) => this.warnings.push(message), child: () => log };
    this.housekeeping = new Housekeeping(
      { podLogsDir: '/var/log/pods', everyMs: 10_000, linksEveryMs: 60_000 },
      {
        knownUids: () => this.known,
        volumes: {
          existing: async () => {
            if (this.broken) throw new Error('input/output error');
            return [...this.volumes];
          },
          tearDown: async (uid) => {
            if (this.wedged.has(uid)) throw new Error('device or resource busy');
            this.volumes.delete(uid);
          },
        },
        cgroups: {
          orphans: async (known) => [...this.cgroups].filter((uid) => !known.has(uid)),
          remove: async (uid) => {
            this.cgroups.delete(uid);
          },
        },
        files: this.files,
        removeDanglingLinks: async () => void this.linkSweeps++,
        failed: (message) => this.events.push(message),
        metrics: this.metrics,
        clock: this.clock,
        log,
      },
    );
  }

  async add(uid: string): Promise<void> {
    this.volumes.add(uid);
    this.cgroups.add(uid);
    await this.files.makeDirectory(`/var/log/pods/ns_p_${uid}/app`, 0o755, 0o755);
    await this.files.write(`/var/log/pods/ns_p_${uid}/app/0.log`, 'x', 0o644);
  }

  /** What metrics say of the last sweep. */
  async orphans(): Promise<string[]> {
    const prefix = 'kubelet_orphan_pod_cleaned_';
    const lines = (await this.metrics.text()).split('\n').filter((line) => line.startsWith(prefix));
    return lines.map((line) => line.slice(prefix.length));
  }

  async left(): Promise<string[]> {
    const logs = ((await this.files.list('/var/log/pods')) ?? []).map((name) => `log ${name}`);
    return [
      ...[...this.volumes].map((uid) => `volumes ${uid}`),
      ...[...this.cgroups].map((uid) => `cgroup ${uid}`),
      ...logs,
    ];
  }
}

describe('Housekeeping', () => {
  let host: Host;

  beforeEach(() => {
    host = new Host();
  });

  it('removes what is found orphaned twice in a row, and only that', async () => {
    await host.add('gone');
    await host.add('kept');
    host.known.add('kept');
    await host.housekeeping.sweep();
    expect(await host.left()).toHaveLength(6);
    await host.housekeeping.sweep();
    expect(await host.left()).toEqual(['volumes kept', 'cgroup kept', 'log ns_p_kept']);
  });

  it('does not take a pod that is just being made for an orphan', async () => {
    await host.add('new');
    await host.housekeeping.sweep();
    host.known.add('new');
    await host.housekeeping.sweep();
    host.known.delete('new');
    await host.housekeeping.sweep();
    expect(await host.left()).toHaveLength(3);
  });

  it.each(['volumes', 'cgroups', 'logs'])('one of them is enough: %s', async (what) => {
    if (what === 'volumes') host.volumes.add('u');
    if (what === 'cgroups') host.cgroups.add('u');
    if (what === 'logs') await host.files.makeDirectory('/var/log/pods/ns_p_u', 0o755, 0o755);
    await host.housekeeping.sweep();
    await host.housekeeping.sweep();
    expect(await host.left()).toEqual([]);
  });

  it('leaves alone what is not named as a pod’s logs are', async () => {
    for (const name of ['readme', 'a_b', 'a_b_c_d'])
      await host.files.makeDirectory(`/var/log/pods/${name}`, 0o755, 0o755);
    await host.housekeeping.sweep();
    await host.housekeeping.sweep();
    expect(await host.left()).toEqual(['log readme', 'log a_b', 'log a_b_c_d']);
  });

  it('one orphan that cannot be removed holds up neither the rest of it nor the others, and is tried again', async () => {
    await host.add('stuck');
    await host.add('gone');
    host.wedged.add('stuck');
    await host.housekeeping.sweep();
    await host.housekeeping.sweep();
    expect(await host.left()).toEqual(['volumes stuck']);
    expect(await host.orphans()).toEqual(['volumes 2', 'volumes_errors 1']);
    expect(host.warnings).toHaveLength(1);
    host.wedged.clear();
    await host.housekeeping.sweep();
    expect(await host.orphans()).toEqual(['volumes 1', 'volumes_errors 0']);
    expect(await host.left()).toEqual([]);
  });

  it('tells of a sweep that failed, once a minute', async () => {
    host.broken = true;
    const stop = new AbortController();
    const done = host.housekeeping.run(stop.signal);
    await host.clock.advance(55_000);
    expect(host.events).toEqual(['input/output error']);
    await host.clock.advance(10_000);
    expect(host.events).toHaveLength(2);
    // Links to logs are looked after all the same, as often.
    expect(host.linkSweeps).toBe(2);
    stop.abort();
    await done;
  });

  it('sweeps again and again until it is told to stop, also after a sweep that failed', async () => {
    await host.add('gone');
    host.broken = true;
    const stop = new AbortController();
    const done = host.housekeeping.run(stop.signal);
    await host.clock.advance(25_000);
    expect(host.warnings).toEqual(Array.from({ length: 3 }, () => 'could not look for what vanished pods left'));
    host.broken = false;
    await host.clock.advance(20_000);
    expect(await host.left()).toEqual([]);
    stop.abort();
    await done;
    expect(host.clock.untilNext()).toBeUndefined();
  });

  it('without a log directory there are no logs', async () => {
    await host.housekeeping.sweep();
    expect(host.warnings).toEqual([]);
  });
});
