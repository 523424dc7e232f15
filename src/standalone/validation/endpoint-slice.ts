import {
  dns1123LabelError,
  dns1123SubdomainError,
  labelValueError,
  portNumberError,
  qualifiedNameError,
} from '../../model/names.ts';
import type { Endpoint, EndpointSlice } from '../../model/service.ts';
import type { FieldError } from '../port.ts';
import { child, duplicate, forbidden, invalid, required, tooMany } from './field-errors.ts';
import { familyOfNew } from './ip-errors.ts';
import { unreachableErrors } from './service.ts';

const MAX_ENDPOINTS = 1000;
const MAX_ADDRESSES = 100;
const MAX_PORTS = 20_000;

/** ValidateEndpointSliceCreate and ValidateEndpointSliceUpdate (pkg/apis/discovery/validation). */
export function validateEndpointSlice(slice: EndpointSlice, previous: EndpointSlice | undefined): FieldError[] {
  const errors: FieldError[] = [];
  if (!slice.addressType) errors.push(required('addressType'));
  const endpoints = slice.endpoints ?? [];
  if (endpoints.length > MAX_ENDPOINTS) errors.push(tooMany('endpoints', endpoints.length, MAX_ENDPOINTS));
  else
    for (const [index, endpoint] of endpoints.entries())
      errors.push(...endpointErrors(endpoint, slice.addressType, `endpoints[${index}]`));
  errors.push(...portErrors(slice));
  if (previous !== undefined && previous.addressType !== slice.addressType) {
    errors.push(invalid('addressType', slice.addressType, 'field is immutable'));
  }
  return errors;
}

function endpointErrors(endpoint: Endpoint, type: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const addresses = endpoint.addresses ?? [];
  if (addresses.length === 0) errors.push(required(child(path, 'addresses'), 'must contain at least 1 address'));
  if (addresses.length > MAX_ADDRESSES) errors.push(tooMany(child(path, 'addresses'), addresses.length, MAX_ADDRESSES));
  const seen = new Set<string>();
  for (const [index, address] of addresses.entries()) {
    const at = `${path}.addresses[${index}]`;
    if (seen.has(address)) errors.push(duplicate(at, address));
    seen.add(address);
    if (type === 'FQDN') {
      const error = dns1123SubdomainError(address.replace(/\.$/, ''));
      if (error !== undefined) errors.push(invalid(at, address, error));
    } else if (familyOfNew(address) !== type) {
      errors.push(invalid(at, address, `must be a valid ${type} address`));
    } else errors.push(...unreachableErrors(address, at));
  }
  if (endpoint.nodeName) {
    const error = dns1123SubdomainError(endpoint.nodeName);
    if (error !== undefined) errors.push(invalid(child(path, 'nodeName'), endpoint.nodeName, error));
  }
  if (endpoint.hostname) {
    const error = dns1123LabelError(endpoint.hostname);
    if (error !== undefined) errors.push(invalid(child(path, 'hostname'), endpoint.hostname, error));
  }
  const zones = new Set<string>();
  for (const [index, zone] of (endpoint.hints?.forZones ?? []).entries()) {
    const at = `${path}.hints.forZones[${index}].name`;
    const error = labelValueError(zone.name ?? '');
    if (zones.has(zone.name)) errors.push(duplicate(at, zone.name));
    if (error !== undefined) errors.push(invalid(at, zone.name, error));
    zones.add(zone.name);
  }
  const deprecated = (endpoint as { deprecatedTopology?: Record<string, string> }).deprecatedTopology ?? {};
  if (Object.hasOwn(deprecated, 'kubernetes.io/hostname')) {
    errors.push(forbidden(`${path}.deprecatedTopology[kubernetes.io/hostname]`, 'set nodeName instead'));
  }
  return errors;
}

function portErrors(slice: EndpointSlice): FieldError[] {
  const errors: FieldError[] = [];
  const ports = slice.ports ?? [];
  if (ports.length > MAX_PORTS) return [tooMany('ports', ports.length, MAX_PORTS)];
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `ports[${index}]`;
    const name = port.name ?? '';
    if (name !== '') {
      const error = dns1123LabelError(name);
      if (error !== undefined) errors.push(invalid(child(at, 'name'), name, error));
    }
    if (names.has(name)) errors.push(duplicate(child(at, 'name'), name));
    names.add(name);
    if (!port.protocol) errors.push(required(child(at, 'protocol')));
    // 0 stands for no fixed port, which slices of headless Services have.
    if (port.port !== undefined && port.port !== 0) {
      const error = portNumberError(port.port);
      if (error !== undefined) errors.push(invalid(child(at, 'port'), port.port, error));
    }
    if (port.appProtocol) {
      const error = qualifiedNameError(port.appProtocol);
      if (error !== undefined) errors.push(invalid(child(at, 'appProtocol'), port.appProtocol, error));
    }
  }
  return errors;
}
