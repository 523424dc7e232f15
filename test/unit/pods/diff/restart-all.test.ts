import { describe, expect, it } from 'vitest';
import { mergedStatus, restartPolicies } from '../../../../src/cluster/pod-status-patch.ts';
import type { Container, ContainerRestartRule, PodStatus } from '../../../../src/model/pod.ts';
import { restartsAfterExit, restartsAfterProbe } from '../../../../src/pods/diff/outcome.ts';
import type { PlanInput } from '../../../../src/pods/diff/plan.ts';
import { planPod } from '../../../../src/pods/diff/plan-pod.ts';
import type { Step } from '../../../../src/pods/diff/step.ts';
import { podStatus } from '../../../../src/pods/status/pod-status.ts';
import { container, exited, facts, input, NOW, pod, record, runtime, sandbox, withImages } from '../builders.ts';

const rule = (action: ContainerRestartRule['action'], operator: 'In' | 'NotIn', ...values: number[]) =>
  ({ ...(action === undefined ? {} : { action }), exitCodes: { operator, values } }) as ContainerRestartRule;

describe('restartsAfterExit', () => {
  const rows: [string, Partial<Container>, 'Always' | 'OnFailure' | 'Never', Record<number, boolean>][] = [
    ['the pod’s Always', {}, 'Always', { 0: true, 1: true }],
    ['the pod’s OnFailure', {}, 'OnFailure', { 0: false, 1: true }],
    ['the pod’s Never', {}, 'Never', { 0: false, 1: false }],
    ['its own Never over Always', { restartPolicy: 'Never' }, 'Always', { 0: false, 1: false }],
    ['its own Always over Never', { restartPolicy: 'Always' }, 'Never', { 0: true, 1: true }],
    ['its own OnFailure over Never', { restartPolicy: 'OnFailure' }, 'Never', { 0: false, 3: true }],
    [
      'In',
      { restartPolicy: 'Never', restartPolicyRules: [rule('Restart', 'In', 42, 43)] },
      'Never',
      { 0: false, 42: true, 43: true, 44: false },
    ],
    [
      'NotIn',
      { restartPolicy: 'Never', restartPolicyRules: [rule('Restart', 'NotIn', 0, 1)] },
      'Always',
      { 0: false, 1: false, 2: true },
    ],
    [
      'the first that matches',
      {
        restartPolicy: 'OnFailure',
        restartPolicyRules: [rule('Restart', 'In', 0), rule('RestartAllContainers', 'NotIn', 1)],
      },
      'Never',
      { 0: true, 1: true, 2: true },
    ],
    [
      'RestartAllContainers',
      { restartPolicy: 'Never', restartPolicyRules: [rule('RestartAllContainers', 'In', 9)] },
      'Never',
      { 9: true, 8: false },
    ],
    ['rules without a policy say nothing', { restartPolicyRules: [rule('Restart', 'In', 7)] }, 'Never', { 7: false }],
  ];
  it.each(rows)('%s', (_name, more, restartPolicy, expected) => {
    const a = container('a', more);
    const of = pod({ containers: [a], restartPolicy });
    const said = Object.keys(expected).map((code) => [code, restartsAfterExit(of, a, Number(code))]);
    expect(Object.fromEntries(said)).toEqual(expected);
  });

  it('after a probe only the policy counts', () => {
    const a = container('a', { restartPolicy: 'Never', restartPolicyRules: [rule('Restart', 'NotIn', 0)] });
    expect(restartsAfterProbe(pod({ containers: [a] }), a)).toBe(false);
    expect(restartsAfterProbe(pod({ restartPolicy: 'OnFailure' }), container('b'))).toBe(true);
  });
});

