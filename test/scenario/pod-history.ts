import fc from 'fast-check';
import type { FakeProgram } from '../../src/host/cri/fake-container.ts';
import type { CriOperation } from '../../src/host/cri/fake-faults.ts';
import type { ErrorCode } from '../../src/kit/errors.ts';
import type { Container, PodSpec, Probe, RestartPolicy } from '../../src/model/pod.ts';

/** What the process of a container does, by attempt. The last exit code stands for all further attempts. */
type Behaviour =
  | { readonly type: 'serve'; readonly ignoresTerm: boolean; readonly stopTakesMs: number }
  | { readonly type: 'job'; readonly afterMs: number; readonly codes: readonly number[] };

export interface HookPlan {
  readonly takesMs: number;
  readonly fails: boolean;
}

export interface ContainerPlan {
  readonly name: string;
  readonly kind: 'init' | 'sidecar' | 'app';
  readonly behaviour: Behaviour;
  readonly probes: Readonly<Partial<Record<'startup' | 'liveness' | 'readiness', Probe>>>;
  readonly postStart: HookPlan | undefined;
  readonly preStop: HookPlan | undefined;
  /** Has to be pulled first. */
  readonly pulled: boolean;
}

export interface PodPlan {
  readonly name: string;
  readonly containers: readonly ContainerPlan[];
  readonly restartPolicy: RestartPolicy;
  readonly grace: number;
  readonly deadline: number | undefined;
  readonly sharedPids: boolean;
  readonly hostNetwork: boolean;
}

type ProbeName = 'startup' | 'liveness' | 'readiness';

/** Something that happens to the node. `pod` and `container` are indexes, taken modulo what there is. */
export type Happening =
  | { readonly type: 'exit'; readonly pod: number; readonly container: number; readonly code: number }
  | { readonly type: 'killSandbox'; readonly pod: number }
  | { readonly type: 'runtimeAway'; readonly forMs: number }
  | { readonly type: 'agentAway'; readonly forMs: number }
  | { readonly type: 'reboot' }
  | { readonly type: 'delete'; readonly pod: number; readonly grace: number }
  | { readonly type: 'forceDelete'; readonly pod: number }
  | {
      readonly type: 'fail';
      readonly operation: CriOperation;
      readonly code: ErrorCode;
      readonly times: number;
      readonly afterEffect: boolean;
    }
  | { readonly type: 'hold'; readonly operation: CriOperation; readonly pod: number; readonly forMs: number }
  | { readonly type: 'delay'; readonly operation: CriOperation; readonly ms: number }
  | {
      readonly type: 'sicken';
      readonly pod: number;
      readonly container: number;
      readonly probe: ProbeName;
      readonly forMs: number;
    }
  | { readonly type: 'newImage'; readonly pod: number; readonly container: number }
  /** Someone removes a container behind the agent's back. */
  | { readonly type: 'remove'; readonly pod: number; readonly container: number }
  | { readonly type: 'missing'; readonly what: 'volume' | 'config'; readonly pod: number; readonly forMs: number }
  | { readonly type: 'networkAway'; readonly forMs: number }
  /** A pod of the same name is made as soon as the old one is gone. */
  | { readonly type: 'recreate'; readonly pod: number; readonly grace: number };

export interface History {
  readonly pods: readonly PodPlan[];
  /** Each after so many milliseconds. */
  readonly happenings: readonly { readonly afterMs: number; readonly what: Happening }[];
  /** The agent gets the runtime's events. */
  readonly events: boolean;
  readonly exitLagMs: number;
  readonly statusLagMs: number;
}

const probe: fc.Arbitrary<Probe> = fc.record({
  exec: fc.constant({}),
  periodSeconds: fc.constantFrom(1, 3),
  failureThreshold: fc.constantFrom(1, 2),
  initialDelaySeconds: fc.constantFrom(0, 0, 2),
});

const hook: fc.Arbitrary<HookPlan> = fc.record({
  takesMs: fc.constantFrom(0, 0, 300, 2500),
  fails: fc.constantFrom(false, false, false, true),
});

const serve: fc.Arbitrary<Behaviour> = fc.record({
  type: fc.constant('serve' as const),
  ignoresTerm: fc.constantFrom(false, false, true),
  stopTakesMs: fc.constantFrom(0, 0, 40, 1500),
});

const job = (codes: readonly (readonly number[])[]): fc.Arbitrary<Behaviour> =>
  fc.record({
    type: fc.constant('job' as const),
    afterMs: fc.constantFrom(1, 30, 400, 3000),
    codes: fc.constantFrom(...codes),
  });

const initWork = job([[0], [0], [0], [1, 0], [2, 1, 0]]);
const appWork = fc.oneof({ weight: 4, arbitrary: serve }, { weight: 1, arbitrary: job([[0], [1], [1, 0], [0, 1, 0]]) });

function containers(kind: ContainerPlan['kind'], prefix: string, max: number): fc.Arbitrary<ContainerPlan[]> {
  const rare = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
  const probes =
    kind === 'init'
      ? fc.constant({})
      : fc.record({ startup: probe, liveness: probe, readiness: probe }, { requiredKeys: [] });
  return fc
    .array(
      fc.record({
        kind: fc.constant(kind),
        behaviour: kind === 'init' ? initWork : appWork,
        probes: fc.oneof({ weight: 1, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: probes }),
        postStart: kind === 'init' ? fc.constant(undefined) : rare(hook),
        preStop: kind === 'init' ? fc.constant(undefined) : rare(hook),
        pulled: fc.constantFrom(false, false, false, true),
      }),
      { minLength: kind === 'app' ? 1 : 0, maxLength: max },
    )
    .map((list) => list.map((entry, index) => ({ ...entry, name: `${prefix}${index}` })));
}

