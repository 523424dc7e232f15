import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import type { Clock } from '../../kit/clock.ts';
import { CodedError, messageOf } from '../../kit/errors.ts';
import { TimerWheel, type WheelTimer } from '../../kit/timer-wheel.ts';
import { CHECK_PATH, decodeCheck, encodeCheck } from './grpc-health.ts';
import { HttpExchange, type HttpOutcome, makeHttpAgents } from './http-exchange.ts';
import { addressOf, describeNetworkError } from './network-error.ts';
import {
  type GrpcRequest,
  type HttpGetRequest,
  type HttpHookReply,
  MAX_OUTPUT_BYTES,
  type ProbePort,
  type ProbeReply,
  type TcpSocketRequest,
} from './port.ts';

export interface RealProbeOptions {
  /** "1.36": what the targets see as kube-probe/1.36 and kube-lifecycle/1.36. */
  readonly kubernetesVersion: string;
}

export interface RealProbeDeps {
  readonly clock: Clock;
}

const SUCCESS: ProbeReply = { verdict: 'success', output: '' };
const GRPC_UNIMPLEMENTED = '12';
const GRPC_DEADLINE_EXCEEDED = '4';

/** Something under way: what to do when its time is up and when all is broken off. */
interface Running {
  readonly timer: WheelTimer;
  readonly abort: () => void;
}

/** Probes over real sockets, all deadlines on one wheel. */
export class RealProbe implements ProbePort {
  private readonly clock: Clock;
  private readonly wheel: TimerWheel;
  private readonly agents = makeHttpAgents();
  private readonly running = new Set<Running>();
  private readonly probeAgent: string;
  private readonly hookAgent: string;
  private closed = false;

  constructor(options: RealProbeOptions, deps: RealProbeDeps) {
    this.clock = deps.clock;
    this.wheel = new TimerWheel({ slots: 256, tickMs: 8 }, { clock: deps.clock, onError: () => {} });
    this.probeAgent = `kube-probe/${options.kubernetesVersion}`;
    this.hookAgent = `kube-lifecycle/${options.kubernetesVersion}`;
  }

  async httpGet(request: HttpGetRequest): Promise<ProbeReply> {
    const outcome = await this.exchange(request, this.probeAgent);
    switch (outcome.kind) {
      case 'broken':
        throw outcome.error;
      case 'timedOut':
      case 'unreachable':
        return failure(outcome.reason);
      case 'answered':
        if (outcome.status >= 200 && outcome.status < 300) return SUCCESS;
        // What was not followed leads to another host (or nowhere): good enough, but worth a word.
        if (outcome.status >= 300 && outcome.status < 400) {
          return { verdict: 'warning', output: cut(`Probe terminated redirects, Response body: ${outcome.body}`) };
        }
        return failure(`HTTP probe failed with statuscode: ${outcome.status}`);
    }
  }

  async httpHook(request: HttpGetRequest, signal?: AbortSignal): Promise<HttpHookReply> {
    let outcome = await this.exchange(request, this.hookAgent, signal);
    let fellBackToHttp = false;
    if (outcome.kind === 'unreachable' && outcome.notTls) {
      // Hooks never spoke TLS before Kubernetes 1.23 whatever their scheme said (KEP-less, kubernetes#86139); a
      // credential meant for TLS does not go out in the clear.
      const headers = request.headers.filter((header) => header.name.toLowerCase() !== 'authorization');
      outcome = await this.exchange({ ...request, scheme: 'http', headers }, this.hookAgent, signal);
      fellBackToHttp = true;
    }
    switch (outcome.kind) {
      case 'answered':
        return { status: outcome.status, fellBackToHttp };
      case 'broken':
        throw outcome.error;
      case 'timedOut':
        throw new CodedError('DeadlineExceeded', outcome.reason);
      case 'unreachable':
        throw new CodedError('Unavailable', outcome.reason);
    }
  }

