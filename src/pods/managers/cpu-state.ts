import { CodedError } from '../../kit/errors.ts';
import { formatCpus, parseCpus } from '../../model/cpu-set.ts';
import { fnv1a32 } from '../fnv1a32.ts';

/** Which CPUs are shared, and which belong to one container alone, by pod UID and container. */
export interface CpuState {
  readonly shared: ReadonlySet<number>;
  readonly exclusive: ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<number>>>;
}

interface File {
  readonly policyName?: unknown;
  readonly defaultCpuSet?: unknown;
  readonly entries?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly checksum?: unknown;
}

const POLICY = 'static';

/** kubelet's cpu_manager_state (cpumanager/state/checkpoint.go, the form with entries by pod and container). */
export function cpuStateText({ shared, exclusive }: CpuState): string {
  const entries: Record<string, Record<string, string>> = {};
  for (const [uid, containers] of [...exclusive].sort(byKey)) {
    entries[uid] = Object.fromEntries([...containers].sort(byKey).map(([name, cpus]) => [name, formatCpus(cpus)]));
  }
  const defaultCpuSet = formatCpus(shared);
  return JSON.stringify({
    policyName: POLICY,
    defaultCpuSet,
    ...(exclusive.size === 0 ? {} : { entries }),
    checksum: checksumOf(POLICY, defaultCpuSet, entries),
  });
}

/** Throws InvalidObject. */
export function readCpuState(text: string): CpuState {
  let file: File;
  try {
    file = JSON.parse(text) as File;
  } catch (error) {
    throw new CodedError('InvalidObject', 'is no JSON', {}, error);
  }
  const { policyName, defaultCpuSet, entries = {}, checksum } = file;
  if (typeof policyName !== 'string' || typeof defaultCpuSet !== 'string') {
    throw new CodedError('InvalidObject', 'has no policyName or defaultCpuSet');
  }
  if (checksum !== 0 && checksum !== undefined && checksum !== checksumOf(policyName, defaultCpuSet, entries)) {
    throw new CodedError('InvalidObject', 'is corrupt: its checksum does not fit');
  }
  if (policyName !== POLICY) {
    throw new CodedError(
      'InvalidObject',
      `configured policy "${POLICY}" differs from state checkpoint policy "${policyName}"`,
    );
  }
  const cpus = (list: string): ReadonlySet<number> => {
    const parsed = parseCpus(list);
    if (parsed === undefined) throw new CodedError('InvalidObject', `could not parse cpuset ${JSON.stringify(list)}`);
    return parsed;
  };
  const exclusive = new Map<string, ReadonlyMap<string, ReadonlySet<number>>>();
  for (const [uid, containers] of Object.entries(entries)) {
    exclusive.set(uid, new Map(Object.entries(containers).map(([name, list]) => [name, cpus(list)])));
  }
  return { shared: cpus(defaultCpuSet), exclusive };
}

/** Over the struct as Go's spew prints it ("%#v", keys sorted). */
function checksumOf(
  policy: string,
  shared: string,
  entries: Readonly<Record<string, Readonly<Record<string, string>>>>,
): number {
  const map = (record: Readonly<Record<string, unknown>>, value: (of: never) => string): string =>
    `map[${Object.entries(record)
      .sort(byKey)
      .map(([key, of]) => `${key}:${value(of as never)}`)
      .join(' ')}]`;
  const all = map(entries, (containers: Readonly<Record<string, string>>) => map(containers, (list: string) => list));
  return fnv1a32(
    `(*state.CPUManagerCheckpoint){PolicyName:(string)${policy} DefaultCPUSet:(string)${shared} ` +
      `Entries:(map[string]map[string]string)${all} Checksum:(checksum.Checksum)0}`,
  );
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
