import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ProbeKind } from '../../../../src/pods/probes/port.ts';
import {
  type AttemptResult,
  attempted,
  type BeginFacts,
  begin,
  dueAt,
  type ProbePlan,
  type ProbeState,
  terminate,
  ungate,
} from '../../../../src/pods/probes/probe-state.ts';

const plan = (kind: ProbeKind, more: Partial<ProbePlan> = {}): ProbePlan => ({
  kind,
  periodMs: 10_000,
  initialDelayMs: 0,
  successThreshold: 1,
  failureThreshold: 3,
  eagerMs: 25,
  ...more,
});

const facts = (more: Partial<BeginFacts> = {}): BeginFacts => ({
  now: 1000,
  startedAt: 1000,
  gated: false,
  adopted: undefined,
  terminating: false,
  ...more,
});

describe('probe state: beginnings', () => {
  const adopted = { ready: true, started: true, jitter: 0.5 };
  it.each<[string, ProbePlan, Partial<BeginFacts>, string, string, number | undefined]>([
    ['readiness starts not ready, asked at once', plan('readiness'), {}, 'eager', 'failure', 1000],
    ['liveness starts alive', plan('liveness'), {}, 'eager', 'success', 1000],
    ['startup starts unknown', plan('startup'), {}, 'eager', 'unknown', 1000],
    ['gated by startup', plan('readiness'), { gated: true }, 'gated', 'failure', undefined],
    ['startup is never gated', plan('startup'), { gated: true }, 'eager', 'unknown', 1000],
    [
      'initial delay from container start',
      plan('readiness', { initialDelayMs: 5000 }),
      { now: 3000 },
      'regular',
      'failure',
      6000,
    ],
    ['initial delay is over', plan('liveness', { initialDelayMs: 5000 }), { now: 9000 }, 'regular', 'success', 9000],
    ['seen late: regular at once', plan('readiness'), { now: 12_000 }, 'regular', 'failure', 12_000],
    ['adopted ready stays ready, jittered', plan('readiness'), { adopted }, 'regular', 'success', 6000],
    [
      'adopted not ready: asked at once',
      plan('readiness'),
      { adopted: { ...adopted, ready: false } },
      'eager',
      'failure',
      1000,
    ],
    [
      'adopted alive, jittered',
      plan('liveness'),
      { adopted: { ...adopted, ready: false } },
      'regular',
      'success',
      6000,
    ],
    [
      'adopted within its initial delay',
      plan('startup', { initialDelayMs: 1000 }),
      { adopted: { ...adopted, started: false } },
      'regular',
      'unknown',
      7000,
    ],
    ['adopted started needs no startup probe', plan('startup'), { adopted }, 'done', 'success', undefined],
    ['adopted, not started', plan('startup'), { adopted: { ...adopted, started: false } }, 'eager', 'unknown', 1000],
    ['terminating: no liveness', plan('liveness'), { terminating: true }, 'done', 'success', undefined],
    ['terminating: no startup', plan('startup'), { terminating: true }, 'done', 'success', undefined],
    ['terminating: readiness goes on', plan('readiness'), { terminating: true }, 'eager', 'failure', 1000],
  ])('%s', (_, probePlan, more, name, settled, due) => {
    const state = begin(probePlan, facts(more));
    expect(state.name).toBe(name);
    expect(state.settled).toBe(settled);
    expect(dueAt(state)).toBe(due);
  });
});

