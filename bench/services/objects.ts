import { CompactEndpointSlice } from '../../src/cluster/compact-endpoint-slice.ts';
import type { EndpointSlice, Service } from '../../src/model/service.ts';

const addressOf = (net: number, index: number): string =>
  `${net}.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;

export function serviceAt(index: number): Service {
  const clusterIP = addressOf(10, index + 1);
  return {
    metadata: { namespace: 'bench', name: `s${index}` },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
    },
  };
}

export function sliceAt(index: number, endpoints: number): EndpointSlice {
  return {
    metadata: { namespace: 'bench', name: `s${index}-x`, labels: { 'kubernetes.io/service-name': `s${index}` } },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: Array.from({ length: endpoints }, (_, at) => ({
      addresses: [addressOf(11, index * 4 + at + 1)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: 'node-z',
    })),
  };
}

/** As the watch cache keeps it. */
export function compactSlice(index: number, endpoints: number): EndpointSlice {
  const compact = CompactEndpointSlice.of(sliceAt(index, endpoints), 'node-a');
  if (compact === undefined) throw new Error('the slice belongs to no Service');
  return compact;
}
