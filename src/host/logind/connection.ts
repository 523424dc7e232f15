import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { encodeMessage, type Message } from '../dbus/message.ts';
import type { DBusValue, MethodCall } from '../dbus/port.ts';
import { BusReader } from '../dbus/reader.ts';
import { connectDescriptorSocket, type DescriptorSocket, type ReceivedDescriptor } from './descriptor-socket.ts';

interface Reply {
  readonly body: readonly DBusValue[];
  readonly descriptors: readonly ReceivedDescriptor[];
}

interface Pending {
  readonly what: string;
  resolve(reply: Reply): void;
  reject(error: CodedError): void;
}

/** Whatever the bus takes longer for has hung. */
const CALL_MS = 10_000;
const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

/**
 * A connection to a message bus: calls, replies, signals, and what host/dbus has not: file descriptors that come with
 * replies.
 */
export class DBusConnection {
  /** Resolves when the connection has ended, with why. */
  readonly ended: Promise<string>;
  private readonly clock: Pick<Clock, 'after'>;
  private readonly link: DescriptorSocket;
  private readonly pending = new Map<number, Pending>();
  private readonly listeners = new Set<(signal: Message) => void>();
  private readonly reader: BusReader;
  private received: ReceivedDescriptor[] = [];
  private onLine: ((line: string) => void) | undefined;
  private over: string | undefined;
  private tellEnd: (why: string) => void = () => {};
  private serial = 0;

  private constructor(link: DescriptorSocket, clock: Pick<Clock, 'after'>) {
    this.link = link;
    this.clock = clock;
    this.ended = new Promise((resolve) => {
      this.tellEnd = resolve;
    });
    this.reader = new BusReader({
      onLine: (line) => this.onLine?.(line),
      onMessage: (message) => this.dispatch(message),
    });
    link.socket.on('data', (piece) => {
      try {
        this.take(piece);
      } catch (error) {
        this.end(messageOf(error));
      }
    });
    link.socket.on('error', (error) => this.end(error.message));
    link.socket.on('close', () => this.end('the bus has closed the connection'));
    // Neither a daemon that ends nor a test waits for a bus.
    link.socket.unref();
  }

  /** Connects, authenticates as this process's user, and says hello. */
  static async open(path: string, deps: { readonly clock: Pick<Clock, 'after'> }): Promise<DBusConnection> {
    const connection = new DBusConnection(await connectDescriptorSocket(path), deps.clock);
    try {
      await connection.authenticate();
      await connection.call({ ...BUS, member: 'Hello' });
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Asks the bus for the signals that a rule describes, and tells of all that come in. */
  async subscribe(rule: string, listener: (signal: Message) => void): Promise<void> {
    this.listeners.add(listener);
    await this.call({ ...BUS, member: 'AddMatch', signature: 's', body: [rule] });
  }

  call(call: MethodCall): Promise<Reply> {
    const what = `${call.destination} ${call.member}`;
    if (this.over !== undefined) return Promise.reject(this.unavailable(what));
    const serial = ++this.serial;
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(CALL_MS, () => {
        this.pending.delete(serial);
        reject(new CodedError('DeadlineExceeded', `${what}: no answer within ${CALL_MS} ms`));
      });
      this.pending.set(serial, {
        what,
        resolve: (reply) => {
          timer.cancel();
          resolve(reply);
        },
        reject: (error) => {
          timer.cancel();
          reject(error);
        },
      });
      this.link.socket.write(encodeMessage({ type: 'call', serial, ...call }));
    });
  }

  close(): void {
    this.end('closed');
  }

  private async authenticate(): Promise<void> {
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
    const said = await this.line(`\0AUTH EXTERNAL ${uid}\r\n`);
    if (!said.startsWith('OK ')) throw new CodedError('Forbidden', `the bus refuses this user: ${said}`);
    const agreed = await this.line('NEGOTIATE_UNIX_FD\r\n');
    if (agreed !== 'AGREE_UNIX_FD') {
      throw new CodedError('Unimplemented', `the bus passes no file descriptors: ${agreed}`);
    }
    this.reader.begin();
    this.link.socket.write('BEGIN\r\n');
  }

  private line(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(CALL_MS, () => reject(new CodedError('DeadlineExceeded', 'the bus says nothing')));
      this.onLine = (line) => {
        timer.cancel();
        resolve(line);
      };
      void this.ended.then((why) => {
        timer.cancel();
        reject(new CodedError('Unavailable', `the bus: ${why}`));
      });
      this.link.socket.write(text, 'latin1');
    });
  }

  private take(piece: Buffer): void {
    const descriptor = this.link.take();
    if (descriptor !== undefined) this.received.push(descriptor);
    this.reader.receive(piece);
  }

  private dispatch(message: Message): void {
    const { body = [] } = message;
    const descriptors = this.received.splice(0, message.fileDescriptors ?? 0);
    const pending = this.pending.get(message.replySerial ?? -1);
    if (message.type === 'signal') for (const listener of this.listeners) listener(message);
    if (pending === undefined || (message.type !== 'return' && message.type !== 'error')) {
      // Nobody asked for these.
      for (const descriptor of descriptors) descriptor.close();
      return;
    }
    this.pending.delete(message.replySerial ?? -1);
    if (message.type === 'return') pending.resolve({ body, descriptors });
    else {
      for (const descriptor of descriptors) descriptor.close();
      const said = typeof body[0] === 'string' ? body[0] : '';
      const text = `${pending.what}: ${message.errorName ?? 'an error'}: ${said}`;
      pending.reject(new CodedError('CommandFailed', text, { dbusError: message.errorName }));
    }
  }

  private end(why: string): void {
    if (this.over !== undefined) return;
    this.over = why;
    for (const descriptor of this.received.splice(0)) descriptor.close();
    for (const { what, reject } of this.pending.values()) reject(this.unavailable(what));
    this.pending.clear();
    this.link.socket.destroy();
    this.tellEnd(why);
  }

  private unavailable(what: string): CodedError {
    return new CodedError('Unavailable', `${what}: ${this.over}`);
  }
}
