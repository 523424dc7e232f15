import { describe, expect, it } from 'vitest';
import type { Container, ContainerStatus, PodSpec, PodStatus } from '../../src/model/pod.ts';
import { PodWorld } from './pod-world.ts';

/** A pod in each of the situations that it can be in for good. What they are made of: the pod object and the world. */
type Named =
  | 'empty'
  | 'running'
  | 'not-ready'
  | 'deleting'
  | 'crashed'
  | 'completed'
  | 'failed'
  | 'init-running'
  | 'init-failed'
  | 'init-crashed'
  | 'sidecar-running'
  | 'image-missing'
  | 'config-missing'
  | 'volume-missing'
  | 'overdue';

/** Something that passes by on the way. */
type Incident = 'agent-away' | 'agent-back' | 'runtime-away' | 'runtime-back' | 'sandbox-dead' | 'app-dead' | 'reboot';

type Stop = Named | Incident;

interface State {
  readonly spec: Partial<PodSpec> | undefined;
  readonly ready: boolean;
  readonly deleting: boolean;
  readonly expected: { readonly phase: PodStatus['phase']; readonly ready: boolean; readonly app: string } | undefined;
}

const app: Container = {
  name: 'app',
  image: 'app:1',
  readinessProbe: { exec: { command: ['ready'] }, periodSeconds: 2, failureThreshold: 1 },
};
const init: Container = { name: 'init', image: 'app:1' };
const web: Partial<PodSpec> = { containers: [app], terminationGracePeriodSeconds: 20 };

const state = (
  spec: Partial<PodSpec> | undefined,
  expected: readonly [phase: PodStatus['phase'], ready: boolean, app: string] | undefined,
  more: Partial<State> = {},
): State => ({
  spec,
  ready: true,
  deleting: false,
  expected: expected === undefined ? undefined : { phase: expected[0], ready: expected[1], app: expected[2] },
  ...more,
});

const STATES: Readonly<Record<Named, State>> = {
  empty: state(undefined, undefined),
  running: state(web, ['Running', true, 'running']),
  'not-ready': state(web, ['Running', false, 'running'], { ready: false }),
  // Its process ignores SIGTERM, and has an hour.
  deleting: state(web, ['Running', true, 'running'], { deleting: true }),
  crashed: state({ containers: [{ ...app, name: 'crasher' }] }, ['Running', false, 'CrashLoopBackOff']),
  completed: state({ containers: [{ ...app, name: 'job' }], restartPolicy: 'Never' }, [
    'Succeeded',
    false,
    'Completed',
  ]),
  failed: state({ containers: [{ ...app, name: 'crasher' }], restartPolicy: 'Never' }, ['Failed', false, 'Error']),
  'init-running': state({ initContainers: [{ ...init, name: 'longInit' }], containers: [app] }, [
    'Pending',
    false,
    'PodInitializing',
  ]),
  'init-failed': state({ initContainers: [{ ...init, name: 'crasher' }], containers: [app], restartPolicy: 'Never' }, [
    'Failed',
    false,
    'PodInitializing',
  ]),
  'init-crashed': state({ initContainers: [{ ...init, name: 'crasher' }], containers: [app] }, [
    'Pending',
    false,
    'PodInitializing',
  ]),
  'sidecar-running': state(
    {
      initContainers: [
        { ...init, name: 'job' },
        { ...init, name: 'side', restartPolicy: 'Always' },
      ],
      containers: [app],
    },
    ['Running', true, 'running'],
  ),
  'image-missing': state({ containers: [{ ...app, image: 'nowhere:1' }] }, ['Pending', false, 'ImagePullBackOff']),
  'config-missing': state({ containers: [{ ...app, name: 'unconfigured' }] }, [
    'Pending',
    false,
    'CreateContainerConfigError',
  ]),
  'volume-missing': state({ containers: [app], volumes: [{ name: 'lost' }] }, ['Pending', false, 'ContainerCreating']),
  overdue: state({ ...web, terminationGracePeriodSeconds: 1, activeDeadlineSeconds: 20 }, ['Failed', false, 'Error']),
};

const INCIDENTS: readonly string[] = [
  'agent-away',
  'agent-back',
  'runtime-away',
  'runtime-back',
  'sandbox-dead',
  'app-dead',
  'reboot',
] satisfies Incident[];

function isIncident(stop: Stop): stop is Incident {
  return INCIDENTS.includes(stop);
}

/** Long enough for every back-off (the longest is five minutes). */
const SETTLE_MS = 700_000;

