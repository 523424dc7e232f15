import { describe, expect, it } from 'vitest';
import { FakeProbe } from '../../../../src/host/probe/fake.ts';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import { HookRunner, type HookTarget } from '../../../../src/pods/probes/hook-runner.ts';

function setUp() {
  const clock = new ManualClock();
  const network = new FakeProbe({ clock });
  const events: string[] = [];
  const metrics = new Metrics();
  const hooks = new HookRunner({
    clock,
    probes: network,
    runtime: {
      execSync: async (_id, command) => ({
        exitCode: command[0] === 'fail' ? 7 : 0,
        stdout: Buffer.from('out'),
        stderr: Buffer.from('!'),
      }),
    },
    events: { event: (about, _type, reason) => events.push(`${about.kind} ${about.name} ${reason}`) },
    metrics,
  });
  const container = { name: 'app', ports: [{ name: 'web', containerPort: 8080 }] };
  const target: HookTarget = {
    pod: { metadata: { namespace: 'default', name: 'web', uid: 'u1' }, spec: { containers: [container] } },
    container,
    containerId: 'c1',
    podIP: '10.0.0.5',
  };
  return { clock, network, events, metrics, hooks, target };
}

describe('HookRunner', () => {
  it('exec: the exit code decides', async () => {
    const { hooks, target } = setUp();
    await hooks.run({ exec: { command: ['ok'] } }, target);
    await expect(hooks.run({ exec: { command: ['fail', 'now'] } }, target)).rejects.toMatchObject({
      code: 'CommandFailed',
      message:
        'Exec lifecycle hook ([fail now]) for Container "app" in Pod "web_default(u1)" failed - error: ' +
        'command \'fail now\' exited with 7: !, message: "out!"',
    });
  });

  it('httpGet: resolves the port, takes any status, fails without an answer', async () => {
    const { hooks, target, network, events } = setUp();
    let asked = '';
    network.listen('10.0.0.5', 8080, {
      http: ({ path }) => {
        asked = path;
        return { status: 500 };
      },
    });
    await hooks.run({ httpGet: { path: 'bye', port: 'web' } }, target);
    expect(asked).toBe('/bye');
    expect(events).toEqual([]);
    await expect(hooks.run({ httpGet: { port: 81 } }, target)).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringMatching(
        /^HTTP lifecycle hook \(\/\) for Container "app" in Pod "web_default\(u1\)" failed - error: .*connection refused$/,
      ),
    });
    await expect(hooks.run({ httpGet: { port: 'nope' } }, target)).rejects.toMatchObject({ code: 'InvalidArgument' });
    await expect(hooks.run({ httpGet: { port: 80 } }, { ...target, podIP: undefined })).rejects.toThrow(
      /no IP address/,
    );
  });

  it('httpGet: https that is answered over http succeeds with an event and a count', async () => {
    const { hooks, target, network, events, metrics } = setUp();
    network.listen('10.0.0.5', 8080, { http: () => ({ status: 200 }) });
    await hooks.run({ httpGet: { port: 8080, scheme: 'HTTPS' } }, target);
    expect(events).toEqual(['Pod web LifecycleHTTPFallback']);
    expect(await metrics.text()).toContain('kubelet_lifecycle_handler_http_fallbacks_total 1');
  });

  it('sleep: takes its time, ends with the signal', async () => {
    const { hooks, target, clock, metrics } = setUp();
    let slept = false;
    const sleeping = hooks.run({ sleep: { seconds: 5 } }, target).then(() => {
      slept = true;
    });
    await clock.advance(4999);
    expect(slept).toBe(false);
    await clock.advance(1);
    await sleeping;
    const abort = new AbortController();
    const cut = hooks.run({ sleep: { seconds: 5 } }, target, abort.signal);
    abort.abort();
    await expect(cut).rejects.toMatchObject({ code: 'Aborted' });
    expect(await metrics.text()).toContain('kubelet_sleep_action_terminated_early_total 1');
  });

  it('a handler without an action is refused', async () => {
    const { hooks, target } = setUp();
    await expect(hooks.run({ tcpSocket: { port: 1 } }, target)).rejects.toMatchObject({ code: 'InvalidObject' });
  });
});
