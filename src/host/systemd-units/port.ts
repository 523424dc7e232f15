/** A property of a unit: its D-Bus signature and value. */
export interface UnitProperty {
  readonly name: string;
  readonly signature: string;
  readonly value: string | number | bigint | boolean | readonly string[];
}

/** systemd's manager, as far as cgroups go. Throws CodedError: Unavailable (no bus), DeadlineExceeded, CommandFailed. */
export interface SystemdPort {
  /** Starts a transient unit and waits for it. One that is there already is fine. */
  startTransientUnit(unit: string, properties: readonly UnitProperty[]): Promise<void>;
  /** Sets properties of a unit until the next boot. */
  setUnitProperties(unit: string, properties: readonly UnitProperty[]): Promise<void>;
  /** Stops a unit and waits for it; what remains of a failed one is taken away. Absent is fine. */
  stopUnit(unit: string): Promise<void>;
}