describe('RestartAllContainers', () => {
  const source = container('source', {
    restartPolicy: 'Never',
    restartPolicyRules: [rule('RestartAllContainers', 'In', 42)],
  });
  const other = container('other');
  const init = container('init');
  const side = container('side', { restartPolicy: 'Always' });
  const debug = container('debug');
  const of = pod({
    initContainers: [init, side],
    containers: [source, other],
    ephemeralContainers: [debug],
    restartPolicy: 'Never',
  });
  const sentences = (more: Partial<PlanInput>) => {
    const plan = planPod(input({ pod: of, ...more }));
    return plan.steps.map((step: Step) => {
      if (step.do === 'beginKill') return `kill ${step.container} ${step.graceSeconds}s hook:${step.runPreStop}`;
      if (step.do === 'removeContainer') return `remove ${step.id}${step.keepLog === true ? ', keep log' : ''}`;
      if (step.do === 'startContainer') return `start ${step.container} ${step.restartCount}`;
      return 'container' in step ? `${step.do} ${step.container}` : step.do;
    });
  };
  const dead = exited(source, 42);
  const up = [record(other), exited(init, 0), record(side), record(debug)];

  it('takes app containers away first, then init and sidecars, what triggered it last', () => {
    const steps = (...records: Parameters<typeof runtime>[1] & object) =>
      sentences({ runtime: runtime([sandbox()], records) });
    expect(steps(dead, ...up)).toEqual(['kill other 2s hook:false']);
    expect(steps(dead, exited(other, 137), ...up.slice(1))).toEqual(['remove other-0, keep log']);
    expect(steps(dead, ...up.slice(1))).toEqual(['remove init-0, keep log', 'kill side 2s hook:false']);
    expect(steps(dead, record(debug))).toEqual(['remove source-0, keep log']);
    // Nothing left: it begins anew, in the same sandbox.
    expect(
      sentences({
        runtime: runtime([sandbox()], [record(debug)]),
        facts: facts({ containers: withImages('init', 'side', 'source', 'other') }),
      }),
    ).toEqual(['start init 0']);
  });

  it('removes the older runs of what triggered it before it, and waits for how it ended', () => {
    const old = exited(source, 1, { restartCount: 1, id: 'old' });
    const newest = exited(source, 42, { restartCount: 2 });
    expect(sentences({ runtime: runtime([sandbox()], [newest, old]) })).toEqual(['remove old, keep log']);
    expect(sentences({ runtime: runtime([sandbox()], [{ ...newest, provisional: true }]) })).toEqual([]);
  });

  it('pauses for a second before it takes away what triggered it', () => {
    const just = exited(source, 42, { finishedAt: NOW - 300 });
    const plan = planPod(input({ pod: of, runtime: runtime([sandbox()], [just]) }));
    expect([plan.steps, plan.againAt]).toEqual([[], NOW + 700]);
    // A clock that was set back does not make it wait.
    const later = exited(source, 42, { finishedAt: NOW + 3_600_000 });
    expect(sentences({ runtime: runtime([sandbox()], [later]) })).toEqual(['remove source-0, keep log']);
  });

  it('a sidecar may trigger it, and a pod that is being ended is not begun anew', () => {
    const watcher = { ...side, restartPolicyRules: [rule('RestartAllContainers', 'NotIn', 0)] };
    const watched = pod({ initContainers: [watcher], containers: [other], restartPolicy: 'Never' });
    const records = [exited(watcher, 3), exited(other, 137)];
    const plan = planPod(input({ pod: watched, runtime: runtime([sandbox()], records) }));
    expect(plan.mode).toBe('sync');
    expect(planPod(input({ pod: watched, runtime: runtime([sandbox()], records), intent: 'delete' })).mode).toBe(
      'terminating',
    );
    const ended = input({ pod: watched, runtime: runtime([sandbox()], records), facts: facts({ ending: true }) });
    expect(planPod(ended).mode).toBe('terminating');
  });

  it('another code leads to what the policy says', () => {
    const records = [exited(source, 1), exited(other, 0), exited(init, 0), record(side)];
    expect(planPod(input({ pod: of, runtime: runtime([sandbox()], records) })).mode).toBe('terminating');
  });

  it('status: the condition while it lasts, what was taken away waits, restarts are counted once', () => {
    const tell = (records: Parameters<typeof runtime>[1] & object, lastStatus: PodStatus | undefined) => {
      const given = input({ pod: of, runtime: runtime([sandbox()], records), facts: facts({ lastStatus }) });
      const plan = planPod(given);
      const status = podStatus({
        input: given,
        plan,
        hostIPs: [],
        qosClass: 'BestEffort',
        runtimeName: 'containerd',
        recursiveReadOnly: true,
        cgroup: { cpuShares: 2, cpuQuota: -1, cpuPeriod: 100_000, memoryLimit: -1 },
      });
      // The writer must not hold any of it back.
      const merged = mergedStatus(lastStatus ?? {}, status, restartPolicies(of));
      expect(merged.containerStatuses).toEqual(status.containerStatuses);
      expect(merged.initContainerStatuses).toEqual(status.initContainerStatuses);
      return { status, plan };
    };
    const condition = ({ conditions }: PodStatus) => conditions?.find(({ type }) => type === 'AllContainersRestarting');
    const running = tell([record(source), ...up], undefined).status;
    expect(condition(running)).toMatchObject({ status: 'False' });
    const begun = tell([dead, ...up], running).status;
    expect(begun.phase).toBe('Running');
    expect(condition(begun)).toMatchObject({
      status: 'True',
      reason: 'RestartAllContainersStarted',
      message: 'container exited with restart policy rule',
    });
    const half = tell([dead, ...up.slice(1)], begun).status;
    const away = {
      state: { waiting: { reason: 'RestartingAllContainers' } },
      lastState: { terminated: { reason: 'RestartingAllContainers', exitCode: 137 } },
      restartCount: 1,
      ready: false,
    };
    expect(half.containerStatuses?.find(({ name }) => name === 'other')).toMatchObject(away);
    expect(half.phase).toBe('Running');
    const cleared = tell([record(debug)], half).status;
    expect(condition(cleared)).toMatchObject({ status: 'False' });
    expect(cleared.phase).toBe('Running');
    for (const status of [...(cleared.initContainerStatuses ?? [])]) expect(status).toMatchObject(away);
    expect(cleared.containerStatuses?.find(({ name }) => name === 'source')).toMatchObject(away);
    expect(cleared.conditions?.find(({ type }) => type === 'Initialized')?.status).toBe('True');

    const later = tell([record(debug)], cleared).status;
    expect(later.initContainerStatuses?.[0]).toMatchObject({
      state: { waiting: { reason: 'PodInitializing' } },
      lastState: { terminated: { reason: 'RestartingAllContainers' } },
      restartCount: 1,
    });
    expect(later.phase).toBe('Running');
    const again = planPod(
      input({
        pod: of,
        runtime: runtime([sandbox()], [record(debug)]),
        facts: facts({ lastStatus: later, containers: withImages('init') }),
      }),
    );
    expect(again.steps).toMatchObject([{ do: 'startContainer', container: 'init', restartCount: 1 }]);
    const anew = [exited(init, 0, { restartCount: 1 }), record(side, { restartCount: 1, createdAt: NOW })];
    const more = tell([...anew, record(debug)], later).status;
    // The init container is through; app containers were there before and come again.
    expect(more.initContainerStatuses?.map(({ restartCount, ready }) => [restartCount, ready])).toEqual([
      [1, true],
      [1, true],
    ]);
    expect(more.containerStatuses?.map(({ state }) => state?.waiting?.reason)).toEqual([
      'PodInitializing',
      'PodInitializing',
    ]);
    expect(more.phase).toBe('Running');
  });
});
