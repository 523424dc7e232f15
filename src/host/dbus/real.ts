import { connect, type Socket } from 'node:net';
import type { Clock, Timer } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { encodeMessage, type Message } from './message.ts';
import type { DBusPort, DBusValue, MethodCall, Signal } from './port.ts';
import { BusReader } from './reader.ts';

export interface DBusOptions {
  /** A bus address; default: $DBUS_SYSTEM_BUS_ADDRESS, or the system bus. Only unix:path= is known. */
  readonly address?: string;
}

export interface DBusDeps {
  readonly clock: Pick<Clock, 'after'>;
  /** Answers calls that others make; without, there is nothing here to be called. */
  readonly answer?: (call: Message) => { readonly signature?: string; readonly body?: readonly DBusValue[] };
}

interface Open {
  readonly resolve: (body: readonly DBusValue[]) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
  readonly what: string;
}

const SYSTEM_BUS = 'unix:path=/run/dbus/system_bus_socket';
const TIMEOUT_MS = 25_000;
const BUS = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' };

/** One connection to a message bus, by its socket. Throws Unavailable where there is none. */
export async function openDBus(options: DBusOptions, deps: DBusDeps): Promise<DBusPort> {
  const address = options.address ?? process.env['DBUS_SYSTEM_BUS_ADDRESS'] ?? SYSTEM_BUS;
  const path = /(?:^|;)unix:path=([^,;]+)/.exec(address)?.[1];
  if (path === undefined) {
    throw new CodedError('InvalidArgument', `D-Bus address ${JSON.stringify(address)}: expected unix:path=/…`);
  }
  const socket = await connected(path);
  const connection = new Connection(socket, deps);
  await connection.authenticate(path);
  await connection.call({ ...BUS, member: 'Hello' });
  return connection;
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (error) =>
      reject(new CodedError('Unavailable', `no message bus at ${path}: ${messageOf(error)}`, {}, error)),
    );
  });
}

class Connection implements DBusPort {
  readonly ended: Promise<void>;
  private readonly socket: Socket;
  private readonly deps: DBusDeps;
  private readonly open = new Map<number, Open>();
  private readonly listeners = new Set<(signal: Signal) => void>();
  private serial = 0;
  private readonly reader: BusReader;
  private onLine: (line: string) => void = () => {};

  constructor(socket: Socket, deps: DBusDeps) {
    this.socket = socket;
    this.deps = deps;
    this.reader = new BusReader({
      onLine: (line) => this.onLine(line),
      onMessage: (message) => this.handle(message),
    });
    this.ended = new Promise((resolve) => {
      socket.once('close', () => {
        for (const serial of [...this.open.keys()]) {
          this.settle(serial, ({ reject, what }) =>
            reject(new CodedError('Unavailable', `${what}: the message bus has closed the connection`)),
          );
        }
        resolve();
      });
    });
    // 'close' follows.
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.receive(chunk));
  }

  /** SASL EXTERNAL: the kernel tells the bus who is at the other end, and that must be who we say that we are. */
  authenticate(path: string): Promise<void> {
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        this.socket.destroy();
        reject(new CodedError('Unavailable', `the message bus at ${path} does not let us in: ${why}`));
      };
      this.onLine = (line) => {
        if (!line.startsWith('OK ')) {
          fail(line);
          return;
        }
        this.reader.begin();
        this.socket.write('BEGIN\r\n');
        resolve();
      };
      this.socket.once('error', (error) => fail(messageOf(error)));
      this.socket.once('close', () => fail('it closed the connection'));
      this.socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    });
  }

  call(call: MethodCall, timeoutMs = TIMEOUT_MS): Promise<readonly DBusValue[]> {
    const serial = this.nextSerial();
    const what = `${call.interface}.${call.member}`;
    return new Promise((resolve, reject) => {
      const timer = this.deps.clock.after(timeoutMs, () =>
        this.settle(serial, (open) =>
          open.reject(new CodedError('DeadlineExceeded', `${what}: no answer within ${timeoutMs} ms`)),
        ),
      );
      this.open.set(serial, { resolve, reject, timer, what });
      if (this.socket.destroyed) {
        this.settle(serial, (open) =>
          open.reject(new CodedError('Unavailable', `${what}: the connection to the message bus has ended`)),
        );
        return;
      }
      this.socket.write(encodeMessage({ type: 'call', serial, ...call }));
    });
  }

  async listen(
    match: { readonly interface: string; readonly member: string; readonly path?: string },
    listener: (signal: Signal) => void,
  ): Promise<() => void> {
    const hear = (signal: Signal): void => {
      if (signal.interface !== match.interface || signal.member !== match.member) return;
      if (match.path === undefined || match.path === signal.path) listener(signal);
    };
    this.listeners.add(hear);
    const parts = { type: 'signal', ...match };
    const rule = Object.entries(parts).map(([key, value]) => `${key}='${value}'`);
    await this.call({ ...BUS, member: 'AddMatch', signature: 's', body: [rule.join(',')] });
    return () => this.listeners.delete(hear);
  }

  emit(signal: Signal & { readonly signature: string }): void {
    this.socket.write(encodeMessage({ type: 'signal', serial: this.nextSerial(), ...signal }));
  }

  close(): void {
    this.socket.destroy();
  }

  private nextSerial(): number {
    this.serial = (this.serial % 0xffff_ffff) + 1;
    return this.serial;
  }

  private settle(serial: number, how: (open: Open) => void): void {
    const open = this.open.get(serial);
    if (open === undefined) return;
    this.open.delete(serial);
    open.timer.cancel();
    how(open);
  }

  private receive(chunk: Buffer): void {
    try {
      this.reader.receive(chunk);
    } catch {
      // Out of step with the bus nothing more can be understood.
      this.socket.destroy();
    }
  }

  private handle(message: Message): void {
    const { type, replySerial = 0, body = [], path = '', member = '' } = message;
    switch (type) {
      case 'return':
        this.settle(replySerial, ({ resolve }) => resolve(body));
        return;
      case 'error':
        this.settle(replySerial, ({ reject, what }) => reject(answeredError(what, message)));
        return;
      case 'signal':
        for (const listener of [...this.listeners])
          listener({ path, interface: message.interface ?? '', member, body });
        return;
      case 'call':
        this.answerCall(message);
    }
  }

  private answerCall(call: Message): void {
    if (call.noReply === true) return;
    const to = {
      serial: this.nextSerial(),
      replySerial: call.serial,
      ...(call.sender === undefined ? {} : { destination: call.sender }),
    };
    try {
      const answer = this.deps.answer?.(call);
      if (answer === undefined)
        throw new CodedError('Unimplemented', `there is no ${call.interface}.${call.member} here`);
      this.socket.write(encodeMessage({ type: 'return', ...to, ...answer }));
    } catch (error) {
      const named = error instanceof CodedError ? error.metadata['dbusError'] : undefined;
      const errorName = typeof named === 'string' ? named : 'org.freedesktop.DBus.Error.UnknownMethod';
      this.socket.write(encodeMessage({ type: 'error', ...to, errorName, signature: 's', body: [messageOf(error)] }));
    }
  }
}

function answeredError(what: string, { errorName = '', body = [] }: Message): CodedError {
  const [text] = body;
  const why = typeof text === 'string' ? text : errorName;
  const unknown = /\.(ServiceUnknown|NameHasNoOwner|NoReply|Disconnected)$/.test(errorName);
  return new CodedError(unknown ? 'Unavailable' : 'CommandFailed', `${what}: ${why}`, { dbusError: errorName });
}
