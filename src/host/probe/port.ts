import type { HTTPHeader } from '../../model/pod.ts';

/**
 * The network side of probes and lifecycle hooks (kubelet's pkg/probe/http, tcp, grpc). A reply is what the target
 * said, good or bad; a thrown CodedError means that nothing can be said (a body that broke off, a closed port object)
 * and that the attempt may be made again.
 */
export interface ProbePort {
  httpGet(request: HttpGetRequest): Promise<ProbeReply>;
  tcpSocket(request: TcpSocketRequest): Promise<ProbeReply>;
  grpc(request: GrpcRequest): Promise<ProbeReply>;
  /**
   * A lifecycle hook's GET: any answer is good, whatever its status. An https target that speaks plain HTTP is asked
   * again in plain HTTP. Throws Unavailable, DeadlineExceeded or Aborted.
   */
  httpHook(request: HttpGetRequest, signal?: AbortSignal): Promise<HttpHookReply>;
  /** Breaks off everything under way (it throws Aborted); nothing starts afterwards. */
  close(): void;
}

export interface HttpGetRequest {
  readonly scheme: 'http' | 'https';
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** With or without a leading slash; may carry a query. */
  readonly path: string;
  /** "Host" overrides the authority; an empty "Accept" removes that header. */
  readonly headers: readonly HTTPHeader[];
  /** For the whole exchange with its redirects. */
  readonly timeoutMs: number;
}

export interface TcpSocketRequest {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}

export interface GrpcRequest extends TcpSocketRequest {
  /** As in grpc.health.v1.HealthCheckRequest; "" asks for the whole server. */
  readonly service: string;
}

export interface ProbeReply {
  /** `warning` counts as success and is told to the user (ProbeWarning). */
  readonly verdict: 'success' | 'warning' | 'failure';
  /** At most 10 KiB, empty on success. */
  readonly output: string;
}

export interface HttpHookReply {
  readonly status: number;
  /** https was asked for, http was spoken. */
  readonly fellBackToHttp: boolean;
}

/** kubelet reads no more of a probe's output (pkg/probe/http maxRespBodyLength, prober maxProbeMessageLength). */
export const MAX_OUTPUT_BYTES = 10 * 1024;
