import type { CgroupLimits } from '../../host/cgroup/port.ts';
import { CodedError } from '../../kit/errors.ts';
import { sharesFromMilli } from '../../model/cpu.ts';
import type { ResourceList } from '../../model/meta.ts';
import { type Amounts, amountsOf } from '../../model/pod-resources.ts';
import { formatBytes, formatNano, milliValueOf, type Nano, parseQuantity, wholeValueOf } from '../../model/quantity.ts';

export interface Reservations {
  readonly kubeReserved: ResourceList;
  readonly systemReserved: ResourceList;
  /** Hard eviction thresholds by signal ("memory.available"): a quantity or a percentage of capacity. */
  readonly evictionHard: Readonly<Record<string, string>>;
}

const ONE: Nano = 1_000_000_000n;
const EVICTION_SIGNALS: Readonly<Record<string, string>> = {
  'memory.available': 'memory',
  'nodefs.available': 'ephemeral-storage',
};

/**
 * What pods may be given: capacity − kubeReserved − systemReserved − hard eviction thresholds, memory also less what
 * stands in huge pages (kubelet nodestatus/setters.go, cm/node_container_manager_linux.go). Never negative.
 */
export function nodeAllocatable(capacity: ResourceList, reservations: Reservations): ResourceList {
  const whole = amountsOf(capacity);
  const reserved = reservedAmounts(whole, reservations, true);
  return listOf(less(whole, reserved));
}

/**
 * Limits of the cgroup of all pods. Hard eviction is left out: the kernel must not kill below the line at which eviction
 * chooses whom to stop. `pids` in capacity becomes the pids limit.
 */
export function nodeCgroupLimits(capacity: ResourceList, reservations: Reservations, enforce: boolean): CgroupLimits {
  const whole = amountsOf(capacity);
  const amounts = enforce ? less(whole, reservedAmounts(whole, reservations, false)) : whole;
  const { cpu, memory, pids } = amounts;
  return {
    ...(cpu === undefined ? {} : { cpuShares: sharesFromMilli(milliValueOf(formatNano(cpu))) }),
    ...(memory === undefined ? {} : { memoryLimit: wholeValueOf(formatNano(memory)) }),
    ...(pids === undefined ? {} : { pidsLimit: wholeValueOf(formatNano(pids)) }),
  };
}

/** What pods may not be given of each resource: kubeReserved, systemReserved and hard eviction thresholds together. */
export function nodeReservations(capacity: ResourceList, reservations: Reservations): Amounts {
  return reservedAmounts(amountsOf(capacity), reservations, true);
}

/** Throws InvalidConfig when more is reserved than there is of a resource. */
export function checkReservations(capacity: ResourceList, reservations: Reservations): void {
  const whole = amountsOf(capacity);
  for (const [name, amount] of Object.entries(reservedAmounts(whole, reservations, true))) {
    const has = whole[name];
    if (has !== undefined && amount > has) {
      throw new CodedError(
        'InvalidConfig',
        `reserved ${name} is ${formatNano(amount)} (kubeReserved, systemReserved and evictionHard together), the node has ${formatNano(has)}`,
      );
    }
  }
}

function reservedAmounts(capacity: Amounts, reservations: Reservations, withEviction: boolean): Amounts {
  const kube = amountsOf(reservations.kubeReserved);
  const system = amountsOf(reservations.systemReserved);
  const sum: Record<string, Nano> = {};
  for (const name of new Set([...Object.keys(kube), ...Object.keys(system)])) {
    sum[name] = (kube[name] ?? 0n) + (system[name] ?? 0n);
  }
  if (!withEviction) return sum;
  for (const [signal, threshold] of Object.entries(reservations.evictionHard)) {
    const name = EVICTION_SIGNALS[signal];
    if (name !== undefined) sum[name] = (sum[name] ?? 0n) + thresholdAmount(threshold, capacity[name] ?? 0n);
  }
  return sum;
}

function thresholdAmount(threshold: string, capacity: Nano): Nano {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(threshold)?.[1];
  if (percent === undefined) return parseQuantity(threshold);
  // Whole bytes of a 32-bit share, as kubelet works it out: allocatable is the same to the last digit.
  const share = Math.fround(Math.fround(Number(percent)) / 100);
  return BigInt(Math.floor(Number(capacity / ONE) * share)) * ONE;
}

function less(capacity: Amounts, reserved: Amounts): Amounts {
  const left: Record<string, Nano> = {};
  for (const [name, amount] of Object.entries(capacity)) left[name] = atLeastZero(amount - (reserved[name] ?? 0n));
  for (const [name, amount] of Object.entries(left)) {
    if (name.startsWith('hugepages-') && left['memory'] !== undefined)
      left['memory'] = atLeastZero(left['memory'] - amount);
  }
  return left;
}

function listOf(amounts: Amounts): ResourceList {
  return Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, textOf(name, amount)]));
}

function atLeastZero(amount: Nano): Nano {
  return amount > 0n ? amount : 0n;
}

/** Bytes with a binary suffix where one divides them, as kubelet writes them. */
function textOf(name: string, amount: Nano): string {
  const isBytes = name === 'memory' || name === 'ephemeral-storage' || name.startsWith('hugepages-');
  return isBytes && amount % ONE === 0n ? formatBytes(Number(amount / ONE)) : formatNano(amount);
}
