import { cidrContains, isLoopback, parseCidr, parseIp } from '../../model/cidr.ts';
import { dns1123LabelError, dns1123SubdomainError, portNumberError, qualifiedNameError } from '../../model/names.ts';
import type { Service, ServicePort, ServiceSpec } from '../../model/service.ts';
import type { FieldError } from '../port.ts';
import { child, duplicate, forbidden, invalid, required } from './field-errors.ts';
import { familyOfNew, ipErrors } from './ip-errors.ts';
import { labelErrors } from './object-meta.ts';
import { portErrors } from './probe.ts';

const MAX_AFFINITY_SECONDS = 86_400;

/**
 * ValidateServiceCreate and, with `previous`, ValidateServiceUpdate; `service` has been settled (settleService), so that
 * what it left out of the allocated fields is there. Ranges are the allocator's to check.
 */
export function validateService(service: Service, previous: Service | undefined): FieldError[] {
  const { spec } = service;
  const headless = spec.clusterIP === 'None';
  const errors: FieldError[] = [];
  if ((spec.ports?.length ?? 0) === 0 && !headless && spec.type !== 'ExternalName') errors.push(required('spec.ports'));
  errors.push(...typeErrors(spec, headless), ...portListErrors(spec));
  errors.push(...labelErrors(spec.selector, 'spec.selector'));
  errors.push(...affinityErrors(spec), ...addressErrors(spec), ...trafficErrors(spec), ...loadBalancerErrors(service));
  if (previous !== undefined) errors.push(...changeErrors(spec, previous.spec));
  return errors;
}

function typeErrors(spec: ServiceSpec, headless: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (headless && (spec.type === 'NodePort' || spec.type === 'LoadBalancer')) {
    const kind = spec.type === 'NodePort' ? 'NodePort services' : 'LoadBalancer services';
    errors.push(invalid('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${kind}`));
  }
  if (spec.type !== 'ExternalName') return errors;
  if (spec.clusterIP) errors.push(forbidden('spec.clusterIPs', "may not be set when `type` is 'ExternalName'"));
  // A trailing dot makes the name absolute.
  const name = (spec.externalName ?? '').replace(/\.$/, '');
  const error = dns1123SubdomainError(name);
  if (name === '') errors.push(required('spec.externalName'));
  else if (error !== undefined) errors.push(invalid('spec.externalName', name, error));
  return errors;
}

function portListErrors(spec: ServiceSpec): FieldError[] {
  const ports = spec.ports ?? [];
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    errors.push(...servicePortErrors(port, ports.length > 1, at));
    if (port.name) {
      if (names.has(port.name)) errors.push(duplicate(child(at, 'name'), port.name));
      names.add(port.name);
    }
    const key = `${port.protocol ?? 'TCP'}/${port.port}`;
    if (numbers.has(key)) errors.push(duplicate(at, { protocol: port.protocol ?? 'TCP', port: port.port }));
    numbers.add(key);
    if (!port.nodePort) continue;
    const nodeKey = `${port.protocol ?? 'TCP'}/${port.nodePort}`;
    if (spec.type !== 'NodePort' && spec.type !== 'LoadBalancer') {
      errors.push(forbidden(child(at, 'nodePort'), `may not be used when \`type\` is '${spec.type ?? 'ClusterIP'}'`));
    } else if (nodePorts.has(nodeKey)) errors.push(duplicate(child(at, 'nodePort'), port.nodePort));
    nodePorts.add(nodeKey);
  }
  return errors;
}

function servicePortErrors(port: ServicePort, named: boolean, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!port.name) {
    if (named) errors.push(required(child(path, 'name')));
  } else {
    const error = dns1123LabelError(port.name);
    if (error !== undefined) errors.push(invalid(child(path, 'name'), port.name, error));
  }
  const error = portNumberError(port.port ?? 0);
  if (error !== undefined) errors.push(invalid(child(path, 'port'), port.port ?? 0, error));
  if (!port.protocol) errors.push(required(child(path, 'protocol')));
  // Where it was not given it is the port again, whose mistake has been told.
  if (port.targetPort !== port.port) errors.push(...portErrors(port.targetPort, child(path, 'targetPort')));
  if (port.appProtocol) {
    const appError = qualifiedNameError(port.appProtocol);
    if (appError !== undefined) errors.push(invalid(child(path, 'appProtocol'), port.appProtocol, appError));
  }
  if (port.nodePort) {
    const nodeError = portNumberError(port.nodePort);
    if (nodeError !== undefined) errors.push(invalid(child(path, 'nodePort'), port.nodePort, nodeError));
  }
  return errors;
}

