/** systemd's login manager, which can hold up a shutdown (org.freedesktop.login1, inhibitor locks). */
export interface LogindPort {
  /** Throws Unavailable when there is no system bus, or no logind on it. */
  connect(signal?: AbortSignal): Promise<Logind>;
}

/** One connection. Calls throw Unavailable once it has ended, CommandFailed with logind's own words, or DeadlineExceeded. */
export interface Logind {
  /** How long a shutdown is held up at most (InhibitDelayMaxUSec), milliseconds. */
  inhibitDelayMs(): Promise<number>;
  /**
   * Has logind allow at least so long, by a drop-in of its configuration in kubelet's place, and reload it. It takes a
   * moment until inhibitDelayMs says so.
   */
  overrideInhibitDelay(ms: number): Promise<void>;
  /** Holds up a shutdown until the lock is released, or for as long as logind allows. */
  inhibitShutdown(): Promise<InhibitLock>;
  /** Tells of a shutdown that begins (true) or is called off (false), from now on. */
  watchShutdown(listener: (active: boolean) => void): Promise<void>;
  /** Resolves when the connection has ended, with why. */
  readonly ended: Promise<string>;
  close(): void;
}

export interface InhibitLock {
  /** Idempotent. */
  release(): void;
}
