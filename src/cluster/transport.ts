import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

export interface TransportRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | number | string[]>>;
  readonly body: Buffer | undefined;
  /** Lives long (a watch): it shares no place with the short ones. */
  readonly long: boolean;
  readonly signal: AbortSignal;
  /** The connection that carries the answer is to be left: new ones are made with other credentials. */
  readonly onRetire?: (() => void) | undefined;
}

export interface TransportAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Read to its end or destroyed by the caller. */
  readonly body: Readable;
}

/** A request that got no answer. */
export interface TransportFailure {
  readonly error: unknown;
  /** The server has certainly not begun it, or it met a kept connection that was just closing: asking again is safe. */
  readonly retry: 'always' | 'reads' | 'never';
}

/** One protocol with the connections of one generation of credentials. */
export interface Lane {
  readonly generation: number;
  request(request: TransportRequest): Promise<TransportAnswer | TransportFailure>;
  /** No new requests come; what runs ends where it is, watches are told. */
  retire(): void;
  close(): void;
}

/** The server speaks another protocol than when it was asked last: the lane is of no more use. */
export class ProtocolChanged extends Error {
  constructor() {
    super('the server no longer speaks HTTP/2');
  }
}
