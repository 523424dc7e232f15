import { outcomeOf } from './outcome.ts';
import { type Plan, PlanBuilder, type PlanInput } from './plan.ts';
import { planSync } from './plan-sync.ts';
import { planTermination } from './plan-termination.ts';

/**
 * Decides what to do with a pod now. Pure: the same input gives the same plan. The order of a pod's life is written in
 * planSync (start) and planTermination (its mirror).
 */
export function planPod(input: PlanInput): Plan {
  const builder = new PlanBuilder(input);
  if (mustEnd(input)) return builder.build(planTermination(builder));
  const deadline = activeDeadline(input);
  if (deadline !== undefined && input.now >= deadline) {
    builder.push({
      do: 'endPod',
      end: {
        reason: 'DeadlineExceeded',
        message: 'Pod was active on the node longer than the specified deadline',
        graceSeconds: undefined,
      },
    });
    return builder.build('sync');
  }
  if (deadline !== undefined) builder.lookAgainAt(deadline);
  planSync(builder);
  return builder.build('sync');
}

function mustEnd(input: PlanInput): boolean {
  const { intent, facts } = input;
  if (intent !== 'run' || facts.ending || facts.end !== undefined) return true;
  const phase = facts.lastStatus?.phase;
  // A terminal phase is for good: containers that vanished since do not bring the pod back.
  if (phase === 'Succeeded' || phase === 'Failed') return true;
  return !facts.running.has('start') && outcomeOf(input) !== undefined;
}

function activeDeadline({ pod, facts }: PlanInput): number | undefined {
  const seconds = pod.spec.activeDeadlineSeconds;
  return seconds === undefined ? undefined : facts.startTime + seconds * 1000;
}