class Road {
  readonly world: PodWorld;
  private current: Named = 'empty';
  private ready = true;
  private away = false;

  constructor(events: boolean) {
    this.world = new PodWorld({ deaf: !events, exitLagMs: 45 });
    const { cri } = this.world;
    cri.addImage('app:1');
    cri.program('app', { ignoresTerm: true });
    cri.program('crasher', { exitAfterMs: 1, exitCode: 3 });
    cri.program('job', { exitAfterMs: 5 });
    cri.setExec(() => ({ exitCode: this.ready ? 0 : 1 }));
    this.world.parts.missing.add('unconfigured').add('lost');
  }

  /** Goes to the next stop in as many small changes as there are; `pause` follows each. */
  async go(stop: Stop, pause: () => Promise<void>): Promise<void> {
    if (isIncident(stop)) await this.suffer(stop);
    else
      for (const change of this.changesTo(stop)) {
        change();
        await pause();
      }
    await pause();
  }

  async arrive(): Promise<void> {
    await this.suffer('runtime-back');
    await this.suffer('agent-back');
    await this.world.pass(SETTLE_MS);
  }

  async start(): Promise<void> {
    await this.world.start();
  }

  private changesTo(next: Named): (() => void)[] {
    const { world } = this;
    const from = STATES[this.current];
    const to = STATES[next];
    this.current = next;
    const changes: (() => void)[] = [];
    // A pod that is being deleted never comes back, and another spec is another pod.
    const replaced = from.spec !== to.spec || (from.deleting && !to.deleting);
    if (replaced && from.spec !== undefined) {
      if (from.deleting && world.pods.get('ns/pod') !== undefined) changes.push(() => world.delete('pod', 1));
      changes.push(() => world.pods.drop('ns/pod'));
    }
    changes.push(() => {
      this.ready = to.ready;
    });
    const { spec } = to;
    if (replaced && spec !== undefined) changes.push(() => world.applyRaw('pod', spec));
    if (to.deleting && (replaced || !from.deleting)) changes.push(() => world.delete('pod', 3600));
    return changes;
  }

  private async suffer(incident: Incident): Promise<void> {
    const { world } = this;
    const { cri } = world;
    switch (incident) {
      case 'agent-away':
        if (!this.away) await world.stop();
        this.away = true;
        return;
      case 'agent-back':
        if (this.away) await world.start();
        this.away = false;
        return;
      case 'runtime-away':
        return cri.stopRuntime();
      case 'runtime-back':
        return cri.startRuntime();
      case 'sandbox-dead': {
        const sandbox = cri.sandbox('pod');
        if (sandbox !== undefined) cri.killSandbox(sandbox.id);
        return;
      }
      case 'app-dead': {
        const container = cri.container('pod', 'app');
        if (container?.state === 'RUNNING') cri.exit(container.id, 1);
        return;
      }
      case 'reboot':
        await this.suffer('agent-away');
        cri.rebootNode();
        return this.suffer('agent-back');
    }
  }

  /** Everything that must not depend on the road: not ids, counts of restarts, times and memories of earlier runs. */
  summary(): object {
    const { cri, parts, pods } = this.world;
    const pod = pods.get('ns/pod');
    const status = pod?.status;
    const shown = (list: readonly ContainerStatus[] = []): object[] =>
      list.map(({ name, ready, started, state: now }) => ({
        name,
        ready,
        started,
        state: Object.keys(now ?? {}),
        why: now?.waiting?.reason ?? now?.terminated?.reason,
      }));
    return {
      phase: status?.phase,
      reason: status?.reason,
      deleting: pod?.metadata.deletionTimestamp !== undefined,
      conditions: status?.conditions?.map(({ type, status: value, reason }) => `${type} ${value} ${reason}`),
      init: shown(status?.initContainerStatuses),
      app: shown(status?.containerStatuses),
      running: cri.counts.running,
      sandbox: cri.sandbox('pod')?.state,
      cgroups: parts.cgroups.size,
      volumes: parts.volumes.size,
      logs: parts.logs.size,
    };
  }
}

