import {
  Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  connectivityState,
  credentials,
  type ServiceError,
} from '@grpc/grpc-js';
import { RetryDelays } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import type { Method, StreamMethod } from './generated/services.js';
import { criError } from './grpc-status.ts';

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

export interface CallOptions {
  /** What the call is about, for error messages. */
  readonly subject?: string;
  /** undefined: no deadline. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface StreamOptions<Response> {
  readonly signal: AbortSignal;
  onMessage(message: Response): void;
}

/**
 * Calls over one unix socket. Where nothing listens a call fails at once with Unavailable, and a later call tries to
 * connect anew, at most every 100 ms at first and every half second in the long run (kubelet: up to 3 s), so that
 * calls succeed soon after the runtime is back.
 */
export class Channel {
  private client: Client;
  private renewedAt = Number.NEGATIVE_INFINITY;
  private renewAfterMs = 0;
  private closed = false;
  private readonly delays = new RetryDelays({ baseMs: 100, maxMs: 500 });
  private readonly inFlight = new Set<{ cancel(): void }>();
  private readonly endpoint: string;
  private readonly clock: Clock;

  /** `endpoint` is unix:///path/to.sock, or a path. */
  constructor(endpoint: string, clock: Clock) {
    this.endpoint = endpoint.includes('://') ? endpoint : `unix://${endpoint}`;
    if (!this.endpoint.startsWith('unix:')) {
      throw new CodedError(
        'InvalidConfig',
        `container runtime endpoint ${JSON.stringify(endpoint)} must be a unix socket: unix:///path`,
        { endpoint },
      );
    }
    this.clock = clock;
    this.client = this.connect();
  }

  unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    options: CallOptions,
  ): Promise<Response> {
    const { signal, timeoutMs, subject = '' } = options;
    const operation = operationOf(method.path);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(aborted(operation, subject, signal.reason));
      if (this.closed) return reject(criError({ code: 14, details: 'the client is closed' }, operation, subject));
      let call: ClientUnaryCall | undefined;
      const cancel = (): void => call?.cancel();
      const done = (error: ServiceError | null, response?: Response): void => {
        if (call !== undefined) this.inFlight.delete(call);
        signal?.removeEventListener('abort', cancel);
        if (error === null && response !== undefined) resolve(response);
        else if (signal?.aborted) reject(aborted(operation, subject, signal.reason));
        else reject(criError(error ?? { code: 13, details: 'no answer' }, operation, subject, error));
      };
      call = this.ready().makeUnaryRequest(
        method.path,
        method.encode,
        method.decode,
        request,
        timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs },
        done,
      );
      this.inFlight.add(call);
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** Resolves when the server ends the stream or `signal` aborts; throws CodedError when it breaks. */
  stream<Request, Response>(
    method: StreamMethod<Request, Response>,
    request: Request,
    options: StreamOptions<Response>,
  ): Promise<void> {
    const { signal, onMessage } = options;
    const operation = operationOf(method.path);
    return new Promise((resolve, reject) => {
      if (signal.aborted) return resolve();
      if (this.closed) return reject(criError({ code: 14, details: 'the client is closed' }, operation, ''));
      const call: ClientReadableStream<Response> = this.ready().makeServerStreamRequest(
        method.path,
        method.encode,
        method.decode,
        request,
      );
      const cancel = (): void => call.cancel();
      const end = (error: unknown): void => {
        this.inFlight.delete(call);
        signal.removeEventListener('abort', cancel);
        if (error === undefined || signal.aborted) resolve();
        else reject(error);
      };
      this.inFlight.add(call);
      signal.addEventListener('abort', cancel, { once: true });
      call.on('data', (message: Response) => {
        try {
          onMessage(message);
        } catch (error) {
          end(error);
          call.cancel();
        }
      });
      call.on('error', (error: ServiceError) => end(criError(error, operation, '', error)));
      call.on('end', () => end(undefined));
    });
  }

  /** Ends all calls; later ones fail with Unavailable. */
  close(): void {
    this.closed = true;
    for (const call of [...this.inFlight]) call.cancel();
    this.client.close();
  }

  /** The client to call with; a new one where the last could not connect, as its own back-off cannot be cut short. */
  private ready(): Client {
    const state = this.client.getChannel().getConnectivityState(false);
    if (state === connectivityState.READY) {
      this.delays.reset();
      this.renewAfterMs = 0;
    } else if (state === connectivityState.TRANSIENT_FAILURE) {
      const now = this.clock.monotonic();
      if (now - this.renewedAt >= this.renewAfterMs) {
        this.client.close();
        this.client = this.connect();
        this.renewedAt = now;
        this.renewAfterMs = this.delays.next();
      }
    }
    return this.client;
  }

  private connect(): Client {
    return new Client(this.endpoint, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 3000,
      // Shared subchannels would carry one client's back-off over to its successor.
      'grpc.use_local_subchannel_pool': 1,
      // Without these, each channel keeps traces and each call a copy of its messages.
      'grpc.enable_channelz': 0,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
    });
  }
}

/** "/runtime.v1.RuntimeService/RunPodSandbox" → "RunPodSandbox". */
function operationOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function aborted(operation: string, subject: string, reason: unknown): CodedError {
  const what = subject === '' ? operation : `${operation} ${subject}`;
  return new CodedError('Aborted', `${what}: given up by the caller`, { operation, subject }, reason);
}
