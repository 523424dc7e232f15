import { describe, expect, it } from 'vitest';
import type { Plan, PlanInput } from '../../../src/pods/diff/plan.ts';
import { planPod } from '../../../src/pods/diff/plan-pod.ts';
import type { StepFailure } from '../../../src/pods/facts.ts';
import { container, exited, facts, input, NOW, pod, record, runtime, sandbox, withImages } from './builders.ts';

/** Each step as "do name-or-id", so that a table row reads as a sentence. */
function sentences(plan: Plan): string[] {
  return plan.steps.map((step) => {
    if ('container' in step && step.do !== 'stopContainer') return `${step.do} ${step.container}`;
    if (step.do === 'stopContainer') return `stopContainer ${step.container} ${step.timeoutSeconds}s`;
    return 'id' in step ? `${step.do} ${step.id}` : step.do;
  });
}

const a = container('a');
const b = container('b');
const init1 = container('i1');
const init2 = container('i2');
const side = container('side', { restartPolicy: 'Always' });
const side2 = container('side2', { restartPolicy: 'Always' });
const failure = (reason: string, agoMs: number, delayMs: number): StepFailure => ({
  reason,
  message: 'why',
  backoff: { failedAt: NOW - agoMs, delayMs },
});
const kill = (sinceAgoMs: number, graceMs: number, preStopDone = true) => ({
  since: NOW - sinceAgoMs,
  deadline: NOW - sinceAgoMs + graceMs,
  preStopDone,
  stopSentFor: undefined,
});

