import { describe, expect, it } from 'vitest';
import type { Container, PodStatus } from '../../../src/model/pod.ts';
import type { PlanInput } from '../../../src/pods/diff/plan.ts';
import { planPod } from '../../../src/pods/diff/plan-pod.ts';
import { podStatus } from '../../../src/pods/status/pod-status.ts';
import { container, exited, facts, input, NOW, pod, record, runtime, sandbox } from './builders.ts';

const a = container('a');
const b = container('b');
const init = container('i');
const side = container('side', { restartPolicy: 'Always' });

function statusOf(more: Partial<PlanInput>): PodStatus {
  const of = input(more);
  return podStatus({
    input: of,
    plan: planPod(of),
    hostIPs: ['192.0.2.9'],
    qosClass: 'BestEffort',
    runtimeName: 'containerd',
    recursiveReadOnly: true,
    cgroup: { cpuShares: 2, cpuQuota: -1, cpuPeriod: 100_000, memoryLimit: -1 },
  });
}

function conditions(status: PodStatus): Record<string, string> {
  return Object.fromEntries((status.conditions ?? []).map(({ type, status: value }) => [type, value]));
}

const crashed = (name: string) =>
  new Map([[name, { imageRef: undefined, starting: undefined, crash: { failedAt: NOW - 5000, delayMs: 20_000 } }]]);

