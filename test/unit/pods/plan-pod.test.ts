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
    'a start that the runtime does not show yet: its image is there',
    {
      runtime: runtime([sandbox()]),
      facts: facts({
        containers: new Map([['a', { imageRef: undefined, starting: 'a-0', crash: undefined }]]),
        running: new Set(['start']),
      }),
    },
    [],
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
          ['a', { imageRef: 'x', starting: undefined, crash: { failedAt: NOW - 5000, delayMs: 10_000 } }],
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
          ['a', { imageRef: 'x', starting: undefined, crash: { failedAt: NOW - 700_000, delayMs: 300_000 } }],
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
    'deleted, then evicted: the node cannot wait for as long',
    {
      intent: 'delete',
      pod: pod({}, { deletionGracePeriodSeconds: 25 }),
      runtime: runtime([sandbox()], [record(a)]),
      facts: facts({
        end: { reason: 'Evicted', message: '', graceSeconds: 1, evicted: true },
        kills: new Map([['a-0', kill(1000, 25_000)]]),
      }),
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
    'completed: of each container the last attempt stays, of the sandboxes the newest',
    {
      pod: pod({ restartPolicy: 'Never' }),
      runtime: runtime(
        [sandbox({ id: 's1', attempt: 1, state: 'NOTREADY' }), sandbox({ state: 'NOTREADY' })],
        [exited(a, 0, { id: 'new', sandboxId: 's1', restartCount: 1 }), exited(a, 1, { id: 'old' })],
      ),
      facts: facts({ stoppedSandboxes: new Set(['s0', 's1']), volumesGone: true, cgroupGone: true }),
    },
    ['removeContainer old', 'removeSandbox s0'],
  ],
  [
    'evicted, its status told: nothing is kept',
    {
      pod: pod({ restartPolicy: 'Never' }),
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 0)]),
      facts: facts({
        discard: true,
        lastStatus: { phase: 'Failed' },
        stoppedSandboxes: new Set(['s0']),
        volumesGone: true,
        cgroupGone: true,
      }),
    },
    ['removeSandbox s0'],
  ],
  [
    'evicted, its status not told yet: how its containers ended must stay to be read',
    {
      pod: pod({ restartPolicy: 'Never' }),
      runtime: runtime([sandbox({ state: 'NOTREADY' })], [exited(a, 0)]),
      facts: facts({
        discard: true,
        lastStatus: { phase: 'Running' },
        stoppedSandboxes: new Set(['s0']),
        volumesGone: true,
        cgroupGone: true,
      }),
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
    'an init container under way is not stopped for a new definition',
    {
      pod: pod({ initContainers: [container('i1', { image: 'i1:2' })] }),
      runtime: runtime([sandbox()], [record(init1)]),
    },
    [],
  ],
  [
    'stopped for a new definition, Never: started again all the same',
    {
      pod: pod({ containers: [container('a', { image: 'a:2' })], restartPolicy: 'Never' }),
      runtime: runtime([sandbox()], [exited(a, 143)]),
      facts: facts({ containers: withImages('a'), kills: new Map([['a-0', kill(10_000, 30_000)]]) }),
    },
    ['startContainer a'],
  ],
  [
    'ended by itself before its definition changed, Never: the pod has ended',
    {
      pod: pod({ containers: [container('a', { image: 'a:2' })], restartPolicy: 'Never' }),
      runtime: runtime([sandbox()], [exited(a, 0)]),
    },
    ['stopSandbox s0', 'unmountVolumes'],
  ],
  [
    'an end that has begun goes on although its cause is not to be seen any more',
    { runtime: runtime([sandbox()]), facts: facts({ ending: true }) },
    ['stopSandbox s0', 'unmountVolumes'],
  ],
  [
    'made with an old image and never started: made anew',
    {
      pod: pod({ containers: [container('a', { image: 'a:2' })] }),
      runtime: runtime([sandbox()], [record(a, { state: 'CREATED' })]),
    },
    ['removeContainer a-0', 'startContainer a'],
  ],
  [
    'sandbox died while a container was being made in it: wait for that',
    {
      runtime: runtime([sandbox({ state: 'NOTREADY' })]),
      facts: facts({ running: new Set(['start']), containers: withImages('a') }),
    },
    [],
  ],
  [
    'sandboxes that came to nothing do not pile up',
    {
      runtime: runtime([
        sandbox({ id: 's2', attempt: 2, state: 'NOTREADY' }),
        sandbox({ id: 's1', attempt: 1, state: 'NOTREADY' }),
      ]),
      facts: facts({ stoppedSandboxes: new Set(['s1', 's2']), containers: withImages('a') }),
    },
    ['removeSandbox s1', 'createSandbox'],
  ],
  [
    'two ready sandboxes: the container of the older one goes before it is started in the newer',
    {
      runtime: runtime([sandbox({ id: 's1', attempt: 1 }), sandbox()], [record(a)]),
      facts: facts({ containers: withImages('a') }),
    },
    ['beginKill a'],
  ],
  [
    'an init container whose record was removed is not run again when the next one has been made',
    {
      pod: pod({ initContainers: [init1, init2] }),
      runtime: runtime([sandbox()], [exited(init2, 0)]),
      facts: facts({ containers: withImages('a') }),
    },
    ['startContainer a'],
  ],
  [
    'an ephemeral container that was made but never started is started',
    {
      pod: pod({ ephemeralContainers: [container('debug')] }),
      runtime: runtime([sandbox()], [record(a), record(container('debug'), { state: 'CREATED' })]),
    },
    ['startContainer debug'],
  ],
  [
    'a failure from before the clock was set back does not hold',
    {
      facts: facts({ failures: new Map([['createSandbox', failure('FailedCreatePodSandBox', -3_600_000, 500)]]) }),
    },
    ['ensureImage a', 'createSandbox'],
  ],
  [
    'an exit from before the clock was set back does not hold',
    {
      runtime: runtime([sandbox()], [exited(a, 1, { finishedAt: NOW + 3_600_000 })]),
      facts: facts({
        containers: new Map([
          ['a', { imageRef: 'x', starting: undefined, crash: { failedAt: NOW + 3_590_000, delayMs: 300_000 } }],
        ]),
      }),
    },
    ['startContainer a'],
  ],
  [
    'a kill begun before the clock was set back has no more than its grace',
    {
      runtime: runtime([sandbox()], [record(a)]),
      facts: facts({ kills: new Map([['a-0', kill(-3_600_000, 30_000)]]) }),
    },
    ['stopContainer a 30s'],
  ],
  [
    'a sidecar waits for app containers only: not for ephemeral ones, nor for init containers',
    {
      pod: pod({ initContainers: [side, init2], containers: [a], ephemeralContainers: [b] }),
      intent: 'delete',
      runtime: runtime([sandbox()], [record(b), record(init2), record(side), exited(a, 0)]),
      facts: facts({
        kills: new Map(['b-0', 'i2-0', 'side-0'].map((id) => [id, kill(1000, 30_000)])),
        ending: true,
      }),
    },
    ['stopContainer b 29s', 'stopContainer i2 29s', 'stopContainer side 29s'],
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
            ['a', { imageRef: 'x', starting: undefined, crash: { failedAt: NOW - 5000, delayMs: 80_000 } }],
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
              ['a', { imageRef: undefined, starting: undefined, crash: { failedAt, delayMs: 10_000 } }],
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

  it('a pull that backs off is not looked at again before it is due', () => {
    const at = (agoMs: number): number | undefined =>
      planPod(
        input({
          runtime: runtime([sandbox()]),
          facts: facts({ failures: new Map([['image/a', failure('ErrImagePull', agoMs, 300_000)]]) }),
        }),
      ).againAt;
    expect([at(100), at(5000)]).toEqual([NOW + 900, NOW + 295_000]);
  });

  it('back-off is over after ten minutes, also where its maximum is short', () => {
    const steps = (ranMs: number): string[] => {
      const crash = { failedAt: NOW - 1000 - ranMs, delayMs: 20_000 };
      const known = new Map([['a', { imageRef: 'x', starting: undefined, crash }]]);
      return sentences(
        planPod(input({ runtime: runtime([sandbox()], [exited(a, 1)]), facts: facts({ containers: known }) })),
      );
    };
    expect([steps(60_000), steps(601_000)]).toEqual([[], ['startContainer a']]);
  });

  it.each([
    ['Always', 'Container a failed liveness probe, will be restarted'],
    ['Never', 'Container a failed liveness probe'],
  ] as const)('%s: says what comes after the kill', (restartPolicy, message) => {
    const plan = planPod(
      input({
        pod: pod({ containers: [container('a', { livenessProbe: {} })], restartPolicy }),
        runtime: runtime([sandbox()], [record(a)]),
        probe: (_id, kind) => (kind === 'liveness' ? 'failure' : undefined),
      }),
    );
    expect(plan.steps).toContainEqual(expect.objectContaining({ do: 'beginKill', message }));
  });

  it.each([
    ['nothing was said of it', undefined, 0],
    ['it was seen running', { state: { running: {} }, restartCount: 4 }, 5],
    ['it was backing off', { state: { waiting: {} }, lastState: { terminated: { exitCode: 1 } }, restartCount: 4 }, 5],
    ['it had never run', { state: { waiting: {} }, lastState: {}, restartCount: 0 }, 0],
  ])('a container that someone removed counts on: %s', (_name, said, restartCount) => {
    const entry = { name: 'a', ready: false, image: '', imageID: '', restartCount: 0, ...said };
    const lastStatus = said === undefined ? undefined : { containerStatuses: [entry] };
    const plan = planPod(
      input({ runtime: runtime([sandbox()]), facts: facts({ containers: withImages('a'), lastStatus }) }),
    );
    expect(plan.steps).toContainEqual(expect.objectContaining({ do: 'startContainer', restartCount }));
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
