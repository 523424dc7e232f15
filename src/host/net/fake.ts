import { CodedError } from '../../kit/errors.ts';
import type { NetPort } from './port.ts';

/** Sysctls in memory: those given exist, those in `readOnly` cannot be written. */
export class FakeNet implements NetPort {
  addresses: readonly string[];
  readonly sysctls: Map<string, string>;
  private readonly readOnly: ReadonlySet<string>;
  writes = 0;

  constructor(
    sysctls: Readonly<Record<string, string>> = {},
    addresses: readonly string[] = ['127.0.0.1'],
    readOnly: readonly string[] = [],
  ) {
    this.sysctls = new Map(Object.entries(sysctls));
    this.addresses = addresses;
    this.readOnly = new Set(readOnly);
  }

  localAddresses(): readonly string[] {
    return this.addresses;
  }

  async readSysctl(name: string): Promise<string | undefined> {
    return this.sysctls.get(name);
  }

  async writeSysctl(name: string, value: string): Promise<void> {
    if (!this.sysctls.has(name)) throw new CodedError('NotFound', `set sysctl ${name} to ${value}: no such sysctl`);
    if (this.readOnly.has(name)) throw new CodedError('Forbidden', `set sysctl ${name} to ${value}: read-only`);
    this.writes++;
    this.sysctls.set(name, value);
  }
}