const rows: [string, Partial<PlanInput>, string[]][] = [
  [
    'a new pod: host first, image beside',
    { facts: facts({ prepared: false, cgroupReady: false }) },
    ['prepare', 'ensureCgroup', 'ensureImage a'],
  ],
  [
    'the sandbox does not wait for the cgroup',
    { facts: facts({ cgroupReady: false }) },
    ['ensureCgroup', 'ensureImage a', 'createSandbox'],
  ],
  [
    'a container does wait for the cgroup',
    {
      runtime: runtime([sandbox()]),
      facts: facts({ containers: withImages('a'), running: new Set(['ensureCgroup']), cgroupReady: false }),
    },
    [],
  ],
  ['host ready: sandbox, image beside', {}, ['ensureImage a', 'createSandbox']],
  ['network not ready: no sandbox', { node: { networkReady: false, networkMessage: '' } }, ['ensureImage a']],
  [
    'network not ready, host network: sandbox',
    { node: { networkReady: false, networkMessage: '' }, pod: pod({ hostNetwork: true }) },
    ['ensureImage a', 'createSandbox'],
  ],
  ['sandbox under way: nothing new', { facts: facts({ running: new Set(['createSandbox', 'image/a']) }) }, []],
  ['sandbox ready: image before the container', { runtime: runtime([sandbox()]) }, ['ensureImage a']],
  [
    'image there: start',
    { runtime: runtime([sandbox()]), facts: facts({ containers: withImages('a') }) },
    ['startContainer a'],
  ],
  ['running: nothing', { runtime: runtime([sandbox()], [record(a)]) }, []],
  [
    'adopted, host not prepared by this process: prepare only',
    { runtime: runtime([sandbox()], [record(a)]), facts: facts({ prepared: false, cgroupReady: false }) },
    ['prepare', 'ensureCgroup'],
  ],
  [
    'created but never started: start that one',
    { runtime: runtime([sandbox()], [record(a, { state: 'CREATED' })]) },
    ['startContainer a'],
  ],
  [
    'two apps start one after the other, images at once',
    { pod: pod({ containers: [a, b] }), runtime: runtime([sandbox()]), facts: facts({ containers: withImages('a') }) },
    ['ensureImage b', 'startContainer a'],
  ],
  [
    'the second waits for the start of the first',
    {
      pod: pod({ containers: [a, b] }),
      runtime: runtime([sandbox()]),
      facts: facts({ containers: withImages('a', 'b'), running: new Set(['start']) }),
    },
    [],
  ],
  [
    'an image that cannot be had does not hold the second',
    {
      pod: pod({ containers: [a, b] }),
      runtime: runtime([sandbox()]),
      facts: facts({
        containers: withImages('b'),
        failures: new Map([['image/a', failure('ErrImagePull', 100, 10_000)]]),
      }),
    },
    ['startContainer b'],
  ],
  [
    'exited, Always: restart',
    { runtime: runtime([sandbox()], [exited(a, 0)]), facts: facts({ containers: withImages('a') }) },
    ['startContainer a'],
  ],
  [
    'a dead sandbox that cannot be taken down: its successor waits for some attempts',
    {
      runtime: runtime([sandbox({ state: 'NOTREADY' })]),
      facts: facts({
        containers: withImages('a'),
        failures: new Map([['stopSandbox/s0', failure('FailedKillPod', 100, 1000)]]),
      }),
    },
    [],
  ],
  [
    'a dead sandbox that can never be taken down: a new one all the same',
    {
      runtime: runtime([sandbox({ state: 'NOTREADY' })]),
      facts: facts({
        containers: withImages('a'),
        failures: new Map([['stopSandbox/s0', failure('FailedKillPod', 100, 2000)]]),
      }),
    },
    ['createSandbox'],
  ],
  [
    'exited, back-off: wait',
    {
      runtime: runtime([sandbox()], [exited(a, 1)]),
      facts: facts({
        containers: new Map([
          ['a', { imageRef: 'x', postStarting: undefined, crash: { failedAt: NOW - 5000, delayMs: 10_000 } }],
        ]),
      }),
    },
    [],
  ],
  [
    'exited, ran for longer than the reset time: restart at once',
    {
      runtime: runtime([sandbox()], [exited(a, 1)]),
      facts: facts({
        containers: new Map([
          ['a', { imageRef: 'x', postStarting: undefined, crash: { failedAt: NOW - 700_000, delayMs: 300_000 } }],
        ]),
      }),
    },
    ['startContainer a'],
  ],
  [
    'exited 0, OnFailure: the pod has ended',
    { pod: pod({ restartPolicy: 'OnFailure' }), runtime: runtime([sandbox()], [exited(a, 0)]) },
    ['stopSandbox s0', 'unmountVolumes'],
  ],
  [
    'exited 1, OnFailure: restart',
    {
      pod: pod({ restartPolicy: 'OnFailure' }),
      runtime: runtime([sandbox()], [exited(a, 1)]),
      facts: facts({ containers: withImages('a') }),
    },
    ['startContainer a'],
  ],
  [
    'exited 1, Never: the pod has ended',
    { pod: pod({ restartPolicy: 'Never' }), runtime: runtime([sandbox()], [exited(a, 1)]) },
    ['stopSandbox s0', 'unmountVolumes'],
  ],
  [
    'liveness failure: kill',
    {
      pod: pod({ containers: [container('a', { livenessProbe: {} })] }),
      runtime: runtime([sandbox()], [record(a)]),
      probe: (_id, kind) => (kind === 'liveness' ? 'failure' : undefined),
    },
    ['beginKill a'],
  ],
  [
    'kill begun, preStop done: stop with what is left',
    { runtime: runtime([sandbox()], [record(a)]), facts: facts({ kills: new Map([['a-0', kill(10_000, 30_000)]]) }) },
    ['stopContainer a 20s'],
  ],
  [
    'kill begun, preStop running: wait',
    {
      runtime: runtime([sandbox()], [record(a)]),
      facts: facts({ kills: new Map([['a-0', kill(10_000, 30_000, false)]]) }),
    },
    [],
  ],
  [
    'preStop overran its grace: stop with the minimum',
    {
      runtime: runtime([sandbox()], [record(a)]),
      facts: facts({ kills: new Map([['a-0', kill(31_000, 30_000, false)]]) }),
    },
    ['stopContainer a 2s'],
  ],
  [
    'definition changed: kill',
    { pod: pod({ containers: [container('a', { image: 'a:2' })] }), runtime: runtime([sandbox()], [record(a)]) },
    ['beginKill a'],
  ],
  [
    'sandbox died: what it held is stopped first',
    { runtime: runtime([sandbox({ state: 'NOTREADY' })], [record(a)]) },
    ['ensureImage a', 'beginKill a'],
  ],
  [
    'sandbox died, all dead: its network is taken down',
    { runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 137)]) },
    ['ensureImage a', 'stopSandbox s0'],
  ],
  [
    'sandbox died and stopped: a new one',
    {
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 137)]),
      facts: facts({ stoppedSandboxes: new Set(['s0']) }),
    },
    ['ensureImage a', 'createSandbox'],
  ],
  [
    'init containers go first',
    {
      pod: pod({ initContainers: [init1, init2] }),
      runtime: runtime([sandbox()]),
      facts: facts({ containers: withImages('i1') }),
    },
    ['startContainer i1'],
  ],
  [
    'the second init container after the first',
    {
      pod: pod({ initContainers: [init1, init2] }),
      runtime: runtime([sandbox()], [exited(init1, 0)]),
      facts: facts({ containers: withImages('i2') }),
    },
    ['startContainer i2'],
  ],
  [
    'a failed init container runs again',
    {
      pod: pod({ initContainers: [init1] }),
      runtime: runtime([sandbox()], [exited(init1, 1)]),
      facts: facts({ containers: withImages('i1') }),
    },
    ['startContainer i1'],
  ],
  [
    'a failed init container, Never: the pod has ended',
    {
      pod: pod({ initContainers: [init1], restartPolicy: 'Never' }),
      runtime: runtime([sandbox()], [exited(init1, 1)]),
    },
    ['stopSandbox s0', 'unmountVolumes'],
  ],
  [
    'a started sidecar lets the app start',
    {
      pod: pod({ initContainers: [side] }),
      runtime: runtime([sandbox()], [record(side)]),
      facts: facts({ containers: withImages('a') }),
    },
    ['startContainer a'],
  ],
  [
    'a sidecar whose startup probe has not succeeded holds the app',
    {
      pod: pod({ initContainers: [container('side', { restartPolicy: 'Always', startupProbe: {} })] }),
      runtime: runtime([sandbox()], [record(side)]),
      probe: () => 'unknown',
      facts: facts({ containers: withImages('a') }),
    },
    [],
  ],
  [
    'a crashed sidecar is restarted beside the app',
    {
      pod: pod({ initContainers: [side] }),
      runtime: runtime([sandbox()], [exited(side, 1), record(a)]),
      facts: facts({ containers: withImages('side') }),
    },
    ['startContainer side'],
  ],
  [
    'deleted: the app first, sidecars wait but their hooks start',
    {
      intent: 'delete',
      pod: pod({ initContainers: [side, side2] }),
      runtime: runtime([sandbox()], [record(side), record(side2), record(a)]),
    },
    ['beginKill side', 'beginKill side2', 'beginKill a'],
  ],
  [
    'deleted: only the app is stopped while it lives',
    {
      intent: 'delete',
      pod: pod({ initContainers: [side, side2] }),
      runtime: runtime([sandbox()], [record(side), record(side2), record(a)]),
      facts: facts({
        kills: new Map([
          ['side-0', kill(1000, 30_000)],
          ['side2-0', kill(1000, 30_000)],
          ['a-0', kill(1000, 30_000)],
        ]),
      }),
    },
    ['stopContainer a 29s'],
  ],
  [
    'deleted: then sidecars from the last',
    {
      intent: 'delete',
      pod: pod({ initContainers: [side, side2] }),
      runtime: runtime([sandbox()], [record(side), record(side2), exited(a, 0)]),
      facts: facts({
        kills: new Map([
          ['side-0', kill(1000, 30_000)],
          ['side2-0', kill(1000, 30_000)],
        ]),
      }),
    },
    ['stopContainer side2 29s'],
  ],
  [
    'deleted with a shorter grace later: the deadline moves',
    {
      intent: 'delete',
      pod: pod({}, { deletionGracePeriodSeconds: 5 }),
      runtime: runtime([sandbox()], [record(a)]),
      facts: facts({ kills: new Map([['a-0', kill(1000, 30_000)]]) }),
    },
    ['shortenKill a-0'],
  ],
  [
    'deleted, nothing alive: sandbox and volumes together',
    { intent: 'delete', runtime: runtime([sandbox()], [exited(a, 0)]) },
    ['stopSandbox s0', 'unmountVolumes'],
  ],
  [
    'deleted, a container was made but never ran: it is removed, there is nothing to stop',
    { intent: 'delete', runtime: runtime([sandbox()], [record(a, { state: 'CREATED' })]) },
    ['removeContainer a-0'],
  ],
  [
    'deleted while a container is being started: wait for it to let go',
    {
      intent: 'delete',
      runtime: runtime([sandbox()], [record(a, { state: 'CREATED' })]),
      facts: facts({ running: new Set(['start']) }),
    },
    [],
  ],
  [
    'an end known by an early notice only: the files stay until the last words are read',
    { intent: 'delete', runtime: runtime([sandbox()], [exited(a, 0, { provisional: true })]) },
    ['stopSandbox s0'],
  ],
  [
    'deleted while its sandbox is being made: wait for it to let go',
    { intent: 'delete', runtime: runtime([]), facts: facts({ running: new Set(['createSandbox']) }) },
    [],
  ],
  [
    'deleted, sandbox stopped: cgroup',
    {
      intent: 'delete',
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 0)]),
      facts: facts({ stoppedSandboxes: new Set(['s0']), volumesGone: true }),
    },
    ['removeCgroup'],
  ],
  [
    'deleted, host clean: the API, then what is dead',
    {
      intent: 'delete',
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 0)]),
      facts: facts({ stoppedSandboxes: new Set(['s0']), volumesGone: true, cgroupGone: true }),
    },
    ['finalize', 'removeSandbox s0'],
  ],
  [
    'gone: no word to the API, logs at the end',
    { intent: 'gone', runtime: runtime([]), facts: facts({ volumesGone: true, cgroupGone: true }) },
    ['cleanUp'],
  ],
  [
    'completed and clean: dead containers stay for their logs',
    {
      pod: pod({ restartPolicy: 'Never' }),
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 0)]),
      facts: facts({ stoppedSandboxes: new Set(['s0']), volumesGone: true, cgroupGone: true }),
    },
    [],
  ],
  [
    'a terminal phase is for good',
    { runtime: runtime([]), facts: facts({ lastStatus: { phase: 'Failed' }, volumesGone: true, cgroupGone: true }) },
    [],
  ],
  [
    'activeDeadlineSeconds reached',
    { pod: pod({ activeDeadlineSeconds: 60 }), runtime: runtime([sandbox()], [record(a)]) },
    ['endPod'],
  ],
  [
    'only the newest dead one is kept',
    {
      runtime: runtime(
        [sandbox()],
        [record(a, { restartCount: 3 }), exited(a, 1, { restartCount: 2 }), exited(a, 1, { restartCount: 1 })],
      ),
    },
    ['removeContainer a-1'],
  ],
];

