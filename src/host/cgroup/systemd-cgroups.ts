import { CodedError } from '../../kit/errors.ts';
import { DEFAULT_PERIOD_US, weightFromShares } from '../../model/cpu.ts';
import type { SystemdPort, UnitProperty } from '../systemd-units/port.ts';
import type { CgroupLimits, CgroupPort, CgroupReading } from './port.ts';
import { partOfSlice, slicePath, sliceUnit } from './slice-name.ts';

export interface SystemdCgroupsDeps {
  /** The same host's cgroups by their files. */
  readonly cgroups: CgroupPort;
  readonly systemd: SystemdPort;
}

const INFINITY = 0xffff_ffff_ffff_ffffn;
/** systemd rounds a quota up to whole 10 ms per second (opencontainers/cgroups addCPUQuota). */
const QUOTA_STEP_US = 10_000;

/**
 * cgroups as the driver systemd makes them: each is a slice that systemd knows of, since it is the owner of the tree. Its
 * properties are set as well as the files, so that systemd does not take the files back at its next reload (kubelet and
 * runc do the same, by opencontainers/cgroups systemd). Paths stay as in CgroupPort.
 */
export class SystemdCgroups implements CgroupPort {
  readonly version: 1 | 2;
  readonly controllers: ReadonlySet<string>;
  private readonly deps: SystemdCgroupsDeps;

  constructor(deps: SystemdCgroupsDeps) {
    this.deps = deps;
    this.version = deps.cgroups.version;
    this.controllers = deps.cgroups.controllers;
  }

  hostPath(path: string): string {
    return path === '/' ? path : slicePath(path);
  }

  exists(path: string): Promise<boolean> {
    return this.deps.cgroups.exists(this.hostPath(path));
  }

  async apply(path: string, limits: CgroupLimits): Promise<void> {
    const { cgroups, systemd } = this.deps;
    const unit = sliceUnit(path);
    if (!(await cgroups.exists(slicePath(path)))) await systemd.startTransientUnit(unit, this.unitProperties(path));
    if (this.version === 2) await this.refuseBelowUsage(path, limits);
    const properties = limitProperties(limits, this.version);
    if (properties.length > 0) await systemd.setUnitProperties(unit, properties);
    await cgroups.apply(slicePath(path), roundedQuota(limits));
  }

  accountsSwap(): Promise<boolean> {
    return this.deps.cgroups.accountsSwap();
  }

  async remove(path: string): Promise<void> {
    const { cgroups, systemd } = this.deps;
    const there = await cgroups.exists(slicePath(path));
    // First the processes: systemd would ask them politely, and for long.
    await cgroups.remove(slicePath(path));
    if (there) await systemd.stopUnit(sliceUnit(path));
  }

  async children(path: string): Promise<string[]> {
    const names = await this.deps.cgroups.children(this.hostPath(path));
    return names.flatMap((name) => partOfSlice(path, name) ?? []).sort();
  }

  read(path: string): Promise<CgroupReading> {
    return this.deps.cgroups.read(this.hostPath(path));
  }

  memoryPeak(path: string): Promise<number | undefined> {
    return this.deps.cgroups.memoryPeak(this.hostPath(path));
  }

  private unitProperties(path: string): UnitProperty[] {
    const parent = path.slice(0, path.lastIndexOf('/'));
    const flag = (name: string, value: boolean): UnitProperty => ({ name, signature: 'b', value });
    return [
      { name: 'Description', signature: 's', value: `libcontainer container ${sliceUnit(path)}` },
      // A slice's parent follows from its name; it has to be started all the same.
      { name: 'Wants', signature: 'as', value: [parent === '' ? '-.slice' : sliceUnit(parent)] },
      flag('MemoryAccounting', true),
      flag('CPUAccounting', true),
      flag(this.version === 1 ? 'BlockIOAccounting' : 'IOAccounting', true),
      flag('TasksAccounting', true),
      flag('DefaultDependencies', false),
    ];
  }

  /** systemd would write a limit below what is used, and the kernel kill for it. */
  private async refuseBelowUsage(path: string, { memoryLimit = -1 }: CgroupLimits): Promise<void> {
    if (memoryLimit < 0) return;
    const { memoryUsage = 0 } = await this.read(path);
    if (memoryUsage <= memoryLimit) return;
    throw new CodedError('Conflict', `set the memory of ${path} to ${memoryLimit}: ${memoryUsage} bytes are used now`, {
      errno: 'EBUSY',
    });
  }
}

const MEMORY_FILES = [
  ['memory.min', 'MemoryMin'],
  ['memory.low', 'MemoryLow'],
  ['memory.high', 'MemoryHigh'],
] as const;

/** Limits as properties of a unit (opencontainers/cgroups systemd genV1ResourcesProperties, genV2ResourcesProperties). */
export function limitProperties(limits: CgroupLimits, version: 1 | 2): UnitProperty[] {
  const { cpuShares, cpuQuota, cpuPeriod, memoryLimit, pidsLimit } = limits;
  const number = (name: string, value: number | bigint): UnitProperty => ({
    name,
    signature: 't',
    value: BigInt(value) < 0n ? INFINITY : BigInt(value),
  });
  const properties: UnitProperty[] = [];
  if (memoryLimit !== undefined) properties.push(number(version === 1 ? 'MemoryLimit' : 'MemoryMax', memoryLimit));
  if (cpuShares !== undefined) {
    properties.push(version === 1 ? number('CPUShares', cpuShares) : number('CPUWeight', weightFromShares(cpuShares)));
  }
  if (cpuPeriod !== undefined && cpuPeriod > 0) properties.push(number('CPUQuotaPeriodUSec', cpuPeriod));
  if (cpuQuota !== undefined) properties.push(number('CPUQuotaPerSecUSec', quotaPerSecond(cpuQuota, cpuPeriod)));
  // 0 is none that systemd would take.
  if (pidsLimit !== undefined) properties.push(number('TasksMax', pidsLimit === 0 ? 1 : pidsLimit));
  for (const [file, name] of MEMORY_FILES) {
    const value = limits.unified?.[file];
    if (value !== undefined) properties.push(number(name, value === 'max' ? -1 : BigInt(value)));
  }
  const swap = limits.unified?.['memory.swap.max'];
  if (swap !== undefined) properties.push(number('MemorySwapMax', swap === 'max' ? -1 : BigInt(swap)));
  return properties;
}

function quotaPerSecond(quota: number, period = DEFAULT_PERIOD_US): number {
  if (quota <= 0) return -1;
  const exact = Math.floor((quota * 1_000_000) / period);
  return Math.ceil(exact / QUOTA_STEP_US) * QUOTA_STEP_US;
}

/** The file gets what systemd makes of it: a container's exact quota must fit below. */
function roundedQuota(limits: CgroupLimits): CgroupLimits {
  const { cpuQuota = -1, cpuPeriod = DEFAULT_PERIOD_US } = limits;
  if (cpuQuota <= 0) return limits;
  return { ...limits, cpuQuota: Math.floor((quotaPerSecond(cpuQuota, cpuPeriod) * cpuPeriod) / 1_000_000) };
}
