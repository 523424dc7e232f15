import type { Duplex } from 'node:stream';
import type { Clock } from './clock.ts';

/** One end may be closed for this long before the other is closed, too: nobody is left to hear it. */
const HALF_CLOSED_MS = 30_000;
const LONGEST_TIMEOUT_MS = 2_147_483_647;

/**
 * Copies between two connections in both directions until both have ended, each as fast as the other end takes it; after
 * `idleMs` without a byte (0: never) both are cut. Resolves when both are closed.
 */
export function joinStreams(left: Duplex, right: Duplex, idleMs: number, clock: Pick<Clock, 'after'>): Promise<void> {
  cutWhenIdle([left, right], idleMs);
  left.pipe(right);
  right.pipe(left);
  return new Promise((resolve) => {
    let open = 2;
    for (const [own, other] of [
      [left, right],
      [right, left],
    ] as const) {
      own.on('error', () => own.destroy());
      own.once('end', () => {
        const timer = clock.after(HALF_CLOSED_MS, () => other.destroy());
        other.once('close', () => timer.cancel());
      });
      own.once('close', () => {
        // What it has said already may be on its way still: after its end, the pipe ends the other.
        if (!own.readableEnded) other.destroy();
        if (--open === 0) resolve();
      });
    }
  });
}

/** Cuts all of them when nothing moves on any. */
export function cutWhenIdle(sockets: readonly Duplex[], idleMs: number): void {
  const [first] = sockets;
  if (idleMs <= 0 || first === undefined || !('setTimeout' in first)) return;
  // What moves in either direction moves on each of them.
  (first as Duplex & { setTimeout(ms: number, run: () => void): void }).setTimeout(
    Math.min(idleMs, LONGEST_TIMEOUT_MS),
    () => {
      for (const socket of sockets) socket.destroy();
    },
  );
}
