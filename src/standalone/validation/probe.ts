import type { IntOrString } from '../../model/meta.ts';
import { portNameErrors, portNumberError } from '../../model/names.ts';
import type { HTTPGetAction, Lifecycle, LifecycleHandler, Probe } from '../../model/pod.ts';
import type { FieldError } from '../port.ts';
import { child, forbidden, invalid, notSupported, required } from './field-errors.ts';

const HEADER_NAME = /^[-A-Za-z0-9]+$/;
const COUNTS = [
  'initialDelaySeconds',
  'timeoutSeconds',
  'periodSeconds',
  'successThreshold',
  'failureThreshold',
] as const;

export type ProbeKind = 'livenessProbe' | 'readinessProbe' | 'startupProbe';

/** validateProbe and what differs between the three kinds. */
export function validateProbe(kind: ProbeKind, probe: Probe | undefined, path: string): FieldError[] {
  if (probe === undefined) return [];
  const errors = validateHandler(probe, path, 0);
  for (const name of COUNTS) errors.push(...nonNegative(probe[name], child(path, name)));
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined) {
    const at = child(path, 'terminationGracePeriodSeconds');
    if (kind === 'readinessProbe') errors.push(invalid(at, grace, 'must not be set for readinessProbes'));
    else if (grace <= 0) errors.push(invalid(at, grace, 'must be greater than 0'));
  }
  if (kind !== 'readinessProbe' && probe.successThreshold !== undefined && probe.successThreshold !== 1) {
    errors.push(invalid(child(path, 'successThreshold'), probe.successThreshold, 'must be 1'));
  }
  return errors;
}

export function validateLifecycle(lifecycle: Lifecycle | undefined, path: string, graceSeconds: number): FieldError[] {
  if (lifecycle === undefined) return [];
  const errors: FieldError[] = [];
  for (const name of ['postStart', 'preStop'] as const) {
    const handler = lifecycle[name];
    if (handler !== undefined) errors.push(...validateHandler(handler, child(path, name), graceSeconds));
  }
  const { stopSignal } = lifecycle;
  if (stopSignal !== undefined) {
    const at = child(path, 'stopSignal');
    const wrong = signalErrors(stopSignal, at);
    // A real API server drops the field while the gate is off, and nobody hears of it.
    const off = forbidden(at, 'needs the feature gate ContainerStopSignals, which is alpha and not there');
    errors.push(...(wrong.length > 0 ? wrong : [off]));
  }
  return errors;
}

/** Exactly one handler, and that one right. */
function validateHandler(handler: LifecycleHandler & Probe, path: string, graceSeconds: number): FieldError[] {
  const errors: FieldError[] = [];
  const set = (['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const).filter(
    (name) => handler[name] !== undefined,
  );
  for (const name of set.slice(1))
    errors.push(forbidden(child(path, name), 'may not specify more than 1 handler type'));
  if (set.length === 0) errors.push(required(path, 'must specify a handler type'));
  if (handler.exec !== undefined && (handler.exec.command?.length ?? 0) === 0) {
    errors.push(required(`${path}.exec.command`));
  }
  if (handler.httpGet !== undefined) errors.push(...httpErrors(handler.httpGet, `${path}.httpGet`));
  if (handler.tcpSocket !== undefined) errors.push(...portErrors(handler.tcpSocket.port, `${path}.tcpSocket.port`));
  if (handler.grpc !== undefined) errors.push(...portErrors(handler.grpc.port ?? 0, `${path}.grpc.port`));
  const seconds = handler.sleep?.seconds;
  if (handler.sleep !== undefined && (seconds === undefined || seconds < 0 || seconds > graceSeconds)) {
    const detail = `must be non-negative and less than terminationGracePeriodSeconds (${graceSeconds})`;
    errors.push(invalid(`${path}.sleep`, seconds ?? 0, detail));
  }
  return errors;
}

function httpErrors(action: HTTPGetAction, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!action.path) errors.push(required(`${path}.path`));
  errors.push(...portErrors(action.port, `${path}.port`));
  for (const [index, header] of (action.httpHeaders ?? []).entries()) {
    if (HEADER_NAME.test(header.name ?? '')) continue;
    const detail =
      "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
    errors.push(invalid(`${path}.httpHeaders[${index}].name`, header.name ?? '', detail));
  }
  return errors;
}

/** A port's number, or the name of one. */
export function portErrors(port: IntOrString | undefined, path: string): FieldError[] {
  if (typeof port === 'string') return portNameErrors(port).map((detail) => invalid(path, port, detail));
  const error = portNumberError(port ?? 0);
  return error === undefined ? [] : [invalid(path, port ?? 0, error)];
}

export function nonNegative(value: number | undefined, path: string): FieldError[] {
  return value !== undefined && value < 0 ? [invalid(path, value, 'must be greater than or equal to 0')] : [];
}

// Linux signals by name, as in core/v1 Signal, with the real-time ones counted from both ends.
const NAMED_SIGNALS = (
  'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP ' +
  'TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX'
).split(' ');

function signalErrors(signal: string, path: string): FieldError[] {
  const realTime = /^SIG(RTMIN\+([1-9]|1[0-5])|RTMAX-([1-9]|1[0-4]))$/.test(signal);
  if (realTime || (signal.startsWith('SIG') && NAMED_SIGNALS.includes(signal.slice(3)))) return [];
  return [notSupported(path, signal, ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGKILL', 'SIGUSR1', 'SIGUSR2', 'SIGHUP', '…'])];
}
