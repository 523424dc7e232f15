import { CodedError } from '../../kit/errors.ts';
import { formatCpus } from '../../model/cpu-set.ts';
import type { CpuState } from './cpu-state.ts';

export type Cpus = ReadonlySet<number>;

export function union(a: Iterable<number>, b: Iterable<number>): Cpus {
  return new Set([...a, ...b]);
}

export function difference(a: Cpus, b: Cpus): Cpus {
  return new Set([...a].filter((each) => !b.has(each)));
}

/** Throws InvalidObject when what was given away does not fit this machine or these settings (policy_static.go validateState). */
export function checkCpuState(
  { shared, exclusive }: CpuState,
  { reserved, usable, strict }: { readonly reserved: Cpus; readonly usable: Cpus; readonly strict: boolean },
): void {
  const refuse = (why: string): never => {
    throw new CodedError('InvalidObject', `does not fit: ${why}`);
  };
  const reservedShared = [...reserved].filter((cpu) => shared.has(cpu));
  if (strict && reservedShared.length > 0) {
    refuse(
      `some of strictly reserved cpus: "${formatCpus(reservedShared)}" are present in defaultCpuSet: "${formatCpus(shared)}"`,
    );
  }
  if (!strict && reservedShared.length !== reserved.size) {
    refuse(`not all reserved cpus: "${formatCpus(reserved)}" are present in defaultCpuSet: "${formatCpus(shared)}"`);
  }
  let known = shared;
  for (const [uid, containers] of exclusive) {
    for (const [name, cpus] of containers) {
      if ([...cpus].some((cpu) => shared.has(cpu))) {
        refuse(
          `pod: ${uid}, container: ${name} cpuset: "${formatCpus(cpus)}" overlaps with default cpuset "${formatCpus(shared)}"`,
        );
      }
      known = union(known, cpus);
    }
  }
  const all = formatCpus(usable);
  if (formatCpus(known) !== all) {
    refuse(`current set of available CPUs "${all}" doesn't match with CPUs in state "${formatCpus(known)}"`);
  }
}
