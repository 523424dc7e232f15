import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { encodeMessage, type Message } from '../../src/host/dbus/message.ts';
import { BusReader } from '../../src/host/dbus/reader.ts';
import type { PrivateBus } from './private-bus.ts';

interface Lock {
  readonly what: string;
  readonly who: string;
  readonly why: string;
  readonly mode: string;
  /** The reading end of the FIFO whose writing end the holder has. */
  readonly fd: number;
}

// Passing descriptors is what Node does for its own child processes only.
// biome-ignore lint/suspicious/noExplicitAny: Node's bindings have no types.
const binding = (name: string): any => (process as unknown as { binding(name: string): unknown }).binding(name);

/**
 * A login manager as systemd-logind is one towards those who inhibit a shutdown: it owns the name on the bus, gives out
 * locks as descriptors of FIFOs, reads its delay from drop-ins when it gets SIGHUP by systemd's KillUnit (whose part it
 * plays as well), and holds a shutdown up until its locks are gone or the delay is over.
 */
export class TestLogind {
  readonly locks: Lock[] = [];
  readonly killed: string[] = [];
  private readonly directory: string;
  private readonly dropIns: string;
  // biome-ignore lint/suspicious/noExplicitAny: see above.
  private readonly handle: any;
  private readonly socket: Socket;
  private readonly reader = new BusReader({
    onLine: (line) => this.onLine?.(line),
    onMessage: (message) => this.take(message),
  });
  private serial = 0;
  private delaySeconds: number;
  private onLine: ((line: string) => void) | undefined;

  private constructor(directory: string, dropIns: string, delaySeconds: number, handle: unknown) {
    this.directory = directory;
    this.dropIns = dropIns;
    this.delaySeconds = delaySeconds;
    this.handle = handle;
    this.socket = new Socket({ handle } as ConstructorParameters<typeof Socket>[0]);
    this.socket.on('data', (piece) => this.reader.receive(piece));
    this.socket.on('error', () => {});
  }

  static async start(bus: PrivateBus, directory: string, options: { delaySeconds?: number } = {}): Promise<TestLogind> {
    const { Pipe, PipeConnectWrap, constants: types } = binding('pipe_wrap');
    const handle = new Pipe(types.IPC);
    await new Promise<void>((resolve, reject) => {
      const request = new PipeConnectWrap();
      request.oncomplete = (status: number) => (status === 0 ? resolve() : reject(new Error(`connect: ${status}`)));
      handle.connect(request, bus.path);
    });
    const logind = new TestLogind(directory, `${directory}/logind.conf.d`, options.delaySeconds ?? 5, handle);
    await logind.hello();
    return logind;
  }

  /** Where a drop-in has to be for it to be read. */
  get dropInDirectory(): string {
    return this.dropIns;
  }

  /** Locks that are held by somebody. */
  held(): Lock[] {
    const byte = Buffer.alloc(1);
    return this.locks.filter(({ fd }) => {
      try {
        return readSync(fd, byte, 0, 1, null) !== 0;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'EAGAIN';
      }
    });
  }

  /** Announces a shutdown; resolves with what held it up, in milliseconds, when nothing does any more. */
  async shutDown(): Promise<number> {
    const begun = performance.now();
    this.announce(true);
    while (this.held().length > 0 && performance.now() - begun < this.delaySeconds * 1000) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return performance.now() - begun;
  }

  callOff(): void {
    this.announce(false);
  }

  close(): void {
    for (const { fd } of this.locks) closeSync(fd);
    this.socket.destroy();
  }

  private announce(active: boolean): void {
    this.send({
      type: 'signal',
      serial: ++this.serial,
      path: '/org/freedesktop/login1',
      interface: 'org.freedesktop.login1.Manager',
      member: 'PrepareForShutdown',
      signature: 'b',
      body: [active],
    });
  }

  private async hello(): Promise<void> {
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
    await this.line(`\0AUTH EXTERNAL ${uid}\r\n`);
    await this.line('NEGOTIATE_UNIX_FD\r\n');
    this.reader.begin();
    this.socket.write('BEGIN\r\n');
    const bus = { type: 'call', destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' } as const;
    const ask = (member: string, what: Pick<Message, 'signature' | 'body'> = {}): void =>
      this.send({ ...bus, serial: ++this.serial, interface: 'org.freedesktop.DBus', member, ...what });
    ask('Hello');
    const owned = new Promise<void>((resolve) => {
      this.onReply = resolve;
    });
    ask('RequestName', { signature: 'su', body: ['org.freedesktop.systemd1', 0] });
    ask('RequestName', { signature: 'su', body: ['org.freedesktop.login1', 0] });
    this.lastHello = this.serial;
    await owned;
  }

  private lastHello = 0;
  private onReply: (() => void) | undefined;

  private line(text: string): Promise<string> {
    return new Promise((resolve) => {
      this.onLine = resolve;
      this.socket.write(text, 'latin1');
    });
  }

  private take(message: Message): void {
    if (message.type === 'call') this.answer(message);
    else if (message.replySerial === this.lastHello) this.onReply?.();
  }

  private answer(call: Message): void {
    const reply = { type: 'return', serial: ++this.serial, replySerial: call.serial } as const;
    const to = call.sender === undefined ? {} : { destination: call.sender };
    switch (call.member) {
      case 'Get': {
        const delay = { signature: 't', value: BigInt(this.delaySeconds) * 1_000_000n };
        this.send({ ...reply, ...to, signature: 'v', body: [delay] });
        return;
      }
      case 'KillUnit':
        this.killed.push((call.body ?? []).join(' '));
        this.send({ ...reply, ...to });
        // It takes the real one a moment as well.
        setTimeout(() => this.readDropIns(), 150);
        return;
      case 'Inhibit':
        this.inhibit(call, { ...reply, ...to });
        return;
      default: {
        const errorName = 'org.freedesktop.DBus.Error.UnknownMethod';
        this.send({ ...reply, ...to, type: 'error', errorName, signature: 's', body: [`no ${call.member}`] });
      }
    }
  }

  private inhibit(call: Message, reply: Omit<Message, 'body'>): void {
    const [what = '', who = '', why = '', mode = ''] = (call.body ?? []).map(String);
    const path = `${this.directory}/${randomUUID()}.ref`;
    execFileSync('mkfifo', [path]);
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const given = openSync(path, constants.O_WRONLY);
    this.locks.push({ what, who, why, mode, fd });
    const { Pipe, constants: types } = binding('pipe_wrap');
    const { WriteWrap } = binding('stream_wrap');
    const pipe = new Pipe(types.SOCKET);
    pipe.open(given);
    const request = new WriteWrap();
    request.oncomplete = () => pipe.close();
    const message = encodeMessage({ ...reply, signature: 'h', fileDescriptors: 1, body: [0] });
    const status = this.handle.writeLatin1String(request, message.toString('latin1'), pipe);
    if (status !== 0) throw new Error(`a descriptor could not be sent: ${status}`);
  }

  private readDropIns(): void {
    if (!existsSync(this.dropIns)) return;
    for (const name of readdirSync(this.dropIns).sort()) {
      const seconds = /^InhibitDelayMaxSec=(\d+)$/m.exec(readFileSync(`${this.dropIns}/${name}`, 'utf8'))?.[1];
      if (seconds !== undefined) this.delaySeconds = Number(seconds);
    }
  }

  private send(message: Message): void {
    this.socket.write(encodeMessage(message));
  }
}