describe('podStatus', () => {
  it('of a new pod is Pending, its containers ContainerCreating', () => {
    const status = statusOf({});
    expect(status.phase).toBe('Pending');
    expect(status.containerStatuses?.[0]?.state).toEqual({ waiting: { reason: 'ContainerCreating' } });
    expect(conditions(status)).toEqual({
      PodReadyToStartContainers: 'False',
      Initialized: 'True',
      Ready: 'False',
      ContainersReady: 'False',
      PodScheduled: 'True',
    });
    expect(status.conditions?.find(({ type }) => type === 'Ready')).toMatchObject({
      reason: 'ContainersNotReady',
      message: 'containers with unready status: [a]',
    });
    expect(status.hostIP).toBe('192.0.2.9');
    expect(status.startTime).toBe('2026-01-01T11:59:00Z');
  });

  it('of a running pod is Running and Ready, with its address', () => {
    const status = statusOf({ runtime: runtime([sandbox()], [record(a)]) });
    expect(status.phase).toBe('Running');
    expect(conditions(status)['Ready']).toBe('True');
    expect(status.podIPs).toEqual([{ ip: '10.0.0.2' }]);
    expect(status.containerStatuses?.[0]).toMatchObject({
      ready: true,
      started: true,
      containerID: 'containerd://a-0',
    });
  });

  const probed: Container = container('a', { readinessProbe: {} });
  it.each([
    ['success', true],
    ['failure', false],
    [undefined, false],
  ] as const)('readiness %s means ready %s', (result, ready) => {
    const status = statusOf({
      pod: pod({ containers: [probed] }),
      runtime: runtime([sandbox()], [record(probed)]),
      probe: (_id, kind) => (kind === 'readiness' ? result : undefined),
    });
    expect(status.containerStatuses?.[0]?.ready).toBe(ready);
    expect(conditions(status)['Ready']).toBe(ready ? 'True' : 'False');
    expect(status.phase).toBe('Running');
  });

  it('a container whose startup probe has not succeeded is neither started nor ready', () => {
    const starting = container('a', { startupProbe: {} });
    const status = statusOf({
      pod: pod({ containers: [starting] }),
      runtime: runtime([sandbox()], [record(starting)]),
      probe: () => 'unknown',
    });
    expect(status.containerStatuses?.[0]).toMatchObject({ started: false, ready: false });
  });

  it('a container in its postStart hook is not running yet', () => {
    const status = statusOf({
      runtime: runtime([sandbox()], [record(a)]),
      facts: facts({ containers: new Map([['a', { crash: undefined, imageRef: undefined, starting: 'a-0' }]]) }),
    });
    expect(status.containerStatuses?.[0]?.state?.waiting?.reason).toBe('ContainerCreating');
    expect(status.phase).toBe('Pending');
  });

  it('a crashing container waits in CrashLoopBackOff and keeps its end as lastState', () => {
    const status = statusOf({
      runtime: runtime([sandbox()], [exited(a, 3, { restartCount: 2 })]),
      facts: facts({ containers: crashed('a') }),
    });
    const entry = status.containerStatuses?.[0];
    expect(entry?.state?.waiting?.reason).toBe('CrashLoopBackOff');
    expect(entry?.lastState?.terminated).toMatchObject({ exitCode: 3, reason: 'Error' });
    expect(entry?.restartCount).toBe(2);
    expect(status.phase).toBe('Running');
  });

  it('a restarted container shows the run before as lastState', () => {
    const status = statusOf({
      runtime: runtime([sandbox()], [record(a, { restartCount: 1 }), exited(a, 137, { reason: 'OOMKilled' })]),
    });
    expect(status.containerStatuses?.[0]?.lastState?.terminated).toMatchObject({
      reason: 'OOMKilled',
      exitCode: 137,
      containerID: 'containerd://a-0',
    });
  });

  it('with init containers everything behind is PodInitializing', () => {
    const status = statusOf({ pod: pod({ initContainers: [init] }), runtime: runtime([sandbox()], [record(init)]) });
    expect(status.phase).toBe('Pending');
    expect(status.containerStatuses?.[0]?.state?.waiting?.reason).toBe('PodInitializing');
    expect(conditions(status)['Initialized']).toBe('False');
  });

  it('a sidecar counts for Ready and does not hold the phase of a finished pod', () => {
    const of = pod({ initContainers: [side], restartPolicy: 'Never' });
    const running = statusOf({ pod: of, runtime: runtime([sandbox()], [record(side), record(a)]) });
    expect(conditions(running)['Ready']).toBe('True');
    const ended = statusOf({
      pod: of,
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(side, 0), exited(a, 0)]),
    });
    expect(ended.phase).toBe('Succeeded');
  });

  it.each([
    [0, 'Succeeded', 'PodCompleted'],
    [1, 'Failed', 'PodFailed'],
  ] as const)('Never and exit %s: %s', (code, phase, reason) => {
    const status = statusOf({
      pod: pod({ restartPolicy: 'Never' }),
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, code)]),
    });
    expect(status.phase).toBe(phase);
    expect(status.conditions?.find(({ type }) => type === 'Ready')?.reason).toBe(reason);
    expect(status.containerStatuses?.[0]?.state?.terminated?.exitCode).toBe(code);
  });

  it('no terminal phase while something still runs', () => {
    const status = statusOf({
      pod: pod({ containers: [a, b], restartPolicy: 'Never', activeDeadlineSeconds: 1 }),
      runtime: runtime([sandbox()], [exited(a, 1), record(b)]),
      facts: facts({
        end: { reason: 'DeadlineExceeded', message: 'm', graceSeconds: undefined },
        lastStatus: { phase: 'Running' },
      }),
    });
    expect(status.phase).toBe('Running');
  });

  it('a pod ended by its deadline is Failed with that reason', () => {
    const status = statusOf({
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 137)]),
      facts: facts({ end: { reason: 'DeadlineExceeded', message: 'm', graceSeconds: undefined } }),
    });
    expect(status).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded', message: 'm' });
  });

  it('a terminal phase and its reason stay', () => {
    const lastStatus: PodStatus = { phase: 'Failed', reason: 'Evicted', message: 'm' };
    expect(statusOf({ facts: facts({ lastStatus, volumesGone: true, cgroupGone: true }) })).toMatchObject(lastStatus);
  });

  it('a container that vanished without a trace is said to be lost', () => {
    const before = statusOf({ runtime: runtime([sandbox()], [record(a)]) });
    const status = statusOf({ runtime: runtime([sandbox()]), facts: facts({ lastStatus: before }) });
    expect(status.containerStatuses?.[0]?.lastState?.terminated).toMatchObject({
      exitCode: 137,
      reason: 'ContainerStatusUnknown',
    });
  });

  it('a container that has ended names itself', () => {
    const status = statusOf({
      pod: pod({ restartPolicy: 'Never' }),
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 0)]),
    });
    expect(status.containerStatuses?.[0]?.state?.terminated?.containerID).toBe('containerd://a-0');
  });

  it('an earlier run that is left after someone removed a later one does not come back', () => {
    const before = statusOf({ runtime: runtime([sandbox()], [exited(a, 1, { restartCount: 2 })]) });
    const status = statusOf({
      runtime: runtime([sandbox()], [exited(a, 0, { restartCount: 1 })]),
      facts: facts({ lastStatus: before }),
    });
    expect(status.containerStatuses?.[0]).toMatchObject({
      restartCount: 2,
      state: { terminated: { exitCode: 1 } },
    });
  });

  it('no terminal phase while a container stopped for a new definition is about to be started', () => {
    const changed = pod({ containers: [container('a', { image: 'a:2' })], restartPolicy: 'Never' });
    const status = statusOf({
      pod: changed,
      runtime: runtime([sandbox()], [exited(a, 143)]),
      facts: facts({
        kills: new Map([['a-0', { since: NOW - 5, deadline: NOW + 5, preStopDone: true, stopSentFor: undefined }]]),
        lastStatus: { phase: 'Running' },
      }),
    });
    expect(status.phase).toBe('Running');
  });

  it.each([
    ['is running again', [record(init, { restartCount: 1 })], 'Pending'],
    ['is done', [exited(init, 0, { restartCount: 1 })], 'Running'],
  ] as const)('in a new sandbox whose init container %s', (_name, records, phase) => {
    const status = statusOf({
      pod: pod({ initContainers: [init] }),
      runtime: runtime([sandbox({ attempt: 1 })], [...records, exited(a, 137)]),
    });
    expect(status.phase).toBe(phase);
  });

  it('termination messages of all containers share 12 KiB', () => {
    const message = 'ü'.repeat(6000);
    const of = pod({ containers: [a, b], restartPolicy: 'Never' });
    const status = statusOf({
      pod: of,
      runtime: runtime([sandbox()], [exited(a, 1, { message }), exited(b, 1, { message: 'short' })]),
    });
    const [first, second] = (status.containerStatuses ?? []).map(({ state }) => state?.terminated?.message);
    expect(Buffer.byteLength(first ?? '')).toBe(6144);
    expect(message.startsWith(first ?? '-')).toBe(true);
    expect(second).toBe('short');
  });

  it('transition times move only with the status', () => {
    const old = '2025-12-31T00:00:00Z';
    const before: PodStatus = { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: old }] };
    const at = (more: Partial<PlanInput>): string | undefined =>
      statusOf({ facts: facts({ lastStatus: before }), ...more }).conditions?.find(({ type }) => type === 'Ready')
        ?.lastTransitionTime;
    expect(at({ runtime: runtime([sandbox()], [record(a)]) })).toBe(old);
    expect(at({})).toBe('2026-01-01T12:00:00Z');
  });

  it('readiness gates hold Ready, not ContainersReady', () => {
    const of = pod({ readinessGates: [{ conditionType: 'x/y' }] });
    const status = statusOf({ pod: of, runtime: runtime([sandbox()], [record(a)]) });
    expect(conditions(status)).toMatchObject({ Ready: 'False', ContainersReady: 'True' });
    const open = { ...of, status: { conditions: [{ type: 'x/y', status: 'True' as const }] } };
    expect(conditions(statusOf({ pod: open, runtime: runtime([sandbox()], [record(a)]) }))['Ready']).toBe('True');
  });

  it('in the host network the pod has the addresses of the host', () => {
    const status = statusOf({
      pod: pod({ hostNetwork: true }),
      runtime: runtime([sandbox({ hostNetwork: true, ips: [] })], [record(a)]),
    });
    expect(status.podIP).toBe('192.0.2.9');
  });

  it('observedGeneration follows the pod', () => {
    const status = statusOf({ pod: pod({}, { generation: 7 }) });
    expect(status.observedGeneration).toBe(7);
    expect(status.conditions?.map((condition) => condition.observedGeneration)).toEqual([7, 7, 7, 7, 7]);
  });

  it('of a refused pod says why, and nothing of containers and conditions', () => {
    const end = { reason: 'OutOfcpu', message: 'Pod was rejected: m', graceSeconds: undefined, refused: true as const };
    expect(statusOf({ facts: facts({ end }), pod: pod({}, { generation: 3 }) })).toEqual({
      observedGeneration: 3,
      phase: 'Failed',
      reason: 'OutOfcpu',
      message: 'Pod was rejected: m',
      conditions: [],
      startTime: '2026-01-01T11:59:00Z',
      qosClass: 'BestEffort',
    });
  });

  it('tells of a disruption together with the final phase, not before', () => {
    const end = { reason: 'Preempting', message: 'm', graceSeconds: undefined, disruption: 'why' };
    const alive = statusOf({ runtime: runtime([sandbox()], [record(a)]), facts: facts({ end }) });
    expect(alive.phase).not.toBe('Failed');
    expect(conditions(alive)).not.toHaveProperty('DisruptionTarget');
    const gone = { end, volumesGone: true, cgroupGone: true, stoppedSandboxes: new Set(['s0']) };
    const over = statusOf({
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 0)]),
      facts: facts(gone),
    });
    expect(over).toMatchObject({ phase: 'Failed', reason: 'Preempting', message: 'm' });
    expect(over.conditions?.[0]).toMatchObject({
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'TerminationByKubelet',
      message: 'why',
    });
  });

  it('keeps what others said together with the phase, and drops it with another', () => {
    const lastStatus: PodStatus = { phase: 'Running', reason: 'NodeLost', message: 'm' };
    const running = { runtime: runtime([sandbox()], [record(a)]) };
    expect(statusOf({ ...running, facts: facts({ lastStatus }) })).toMatchObject({ reason: 'NodeLost', message: 'm' });
    const changed = statusOf({ ...running, facts: facts({ lastStatus: { ...lastStatus, phase: 'Pending' } }) });
    expect(changed.reason).toBeUndefined();
  });

  it('a pod that was initialized stays so when its init containers run again', () => {
    const again = {
      pod: pod({ initContainers: [init] }),
      runtime: runtime([sandbox()], [record(init)]),
    };
    expect(conditions(statusOf(again))['Initialized']).toBe('False');
    const lastStatus: PodStatus = { phase: 'Running', conditions: [{ type: 'Initialized', status: 'True' }] };
    expect(conditions(statusOf({ ...again, facts: facts({ lastStatus }) }))['Initialized']).toBe('True');
  });

  it('an init container that nobody remembers has done its work once an app container was made', () => {
    const status = statusOf({
      pod: pod({ initContainers: [init] }),
      runtime: runtime([sandbox()], [record(a)]),
    });
    expect(status.initContainerStatuses?.[0]).toMatchObject({
      ready: true,
      state: { terminated: { exitCode: 0, reason: 'Completed' } },
    });
    expect(conditions(status)['Initialized']).toBe('True');
  });

  it('a container that ran and vanished while the pod goes on has ended by an unknown cause', () => {
    const lastStatus: PodStatus = {
      phase: 'Running',
      containerStatuses: [
        { name: 'a', image: 'a', imageID: 'i', ready: true, restartCount: 1, state: { running: { startedAt: 'x' } } },
      ],
    };
    const status = statusOf({ runtime: runtime([sandbox()]), facts: facts({ lastStatus }) });
    expect(status.containerStatuses?.[0]?.lastState?.terminated).toMatchObject({
      exitCode: 137,
      reason: 'ContainerStatusUnknown',
      message: 'The container could not be located when the pod was deleted.  The container used to be Running',
    });
  });

  it.each([
    [{ readOnly: true }, 'Disabled'],
    [{ readOnly: true, recursiveReadOnly: 'IfPossible' as const }, 'Enabled'],
    [
      { readOnly: true, recursiveReadOnly: 'IfPossible' as const, mountPropagation: 'HostToContainer' as const },
      'Disabled',
    ],
    [{}, undefined],
  ])('a mount %j is read-only in depth: %s', (mount, expected) => {
    const mounting = container('a', { volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }] });
    const status = statusOf({ pod: pod({ containers: [mounting] }) });
    expect(status.containerStatuses?.[0]?.volumeMounts?.[0]?.recursiveReadOnly).toBe(expected);
  });

  it('a pod in the host’s network has the node’s addresses from the start, and keeps them', () => {
    const hosted = pod({ hostNetwork: true });
    expect(statusOf({ pod: hosted }).podIPs).toEqual([{ ip: '192.0.2.9' }]);
    const lastStatus: PodStatus = { phase: 'Pending', podIPs: [{ ip: '192.0.2.1' }] };
    expect(statusOf({ pod: hosted, facts: facts({ lastStatus }) }).podIPs).toEqual([{ ip: '192.0.2.1' }]);
  });

  it('a terminal phase waits for the sandbox, its conditions do not', () => {
    const of = pod({ restartPolicy: 'Never' });
    const lastStatus: PodStatus = { phase: 'Running' };
    const ended = [exited(a, 0)];
    const early = statusOf({ pod: of, runtime: runtime([sandbox()], ended), facts: facts({ lastStatus }) });
    expect(early.phase).toBe('Running');
    expect(early.conditions?.find(({ type }) => type === 'Ready')?.reason).toBe('PodCompleted');
    const down = statusOf({
      pod: of,
      runtime: runtime([sandbox({ state: 'NOTREADY' })], ended),
      facts: facts({ lastStatus: early }),
    });
    expect(down.phase).toBe('Succeeded');
    expect(conditions(down)['PodReadyToStartContainers']).toBe('False');
  });

  it('a pod that ends before its containers began is Failed, and they are lost; its conditions stay', () => {
    const lastStatus = statusOf({ pod: pod({ containers: [b, a] }), runtime: runtime([sandbox()]) });
    const status = statusOf({
      pod: pod({ containers: [b, a] }),
      intent: 'delete',
      runtime: runtime([]),
      facts: facts({ lastStatus, volumesGone: true, cgroupGone: true }),
    });
    expect(status.phase).toBe('Failed');
    expect(status.containerStatuses?.map(({ name, state }) => [name, state?.terminated?.reason])).toEqual([
      ['a', 'ContainerStatusUnknown'],
      ['b', 'ContainerStatusUnknown'],
    ]);
    expect(status.conditions?.find(({ type }) => type === 'Ready')?.reason).toBe('ContainersNotReady');
  });

  it('keeps saying CrashLoopBackOff while the restart is under way', () => {
    const records = [exited(a, 3, { restartCount: 2 })];
    const lastStatus = statusOf({
      runtime: runtime([sandbox()], records),
      facts: facts({ containers: crashed('a') }),
    });
    const due = new Map([
      ['a', { imageRef: undefined, starting: undefined, crash: { failedAt: NOW - 90_000, delayMs: 1 } }],
    ]);
    const status = statusOf({ runtime: runtime([sandbox()], records), facts: facts({ containers: due, lastStatus }) });
    expect(status.containerStatuses?.[0]?.state?.waiting?.reason).toBe('CrashLoopBackOff');
  });

  it('restartPolicyRules bring a container back that its policy would not', () => {
    const ruled = container('a', {
      restartPolicy: 'Never',
      restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }],
    });
    const of = pod({ containers: [ruled], restartPolicy: 'Never' });
    const phase = (code: number) =>
      statusOf({
        pod: of,
        runtime: runtime([sandbox()], [exited(ruled, code)]),
        facts: facts({ lastStatus: { phase: 'Running' } }),
      }).containerStatuses?.[0]?.state;
    expect(planPod(input({ pod: of, runtime: runtime([sandbox()], [exited(ruled, 42)]) })).mode).toBe('sync');
    expect(planPod(input({ pod: of, runtime: runtime([sandbox()], [exited(ruled, 1)]) })).mode).toBe('terminating');
    expect(phase(1)?.terminated?.exitCode).toBe(1);
  });
});
