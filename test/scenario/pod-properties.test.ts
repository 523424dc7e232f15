import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { breachesOf, callsOf } from './pod-breaches.ts';
import { type History, histories, type PodPlan } from './pod-history.ts';
import { all, PodWitness } from './pod-witness.ts';

/** A longer search: PROPERTY_SEED=random PROPERTY_RUNS=50000 PROPERTY_SECONDS=600 npx vitest run test/scenario/pod-properties.test.ts */
const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 400);
const SECONDS = Number(process.env['PROPERTY_SECONDS'] ?? 8);
/** PROPERTY_SEED=random searches elsewhere each time. */
const seed = process.env['PROPERTY_SEED'] ?? '2026';

function assertAll(property: fc.IAsyncProperty<[History]>, share: number): Promise<void> {
  return fc.assert(property, {
    numRuns: Math.ceil(RUNS * share),
    interruptAfterTimeLimit: SECONDS * 1000 * share,
    ...(seed === 'random' ? {} : { seed: Number(seed) }),
  });
}

/** Pods whose containers run until they are told to stop, and whose init containers succeed. */
const steady: fc.Arbitrary<History> = histories.map((history) => ({
  ...history,
  happenings: [],
  pods: history.pods.map((plan) => ({ ...plan, deadline: undefined, containers: plan.containers.map(serving) })),
}));

function serving(plan: PodPlan['containers'][number]): PodPlan['containers'][number] {
  if (plan.kind === 'init') return { ...plan, behaviour: { type: 'job', afterMs: 30, codes: [0] } };
  return {
    ...plan,
    behaviour: { type: 'serve', ignoresTerm: false, stopTakesMs: 0 },
    postStart: undefined,
    preStop: undefined,
  };
}

function idsOf(witness: PodWitness): string[] {
  return witness.pods.flatMap((pod) =>
    pod.plan.containers.flatMap(({ name }) => witness.containers(pod, name).map(({ id }) => id)),
  );
}

describe('pods in any history', () => {
  it('end as wanted, and nothing forbidden happens on the way', async () => {
    const property = fc.asyncProperty(histories, async (history) => {
      expect(await breachesOf(history)).toEqual([]);
    });
    await assertAll(property, 1);
  }, 1_000_000);

  it('do not notice that the agent is killed and started again', async () => {
    const gaps = fc.array(fc.constantFrom(0, 1, 5, 40, 900, 7000), { minLength: 1, maxLength: 4 });
    const property = fc.asyncProperty(
      fc.tuple(steady, gaps).map(([history, awayMs]) => ({ ...history, awayMs })),
      async (history: History & { readonly awayMs?: readonly number[] }) => {
        const witness = new PodWitness(history);
        const { world } = witness;
        await witness.live();
        await witness.pass(40_000);
        const ids = idsOf(witness);
        const statuses = witness.pods.map(({ plan }) => world.status(plan.name));
        const patches = world.pods.patches.length;
        for (const ms of history.awayMs ?? []) {
          await world.stop();
          await witness.pass(ms);
          await world.start();
          await witness.pass(ms * 3);
        }
        await witness.pass(20_000);
        await world.stop();
        expect(idsOf(witness)).toEqual(ids);
        expect(world.cri.signals).toEqual([]);
        expect(world.pods.patches.slice(patches)).toEqual([]);
        expect(witness.pods.map(({ plan }) => world.status(plan.name))).toEqual(statuses);
        expect(statuses.flatMap((status) => all(status ?? {})).every(({ ready }) => ready)).toBe(true);
        expect(witness.breaches).toEqual([]);
      },
    );
    await assertAll(property, 0.25);
  }, 1_000_000);

  it('cost the runtime no more calls than their containers are worth', async () => {
    const property = fc.asyncProperty(steady, async (history) => {
      const witness = new PodWitness(history);
      const { world } = witness;
      await witness.live();
      await witness.pass(40_000);
      const plans = history.pods.flatMap(({ containers }) => containers);
      const pods = history.pods.length;
      const started = callsOf(world);
      expect(started('runPodSandbox')).toBe(pods);
      expect(started('createContainer')).toBe(plans.length);
      expect(started('startContainer')).toBe(plans.length);
      expect(started('stopContainer') + started('stopPodSandbox') + started('removeContainer')).toBe(0);
      expect(started('imageStatus')).toBeLessThanOrEqual(2 * plans.length);
      expect(started('pullImage')).toBeLessThanOrEqual(plans.filter(({ pulled }) => pulled).length);
      expect(started('podSandboxStatus')).toBeLessThanOrEqual(2 * pods);
      // Once after the start and, for each that ends, once or twice more (the early notice, then how it ended).
      const ends = plans.filter(({ kind }) => kind === 'init').length;
      expect(started('containerStatus')).toBeLessThanOrEqual(2 * plans.length + 4 * ends);

      for (const pod of witness.pods) await witness.end(pod);
      await witness.pass(30_000);
      await world.stop();
      const ended = callsOf(world);
      const alive = plans.length - ends;
      expect(ended('stopContainer')).toBe(alive);
      expect(ended('stopPodSandbox')).toBe(pods);
      expect(ended('removePodSandbox')).toBe(pods);
      expect(ended('containerStatus') - started('containerStatus')).toBeLessThanOrEqual(4 * alive + 2 * plans.length);
      expect(ended('podSandboxStatus') - started('podSandboxStatus')).toBeLessThanOrEqual(5 * pods);
      expect(world.cri.signals.length).toBe(alive);
      expect(world.isClean()).toBe(true);
      expect(witness.breaches).toEqual([]);
    });
    await assertAll(property, 0.25);
  }, 1_000_000);
});
