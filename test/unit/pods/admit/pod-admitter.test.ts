import { describe, expect, it } from 'vitest';
import { silent } from '../../../../src/kit/log.ts';
import { Metrics } from '../../../../src/kit/metrics.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import type { Admission, Refusal } from '../../../../src/pods/admit/admit-pod.ts';
import { PodAdmitter, type PodAdmitterDeps } from '../../../../src/pods/admit/pod-admitter.ts';
import { PodMetrics } from '../../../../src/pods/pod-metrics.ts';
import { PodState } from '../../../../src/pods/pod-state.ts';
import { container, pod } from '../builders.ts';

const podOf = (uid: string): Pod => pod({ containers: [container('a')] }, { uid, name: uid });
const none: Refusal = { reason: 'TopologyAffinityError', message: 'not here' };

function setUp(allocate: NonNullable<PodAdmitterDeps['allocate']>, admission: Partial<Admission> = {}) {
  const done: string[] = [];
  let evicted = (): void => {};
  const states: PodState[] = [];
  const admitter = new PodAdmitter({
    admit: () => ({ victims: [], short: '', ...admission }),
    allocate: (of) => {
      done.push(`allocate ${of.metadata.uid}`);
      return allocate(of);
    },
    admitted: ({ identity }) => void done.push(`admitted ${identity.uid}`),
    refreshNode: async () => {},
    states: () => states,
    isStopped: () => false,
    evict: (uid) => {
      done.push(`evict ${uid}`);
      return new Promise((resolve) => {
        evicted = resolve;
      });
    },
    again: (uid) => void done.push(`again ${uid}`),
    events: { event: (_object, _type, reason) => void done.push(reason) },
    metrics: new PodMetrics(new Metrics(), { get: () => undefined, uids: () => new Set() } as never),
    log: silent,
  } as PodAdmitterDeps);
  const come = (uid: string): PodState => {
    const state = new PodState(podOf(uid), 'run', 0);
    states.push(state);
    return state;
  };
  return { admitter, done, come, evicted: () => evicted() };
}
const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('what only one pod can have', () => {
  it('is given as the pod is let in; without it the pod is refused', () => {
    const { admitter, done, come } = setUp(({ metadata }) => (metadata.uid === 'no' ? none : undefined));
    const [yes, no] = [come('yes'), come('no')];
    expect(admitter.mayGoOn(yes)).toBe(true);
    expect(admitter.mayGoOn(no)).toBe(true);
    expect([yes.admission, no.admission]).toEqual(['granted', 'refused']);
    expect(no.end).toMatchObject({ reason: 'TopologyAffinityError', message: 'Pod was rejected: not here' });
    expect(done).toEqual(['allocate yes', 'admitted yes', 'allocate no', 'TopologyAffinityError']);
  });

  it.each<[string, Refusal | undefined | Error, string]>([
    ['given', undefined, 'granted'],
    ['refused', none, 'refused'],
    ['broken', new Error('a plugin is gone'), 'refused'],
  ])('may take a while: %s, and meanwhile others are let in', async (_what, outcome, admission) => {
    let answer = (): void => {};
    const { admitter, done, come } = setUp(({ metadata }) =>
      metadata.uid !== 'slow'
        ? undefined
        : new Promise((resolve, reject) => {
            answer = () => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
          }),
    );
    const [slow, quick] = [come('slow'), come('quick')];
    expect(admitter.mayGoOn(slow)).toBe(false);
    expect(admitter.mayGoOn(slow)).toBe(false);
    expect(admitter.mayGoOn(quick)).toBe(true);
    answer();
    await later();
    expect(done.at(-1)).toBe('again slow');
    expect(admitter.mayGoOn(slow)).toBe(true);
    expect(slow.admission).toBe(admission);
    expect(done.filter((what) => what === 'allocate slow')).toHaveLength(1);
  });

  it('is given to a critical pod when those that make room for it are gone', async () => {
    const { admitter, done, come, evicted } = setUp(() => undefined, { victims: [podOf('victim')], short: 'cpu' });
    const critical = come('critical');
    expect(admitter.mayGoOn(critical)).toBe(false);
    await later();
    expect(done).toContain('evict victim');
    expect(done).not.toContain('allocate critical');
    evicted();
    await later();
    expect(done).toContain('allocate critical');
    expect(admitter.mayGoOn(critical)).toBe(true);
  });
});
