import { readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { CodedError, messageOf } from '../../kit/errors.ts';
import type { NetPort } from './port.ts';

/** /proc/sys/net shows the network namespace of whoever reads it. */
export class RealNet implements NetPort {
  localAddresses(exceptDevice?: string): readonly string[] {
    return Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
      name === exceptDevice ? [] : (entries?.map((entry) => entry.address) ?? []),
    );
  }

  async readSysctl(name: string): Promise<string | undefined> {
    try {
      return (await readFile(pathOf(name), 'utf8')).trim();
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw new CodedError('Internal', `read sysctl ${name}: ${messageOf(error)}`, { name }, error);
    }
  }

  async writeSysctl(name: string, value: string): Promise<void> {
    try {
      await writeFile(pathOf(name), value);
    } catch (error) {
      const code = codeOf(error);
      const kind =
        code === 'ENOENT'
          ? 'NotFound'
          : code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
            ? 'Forbidden'
            : 'Internal';
      throw new CodedError(kind, `set sysctl ${name} to ${value}: ${messageOf(error)}`, { name, value }, error);
    }
  }
}

function pathOf(name: string): string {
  return `/proc/sys/${name.replaceAll('.', '/')}`;
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
