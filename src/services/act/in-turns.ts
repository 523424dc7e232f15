import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds that one piece of long work may hold the event loop: probes and requests wait that long at most. */
const longestTurn = 4;

/** The share of the event loop that long work has: it asks between its steps, and waits when its turn is over. */
export class Turns {
  private endsAt = performance.now() + longestTurn;

  get over(): boolean {
    return performance.now() >= this.endsAt;
  }

  async next(): Promise<void> {
    await nextTurn();
    this.endsAt = performance.now() + longestTurn;
  }
}

/** Runs something long to its end, and lets others have the event loop between its steps. */
export async function inTurns<T>(steps: Generator<void, T>): Promise<T> {
  const turns = new Turns();
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (turns.over) await turns.next();
  }
}

/** Items of which each takes its time to be made, in lists of `size` (the last may be shorter), with turns for others between. */
export async function* inPieces<T>(items: Iterable<T>, size: number): AsyncGenerator<readonly T[]> {
  const turns = new Turns();
  let piece: T[] = [];
  for (const item of items) {
    piece.push(item);
    if (turns.over) await turns.next();
    if (piece.length < size) continue;
    yield piece;
    piece = [];
  }
  if (piece.length > 0) yield piece;
}