function affinityErrors(spec: ServiceSpec): FieldError[] {
  const at = 'spec.sessionAffinityConfig';
  if (spec.sessionAffinity === 'ClientIP') {
    const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
    if (seconds === undefined) return [required(at, 'when session affinity type is ClientIP')];
    if (seconds > 0 && seconds <= MAX_AFFINITY_SECONDS) return [];
    const detail = `must be greater than 0 and less than ${MAX_AFFINITY_SECONDS}`;
    return [invalid(`${at}.clientIP.timeoutSeconds`, seconds, detail)];
  }
  if (spec.sessionAffinityConfig === undefined) return [];
  return [forbidden(at, `must not be set when session affinity is ${spec.sessionAffinity ?? 'None'}`)];
}

/** Addresses that the user chose: well formed, of families that fit, and such as may be reached. */
function addressErrors(spec: ServiceSpec): FieldError[] {
  const errors: FieldError[] = [];
  const addresses = spec.clusterIPs ?? [];
  if (addresses.length > 2) errors.push(invalid('spec.clusterIPs', addresses, 'may only hold up to 2 values'));
  if (addresses[0] !== undefined && spec.clusterIP !== undefined && addresses[0] !== spec.clusterIP) {
    errors.push(invalid('spec.clusterIPs', addresses, 'first value must match `clusterIP`'));
  }
  for (const [index, address] of addresses.entries()) {
    if (address === 'None') {
      if (addresses.length > 1)
        errors.push(invalid(`spec.clusterIPs[${index}]`, address, "'None' must be the first and only value"));
      continue;
    }
    const bad = ipErrors(`spec.clusterIPs[${index}]`, address);
    errors.push(...bad);
    const family = spec.ipFamilies?.[index];
    if (bad.length === 0 && family !== undefined && familyOfNew(address) !== family) {
      errors.push(
        invalid(
          `spec.clusterIPs[${index}]`,
          address,
          `expected an ${family} value as indicated by \`ipFamilies[${index}]\``,
        ),
      );
    }
  }
  const [first, second] = spec.ipFamilies ?? [];
  if (second !== undefined && first === second) errors.push(duplicate('spec.ipFamilies[1]', second));
  if ((spec.ipFamilies?.length ?? 0) > 2)
    errors.push(invalid('spec.ipFamilies', spec.ipFamilies, 'may only hold up to 2 values'));
  for (const [index, address] of (spec.externalIPs ?? []).entries()) {
    const at = `spec.externalIPs[${index}]`;
    const bad = ipErrors(at, address);
    errors.push(...(bad.length > 0 ? bad : unreachableErrors(address, at)));
  }
  return errors;
}

/** ValidateNonSpecialIP: addresses that no Service can have outside. */
export function unreachableErrors(address: string, path: string): FieldError[] {
  const ip = parseIp(address);
  if (ip === undefined) return [];
  if (ip.words.every((word) => word === 0)) return [invalid(path, address, `may not be unspecified (${address})`)];
  if (isLoopback(ip)) return [invalid(path, address, 'may not be in the loopback range (127.0.0.0/8, ::1/128)')];
  const ranges = ['169.254.0.0/16', 'fe80::/10', '224.0.0.0/24', 'ff02::/10'];
  for (const [index, text] of ranges.entries()) {
    const range = parseCidr(text);
    if (range === undefined || !cidrContains(range, ip)) continue;
    const what =
      index < 2
        ? 'link-local range (169.254.0.0/16, fe80::/10)'
        : 'link-local multicast range (224.0.0.0/24, ff02::/10)';
    return [invalid(path, address, `may not be in the ${what}`)];
  }
  return [];
}