  tcpSocket(request: TcpSocketRequest): Promise<ProbeReply> {
    const address = addressOf(request.host, request.port);
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(aborted(`dial tcp ${address}`));
        return;
      }
      const socket: Socket = connectTcp({ host: request.host, port: request.port });
      const end = (): void => {
        this.stop(running);
        socket.destroy();
      };
      const running = this.start(
        request.timeoutMs,
        () => {
          end();
          resolve(failure(`dial tcp ${address}: i/o timeout`));
        },
        () => {
          end();
          reject(aborted(`dial tcp ${address}`));
        },
      );
      socket.on('connect', () => {
        end();
        resolve(SUCCESS);
      });
      socket.on('error', (error) => {
        end();
        resolve(failure(describeNetworkError(error, address)));
      });
    });
  }

  grpc(request: GrpcRequest): Promise<ProbeReply> {
    const address = addressOf(request.host, request.port);
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(aborted(`health check of ${address}`));
        return;
      }
      const seconds = request.timeoutMs / 1000;
      let connected = false;
      let settled = false;
      let session: ClientHttp2Session | undefined;
      const settle = (reply: ProbeReply): void => {
        if (settled) return;
        settled = true;
        this.stop(running);
        session?.destroy();
        resolve(reply);
      };
      const running = this.start(
        request.timeoutMs,
        () => {
          const text = connected
            ? `timeout: health rpc did not complete within ${seconds}s`
            : `timeout: failed to connect service "${address}" within ${seconds}s: context deadline exceeded`;
          settle(failure(text));
        },
        () => {
          if (settled) return;
          settled = true;
          this.stop(running);
          session?.destroy();
          reject(aborted(`health check of ${address}`));
        },
      );
      try {
        session = connectHttp2(`http://${address}`, { settings: { enablePush: false } });
      } catch (error) {
        settle(failure(`error: failed to connect service at "${address}": ${messageOf(error)}`));
        return;
      }
      const fail = (error: Error): void => {
        // The stream hears first of a connection that failed, with the true reason as the cause.
        const reason = describeNetworkError(error.cause ?? error, address);
        const where = connected ? 'health rpc probe failed' : `failed to connect service at "${address}"`;
        settle(failure(`error: ${where}: ${reason}`));
      };
      session.on('error', fail);
      // The server's settings prove that it speaks HTTP/2; a bare TCP connection proves nothing yet.
      session.on('remoteSettings', () => {
        connected = true;
      });
      session.on('close', () => settle(failure(`error: health rpc probe failed: ${address}: connection closed`)));
      const stream = session.request({
        ':method': 'POST',
        ':path': CHECK_PATH,
        te: 'trailers',
        'content-type': 'application/grpc',
        'user-agent': this.probeAgent,
        'grpc-timeout': `${Math.min(Math.ceil(request.timeoutMs), 99_999_999)}m`,
      });
      const chunks: Buffer[] = [];
      let length = 0;
      let status: string | undefined;
      let message = '';
      const note = (headers: Record<string, unknown>): void => {
        if (headers['grpc-status'] === undefined) return;
        status = String(headers['grpc-status']);
        message = decodeMessage(String(headers['grpc-message'] ?? ''));
      };
      stream.on('response', (headers) => {
        const httpStatus = headers[':status'];
        if (httpStatus !== 200) {
          settle(failure(`error: health rpc probe failed: unexpected HTTP status code ${httpStatus}`));
          return;
        }
        note(headers);
      });
      stream.on('trailers', note);
      stream.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length <= MAX_OUTPUT_BYTES) chunks.push(chunk);
      });
      stream.on('error', fail);
      stream.on('close', () => settle(grpcReply(status, message, Buffer.concat(chunks), seconds)));
      stream.end(encodeCheck(request.service));
    });
  }

  close(): void {
    this.closed = true;
    for (const running of [...this.running]) running.abort();
    this.wheel.close();
    this.agents.http.destroy();
    this.agents.https.destroy();
  }

  private async exchange(request: HttpGetRequest, userAgent: string, signal?: AbortSignal): Promise<HttpOutcome> {
    if (this.closed || signal?.aborted)
      throw aborted(`Get ${request.scheme}://${addressOf(request.host, request.port)}`);
    const exchange = new HttpExchange(request, this.agents, userAgent);
    const abort = (): void => exchange.abort();
    const running = this.start(request.timeoutMs, () => exchange.expire(), abort);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await exchange.outcome;
    } finally {
      signal?.removeEventListener('abort', abort);
      this.stop(running);
    }
  }

  private start(timeoutMs: number, expire: () => void, abort: () => void): Running {
    const running: Running = { timer: this.wheel.timerFor(expire), abort };
    if (Number.isFinite(timeoutMs)) running.timer.at(this.clock.monotonic() + timeoutMs);
    this.running.add(running);
    return running;
  }

  private stop(running: Running): void {
    running.timer.cancel();
    this.running.delete(running);
  }
}

function failure(output: string): ProbeReply {
  return { verdict: 'failure', output: cut(output) };
}

function aborted(what: string): CodedError {
  return new CodedError('Aborted', `${what}: the prober is closed or the caller gave up`);
}

function cut(text: string): string {
  return text.length <= MAX_OUTPUT_BYTES ? text : text.slice(0, MAX_OUTPUT_BYTES);
}

function grpcReply(status: string | undefined, message: string, frame: Buffer, seconds: number): ProbeReply {
  if (status === GRPC_UNIMPLEMENTED) {
    return failure(
      `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${message}`,
    );
  }
  if (status === GRPC_DEADLINE_EXCEEDED) return failure(`timeout: health rpc did not complete within ${seconds}s`);
  if (status === undefined) return failure('error: health rpc probe failed: the stream ended without a status');
  if (status !== '0') return failure(`error: health rpc probe failed: rpc error: code = ${status} desc = ${message}`);
  let name: string;
  try {
    name = decodeCheck(frame);
  } catch (error) {
    return failure(`error: health rpc probe failed: ${messageOf(error)}`);
  }
  return name === 'SERVING' ? SUCCESS : failure(`service unhealthy (responded with "${name}")`);
}

/** grpc-message is percent-encoded (gRPC over HTTP2, PROTOCOL-HTTP2.md). */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