const ROADS: readonly (readonly Stop[])[] = [
  ['running', 'not-ready', 'running', 'deleting', 'empty'],
  ['empty', 'running', 'crashed', 'completed', 'running'],
  ['image-missing', 'config-missing', 'volume-missing', 'running', 'not-ready'],
  ['init-running', 'init-crashed', 'init-failed', 'sidecar-running', 'completed'],
  ['running', 'app-dead', 'not-ready', 'sandbox-dead', 'running', 'crashed'],
  ['running', 'agent-away', 'not-ready', 'deleting', 'agent-back', 'sidecar-running'],
  ['running', 'runtime-away', 'crashed', 'runtime-back', 'overdue', 'init-failed'],
  ['completed', 'reboot', 'running', 'reboot', 'sidecar-running', 'sandbox-dead', 'image-missing'],
  ['failed', 'agent-away', 'running', 'sandbox-dead', 'agent-back', 'failed'],
  ['sidecar-running', 'runtime-away', 'agent-away', 'agent-back', 'runtime-back', 'init-crashed', 'volume-missing'],
  ['not-ready', 'deleting', 'running', 'app-dead', 'runtime-away', 'sandbox-dead', 'runtime-back', 'overdue'],
  ['not-ready', 'reboot', 'deleting', 'agent-away', 'empty', 'init-running', 'config-missing'],
];

interface Way {
  readonly name: string;
  readonly stops: (road: readonly Stop[]) => readonly Stop[];
  /** Between two changes, in milliseconds. */
  readonly pauseMs: readonly number[];
  /** Also where the runtime has no events. */
  readonly alsoDeaf?: boolean;
}

const WAYS: readonly Way[] = [
  { name: 'forwards', stops: (road) => road, pauseMs: [30_000], alsoDeaf: true },
  { name: 'backwards', stops: (road) => [...road].reverse(), pauseMs: [30_000] },
  { name: 'each stop twice', stops: (road) => road.flatMap((stop) => [stop, stop]), pauseMs: [5_000] },
  { name: 'emptied in between', stops: (road) => road.flatMap((stop): Stop[] => ['empty', stop]), pauseMs: [2_000] },
  { name: 'split into moments', stops: (road) => road, pauseMs: [1, 0, 3, 50, 700, 7] },
  { name: 'squashed', stops: (road) => road, pauseMs: [], alsoDeaf: true },
  {
    name: 'with a new agent at each stop',
    stops: (road) => road.flatMap((stop): Stop[] => ['agent-away', stop, 'agent-back']),
    pauseMs: [40, 400, 3],
  },
];

async function travel(stops: readonly Stop[], events: boolean, pauseMs: readonly number[]): Promise<Road> {
  const road = new Road(events);
  await road.start();
  let turn = 0;
  const pause = async (): Promise<void> => {
    const ms = pauseMs[turn++ % Math.max(1, pauseMs.length)];
    if (ms !== undefined) await road.world.pass(ms);
  };
  for (const stop of stops) await road.go(stop, pause);
  await road.arrive();
  expect(road.world.hot).toBeUndefined();
  expect(road.world.errors).toEqual([]);
  return road;
}

/** Where a stop leads when nothing was before it. */
const straight = new Map<string, Promise<object>>();

function straightTo(stop: Named, events: boolean): Promise<object> {
  const key = `${stop} ${events}`;
  let summary = straight.get(key);
  if (summary === undefined) {
    summary = travel([stop], events, [30_000]).then(async (road) => {
      const found = road.summary();
      await road.world.stop();
      return found;
    });
    straight.set(key, summary);
  }
  return summary;
}

describe('the named states of a pod', () => {
  it.each(Object.entries(STATES))('%s is what its name says', async (name, { expected }) => {
    for (const events of [true, false]) {
      const road = await travel([name as Named], events, [30_000]);
      const status = road.world.status('pod');
      const entry = status?.containerStatuses?.[0];
      const why = entry?.state?.waiting?.reason ?? entry?.state?.terminated?.reason ?? 'running';
      if (expected === undefined) {
        expect(status).toBeUndefined();
        expect(road.world.isClean()).toBe(true);
      } else expect({ phase: status?.phase, ready: road.world.isReady('pod'), app: why }).toEqual(expected);
      await road.world.stop();
    }
  });
});

describe.each(WAYS)('every road, $name', ({ stops, pauseMs, alsoDeaf = false }) => {
  it.each(ROADS.map((road) => ({ road, title: road.join(' → ') })))('$title', async ({ road }) => {
    for (const events of alsoDeaf ? [true, false] : [true]) {
      const way = stops(road);
      const last = way.findLast((stop): stop is Named => !isIncident(stop)) ?? 'empty';
      const there = await travel(way, events, pauseMs);
      expect(there.summary()).toEqual(await straightTo(last, events));
      await there.world.stop();
    }
  });
});
