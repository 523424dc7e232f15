import { describe, expect, it } from 'vitest';
import type { ExecResult } from '../../../../src/host/cri/port.ts';
import { FakeProbe } from '../../../../src/host/probe/fake.ts';
import { CodedError } from '../../../../src/kit/errors.ts';
import { silent } from '../../../../src/kit/log.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { ObjectReference } from '../../../../src/model/meta.ts';
import type { Container, Pod, Probe } from '../../../../src/model/pod.ts';
import type { ProbeOutcome, ProbeTarget } from '../../../../src/pods/probes/port.ts';
import { ProbeScheduler, type ProbeSchedulerOptions } from '../../../../src/pods/probes/probe-scheduler.ts';

const HTTP: Probe = { httpGet: { path: '/healthz', port: 80 }, periodSeconds: 10 };
const IP = '10.0.0.5';

interface Recorded {
  about: ObjectReference;
  reason: string;
  message: string;
}

function podOf(container: Partial<Container>, name = 'web'): Pod {
  return {
    metadata: { namespace: 'default', name, uid: `uid-${name}` },
    spec: { containers: [{ name: 'app', ...container }] },
  };
}

function setUp(options: ProbeSchedulerOptions = {}, random = () => 0.5) {
  const clock = new ManualClock();
  const network = new FakeProbe({ clock });
  const metrics = new Metrics();
  const events: Recorded[] = [];
  const outcomes: ProbeOutcome[] = [];
  const containers = new Map<string, (command: readonly string[]) => ExecResult | Promise<ExecResult>>();
  const scheduler = new ProbeScheduler(options, {
    clock,
    probes: network,
    runtime: {
      execSync: async (id, command, timeoutSeconds, signal) => {
        const program = containers.get(id);
        if (program === undefined) throw new CodedError('NotFound', `container ${id} is not running`);
        const answer = await Promise.race([program(command), clock.sleep(timeoutSeconds * 1000, signal)]);
        if (answer === undefined) throw new CodedError('DeadlineExceeded', 'exec took too long');
        return answer;
      },
    },
    events: { event: (about, _type, reason, message) => events.push({ about, reason, message }) },
    metrics,
    log: silent,
    random,
  });
  scheduler.subscribe((outcome) => outcomes.push(outcome));
  const target = (container: Partial<Container>, more: Partial<ProbeTarget> = {}): ProbeTarget => ({
    pod: podOf(container),
    containerName: 'app',
    containerId: 'c1',
    podIP: IP,
    startedAt: clock.now(),
    probes: {
      ...(container.startupProbe === undefined ? {} : { startup: container.startupProbe }),
      ...(container.livenessProbe === undefined ? {} : { liveness: container.livenessProbe }),
      ...(container.readinessProbe === undefined ? {} : { readiness: container.readinessProbe }),
    },
    adopted: undefined,
    terminating: false,
    ...more,
  });
  return { clock, network, metrics, events, outcomes, containers, scheduler, target };
}

const result = (exitCode: number, stdout = '', stderr = ''): ExecResult => ({
  exitCode,
  stdout: Buffer.from(stdout),
  stderr: Buffer.from(stderr),
});