const inits: fc.Arbitrary<ContainerPlan[]> = fc
  .tuple(containers('init', 'init', 2), containers('sidecar', 'side', 2), fc.boolean())
  .map(([plain, sidecars, sidecarsFirst]) => (sidecarsFirst ? [...sidecars, ...plain] : [...plain, ...sidecars]));

const pod: fc.Arbitrary<Omit<PodPlan, 'name'>> = fc.record({
  containers: fc
    .tuple(
      fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: inits }),
      containers('app', 'app', 2),
    )
    .map(([before, apps]) => [...before, ...apps]),
  restartPolicy: fc.constantFrom<RestartPolicy>('Always', 'Always', 'Always', 'OnFailure', 'Never'),
  grace: fc.constantFrom(0, 1, 2, 5),
  deadline: fc.oneof(
    { weight: 6, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.integer({ min: 2, max: 30 }) },
  ),
  sharedPids: fc.constantFrom(false, true),
  hostNetwork: fc.constantFrom(false, false, false, true),
});

const index = fc.nat(5);
const outage = fc.constantFrom(1, 20, 500, 3000, 8000);
const mutating = fc.constantFrom<CriOperation>(
  'runPodSandbox',
  'stopPodSandbox',
  'removePodSandbox',
  'createContainer',
  'startContainer',
  'stopContainer',
  'removeContainer',
  'pullImage',
  'imageStatus',
);
const asking = fc.constantFrom<CriOperation>(
  'listContainers',
  'listPodSandbox',
  'containerStatus',
  'podSandboxStatus',
  'status',
);

const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('exit' as const),
      pod: index,
      container: index,
      code: fc.constantFrom(0, 1, 137),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('killSandbox' as const), pod: index }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('runtimeAway' as const), forMs: outage }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('agentAway' as const), forMs: outage }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reboot' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('delete' as const),
      pod: index,
      grace: fc.constantFrom(0, 1, 2, 5, 30),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('forceDelete' as const), pod: index }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('fail' as const),
      operation: fc.oneof(mutating, asking),
      code: fc.constantFrom<ErrorCode>('Unavailable', 'Internal', 'DeadlineExceeded'),
      times: fc.constantFrom(1, 1, 2),
      afterEffect: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('hold' as const),
      operation: fc.oneof(mutating, asking),
      pod: index,
      forMs: outage,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('delay' as const),
      operation: fc.oneof(mutating, asking),
      ms: fc.constantFrom(0, 3, 60, 700),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('sicken' as const),
      pod: index,
      container: index,
      probe: fc.constantFrom<ProbeName>('startup', 'liveness', 'readiness'),
      forMs: fc.constantFrom(100, 2500, 6000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('newImage' as const), pod: index, container: index }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('remove' as const), pod: index, container: index }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('missing' as const),
      what: fc.constantFrom<'volume' | 'config'>('volume', 'config'),
      pod: index,
      forMs: outage,
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('networkAway' as const), forMs: outage }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('recreate' as const), pod: index, grace: fc.constantFrom(0, 2) }),
  },
);

export const histories: fc.Arbitrary<History> = fc.record({
  pods: fc
    .array(pod, { minLength: 1, maxLength: 2 })
    .map((list) => list.map((plan, at) => ({ ...plan, name: `p${at}` }))),
  happenings: fc.array(
    fc.record({ afterMs: fc.constantFrom(0, 1, 2, 3, 5, 8, 13, 30, 60, 200, 1000, 4000), what: happening }),
    { maxLength: 10 },
  ),
  events: fc.constantFrom(true, true, false),
  exitLagMs: fc.constantFrom(0, 45),
  statusLagMs: fc.constantFrom(0, 0, 70),
});

export function programOf({ behaviour }: ContainerPlan): (attempt: number) => FakeProgram {
  if (behaviour.type === 'serve') {
    const { ignoresTerm, stopTakesMs } = behaviour;
    return () => ({ ignoresTerm, stopTakesMs });
  }
  const { afterMs, codes } = behaviour;
  return (attempt) => ({ exitAfterMs: afterMs, exitCode: codes[Math.min(attempt, codes.length - 1)] ?? 0 });
}

export function specOf(plan: PodPlan): Partial<PodSpec> {
  const inits = plan.containers.filter(({ kind }) => kind !== 'app').map(containerOf);
  return {
    ...(inits.length === 0 ? {} : { initContainers: inits }),
    containers: plan.containers.filter(({ kind }) => kind === 'app').map(containerOf),
    restartPolicy: plan.restartPolicy,
    terminationGracePeriodSeconds: plan.grace,
    shareProcessNamespace: plan.sharedPids,
    hostNetwork: plan.hostNetwork,
    volumes: [{ name: plan.name }],
    ...(plan.deadline === undefined ? {} : { activeDeadlineSeconds: plan.deadline }),
  };
}

export function imageOf(plan: ContainerPlan): string {
  return plan.pulled ? 'pulled:1' : 'app:1';
}

function containerOf(plan: ContainerPlan): Container {
  const probes = Object.fromEntries(
    Object.entries(plan.probes).map(([name, spec]) => [`${name}Probe`, { ...spec, exec: { command: [name] } }]),
  );
  const { postStart, preStop } = plan;
  return {
    name: plan.name,
    image: imageOf(plan),
    ...(plan.kind === 'sidecar' ? { restartPolicy: 'Always' as const } : {}),
    ...probes,
    ...(postStart === undefined && preStop === undefined
      ? {}
      : {
          lifecycle: {
            ...(postStart === undefined ? {} : { postStart: { exec: { command: ['postStart'] } } }),
            ...(preStop === undefined ? {} : { preStop: { exec: { command: ['preStop'] } } }),
          },
        }),
  };
}
