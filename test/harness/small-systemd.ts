import type { Message } from '../../src/host/dbus/message.ts';
import type { DBusPort, DBusValue, Variant } from '../../src/host/dbus/port.ts';
import { openDBus } from '../../src/host/dbus/real.ts';
import { SystemClock } from '../../src/kit/clock.ts';
import { CodedError } from '../../src/kit/errors.ts';

const MANAGER = '/org/freedesktop/systemd1';
type Properties = Map<string, DBusValue>;

/** The part of systemd's manager that makes slices, on a bus of the tests: it holds units and refuses what it would. */
export class SmallSystemd {
  readonly units = new Map<string, Properties>();
  /** How the next job ends. */
  result = 'done';
  /** Calls by their names, in order. */
  readonly calls: string[] = [];
  private port: DBusPort | undefined;
  private jobs = 0;

  static async start(address: string): Promise<SmallSystemd> {
    const systemd = new SmallSystemd();
    systemd.port = await openDBus({ address }, { clock: new SystemClock(), answer: (call) => systemd.answer(call) });
    await systemd.port.call({
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'RequestName',
      signature: 'su',
      body: ['org.freedesktop.systemd1', 0],
    });
    return systemd;
  }

  close(): void {
    this.port?.close();
  }

  private answer({ member = '', body = [] }: Message): { signature?: string; body?: readonly DBusValue[] } {
    const unit = String(body[0] ?? '');
    this.calls.push(unit === '' ? member : `${member} ${unit}`);
    switch (member) {
      case 'Subscribe':
      case 'ResetFailedUnit':
        return {};
      case 'StartTransientUnit': {
        if (this.units.has(unit))
          throw refused('UnitExists', `Unit ${unit} was already loaded or has a fragment file.`);
        this.set(unit, body[2]);
        return this.job(unit);
      }
      case 'SetUnitProperties':
        if (!this.units.has(unit)) throw refused('NoSuchUnit', `Unit ${unit} not found.`);
        this.set(unit, body[2]);
        return {};
      case 'StopUnit':
        if (!this.units.delete(unit)) throw refused('NoSuchUnit', `Unit ${unit} not loaded.`);
        return this.job(unit);
      default:
        throw new CodedError('Unimplemented', `no ${member}`);
    }
  }

  private set(unit: string, properties: DBusValue | undefined): void {
    const known = this.units.get(unit) ?? new Map<string, DBusValue>();
    for (const [name, { value }] of properties as readonly (readonly [string, Variant])[]) known.set(name, value);
    this.units.set(unit, known);
  }

  private job(unit: string): { signature: string; body: readonly DBusValue[] } {
    const id = ++this.jobs;
    const path = `${MANAGER}/job/${id}`;
    const { result } = this;
    // systemd answers first, and the job ends a little later; at times it is the other way round for the listener.
    setImmediate(() =>
      this.port?.emit({
        path: MANAGER,
        interface: 'org.freedesktop.systemd1.Manager',
        member: 'JobRemoved',
        signature: 'uoss',
        body: [id, path, unit, result],
      }),
    );
    return { signature: 'o', body: [path] };
  }
}

function refused(name: string, message: string): CodedError {
  return new CodedError('CommandFailed', message, { dbusError: `org.freedesktop.systemd1.${name}` });
}
