import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from './clock.ts';

/** One end may be closed for this long before the other is closed, too: nobody is left to hear it. */
const HALF_CLOSED_MS = 30_000;
/** For what a caller sent last, before it went. */
const LEAVE_MS = 60_000;
const LONGEST_TIMEOUT_MS = 2_147_483_647;

/**
 * A connection made for a caller is cut with it after `idleMs` without a byte (0: never). Once the caller is gone, it has a
 * minute for what is on its way still, and then goes, too; a process that ends does not wait for it.
 */
export function tieStreams(caller: Duplex, made: Duplex, idleMs: number): void {
  cutWhenIdle([caller, made], idleMs);
  caller.once('close', () => {
    if (made instanceof Socket) made.unref();
    const timer = setTimeout(() => made.destroy(), LEAVE_MS).unref();
    made.once('close', () => clearTimeout(timer));
  });
}

/**
 * Copies between a caller and the connection made for it, in both directions, until both have ended, each as fast as the
 * other end takes it; after `idleMs` without a byte (0: never) both are cut. Resolves when both are closed.
 */
export function joinStreams(caller: Duplex, made: Duplex, idleMs: number, clock: Pick<Clock, 'after'>): Promise<void> {
  tieStreams(caller, made, idleMs);
  caller.pipe(made);
  made.pipe(caller);
  return new Promise((resolve) => {
    let open = 2;
    for (const [own, other] of [
      [caller, made],
      [made, caller],
    ] as const) {
      own.on('error', () => own.destroy());
      own.once('end', () => {
        const timer = clock.after(HALF_CLOSED_MS, () => other.destroy());
        other.once('close', () => timer.cancel());
        // From then on `tieStreams` sees to it.
        if (own === caller) own.once('close', () => timer.cancel());
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
function cutWhenIdle(sockets: readonly Duplex[], idleMs: number): void {
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
