/**
 * CPU amounts as Kubernetes turns them into cgroup values (kubelet pkg/kubelet/cm/helpers_linux.go and
 * cgroup_manager_linux.go, KEP-2254).
 */
export const MIN_SHARES = 2;
export const MAX_SHARES = 262_144;
const SHARES_PER_CPU = 1024;
/** The kernel refuses less than a millisecond per period. */
const MIN_QUOTA_US = 1000;
export const DEFAULT_PERIOD_US = 100_000;

/** cpu.shares for so many thousandths of a CPU: 2..262144. */
export function sharesFromMilli(milli: number): number {
  const shares = Math.floor((milli * SHARES_PER_CPU) / 1000);
  return Math.min(Math.max(shares, MIN_SHARES), MAX_SHARES);
}

/** Microseconds of CPU time per period; undefined for no limit (0). */
export function quotaFromMilli(milli: number, periodUs: number = DEFAULT_PERIOD_US): number | undefined {
  if (milli <= 0) return undefined;
  return Math.max(Math.floor((milli * periodUs) / 1000), MIN_QUOTA_US);
}

/** cgroup v2's cpu.weight, 1..10000, by the linear formula that kubelet uses for its own cgroups. */
export function weightFromShares(shares: number): number {
  if (shares >= MAX_SHARES) return 10_000;
  return 1 + Math.floor(((Math.max(shares, MIN_SHARES) - MIN_SHARES) * 9999) / (MAX_SHARES - MIN_SHARES));
}

/** The least shares that have this weight (kubelet cgroup_v2_manager_linux.go cpuWeightToCPUShares). */
export function sharesFromWeight(weight: number): number {
  return Math.floor(((weight - 1) * (MAX_SHARES - MIN_SHARES)) / 9999) + MIN_SHARES;
}
