import { mkdir, writeFile } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import type { Variant } from '../dbus/port.ts';
import { systemBusPath } from './bus-address.ts';
import { DBusConnection } from './connection.ts';
import type { InhibitLock, Logind, LogindPort } from './port.ts';

export interface RealLogindOptions {
  /** Default: the environment's DBUS_SYSTEM_BUS_ADDRESS, else the system bus. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** logind's drop-ins. Default /etc/systemd/logind.conf.d. */
  readonly dropInDirectory?: string;
}

const LOGIND = {
  destination: 'org.freedesktop.login1',
  path: '/org/freedesktop/login1',
  interface: 'org.freedesktop.login1.Manager',
} as const;
/** The name that kubelet gives it (nodeshutdown/systemd). */
const DROP_IN = '99-kubelet.conf';
const SIGHUP = 1;

/** logind over the system bus. */
export class RealLogind implements LogindPort {
  private readonly options: RealLogindOptions;
  private readonly clock: Pick<Clock, 'after'>;

  constructor(options: RealLogindOptions, deps: { readonly clock: Pick<Clock, 'after'> }) {
    this.options = options;
    this.clock = deps.clock;
  }

  async connect(): Promise<Logind> {
    const path = systemBusPath(this.options.environment ?? process.env);
    if (path === undefined) throw new CodedError('Unavailable', 'DBUS_SYSTEM_BUS_ADDRESS names no unix socket');
    const connection = await DBusConnection.open(path, { clock: this.clock });
    return new LogindConnection(connection, this.options.dropInDirectory ?? '/etc/systemd/logind.conf.d');
  }
}

class LogindConnection implements Logind {
  readonly ended: Promise<string>;
  private readonly connection: DBusConnection;
  private readonly dropInDirectory: string;

  constructor(connection: DBusConnection, dropInDirectory: string) {
    this.connection = connection;
    this.dropInDirectory = dropInDirectory;
    this.ended = connection.ended;
  }

  async inhibitDelayMs(): Promise<number> {
    const { body } = await this.connection.call({
      ...LOGIND,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      signature: 'ss',
      body: [LOGIND.interface, 'InhibitDelayMaxUSec'],
    });
    const delay = (body[0] as Variant | undefined)?.value;
    if (typeof delay !== 'bigint') {
      throw new CodedError('Internal', 'logind’s InhibitDelayMaxUSec is no 64-bit number');
    }
    return Number(delay / 1000n);
  }

  async overrideInhibitDelay(ms: number): Promise<void> {
    await mkdir(this.dropInDirectory, { recursive: true, mode: 0o755 });
    const text = `# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=${Math.round(ms / 1000)}\n`;
    await writeFile(`${this.dropInDirectory}/${DROP_IN}`, text, { mode: 0o644 });
    // logind reads its configuration again when it gets SIGHUP, which systemd sends for us.
    await this.connection.call({
      destination: 'org.freedesktop.systemd1',
      path: '/org/freedesktop/systemd1',
      interface: 'org.freedesktop.systemd1.Manager',
      member: 'KillUnit',
      signature: 'ssi',
      body: ['systemd-logind.service', 'all', SIGHUP],
    });
  }

  async inhibitShutdown(): Promise<InhibitLock> {
    const { descriptors } = await this.connection.call({
      ...LOGIND,
      member: 'Inhibit',
      signature: 'ssss',
      body: ['shutdown', 'kubelet', 'Kubelet needs time to handle node shutdown', 'delay'],
    });
    const [lock, ...more] = descriptors;
    for (const descriptor of more) descriptor.close();
    if (lock === undefined) throw new CodedError('Internal', 'logind has given no file descriptor for its lock');
    let held = true;
    return {
      release: () => {
        if (held) lock.close();
        held = false;
      },
    };
  }

  watchShutdown(listener: (active: boolean) => void): Promise<void> {
    const member = 'PrepareForShutdown';
    const rule = `type='signal',interface='${LOGIND.interface}',member='${member}',path='${LOGIND.path}'`;
    return this.connection.subscribe(rule, (signal) => {
      if (signal.interface !== LOGIND.interface || signal.member !== member || signal.path !== LOGIND.path) return;
      const [active] = signal.body ?? [];
      if (typeof active === 'boolean') listener(active);
    });
  }

  close(): void {
    this.connection.close();
  }
}
