import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { HarnessRun, StartedProcess } from './harness-run.ts';
import { waitFor } from './wait-for.ts';

export interface HttpRequest {
  /** From `agent`: connections are kept and used again. */
  readonly agent?: https.Agent;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** For https. */
  readonly tls?: tls.ConnectionOptions;
  readonly timeoutMs?: number;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** From before the connection was made until the last byte. */
  readonly ms: number;
}

// Runs inside the namespace: one line "host port" comes in, "+" or "-<code> <message>\n" goes back, then bytes both ways.
const CHILD = `
import net from 'node:net';
const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (near) => {
  near.once('readable', function first() {
    const chunk = near.read();
    if (chunk === null) return near.once('readable', first);
    const [host, port] = chunk.toString().trim().split(' ');
    const far = net.connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true });
    let connected = false;
    far.on('connect', () => { connected = true; near.write('+'); near.pipe(far); far.pipe(near); });
    far.on('error', (error) => {
      if (connected) near.destroy(); else near.end('-' + error.code + ' ' + error.message + '\\n');
    });
    near.on('error', () => far.destroy());
    near.on('close', () => far.destroy());
  });
  near.on('error', () => {});
});
server.listen(process.argv[1]);
`;

/**
 * Connections that begin in another network namespace: a small process in there listens on a unix socket and dials for
 * us, so that one test process talks in many namespaces.
 */
export class NetnsDialer {
  private readonly socketPath: string;
  private readonly end: () => Promise<void>;

  private constructor(socketPath: string, end: () => Promise<void>) {
    this.socketPath = socketPath;
    this.end = end;
  }

  /** `name` tells it from others in the same namespace. */
  static async start(run: HarnessRun, netns: string, name?: string): Promise<NetnsDialer> {
    const socketPath = `${run.paths.runDir}/dial-${name ?? (netns.slice(run.name.length + 1) || 'node')}.sock`;
    const argv = [process.execPath, '--max-semi-space-size=1', '--input-type=module', '--eval', CHILD, socketPath];
    const child: StartedProcess = run.spawn(`dialer-${name ?? netns}`, argv, { netns });
    const dialer = new NetnsDialer(socketPath, () => run.stop(child, 0));
    await waitFor(`the dialer in ${netns}`, async () => (await dialer.reachable()) || undefined, {
      intervalMs: 10,
      giveUp: () => (child.exitCode === undefined ? undefined : new Error(`it ended; see ${child.logFile}`)),
    });
    return dialer;
  }

  /** A TCP connection made in the namespace. Rejects with the dialling error and its code, such as ECONNREFUSED. */
  connect(host: string, port: number, timeoutMs = 10_000): Promise<net.Socket> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ path: this.socketPath, allowHalfOpen: true });
      const fail = (error: Error): void => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const timer = setTimeout(() => {
        fail(Object.assign(new Error(`connect ${host}:${port}: no answer in ${timeoutMs} ms`), { code: 'ETIMEDOUT' }));
      }, timeoutMs);
      socket.once('error', fail);
      socket.write(`${host} ${port}\n`);
      const onEnd = (): void => fail(new Error(`connect ${host}:${port}: the dialer closed`));
      const onReadable = (): void => {
        const first = socket.read(1) as Buffer | null;
        if (first === null) return;
        socket.off('readable', onReadable);
        if (first.toString() === '+') {
          clearTimeout(timer);
          socket.off('error', fail);
          socket.off('end', onEnd);
          resolve(socket);
          return;
        }
        const [code = '', ...words] = ((socket.read() as Buffer | null)?.toString() ?? '').trim().split(' ');
        fail(Object.assign(new Error(words.join(' ')), { code }));
      };
      socket.on('readable', onReadable);
      socket.once('end', onEnd);
    });
  }

  /** One HTTP or HTTPS request on a connection of its own. Redirects are not followed. */
  async request(url: string, request: HttpRequest = {}): Promise<HttpResponse> {
    const started = performance.now();
    const response = await this.open(url, request);
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
          ms: performance.now() - started,
        }),
      );
    });
  }

  /** As `request`, but resolves at the head: for streams. Destroy the message to end it. */
  async open(url: string, request: HttpRequest = {}): Promise<http.IncomingMessage> {
    const { protocol, hostname, port, pathname, search } = new URL(url);
    const secure = protocol === 'https:';
    const timeoutMs = request.timeoutMs ?? 10_000;
    const stream = request.agent === undefined ? await this.stream(url, request) : undefined;
    return new Promise((resolve, reject) => {
      const outgoing = (secure ? https : http).request(
        {
          method: request.method ?? 'GET',
          host: hostname,
          port,
          path: `${pathname}${search}`,
          headers: { ...(stream && { connection: 'close' }), ...request.headers },
          ...(stream === undefined ? { agent: request.agent } : { createConnection: () => stream }),
        },
        (response) => {
          clearTimeout(timer);
          resolve(response);
        },
      );
      const timer = setTimeout(() => {
        outgoing.destroy(Object.assign(new Error(`${url}: no answer in ${timeoutMs} ms`), { code: 'ETIMEDOUT' }));
      }, timeoutMs);
      outgoing.on('error', (error) => {
        clearTimeout(timer);
        stream?.destroy();
        reject(error);
      });
      outgoing.end(request.body);
    });
  }

  /** Keeps TLS connections to one server in the namespace open between requests. */
  agent(host: string, port: number, options: tls.ConnectionOptions): https.Agent {
    const agent = new https.Agent({ keepAlive: true });
    agent.createConnection = (_options, created) => {
      this.connect(host, port).then(
        (socket) => created?.(null, tls.connect({ ...options, socket })),
        (error: Error) => created?.(error, new net.Socket()),
      );
      return undefined;
    };
    return agent;
  }

  private async stream(url: string, { tls: options, timeoutMs }: HttpRequest): Promise<Duplex> {
    const { protocol, hostname, port } = new URL(url);
    const secure = protocol === 'https:';
    const socket = await this.connect(hostname, Number(port) || (secure ? 443 : 80), timeoutMs);
    return secure ? tls.connect({ ...options, socket }) : socket;
  }

  /** Ends the process in the namespace, and with it every connection. */
  close(): Promise<void> {
    return this.end();
  }

  private reachable(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = net.connect(this.socketPath);
      socket.on('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
  }
}