describe('probe state: attempts', () => {
  /** Each attempt takes 1 ms from when it is due. */
  const run = (probePlan: ProbePlan, from: ProbeState, results: readonly AttemptResult[]): ProbeState => {
    let state = from;
    for (const result of results) state = attempted(probePlan, state, result, (dueAt(state) ?? 0) + 1);
    return state;
  };
  const regular = (settled: ProbeState['settled']): ProbeState => ({
    name: 'regular',
    settled,
    dueAt: 0,
    streak: undefined,
  });

  it.each<[ProbeKind, Partial<ProbePlan>, ProbeState['settled'], string, string, string]>([
    ['readiness', {}, 'failure', 's', 'regular', 'success'],
    ['readiness', {}, 'success', 'ff', 'regular', 'success'],
    ['readiness', {}, 'success', 'fff', 'regular', 'failure'],
    ['readiness', {}, 'success', 'ffsff', 'regular', 'success'],
    ['readiness', {}, 'success', 'ffeeef', 'regular', 'failure'],
    ['readiness', {}, 'success', 'fffs', 'regular', 'success'],
    ['readiness', { successThreshold: 3 }, 'failure', 'ss', 'regular', 'failure'],
    ['readiness', { successThreshold: 3 }, 'failure', 'ssfsss', 'regular', 'success'],
    ['liveness', {}, 'success', 'ff', 'regular', 'success'],
    ['liveness', {}, 'success', 'fff', 'onHold', 'failure'],
    ['liveness', {}, 'success', 'fffsss', 'onHold', 'failure'],
    ['liveness', { failureThreshold: 1 }, 'success', 'f', 'onHold', 'failure'],
    ['startup', {}, 'unknown', 'ff', 'regular', 'unknown'],
    ['startup', {}, 'unknown', 'ffs', 'done', 'success'],
    ['startup', {}, 'unknown', 'fff', 'onHold', 'failure'],
    ['startup', {}, 'unknown', 'sfff', 'done', 'success'],
    ['startup', {}, 'unknown', 'eeeeee', 'regular', 'unknown'],
  ])('%s %o from %s after %s is %s, %s', (kind, more, settled, letters, name, expected) => {
    const words: Record<string, AttemptResult> = { s: 'success', f: 'failure', e: 'error' };
    const state = run(
      plan(kind, more),
      regular(settled),
      [...letters].map((letter) => words[letter] as AttemptResult),
    );
    expect([state.name, state.settled]).toEqual([name, expected]);
  });

  it('asks a fresh container eagerly and charges it for nothing before the first period has passed', () => {
    const startup = plan('startup', { failureThreshold: 1 });
    let state = begin(startup, facts({ now: 0, startedAt: 0 }));
    const times: number[] = [];
    for (let i = 0; i < 40 && state.name === 'eager'; i++) {
      times.push(dueAt(state) as number);
      state = attempted(startup, state, 'failure', dueAt(state) as number);
    }
    expect(times).toEqual([0, 25, 75, 175, 375, 775, 1575, 3175, 6375]);
    expect(state).toMatchObject({ name: 'regular', settled: 'unknown', dueAt: 10_000 });
    expect(attempted(startup, state, 'failure', 10_001).name).toBe('onHold');
  });

  it('counts an eager success and goes on from there', () => {
    const readiness = plan('readiness', { successThreshold: 2 });
    const first = attempted(readiness, begin(readiness, facts({ now: 0, startedAt: 0 })), 'success', 3);
    expect(first).toEqual({
      name: 'regular',
      settled: 'failure',
      dueAt: 10_000,
      streak: { result: 'success', count: 1 },
    });
    expect(attempted(readiness, first, 'success', 10_001).settled).toBe('success');
  });

  it('asks liveness once at start and then by the period only', () => {
    const liveness = plan('liveness');
    const state = attempted(liveness, begin(liveness, facts({ now: 0, startedAt: 0 })), 'failure', 5);
    expect(state).toEqual({ name: 'regular', settled: 'success', dueAt: 10_000, streak: undefined });
  });

  it('keeps the grid, and catches up at once after an attempt longer than the period', () => {
    const readiness = plan('readiness', { periodMs: 1000 });
    const state: ProbeState = { name: 'regular', settled: 'success', dueAt: 5000, streak: undefined };
    expect(dueAt(attempted(readiness, state, 'success', 5030))).toBe(6000);
    expect(dueAt(attempted(readiness, state, 'failure', 6001))).toBe(6000);
    expect(dueAt(attempted(readiness, state, 'error', 8300))).toBe(8000);
  });

  it('releases what waited for startup, at once or after the rest of its initial delay', () => {
    const gated: ProbeState = { name: 'gated', settled: 'failure' };
    expect(ungate(plan('readiness'), gated, 0, 60_000)).toMatchObject({
      name: 'eager',
      dueAt: 60_000,
      regularAt: 70_000,
    });
    expect(ungate(plan('liveness'), { ...gated, settled: 'success' }, 0, 60_000)).toMatchObject({
      name: 'regular',
      dueAt: 60_000,
    });
    expect(ungate(plan('readiness', { initialDelayMs: 90_000 }), gated, 0, 60_000)).toMatchObject({
      name: 'regular',
      dueAt: 90_000,
    });
    const running: ProbeState = { name: 'regular', settled: 'success', dueAt: 7, streak: undefined };
    expect(ungate(plan('readiness'), running, 0, 60_000)).toBe(running);
  });

  it('ends liveness and startup of a pod that is being deleted, quietly', () => {
    const held: ProbeState = { name: 'onHold', settled: 'failure' };
    expect(terminate(plan('liveness'), held)).toEqual({ name: 'done', settled: 'success' });
    expect(terminate(plan('startup'), { name: 'gated', settled: 'unknown' })).toEqual({
      name: 'done',
      settled: 'success',
    });
    const ready = regular('success');
    expect(terminate(plan('readiness'), ready)).toBe(ready);
  });
});

describe('probe state: whatever happens', () => {
  const kinds: ProbeKind[] = ['startup', 'liveness', 'readiness'];

  it('settles only after a full threshold of like results, never moves its due time back, never leaves a final state', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom(0, 3000),
        fc.array(
          fc.record({
            result: fc.constantFrom<AttemptResult>('success', 'failure', 'error'),
            tookMs: fc.integer({ min: 0, max: 25_000 }),
          }),
          { maxLength: 60 },
        ),
        (kind, successThreshold, failureThreshold, initialDelayMs, attempts) => {
          const probePlan = plan(kind, { successThreshold, failureThreshold, initialDelayMs });
          let state = begin(probePlan, facts({ now: 0, startedAt: 0 }));
          const initial = state.settled;
          const history: AttemptResult[] = [];
          for (const { result, tookMs } of attempts) {
            const due = dueAt(state);
            const before = state;
            state = attempted(probePlan, state, result, (due ?? 0) + tookMs);
            if (due === undefined) {
              expect(state).toBe(before);
              continue;
            }
            if (result !== 'error') history.push(result);
            const next = dueAt(state);
            if (next !== undefined) expect(next).toBeGreaterThan(due);
            if (state.settled !== before.settled || (state.name !== before.name && state.name === 'onHold')) {
              const threshold = state.settled === 'success' ? successThreshold : failureThreshold;
              expect(history.slice(-threshold)).toEqual(new Array(threshold).fill(state.settled));
            }
          }
          if (history.every((result) => result === 'success') && kind === 'liveness')
            expect(state.settled).toBe(initial);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('a container that always fails is held after failureThreshold periods and not before', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<ProbeKind>('startup', 'liveness'),
        fc.integer({ min: 1, max: 30 }),
        (kind, failureThreshold) => {
          const probePlan = plan(kind, { failureThreshold });
          let state = begin(probePlan, facts({ now: 0, startedAt: 0 }));
          let last = 0;
          while (state.name !== 'onHold') {
            last = dueAt(state) as number;
            state = attempted(probePlan, state, 'failure', last);
          }
          expect(last).toBe(failureThreshold * 10_000);
        },
      ),
    );
  });
});