describe('planPod', () => {
  it.each(rows)('%s', (_name, more, expected) => {
    expect(sentences(planPod(input(more)))).toEqual(expected);
  });

  it('says when to look again while a container backs off, and why', () => {
    const plan = planPod(
      input({
        runtime: runtime([sandbox()], [exited(a, 1, { finishedAt: NOW - 1000 })]),
        facts: facts({
          containers: new Map([
            ['a', { imageRef: 'x', postStarting: undefined, crash: { failedAt: NOW - 5000, delayMs: 80_000 } }],
          ]),
        }),
      }),
    );
    expect(plan.againAt).toBe(NOW + 79_000);
    expect(plan.waiting.get('a')).toEqual({
      reason: 'CrashLoopBackOff',
      message: 'back-off 1m20s restarting failed container=a pod=p_ns(u1)',
    });
  });

  it('shows no back-off for an exit whose restart has begun already', () => {
    const waiting = (failedAt: number): string | undefined =>
      planPod(
        input({
          runtime: runtime([sandbox()], [exited(a, 1, { finishedAt: NOW - 1000 })]),
          facts: facts({
            containers: new Map([
              ['a', { imageRef: undefined, postStarting: undefined, crash: { failedAt, delayMs: 10_000 } }],
            ]),
            running: new Set(['start']),
          }),
        }),
      ).waiting.get('a')?.reason;
    expect([waiting(NOW - 500), waiting(NOW - 5000)]).toEqual(['ContainerCreating', 'CrashLoopBackOff']);
  });

  it('shows a failed pull first as ErrImagePull, then as ImagePullBackOff', () => {
    const at = (agoMs: number): string | undefined =>
      planPod(
        input({
          runtime: runtime([sandbox()]),
          facts: facts({ failures: new Map([['image/a', failure('ErrImagePull', agoMs, 10_000)]]) }),
        }),
      ).waiting.get('a')?.reason;
    expect([at(100), at(5000)]).toEqual(['ErrImagePull', 'ImagePullBackOff']);
  });

  it('restarts count on from the newest container, also across sandboxes', () => {
    const plan = planPod(
      input({
        runtime: runtime(
          [sandbox({ id: 's1', attempt: 1, createdAt: NOW }), sandbox({ state: 'NOTREADY' })],
          [exited(a, 137, { restartCount: 4 })],
        ),
        facts: facts({ containers: withImages('a'), stoppedSandboxes: new Set(['s0']) }),
      }),
    );
    expect(plan.steps).toContainEqual(
      expect.objectContaining({ do: 'startContainer', restartCount: 5, sandboxId: 's1' }),
    );
  });

  it('is pure: the same input gives the same plan', () => {
    for (const [, more] of rows) expect(planPod(input(more))).toEqual(planPod(input(more)));
  });
});
