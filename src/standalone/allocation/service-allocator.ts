import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/errors.ts';
import { keyOf } from '../../model/meta.ts';
import { resources } from '../../model/resource.ts';
import type { IPFamily, Service, ServiceSpec } from '../../model/service.ts';
import type { FieldError, Store } from '../port.ts';
import { invalid } from '../validation/field-errors.ts';
import { type AddressRange, canonicalIp } from './address-range.ts';
import { Claims } from './claims.ts';
import { invalidObject } from './invalid-object.ts';
import { ServiceRanges } from './service-ranges.ts';
import { needsClusterIp, needsHealthCheckPort, needsNodePorts } from './settle-service.ts';

export interface ServiceAllocatorOptions {
  /** One CIDR, or one of each family; the first is the default family. */
  readonly serviceCidrs: readonly string[];
  readonly nodePortRange: { readonly from: number; readonly to: number };
}

export interface ServiceAllocatorDeps {
  readonly store: Pick<Store, 'list' | 'subscribe'>;
  readonly clock: Clock;
  readonly random: () => number;
}

/** The `kubernetes` Service has the first address, and nobody else. */
const API_SERVICE = 'default/kubernetes';

/**
 * Hands out cluster addresses and node ports (registry/core/service/{ip,port}allocator). Its books are the Store's
 * Services: read at start, followed by events, so that a delete frees what the Service had.
 */
export class ServiceAllocator {
  private readonly ranges: ServiceRanges;
  private readonly options: ServiceAllocatorOptions;
  private readonly random: () => number;
  private readonly addresses: Claims<string>;
  /** Keys are protocol and port: the same number may serve TCP and UDP. */
  private readonly ports: Claims<string>;
  private readonly unsubscribe: () => void;

  constructor(options: ServiceAllocatorOptions, { store, clock, random }: ServiceAllocatorDeps) {
    this.options = options;
    this.random = random;
    this.ranges = new ServiceRanges(options.serviceCidrs, store);
    this.addresses = new Claims(clock);
    this.ports = new Claims(clock);
    for (const service of store.list(resources.services)) this.confirm(service as Service);
    this.unsubscribe = store.subscribe(({ resource, type, object }) => {
      if (resource.plural !== resources.services.plural) return;
      if (type === 'DELETED') this.release(keyOf(object));
      else this.confirm(object as Service);
    });
  }

  close(): void {
    this.ranges.close();
    this.unsubscribe();
  }

  /** The first address of the default range: the `kubernetes` Service's. */
  get apiAddress(): string {
    return this.ranges.first?.at(1) ?? '';
  }

  /** The configured CIDRs in their one spelling. */
  get serviceCidrs(): readonly string[] {
    return this.ranges.texts;
  }

  /** `service` (settled) with every address, family and port that it should have. Throws InvalidObject, ResourceExhausted. */
  allocate(service: Service): Service {
    const owner = keyOf(service);
    const spec: ServiceSpec = { ...service.spec };
    const errors: FieldError[] = [];
    if (needsClusterIp(spec)) {
      this.chooseFamilies(spec, errors);
      if (errors.length === 0 && spec.clusterIP !== 'None') this.allocateAddresses(owner, spec, errors);
    }
    if (needsNodePorts(spec)) this.allocateNodePorts(owner, spec, errors);
    if (needsHealthCheckPort(spec)) this.allocateHealthCheckPort(owner, spec, errors);
    if (errors.length > 0) throw invalidObject(resources.services, service, errors);
    return { ...service, spec };
  }

