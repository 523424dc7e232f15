import type { Clock } from '../../kit/clock.ts';
import { CodedError, hasCode } from '../../kit/errors.ts';
import type { DBusPort, DBusValue } from '../dbus/port.ts';
import type { SystemdPort, UnitProperty } from './port.ts';

export interface SystemdDeps {
  readonly clock: Clock;
  /** Opens the bus that systemd is on. */
  readonly open: () => Promise<DBusPort>;
}

interface Bus {
  readonly port: DBusPort;
  /** What waits for a job's end, by the job's object path. */
  readonly waiting: Map<string, (result: string) => void>;
  /** Jobs that ended before their start was answered. */
  readonly early: Map<string, string>;
}

const MANAGER = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
};
const JOB_MS = 30_000;
const EARLY_MAX = 100;

/** systemd over the system bus; connects when it is first needed and anew after the connection was lost. */
export class RealSystemd implements SystemdPort {
  private readonly deps: SystemdDeps;
  private bus: Promise<Bus> | undefined;

  constructor(deps: SystemdDeps) {
    this.deps = deps;
  }

  async startTransientUnit(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    try {
      const result = await this.job('StartTransientUnit', 'ssa(sv)a(sa(sv))', [
        unit,
        'replace',
        asBody(properties),
        [],
      ]);
      if (result === 'done') return;
      await this.resetFailed(unit);
      throw new CodedError('CommandFailed', `error creating systemd unit ${unit}: got ${result}`);
    } catch (error) {
      if (!isNamed(error, 'org.freedesktop.systemd1.UnitExists')) throw error;
    }
  }

  async setUnitProperties(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    await this.call('SetUnitProperties', 'sba(sv)', [unit, true, asBody(properties)]);
  }

  async stopUnit(unit: string): Promise<void> {
    try {
      await this.job('StopUnit', 'ss', [unit, 'replace']);
    } catch (error) {
      if (!isNamed(error, 'org.freedesktop.systemd1.NoSuchUnit')) throw error;
    }
    await this.resetFailed(unit);
  }

  async close(): Promise<void> {
    const bus = await this.bus?.catch(() => undefined);
    bus?.port.close();
  }

  private async resetFailed(unit: string): Promise<void> {
    await this.call('ResetFailedUnit', 's', [unit]).catch(() => {});
  }

  private async job(member: string, signature: string, body: readonly DBusValue[]): Promise<string> {
    const bus = await this.connected();
    const [path] = await bus.port.call({ ...MANAGER, member, signature, body });
    const job = String(path);
    const early = bus.early.get(job);
    if (early !== undefined) {
      bus.early.delete(job);
      return early;
    }
    return new Promise((resolve, reject) => {
      const end = (): void => {
        timer.cancel();
        bus.waiting.delete(job);
      };
      const timer = this.deps.clock.after(JOB_MS, () => {
        end();
        reject(
          new CodedError(
            'DeadlineExceeded',
            `${member} ${String(body[0])}: systemd did not end it within ${JOB_MS} ms`,
          ),
        );
      });
      bus.waiting.set(job, (result) => {
        end();
        resolve(result);
      });
      void bus.port.ended.then(() => {
        if (!bus.waiting.has(job)) return;
        end();
        reject(new CodedError('Unavailable', `${member} ${String(body[0])}: the connection to systemd was lost`));
      });
    });
  }

  private async call(member: string, signature: string, body: readonly DBusValue[]): Promise<void> {
    const { port } = await this.connected();
    await port.call({ ...MANAGER, member, signature, body });
  }

  private connected(): Promise<Bus> {
    this.bus ??= this.connect().catch((error: unknown) => {
      this.bus = undefined;
      throw error;
    });
    return this.bus;
  }

  private async connect(): Promise<Bus> {
    const port = await this.deps.open();
    const bus: Bus = { port, waiting: new Map(), early: new Map() };
    void port.ended.then(() => {
      this.bus = undefined;
    });
    await port.listen({ interface: MANAGER.interface, member: 'JobRemoved' }, ({ body }) => {
      const [, path, , result] = body.map(String);
      if (path === undefined || result === undefined) return;
      const tell = bus.waiting.get(path);
      if (tell !== undefined) tell(result);
      else {
        bus.early.set(path, result);
        // Other people's jobs end, too.
        const [oldest] = bus.early.keys();
        if (bus.early.size > EARLY_MAX && oldest !== undefined) bus.early.delete(oldest);
      }
    });
    // Signals of jobs are sent to subscribers only.
    await port.call({ ...MANAGER, member: 'Subscribe' }).catch((error: unknown) => {
      if (!hasCode(error, 'CommandFailed')) throw error;
    });
    return bus;
  }
}

function asBody(properties: readonly UnitProperty[]): DBusValue {
  return properties.map(({ name, signature, value }) => [name, { signature, value }]);
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof CodedError && error.metadata['dbusError'] === name;
}
