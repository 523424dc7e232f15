import type { RuleWatch, Writer } from '../../host/rule-watch/port.ts';
import { Emitter, type Unsubscribe } from '../../kit/emitter.ts';
import { messageOf } from '../../kit/errors.ts';
import type { Logger } from '../../kit/log.ts';
import type { Alarm } from '../port.ts';

/** Rings when others write rules, and when the backend itself has found something wrong. */
export class WatchAlarm implements Alarm {
  private readonly watch: RuleWatch | undefined;
  private readonly rings: Emitter<Writer | undefined>;

  constructor(watch: RuleWatch | undefined, log: Logger) {
    this.watch = watch;
    this.rings = new Emitter((error) => log.error({ error: messageOf(error) }, 'a listener of rules failed'));
  }

  get hears(): boolean {
    return this.watch?.hears ?? false;
  }

  subscribe(listener: (writer: Writer | undefined) => void): Unsubscribe {
    const unsubscribe = [this.rings.subscribe(listener), this.watch?.subscribe(listener)];
    return () => {
      for (const one of unsubscribe) one?.();
    };
  }

  ring(): void {
    this.rings.emit(undefined);
  }
}