  private chooseFamilies(spec: ServiceSpec, errors: FieldError[]): void {
    const configured = this.ranges.families;
    const [primary = 'IPv4'] = configured;
    const asked = spec.ipFamilies ?? familiesOf(spec.clusterIPs);
    for (const [index, family] of asked.entries()) {
      if (!configured.includes(family))
        errors.push(invalid(`spec.ipFamilies[${index}]`, family, 'not configured on this cluster'));
    }
    const headlessWithoutSelector = spec.clusterIP === 'None' && Object.keys(spec.selector ?? {}).length === 0;
    if (spec.ipFamilyPolicy === undefined) {
      const both = asked.length > 1 || (spec.clusterIPs?.length ?? 0) > 1;
      spec.ipFamilyPolicy =
        both || (headlessWithoutSelector && configured.length > 1) ? 'RequireDualStack' : 'SingleStack';
    }
    if (spec.ipFamilyPolicy === 'RequireDualStack' && configured.length < 2) {
      errors.push(
        invalid('spec.ipFamilyPolicy', spec.ipFamilyPolicy, 'this cluster is not configured for dual-stack services'),
      );
    }
    if (spec.ipFamilyPolicy === 'SingleStack' && asked.length > 1) {
      errors.push(
        invalid(
          'spec.ipFamilyPolicy',
          spec.ipFamilyPolicy,
          "may only be 'PreferDualStack' or 'RequireDualStack' when multiple `ipFamilies` are specified",
        ),
      );
    }
    const first = asked[0] ?? primary;
    const second = asked[1] ?? configured.find((family) => family !== first);
    spec.ipFamilies = spec.ipFamilyPolicy === 'SingleStack' || second === undefined ? [first] : [first, second];
  }

  private allocateAddresses(owner: string, spec: ServiceSpec, errors: FieldError[]): void {
    const chosen = spec.clusterIPs ?? [];
    const result: string[] = [];
    for (const [index, family] of (spec.ipFamilies ?? []).entries()) {
      const ranges = this.ranges.of(family);
      const asked = chosen[index];
      if (asked === undefined || asked === '') result.push(this.nextAddress(owner, ranges));
      else {
        const problem = this.addressProblem(owner, ranges, asked);
        if (problem !== undefined)
          errors.push(invalid('spec.clusterIPs', chosen, `failed to allocate IP ${asked}: ${problem}`));
        result.push(asked);
      }
    }
    if (errors.length > 0) return;
    for (const address of result) this.addresses.reserve(canonicalIp(address), owner);
    spec.clusterIPs = result;
    if (result[0] !== undefined) spec.clusterIP = result[0];
  }

  private addressProblem(owner: string, ranges: readonly AddressRange[], asked: string): string | undefined {
    if (!ranges.some((range) => range.contains(asked))) {
      return `the provided IP (${asked}) is not in the valid range. The range of valid IPs is ${textOf(ranges)}`;
    }
    const address = canonicalIp(asked);
    const kept = address === this.apiAddress && owner !== API_SERVICE;
    return kept || !this.addresses.isFree(address, owner) ? 'provided IP is already allocated' : undefined;
  }

  /**
   * Outside of the range's first part, which is for addresses that people choose (KEP-3070), while there is room;
   * from a random place, so that an address just freed is not the next one given.
   */
  private nextAddress(owner: string, ranges: readonly AddressRange[]): string {
    if (owner === API_SERVICE && ranges[0] === this.ranges.first) return this.apiAddress;
    for (const range of ranges) {
      const reserved = Math.min(Math.max(16, Math.floor(range.size / 16)), 256, range.size - 1);
      // Of the range with the API's address that one is taken.
      const first = range === this.ranges.first ? 2 : 1;
      for (const [from, to] of [
        [reserved + 1, range.size],
        [first, reserved],
      ] as const) {
        const index = this.pick(from, to, (candidate) => this.addresses.isFree(range.at(candidate), owner));
        if (index !== undefined) return range.at(index);
      }
    }
    const range = textOf(ranges);
    const text = `failed to allocate a serviceIP: range is full (${range}, ${this.addresses.size} in use)`;
    throw new CodedError('ResourceExhausted', text, { range });
  }

