/** A difference that setting the time in small steps (NTP slewing) does not make between two looks. */
const JUMP_MS = 5000;

/** Tells when the wall clock moved against the monotonic one: it was set, or the machine slept. */
export class ClockWatch {
  private offset: number | undefined;

  /** Milliseconds that the wall clock jumped by since the last look; undefined: it did not. */
  look(now: number, monotonic: number): number | undefined {
    const offset = now - monotonic;
    const jump = this.offset === undefined ? 0 : offset - this.offset;
    this.offset = offset;
    return Math.abs(jump) >= JUMP_MS ? jump : undefined;
  }
}
