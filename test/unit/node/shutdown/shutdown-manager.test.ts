import { beforeEach, describe, expect, it } from 'vitest';
import { FakeFiles } from '../../../../src/host/files/fake.ts';
import { FakeLogind } from '../../../../src/host/logind/fake.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { type ShutdownEnd, ShutdownManager } from '../../../../src/node/shutdown/shutdown-manager.ts';
import { ShutdownStateFile } from '../../../../src/node/shutdown/shutdown-state.ts';

const CRITICAL = 2_000_000_000;

/** A machine whose pods take their time to end. */
class Machine {
  readonly clock = new ManualClock();
  readonly logind = new FakeLogind();
  readonly files = new FakeFiles();
  readonly metrics = new Metrics();
  readonly events: string[] = [];
  readonly pods = new Map<string, { pod: Pod; takesMs: number; unmountMs: number }>();
  /** "name at second, grace" in the order of being told to end. */
  readonly ended: string[] = [];
  readonly ends = new Map<string, ShutdownEnd>();
  readonly down = new Map<string, number>();
  readonly startedAt = this.clock.monotonic();
  manager: ShutdownManager;
  stop = new AbortController();
  done: Promise<void> = Promise.resolve();

  constructor() {
    this.manager = this.make();
  }

  make(): ShutdownManager {
    const { clock } = this;
    const seconds = (): number => Math.round((clock.monotonic() - this.startedAt) / 1000);
    return new ShutdownManager(
      {
        periods: [
          { priority: 0, seconds: 20 },
          { priority: CRITICAL, seconds: 10 },
        ],
        keepState: true,
      },
      {
        logind: this.logind,
        pods: {
          activePods: () => [...this.pods.values()].map(({ pod }) => pod),
          end: async (uid, end) => {
            this.ended.push(`${uid} at ${seconds()} s, ${end.graceSeconds} s`);
            this.ends.set(uid, end);
            await clock.sleep(this.pods.get(uid)?.takesMs ?? 0);
            this.down.set(uid, clock.monotonic());
          },
          isReclaimed: (uid) =>
            clock.monotonic() - (this.down.get(uid) ?? Number.POSITIVE_INFINITY) >=
            (this.pods.get(uid)?.unmountMs ?? 0),
        },
        event: ({ reason, message }) => this.events.push(`${reason}: ${message}`),
        refreshNode: () => {},
        state: new ShutdownStateFile('/kubelet', this.files),
        clock,
        metrics: this.metrics,
        log: silent,
      },
    );
  }

  add(name: string, takesMs: number, more: { priority?: number; grace?: number; unmountMs?: number } = {}): void {
    const { priority, grace, unmountMs = 0 } = more;
    const spec = {
      containers: [],
      ...(priority === undefined ? {} : { priority }),
      ...(grace === undefined ? {} : { terminationGracePeriodSeconds: grace }),
    };
    this.pods.set(name, { pod: { metadata: { name, uid: name }, spec }, takesMs, unmountMs });
  }

  async start(): Promise<void> {
    await this.files.makeDirectory('/kubelet', 0o755);
    this.done = this.manager.run(this.stop.signal);
    await this.clock.advance(1000);
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.done;
  }
}