  private allocateNodePorts(owner: string, spec: ServiceSpec, errors: FieldError[]): void {
    const ports = [];
    // What the user chose comes first, so that no automatic choice takes it.
    for (const [index, port] of (spec.ports ?? []).entries()) {
      if (!port.nodePort) continue;
      const problem = this.portProblem(owner, port.protocol ?? 'TCP', port.nodePort);
      if (problem !== undefined) errors.push(invalid(`spec.ports[${index}].nodePort`, port.nodePort, problem));
      else this.ports.reserve(`${port.protocol ?? 'TCP'}/${port.nodePort}`, owner);
    }
    const own = new Set((spec.ports ?? []).map((port) => `${port.protocol ?? 'TCP'}/${port.nodePort}`));
    const given = new Map<string, number>();
    for (const port of spec.ports ?? []) {
      if (port.nodePort) {
        ports.push(port);
        continue;
      }
      const protocol = port.protocol ?? 'TCP';
      // One number serves the same port of another protocol too, where it is free (DNS on TCP and UDP).
      const twin = given.get(String(port.port));
      const twinKey = `${protocol}/${twin}`;
      const reuse = twin !== undefined && !own.has(twinKey) && this.ports.isFree(twinKey, owner);
      const nodePort = reuse ? twin : this.nextPort(owner, protocol, own);
      own.add(`${protocol}/${nodePort}`);
      given.set(String(port.port), nodePort);
      this.ports.reserve(`${protocol}/${nodePort}`, owner);
      ports.push({ ...port, nodePort });
    }
    spec.ports = ports;
  }

  private allocateHealthCheckPort(owner: string, spec: ServiceSpec, errors: FieldError[]): void {
    const own = new Set((spec.ports ?? []).map((port) => `${port.protocol ?? 'TCP'}/${port.nodePort}`));
    if (!spec.healthCheckNodePort) spec.healthCheckNodePort = this.nextPort(owner, 'TCP', own);
    const problem = own.has(`TCP/${spec.healthCheckNodePort}`)
      ? 'provided port is already allocated'
      : this.portProblem(owner, 'TCP', spec.healthCheckNodePort);
    if (problem !== undefined) errors.push(invalid('spec.healthCheckNodePort', spec.healthCheckNodePort, problem));
    else this.ports.reserve(`TCP/${spec.healthCheckNodePort}`, owner);
  }

  private portProblem(owner: string, protocol: string, port: number): string | undefined {
    const { from, to } = this.options.nodePortRange;
    if (port < from || port > to)
      return `provided port is not in the valid range. The range of valid ports is ${from}-${to}`;
    return this.ports.isFree(`${protocol}/${port}`, owner) ? undefined : 'provided port is already allocated';
  }

  /** Outside of the first part of the range, which people choose from (KEP-3668), while there is room. */
  private nextPort(owner: string, protocol: string, own: ReadonlySet<string>): number {
    const { from, to } = this.options.nodePortRange;
    const size = to - from + 1;
    const reserved = size < 32 ? 0 : Math.min(Math.max(16, Math.floor(size / 32)), 128);
    const free = (port: number): boolean => {
      const key = `${protocol}/${port}`;
      return !own.has(key) && this.ports.isFree(key, owner);
    };
    const port = this.pick(from + reserved, to, free) ?? this.pick(from, from + reserved - 1, free);
    if (port !== undefined) return port;
    throw new CodedError('ResourceExhausted', `failed to allocate a nodePort: range is full (${from}-${to})`, {
      from,
      to,
    });
  }

  private pick(from: number, to: number, isFree: (candidate: number) => boolean): number | undefined {
    const count = to - from + 1;
    const start = Math.floor(this.random() * count);
    for (let step = 0; step < count; step++) {
      const candidate = from + ((start + step) % count);
      if (isFree(candidate)) return candidate;
    }
    return undefined;
  }

  private confirm(service: Service): void {
    const owner = keyOf(service);
    const { spec } = service;
    const addresses =
      spec.type === 'ExternalName' ? [] : (spec.clusterIPs ?? []).filter((address) => address !== 'None');
    this.addresses.confirm(owner, addresses.map(canonicalIp));
    const ports = (spec.ports ?? []).flatMap((port) =>
      port.nodePort ? [`${port.protocol ?? 'TCP'}/${port.nodePort}`] : [],
    );
    if (spec.healthCheckNodePort) ports.push(`TCP/${spec.healthCheckNodePort}`);
    this.ports.confirm(owner, ports);
  }

  private release(owner: string): void {
    this.addresses.confirm(owner, []);
    this.ports.confirm(owner, []);
  }
}

function textOf(ranges: readonly AddressRange[]): string {
  return ranges.map(({ text }) => text).join(', ');
}

function familiesOf(addresses: readonly string[] | undefined): IPFamily[] {
  return (addresses ?? [])
    .filter((address) => address !== 'None')
    .map((address) => (address.includes(':') ? 'IPv6' : 'IPv4'));
}
