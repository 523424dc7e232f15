import { CodedError } from '../../kit/errors.ts';
import type { IntOrString } from '../../model/meta.ts';
import type { Container, HTTPGetAction, HTTPHeader, Probe } from '../../model/pod.ts';
import type { ProbeKind } from './port.ts';
import type { ProbePlan } from './probe-state.ts';

/** What one attempt does, with names resolved and defaults filled in. */
export type ProbeAction =
  | {
      readonly type: 'httpGet';
      readonly scheme: 'http' | 'https';
      readonly host: string;
      readonly port: number;
      readonly path: string;
      readonly headers: readonly HTTPHeader[];
    }
  | { readonly type: 'tcpSocket'; readonly host: string; readonly port: number }
  | { readonly type: 'grpc'; readonly host: string; readonly port: number; readonly service: string }
  | { readonly type: 'exec'; readonly command: readonly string[] }
  /** The probe cannot be made as it is written (or not yet): each attempt is an error that says why. */
  | { readonly type: 'impossible'; readonly reason: string };

const DEFAULTS = { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 };

// A network attempt costs a connection; an exec attempt starts a process in the container.
const EAGER_NETWORK_MS = 25;
const EAGER_EXEC_MS = 500;

export function planOf(kind: ProbeKind, probe: Probe): ProbePlan {
  return {
    kind,
    periodMs: positive(probe.periodSeconds, DEFAULTS.periodSeconds) * 1000,
    initialDelayMs: Math.max(0, probe.initialDelaySeconds ?? 0) * 1000,
    successThreshold: positive(probe.successThreshold, DEFAULTS.successThreshold),
    failureThreshold: positive(probe.failureThreshold, DEFAULTS.failureThreshold),
    eagerMs: probe.exec === undefined ? EAGER_NETWORK_MS : EAGER_EXEC_MS,
  };
}

export function timeoutSecondsOf(probe: Probe): number {
  return positive(probe.timeoutSeconds, DEFAULTS.timeoutSeconds);
}

export function actionOf(probe: Probe, container: Container | undefined, podIP: string | undefined): ProbeAction {
  if (probe.exec !== undefined) return { type: 'exec', command: probe.exec.command ?? [] };
  try {
    if (probe.httpGet !== undefined) return { type: 'httpGet', ...httpTarget(probe.httpGet, container, podIP) };
    if (probe.tcpSocket !== undefined) {
      const { host, port } = probe.tcpSocket;
      return { type: 'tcpSocket', host: hostOf(host, podIP), port: resolvePort(port, container) };
    }
    if (probe.grpc !== undefined) {
      const { port, service } = probe.grpc;
      return {
        type: 'grpc',
        host: hostOf(undefined, podIP),
        port: resolvePort(port, container),
        service: service ?? '',
      };
    }
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return { type: 'impossible', reason: error.message };
  }
  return { type: 'impossible', reason: 'missing probe handler: needs one of exec, httpGet, tcpSocket, grpc' };
}

export interface HttpTarget {
  readonly scheme: 'http' | 'https';
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: readonly HTTPHeader[];
}

/** Where an httpGet goes: a probe's or a lifecycle hook's. Throws InvalidArgument (port) or Unavailable (no pod IP). */
export function httpTarget(
  action: HTTPGetAction,
  container: Container | undefined,
  podIP: string | undefined,
): HttpTarget {
  const path = action.path ?? '';
  return {
    scheme: action.scheme?.toLowerCase() === 'https' ? 'https' : 'http',
    host: hostOf(action.host, podIP),
    port: resolvePort(action.port, container),
    path: path.startsWith('/') ? path : `/${path}`,
    headers: action.httpHeaders ?? [],
  };
}

/** A number, a number in a string, or the name of one of the container's ports. Throws InvalidArgument. */
export function resolvePort(port: IntOrString, container: Container | undefined): number {
  let number = Number.NaN;
  if (typeof port === 'number') number = port;
  else {
    const named = container?.ports?.find((candidate) => candidate.name === port);
    if (named !== undefined) number = named.containerPort;
    else if (/^\d+$/.test(port)) number = Number(port);
    else {
      const known = (container?.ports ?? []).map((candidate) => candidate.name).filter((name) => name !== undefined);
      throw new CodedError(
        'InvalidArgument',
        `couldn't find port ${JSON.stringify(port)} among the ports of container ${container?.name ?? '?'} (${known.join(', ') || 'it names none'})`,
      );
    }
  }
  if (!Number.isInteger(number) || number < 1 || number > 65_535) {
    throw new CodedError('InvalidArgument', `invalid port number: ${port}, needs 1 to 65535`);
  }
  return number;
}

function hostOf(host: string | undefined, podIP: string | undefined): string {
  const chosen = host === undefined || host === '' ? podIP : host;
  if (chosen === undefined || chosen === '') throw new CodedError('Unavailable', 'the pod has no IP address yet');
  // Some people write IPv6 addresses as in a URL.
  return chosen.replace(/^\[(.*)\]$/, '$1');
}

function positive(value: number | undefined, fallback: number): number {
  return value === undefined || value <= 0 ? fallback : value;
}