function trafficErrors(spec: ServiceSpec): FieldError[] {
  const errors: FieldError[] = [];
  const outside =
    spec.type === 'NodePort' ||
    spec.type === 'LoadBalancer' ||
    (spec.type === 'ClusterIP' && (spec.externalIPs?.length ?? 0) > 0);
  if (spec.externalTrafficPolicy && !outside) {
    errors.push(
      invalid(
        'spec.externalTrafficPolicy',
        spec.externalTrafficPolicy,
        'may only be set for externally-accessible services',
      ),
    );
  }
  if (spec.healthCheckNodePort) {
    const error = portNumberError(spec.healthCheckNodePort);
    if (error !== undefined) errors.push(invalid('spec.healthCheckNodePort', spec.healthCheckNodePort, error));
    if (spec.type !== 'LoadBalancer' || spec.externalTrafficPolicy !== 'Local') {
      const detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
      errors.push(invalid('spec.healthCheckNodePort', spec.healthCheckNodePort, detail));
    }
  }
  if (spec.type !== 'ExternalName' && !spec.internalTrafficPolicy) errors.push(required('spec.internalTrafficPolicy'));
  return errors;
}

function loadBalancerErrors(service: Service): FieldError[] {
  const { spec } = service;
  const errors: FieldError[] = [];
  for (const [index, range] of (spec.loadBalancerSourceRanges ?? []).entries()) {
    if (parseCidr(range.trim()) === undefined) {
      const detail = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';
      errors.push(invalid(`spec.loadBalancerSourceRanges[${index}]`, range, detail));
    }
  }
  if (spec.type === 'LoadBalancer') {
    if (spec.loadBalancerClass) {
      const error = qualifiedNameError(spec.loadBalancerClass);
      if (error !== undefined) errors.push(invalid('spec.loadBalancerClass', spec.loadBalancerClass, error));
    }
    if (spec.allocateLoadBalancerNodePorts === undefined) errors.push(required('spec.allocateLoadBalancerNodePorts'));
    return errors;
  }
  const only = "may only be used when `type` is 'LoadBalancer'";
  if ((spec.loadBalancerSourceRanges?.length ?? 0) > 0) errors.push(forbidden('spec.loadBalancerSourceRanges', only));
  if (spec.loadBalancerClass) errors.push(forbidden('spec.loadBalancerClass', only));
  if (spec.allocateLoadBalancerNodePorts !== undefined)
    errors.push(forbidden('spec.allocateLoadBalancerNodePorts', only));
  for (const [index, ingress] of (service.status?.loadBalancer?.ingress ?? []).entries()) {
    if (ingress.ip) errors.push(...ipErrors(`status.loadBalancer.ingress[${index}].ip`, ingress.ip));
  }
  return errors;
}

/** The cluster IP stays while the Service has one; the first family too. */
function changeErrors(spec: ServiceSpec, previous: ServiceSpec): FieldError[] {
  const errors: FieldError[] = [];
  const [before, after] = [previous.clusterIP ?? '', spec.clusterIP ?? ''];
  if (previous.type !== 'ExternalName' && spec.type !== 'ExternalName' && before !== '' && after !== before) {
    errors.push(invalid('spec.clusterIPs[0]', spec.clusterIPs ?? [after], 'may not change once set'));
  }
  const family = previous.ipFamilies?.[0];
  if (family !== undefined && previous.type !== 'ExternalName' && spec.type !== 'ExternalName') {
    if (spec.ipFamilies?.[0] !== undefined && spec.ipFamilies[0] !== family) {
      errors.push(invalid('spec.ipFamilies[0]', spec.ipFamilies[0], 'may not change once set'));
    }
  }
  if (
    previous.type === 'LoadBalancer' &&
    spec.type === 'LoadBalancer' &&
    previous.loadBalancerClass !== spec.loadBalancerClass
  ) {
    errors.push(invalid('spec.loadBalancerClass', spec.loadBalancerClass ?? '', 'may not change once set'));
  }
  const port = previous.healthCheckNodePort;
  if (
    port &&
    spec.healthCheckNodePort !== undefined &&
    spec.healthCheckNodePort !== port &&
    spec.type === 'LoadBalancer'
  ) {
    errors.push(forbidden('spec.healthCheckNodePort', 'field is immutable'));
  }
  return errors;
}