describe('ProbeScheduler', () => {
  it('a fresh container is ready within milliseconds of its port opening, without an event for the tries before', async () => {
    const { clock, network, scheduler, target, events, outcomes } = setUp();
    scheduler.set('uid-web', [target({ readinessProbe: HTTP })]);
    expect(scheduler.result('c1', 'readiness')).toBe('failure');
    await clock.advance(300);
    network.listen(IP, 80, { http: () => ({ status: 200 }) });
    await clock.advance(200);
    expect(scheduler.result('c1', 'readiness')).toBe('success');
    expect(outcomes).toEqual([
      {
        podUid: 'uid-web',
        containerName: 'app',
        containerId: 'c1',
        kind: 'readiness',
        result: 'success',
        message: 'Readiness probe succeeded',
      },
    ]);
    expect(events).toEqual([]);
  });

  it('answers initial results, and undefined for what does not run', () => {
    const { scheduler, target } = setUp();
    scheduler.set('uid-web', [target({ startupProbe: HTTP, livenessProbe: HTTP, readinessProbe: HTTP })]);
    expect(scheduler.result('c1', 'startup')).toBe('unknown');
    expect(scheduler.result('c1', 'liveness')).toBe('success');
    expect(scheduler.result('c1', 'readiness')).toBe('failure');
    expect(scheduler.result('c2', 'readiness')).toBeUndefined();
    scheduler.set('uid-web', [target({ readinessProbe: HTTP })]);
    expect(scheduler.result('c1', 'liveness')).toBeUndefined();
  });

  it('loses readiness after three failures, on the grid, with an event for each, and gains it back', async () => {
    const { clock, network, scheduler, target, events, outcomes } = setUp();
    let status = 200;
    network.listen(IP, 80, { http: () => ({ status }) });
    scheduler.set('uid-web', [target({ readinessProbe: HTTP })]);
    await clock.advance(5000);
    status = 500;
    await clock.advance(20_000);
    expect(scheduler.result('c1', 'readiness')).toBe('success');
    expect(events).toHaveLength(2);
    await clock.advance(10_000);
    expect(scheduler.result('c1', 'readiness')).toBe('failure');
    expect(events).toHaveLength(3);
    expect(events[0]).toEqual({
      about: {
        apiVersion: 'v1',
        kind: 'Pod',
        namespace: 'default',
        name: 'web',
        uid: 'uid-web',
        fieldPath: 'spec.containers{app}',
      },
      reason: 'Unhealthy',
      message: 'Readiness probe failed: HTTP probe failed with statuscode: 500',
    });
    status = 200;
    await clock.advance(10_000);
    expect(outcomes.map((outcome) => outcome.result)).toEqual(['success', 'failure', 'success']);
  });

  it('runs nothing else until startup succeeds, then the others at once', async () => {
    const { clock, network, scheduler, target, outcomes } = setUp();
    const asked: string[] = [];
    let started = false;
    network.listen(IP, 80, {
      http: ({ path }) => {
        asked.push(path);
        return { status: path !== '/startup' || started ? 200 : 503 };
      },
    });
    const probe = (path: string): Probe => ({ httpGet: { path, port: 80 }, periodSeconds: 10, failureThreshold: 30 });
    scheduler.set('uid-web', [
      target({ startupProbe: probe('startup'), livenessProbe: probe('/live'), readinessProbe: probe('/ready') }),
    ]);
    await clock.advance(25_000);
    expect(new Set(asked)).toEqual(new Set(['/startup']));
    started = true;
    await clock.advance(5100);
    expect(outcomes.map(({ kind, result }) => `${kind} ${result}`)).toEqual(['startup success', 'readiness success']);
    expect(asked.slice(-3)).toEqual(['/startup', '/live', '/ready']);
    const count = asked.filter((path) => path === '/startup').length;
    await clock.advance(60_000);
    expect(asked.filter((path) => path === '/startup')).toHaveLength(count);
  });

  it('a failed liveness probe holds until the container id changes; label sets stay until the pod goes', async () => {
    const { clock, network, scheduler, target, outcomes, metrics } = setUp();
    network.listen(IP, 80, { http: () => ({ status: 500 }) });
    scheduler.set('uid-web', [target({ livenessProbe: HTTP })]);
    await clock.advance(30_100);
    expect(outcomes).toMatchObject([
      { kind: 'liveness', result: 'failure', message: 'Liveness probe failed: HTTP probe failed with statuscode: 500' },
    ]);
    const asked = network.requests;
    await clock.advance(100_000);
    expect(network.requests).toBe(asked);
    scheduler.set('uid-web', []);
    expect(scheduler.result('c1', 'liveness')).toBeUndefined();
    scheduler.set('uid-web', [target({ livenessProbe: HTTP }, { containerId: 'c2', startedAt: clock.now() })]);
    expect(scheduler.result('c2', 'liveness')).toBe('success');
    await clock.advance(30_100);
    expect(outcomes.map((outcome) => outcome.containerId)).toEqual(['c1', 'c2']);
    const line =
      'prober_probe_total{probe_type="Liveness",container="app",pod="web",namespace="default",pod_uid="uid-web",result="failed"} 8';
    expect(await metrics.text()).toContain(line);
    scheduler.remove('uid-web');
    expect(await metrics.text()).not.toContain('uid-web');
    expect(await metrics.text()).not.toContain('pod="web"');
  });

  it('measures what probes take, but not those that fail', async () => {
    const { clock, network, scheduler, target, metrics } = setUp();
    network.listen(IP, 80, { http: () => ({ status: 200 }) });
    scheduler.set('uid-web', [target({ readinessProbe: HTTP, livenessProbe: { tcpSocket: { port: 81 } } })]);
    await clock.advance(25_000);
    const count = (await metrics.text())
      .split('\n')
      .filter((line) => line.startsWith('prober_probe_duration_seconds_count'));
    expect(count).toEqual([
      'prober_probe_duration_seconds_count{probe_type="Readiness",container="app",pod="web",namespace="default"} 3',
    ]);
  });

  it('keeps what runs undisturbed when the same targets are set again', async () => {
    const { clock, network, scheduler, target } = setUp();
    network.listen(IP, 80, { http: () => ({ status: 200 }) });
    const startedAt = clock.now();
    for (let i = 0; i < 100; i++) {
      scheduler.set('uid-web', [target({ readinessProbe: structuredClone(HTTP) }, { startedAt })]);
      await clock.advance(1000);
    }
    // At once, then every ten seconds.
    expect(network.requests).toBe(11);
  });

  it('follows a new pod IP and resolves named ports', async () => {
    const { clock, network, scheduler, target } = setUp();
    const container = {
      ports: [{ name: 'web', containerPort: 8080 }],
      readinessProbe: { httpGet: { port: 'web' }, periodSeconds: 1 },
    };
    network.listen('10.0.0.9', 8080, { http: ({ path }) => ({ status: path === '/' ? 200 : 404 }) });
    const startedAt = clock.now();
    scheduler.set('uid-web', [target(container, { podIP: undefined, startedAt })]);
    await clock.advance(1500);
    expect(scheduler.result('c1', 'readiness')).toBe('failure');
    scheduler.set('uid-web', [target(container, { podIP: '10.0.0.9', startedAt })]);
    await clock.advance(1500);
    expect(scheduler.result('c1', 'readiness')).toBe('success');
  });

  it('says what is wrong with a probe that cannot be made, and settles nothing from it', async () => {
    const { clock, scheduler, target, events, metrics } = setUp();
    scheduler.set('uid-web', [
      target({ livenessProbe: { tcpSocket: { port: 'nope' }, periodSeconds: 1, failureThreshold: 1 } }),
    ]);
    await clock.advance(5000);
    expect(scheduler.result('c1', 'liveness')).toBe('success');
    expect(events[0]?.message).toBe(
      `Liveness probe errored and resulted in unknown state: couldn't find port "nope" among the ports of container app (it names none)`,
    );
    expect(await metrics.text()).toMatch(/prober_probe_total\{probe_type="Liveness".*result="unknown"\} [5-9]/);
  });

  it('tells a redirect to elsewhere as a warning that counts as success', async () => {
    const { clock, network, scheduler, target, events } = setUp();
    network.listen(IP, 80, { http: () => ({ status: 302, location: 'http://10.9.9.9/', body: 'bye' }) });
    scheduler.set('uid-web', [target({ readinessProbe: HTTP })]);
    await clock.advance(10);
    expect(scheduler.result('c1', 'readiness')).toBe('success');
    expect(events).toMatchObject([
      { reason: 'ProbeWarning', message: 'Readiness probe warning: Probe terminated redirects, Response body: bye' },
    ]);
  });

  it('adopts: keeps ready and started, spreads the first runs, needs the full threshold to change its mind', async () => {
    const { clock, network, scheduler, target, outcomes } = setUp({}, () => 0.25);
    const adopted = { ready: true, started: true };
    const container = { startupProbe: HTTP, readinessProbe: HTTP, livenessProbe: HTTP };
    scheduler.set('uid-web', [target(container, { adopted, startedAt: clock.now() - 3_600_000 })]);
    expect(scheduler.result('c1', 'startup')).toBe('success');
    expect(scheduler.result('c1', 'readiness')).toBe('success');
    await clock.advance(2400);
    expect(network.requests).toBe(0);
    await clock.advance(200);
    expect(network.requests).toBe(2);
    expect(outcomes).toEqual([]);
    await clock.advance(20_000);
    expect(outcomes.map(({ kind, result }) => `${kind} ${result}`).sort()).toEqual([
      'liveness failure',
      'readiness failure',
    ]);
  });

  it('a terminating pod keeps readiness and drops liveness and startup quietly', async () => {
    const { clock, network, scheduler, target, outcomes, events } = setUp();
    const asked: string[] = [];
    network.listen(IP, 80, {
      http: ({ path }) => {
        asked.push(path);
        return { status: path === '/ready' ? 200 : 500 };
      },
    });
    const probe = (path: string): Probe => ({ httpGet: { path, port: 80 }, periodSeconds: 5 });
    const container = {
      startupProbe: probe('/startup'),
      livenessProbe: probe('/live'),
      readinessProbe: probe('/ready'),
    };
    const startedAt = clock.now();
    scheduler.set('uid-web', [target(container, { startedAt })]);
    await clock.advance(4000);
    asked.length = 0;
    events.length = 0;
    scheduler.set('uid-web', [target(container, { startedAt, terminating: true })]);
    expect(scheduler.result('c1', 'startup')).toBe('success');
    expect(scheduler.result('c1', 'liveness')).toBe('success');
    await clock.advance(30_000);
    expect(new Set(asked)).toEqual(new Set(['/ready']));
    expect(outcomes.map(({ kind }) => kind)).toEqual(['readiness']);
    expect(events).toEqual([]);
  });

  it('never overlaps a probe with itself, and catches up after a slow one', async () => {
    const { clock, network, scheduler, target } = setUp();
    network.listen(IP, 80, { blackHole: true });
    scheduler.set('uid-web', [
      target(
        { readinessProbe: { ...HTTP, periodSeconds: 1, timeoutSeconds: 3 } },
        { adopted: { ready: true, started: true } },
      ),
    ]);
    await clock.advance(30_000);
    expect(network.peak).toBe(1);
    expect(network.requests).toBe(10);
  });

  it('bounds how many run at once and serves waiting pods in turn', async () => {
    const { clock, network, scheduler, target } = setUp({ maxNetworkProbes: 4 });
    const adopted = { ready: true, started: true };
    const readiness: Probe = { tcpSocket: { port: 80 }, periodSeconds: 10, timeoutSeconds: 2, failureThreshold: 1 };
    network.listen('10.0.0.1', 80, { blackHole: true });
    const many = Array.from({ length: 40 }, (_, i) =>
      target({}, { containerId: `slow${i}`, podIP: '10.0.0.1', adopted, probes: { readiness } }),
    );
    scheduler.set('uid-slow', many);
    scheduler.set('uid-fast', [
      target(
        {},
        {
          pod: podOf({}, 'fast'),
          containerId: 'fast',
          podIP: '10.0.0.2',
          adopted,
          probes: { readiness },
        },
      ),
    ]);
    // All are due at 5 s; the slow pod's forty need 20 s for themselves, the other pod waits for one place.
    await clock.advance(7100);
    expect(scheduler.result('fast', 'readiness')).toBe('failure');
    expect(network.peak).toBeLessThanOrEqual(4);
    await clock.advance(20_000);
    expect(many.filter((_, i) => scheduler.result(`slow${i}`, 'readiness') === 'failure')).toHaveLength(40);
  });

  it('exec: exit codes, output of both streams cut to 10 KiB, timeouts', async () => {
    const { clock, scheduler, target, containers, events, outcomes } = setUp();
    const livenessProbe: Probe = {
      exec: { command: ['check', 'it'] },
      periodSeconds: 1,
      failureThreshold: 2,
      timeoutSeconds: 1,
    };
    let answer: () => ExecResult | Promise<ExecResult> = () => result(0);
    containers.set('c1', () => answer());
    scheduler.set('uid-web', [target({ livenessProbe }, { adopted: { ready: true, started: true } })]);
    await clock.advance(1600);
    expect(events).toEqual([]);
    answer = () => result(3, 'out ', `err${'ä'.repeat(20_000)}`);
    await clock.advance(1000);
    expect(events[0]?.message).toMatch(/^Liveness probe failed: out errä+$/);
    expect(Buffer.byteLength(events[0]?.message ?? '')).toBeLessThanOrEqual(10_240 + 'Liveness probe failed: '.length);
    answer = () => new Promise<never>(() => {});
    await clock.advance(2100);
    expect(outcomes).toMatchObject([
      { result: 'failure', message: 'Liveness probe failed: command timed out: "check it" timed out after 1s' },
    ]);
  });

  it('exec: an error is tried three times at once and is no failure', async () => {
    const { clock, scheduler, target, containers, events } = setUp();
    let calls = 0;
    containers.set('c1', () => {
      calls++;
      if (calls < 3) throw new CodedError('Unavailable', 'the runtime is restarting');
      return result(0);
    });
    const readinessProbe: Probe = { exec: { command: ['true'] }, periodSeconds: 10 };
    scheduler.set('uid-web', [target({ readinessProbe })]);
    await clock.advance(10);
    expect(calls).toBe(3);
    expect(scheduler.result('c1', 'readiness')).toBe('success');
    containers.delete('c1');
    await clock.advance(40_000);
    expect(scheduler.result('c1', 'readiness')).toBe('success');
    expect(events[0]?.message).toBe(
      'Readiness probe errored and resulted in unknown state: container c1 is not running',
    );
  });

  it('exec: does not wait for ever for a runtime that ignores timeout and signal', async () => {
    const clock = new ManualClock();
    const events: string[] = [];
    const scheduler = new ProbeScheduler(
      {},
      {
        clock,
        probes: new FakeProbe({ clock }),
        runtime: { execSync: () => new Promise<never>(() => {}) },
        events: { event: (_about, _type, _reason, message) => events.push(message) },
        metrics: new Metrics(),
        log: silent,
      },
    );
    const { target } = setUp();
    const livenessProbe: Probe = { exec: { command: ['hang'] }, periodSeconds: 1, failureThreshold: 1 };
    scheduler.set('uid-web', [
      target({ livenessProbe }, { adopted: { ready: true, started: true }, startedAt: clock.now() }),
    ]);
    await clock.advance(4500);
    expect(scheduler.result('c1', 'liveness')).toBe('failure');
    expect(events).toEqual(['Liveness probe failed: command timed out: "hang" timed out after 1s']);
  });

  it('drops the answer of a probe whose pod has gone, and everything after close', async () => {
    const { clock, network, scheduler, target, outcomes, events } = setUp();
    network.listen(IP, 80, { http: () => ({ status: 200, delayMs: 500 }) });
    scheduler.set('uid-web', [target({ readinessProbe: HTTP })]);
    await clock.advance(100);
    scheduler.remove('uid-web');
    await clock.advance(60_000);
    expect(network.requests).toBe(1);
    scheduler.set('uid-web', [target({ readinessProbe: HTTP }, { startedAt: clock.now() })]);
    await clock.advance(100);
    await scheduler.close();
    scheduler.set('uid-web', [target({ readinessProbe: HTTP }, { startedAt: clock.now() })]);
    await clock.advance(60_000);
    expect(network.requests).toBe(2);
    expect([outcomes, events]).toEqual([[], []]);
  });
});
