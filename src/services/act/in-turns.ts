import { setImmediate as nextTurn } from 'node:timers/promises';

/** Runs something long to its end, and lets others have the event loop at each of its steps. */
export async function inTurns<T>(steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await nextTurn();
  }
}
