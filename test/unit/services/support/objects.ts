import type { Endpoint, EndpointSlice, Service, ServiceSpec } from '../../../../src/model/service.ts';
import type { BaseRules, ProxyFacts } from '../../../../src/services/port.ts';

export const nodeName = 'node-a';
export const nodeIP = '192.168.0.2';
export const podCIDR = '10.1.0.0/16';

export const facts: ProxyFacts = {
  nodeName,
  zone: 'zone-a',
  nodeIPs: { IPv4: nodeIP, IPv6: 'fd00:1::2' },
  nodePortAddresses: [],
  localDetector: { kind: 'clusterCIDR', cidrs: [podCIDR, 'fd00:10::/64'] },
  masqueradeAll: false,
  masqueradeBit: 14,
  localhostNodePorts: false,
  serviceCIDRs: [],
};

export const base: BaseRules = {
  family: 'IPv4',
  nodePorts: { kind: 'local', loopback: false },
  localDetector: facts.localDetector,
  masqueradeAll: false,
  masqueradeBit: 14,
  localhostNodePorts: false,
  tcpBeLiberal: false,
  serviceCIDRs: [],
};

/** "ns/name" with a port 80 named p80 unless `spec` says otherwise. */
export function service(key: string, spec: Partial<ServiceSpec> = {}, status?: Service['status']): Service {
  const [namespace = '', name = ''] = key.split('/');
  return {
    metadata: { namespace, name },
    spec: { type: 'ClusterIP', ports: [{ name: 'p80', protocol: 'TCP', port: 80 }], ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

/** Each endpoint an address, or an Endpoint. Addresses alone are ready and on another node. */
export function slice(
  serviceKey: string,
  endpoints: readonly (string | Endpoint)[],
  options: { suffix?: string; ports?: EndpointSlice['ports']; addressType?: EndpointSlice['addressType'] } = {},
): EndpointSlice {
  const [namespace = '', name = ''] = serviceKey.split('/');
  return {
    metadata: {
      namespace,
      name: `${name}-${options.suffix ?? 'x'}`,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: options.addressType ?? 'IPv4',
    ports: options.ports ?? [{ name: 'p80', protocol: 'TCP', port: 8080 }],
    endpoints: endpoints.map((endpoint) =>
      typeof endpoint === 'string'
        ? { addresses: [endpoint], conditions: { ready: true }, nodeName: 'node-b' }
        : endpoint,
    ),
  };
}

export function here(address: string, conditions: Endpoint['conditions'] = { ready: true }): Endpoint {
  return { addresses: [address], conditions, nodeName };
}

export function there(address: string, conditions: Endpoint['conditions'] = { ready: true }): Endpoint {
  return { addresses: [address], conditions, nodeName: 'node-b' };
}
