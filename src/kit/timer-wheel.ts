import type { Clock, Timer } from './clock.ts';

export interface TimerWheelOptions {
  /** How exact the wheel is, in milliseconds: nothing fires early, and by itself at most this late. Default 4. */
  readonly tickMs?: number;
  /** Slots in one turn, a power of two. Default 1024. */
  readonly slots?: number;
}

export interface TimerWheelDeps {
  readonly clock: Pick<Clock, 'monotonic' | 'after'>;
  /** Told of whatever a timer's `run` throws; the other timers fire all the same. */
  readonly onError: (error: unknown) => void;
}

/** One thing that happens again and again: made once, then set to its next time as often as needed. */
export interface WheelTimer {
  /** Fires once at `atMs` (Clock.monotonic); replaces the time that was set before. A past time fires at once. */
  at(atMs: number): void;
  cancel(): void;
  readonly armed: boolean;
}

/**
 * A hashed timing wheel (Varghese and Lauck 1987, scheme 6): thousands of periodic timers on one timer of the clock,
 * constant cost to set and to cancel, no allocation per firing. The clock's timer is set only for a slot that has
 * something due, so that an empty or a quiet wheel costs nothing.
 */
export class TimerWheel {
  private readonly tickMs: number;
  private readonly slots: (Entry | undefined)[];
  private readonly mask: number;
  private readonly clock: Pick<Clock, 'monotonic' | 'after'>;
  private readonly onError: (error: unknown) => void;
  private size = 0;
  /** The last tick whose slot was emptied. */
  private cursor = 0;
  private timer: Timer | undefined;
  private timerTick = Number.POSITIVE_INFINITY;
  private firing = false;
  private closed = false;

  constructor(options: TimerWheelOptions, deps: TimerWheelDeps) {
    this.tickMs = options.tickMs ?? 4;
    const slots = options.slots ?? 1024;
    if ((slots & (slots - 1)) !== 0 || slots < 2) {
      throw new RangeError(`timer wheel: slots is ${slots}, needs a power of two from 2`);
    }
    this.slots = new Array<Entry | undefined>(slots).fill(undefined);
    this.mask = slots - 1;
    this.clock = deps.clock;
    this.onError = deps.onError;
  }

  /** A timer of this wheel, not set yet. */
  timerFor(run: () => void): WheelTimer {
    return new Entry(this, run);
  }

  /** How many timers are set. */
  get pending(): number {
    return this.size;
  }

  /** Cancels all; a timer set afterwards never fires. */
  close(): void {
    this.closed = true;
    this.timer?.cancel();
    this.timer = undefined;
    for (let slot = 0; slot < this.slots.length; slot++) {
      while (this.slots[slot] !== undefined) this.unlink(this.slots[slot] as Entry);
    }
  }

  /** For Entry. */
  insert(entry: Entry, atMs: number): void {
    if (entry.armed) this.unlink(entry);
    if (this.closed) return;
    if (this.size === 0 && !this.firing) this.cursor = Math.floor(this.clock.monotonic() / this.tickMs) - 1;
    entry.tick = Math.max(Math.ceil(atMs / this.tickMs), this.cursor + 1);
    this.link(entry);
    if (!this.firing && entry.tick < this.timerTick) this.arm(entry.tick);
  }

  /** For Entry. */
  unlink(entry: Entry): void {
    if (!entry.armed) return;
    const slot = entry.tick & this.mask;
    if (entry.next === entry) {
      this.slots[slot] = undefined;
    } else {
      if (entry.previous !== undefined) entry.previous.next = entry.next;
      if (entry.next !== undefined) entry.next.previous = entry.previous;
      if (this.slots[slot] === entry) this.slots[slot] = entry.next;
    }
    entry.next = undefined;
    entry.previous = undefined;
    entry.armed = false;
    this.size--;
  }

  private link(entry: Entry): void {
    const slot = entry.tick & this.mask;
    const head = this.slots[slot];
    if (head === undefined) {
      entry.next = entry;
      entry.previous = entry;
      this.slots[slot] = entry;
    } else {
      const tail = head.previous as Entry;
      entry.previous = tail;
      entry.next = head;
      tail.next = entry;
      head.previous = entry;
    }
    entry.armed = true;
    this.size++;
  }

  private arm(tick: number): void {
    this.timer?.cancel();
    this.timerTick = tick;
    // Whole milliseconds, rounded up: Node cuts fractions off and would wake us a moment too early.
    const delay = Math.max(0, Math.ceil(tick * this.tickMs - this.clock.monotonic()));
    this.timer = this.clock.after(delay, () => this.fire());
  }

  private fire(): void {
    this.timer = undefined;
    this.timerTick = Number.POSITIVE_INFINITY;
    const now = Math.floor(this.clock.monotonic() / this.tickMs);
    const due: Entry[] = [];
    // After a long stop one whole turn shows every entry; more turns would only show the same slots again.
    for (let tick = Math.max(this.cursor + 1, now - this.mask); tick <= now; tick++)
      this.takeDue(tick & this.mask, now, due);
    this.cursor = Math.max(this.cursor, now);
    this.firing = true;
    for (const entry of due) {
      // An earlier one of this round may have cancelled or moved it.
      if (!entry.taken) continue;
      entry.taken = false;
      try {
        entry.run();
      } catch (error) {
        this.onError(error);
      }
    }
    this.firing = false;
    if (this.size > 0 && !this.closed) this.arm(this.earliest());
  }

  private takeDue(slot: number, now: number, due: Entry[]): void {
    const head = this.slots[slot];
    if (head === undefined) return;
    const last = head.previous as Entry;
    for (let entry = head; ; ) {
      const next = entry.next as Entry;
      const end = entry === last;
      if (entry.tick <= now) {
        this.unlink(entry);
        entry.taken = true;
        due.push(entry);
      }
      if (end) return;
      entry = next;
    }
  }

  /** The first tick with something due, or the end of this turn when everything is further away than that. */
  private earliest(): number {
    for (let ahead = 1; ahead <= this.slots.length; ahead++) {
      const tick = this.cursor + ahead;
      const head = this.slots[tick & this.mask];
      if (head === undefined) continue;
      let entry = head;
      do {
        if (entry.tick === tick) return tick;
        entry = entry.next as Entry;
      } while (entry !== head);
    }
    return this.cursor + this.slots.length;
  }
}

class Entry implements WheelTimer {
  tick = 0;
  armed = false;
  /** Taken out to be fired in the round that is under way. */
  taken = false;
  next: Entry | undefined;
  previous: Entry | undefined;
  readonly run: () => void;
  private readonly wheel: TimerWheel;

  constructor(wheel: TimerWheel, run: () => void) {
    this.wheel = wheel;
    this.run = run;
  }

  at(atMs: number): void {
    this.taken = false;
    this.wheel.insert(this, atMs);
  }

  cancel(): void {
    this.taken = false;
    this.wheel.unlink(this);
  }
}
