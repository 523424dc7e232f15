import { CodedError } from '../../kit/errors.ts';
import type { InhibitLock, Logind, LogindPort } from './port.ts';

/** A login manager in memory: locks, a delay, shutdowns that wait for both. */
export class FakeLogind implements LogindPort {
  /** InhibitDelayMaxSec, milliseconds. */
  delayMs = 5000;
  /** There is one on the bus. */
  present = true;
  /** What is written to its configuration is not taken. */
  deaf = false;
  private readonly locks = new Set<InhibitLock>();
  private readonly connections = new Set<FakeConnection>();

  async connect(): Promise<Logind> {
    if (!this.present) throw new CodedError('Unavailable', 'connect to the system bus: nobody listens');
    const connection = new FakeConnection(this, this.locks, () => this.connections.delete(connection));
    this.connections.add(connection);
    return connection;
  }

  /** How many locks hold a shutdown up. */
  get held(): number {
    return this.locks.size;
  }

  announce(active: boolean): void {
    for (const { listeners } of this.connections) for (const tell of listeners) tell(active);
  }

  /** The bus goes away; locks stay with those who hold them. */
  drop(): void {
    for (const connection of [...this.connections]) connection.end('the bus has closed the connection');
  }
}

class FakeConnection implements Logind {
  readonly ended: Promise<string>;
  readonly listeners: ((active: boolean) => void)[] = [];
  private readonly logind: FakeLogind;
  private readonly locks: Set<InhibitLock>;
  private readonly left: () => void;
  private over: string | undefined;
  private tell: (why: string) => void = () => {};

  constructor(logind: FakeLogind, locks: Set<InhibitLock>, left: () => void) {
    this.logind = logind;
    this.locks = locks;
    this.left = left;
    this.ended = new Promise((resolve) => {
      this.tell = resolve;
    });
  }

  async inhibitDelayMs(): Promise<number> {
    this.mustLive();
    return this.logind.delayMs;
  }

  async overrideInhibitDelay(ms: number): Promise<void> {
    this.mustLive();
    if (!this.logind.deaf) this.logind.delayMs = ms;
  }

  async inhibitShutdown(): Promise<InhibitLock> {
    this.mustLive();
    const lock = { release: () => void this.locks.delete(lock) };
    this.locks.add(lock);
    return lock;
  }

  async watchShutdown(listener: (active: boolean) => void): Promise<void> {
    this.mustLive();
    this.listeners.push(listener);
  }

  close(): void {
    this.end('closed');
  }

  end(why: string): void {
    if (this.over !== undefined) return;
    this.over = why;
    this.left();
    this.tell(why);
  }

  private mustLive(): void {
    if (this.over !== undefined) throw new CodedError('Unavailable', `logind: ${this.over}`);
  }
}
