/**
 * A message bus (D-Bus specification 0.43). Values are told by their signature: y n q i u are numbers, x t bigints, b
 * booleans, s o g text, arrays and structs arrays, a dict entry is [key, value], a variant a Variant. Unix file
 * descriptors (h) are indexes only: a plain socket of Node's receives none (host/logind has one that does).
 */
export type DBusValue = number | bigint | string | boolean | readonly DBusValue[] | Variant;

export interface Variant {
  readonly signature: string;
  readonly value: DBusValue;
}

export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Of `body`; absent for a call without arguments. */
  readonly signature?: string;
  readonly body?: readonly DBusValue[];
}

export interface Signal {
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly DBusValue[];
}

/** Throws CodedError: Unavailable (no bus, connection gone), DeadlineExceeded, or what the callee answered. */
export interface DBusPort {
  /** The answer's arguments. An error of the callee has its D-Bus name in metadata.dbusError. */
  call(call: MethodCall, timeoutMs?: number): Promise<readonly DBusValue[]>;
  /** Hears signals from then on; resolves once the bus sends them. The answer ends it. */
  listen(
    match: { readonly interface: string; readonly member: string; readonly path?: string },
    listener: (signal: Signal) => void,
  ): Promise<() => void>;
  /** Sends a signal. */
  emit(signal: Signal & { readonly signature: string }): void;
  /** Resolves when the connection has ended, for whatever reason. */
  readonly ended: Promise<void>;
  close(): void;
}