describe('ShutdownManager', () => {
  let machine: Machine;

  beforeEach(() => {
    machine = new Machine();
  });

  it('holds a lock, for as long as its periods together, and none when it ends', async () => {
    await machine.start();
    expect(machine.logind.held).toBe(1);
    expect(machine.logind.delayMs).toBe(30_000);
    expect(machine.manager.shuttingDown).toBe(false);
    await machine.end();
    expect(machine.logind.held).toBe(0);
  });

  it('leaves a longer delay as it is', async () => {
    machine.logind.delayMs = 60_000;
    await machine.start();
    expect(machine.logind.delayMs).toBe(60_000);
    await machine.end();
  });

  it('does without a lock while logind does not take the delay, and tries again', async () => {
    machine.logind.deaf = true;
    await machine.start();
    await machine.clock.advance(2000);
    expect(machine.logind.held).toBe(0);
    machine.logind.deaf = false;
    await machine.clock.advance(20_000);
    expect(machine.logind.held).toBe(1);
    await machine.end();
  });

  it('ends the lesser pods first, the critical ones when those and their volumes are gone, and lets go', async () => {
    machine.add('critical', 1000, { priority: CRITICAL + 1000 });
    machine.add('quick', 1000, { grace: 5 });
    machine.add('slow', 4000, { grace: 300, unmountMs: 2000 });
    await machine.start();
    machine.logind.announce(true);
    await machine.clock.advance(5000);
    expect(machine.manager.shuttingDown).toBe(true);
    expect(machine.ended).toEqual(['quick at 1 s, 5 s', 'slow at 1 s, 20 s']);
    expect(machine.logind.held).toBe(1);
    await machine.clock.advance(5000);
    expect(machine.ended.at(-1)).toBe('critical at 7 s, 10 s');
    expect(machine.logind.held).toBe(0);
    expect(machine.ends.get('quick')).toEqual({
      reason: 'Terminated',
      message: 'Pod was terminated in response to imminent node shutdown.',
      graceSeconds: 5,
      disruption: 'Pod was terminated in response to imminent node shutdown.',
    });
    expect(machine.events).toEqual(['Shutdown: Shutdown manager detected shutdown event']);
    await machine.end();
  });

  it('waits no longer than the period for pods that do not end', async () => {
    machine.add('wedged', 600_000);
    machine.add('critical', 600_000, { priority: CRITICAL });
    await machine.start();
    machine.logind.announce(true);
    await machine.clock.advance(19_000);
    expect(machine.ended).toHaveLength(1);
    await machine.clock.advance(2000);
    expect(machine.ended).toHaveLength(2);
    expect(machine.logind.held).toBe(1);
    await machine.clock.advance(10_000);
    expect(machine.logind.held).toBe(0);
    await machine.end();
  });

  it('takes the lock again when the shutdown is called off', async () => {
    await machine.start();
    machine.logind.announce(true);
    machine.logind.announce(false);
    await machine.clock.advance(1000);
    expect(machine.manager.shuttingDown).toBe(false);
    expect(machine.logind.held).toBe(1);
    expect(machine.events.at(-1)).toBe('Shutdown: Shutdown manager detected shutdown cancellation');
    await machine.end();
  });

  it('connects again a second after the bus has gone, less often while it stays away', async () => {
    await machine.start();
    machine.logind.present = false;
    machine.logind.drop();
    await machine.clock.advance(500);
    expect(machine.logind.held).toBe(0);
    machine.logind.present = true;
    await machine.clock.advance(1000);
    expect(machine.logind.held).toBe(1);
    await machine.end();
  });

  it('records when it began and ended, which the metrics of the next start tell of', async () => {
    machine.add('p', 3000);
    await machine.start();
    machine.logind.announce(true);
    await machine.clock.advance(1000);
    const text = async (): Promise<string> =>
      (await machine.files.read('/kubelet/graceful_node_shutdown_state')).toString();
    expect(await text()).toBe('{"startTime":"2026-01-01T00:00:01.000Z","endTime":"0001-01-01T00:00:00Z"}');
    expect(await machine.metrics.text()).toMatch(/shutdown_end_time_seconds 0/);
    await machine.clock.advance(5000);
    expect(await text()).toBe('{"startTime":"2026-01-01T00:00:01.000Z","endTime":"2026-01-01T00:00:04.000Z"}');
    await machine.end();
    const next = new Machine();
    await next.files.makeDirectory('/kubelet', 0o755);
    await next.files.write('/kubelet/graceful_node_shutdown_state', await text(), 0o644);
    await next.start();
    expect(await next.metrics.text()).toMatch(/shutdown_end_time_seconds 1767225604/);
    await next.end();
  });

  it('begins although the record cannot be read', async () => {
    await machine.files.makeDirectory('/kubelet', 0o755);
    await machine.files.write('/kubelet/graceful_node_shutdown_state', 'no JSON', 0o644);
    await machine.start();
    expect(machine.logind.held).toBe(1);
    await machine.end();
  });
});
