import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../../../src/model/meta.ts';
import { type ResourceType, resources } from '../../../../src/model/resource.ts';
import { mistakesOf, serviceWith } from './object-fixtures.ts';

const named = (object: object, metadata: object = {}): KubeObject =>
  ({ metadata: { name: 'x', namespace: 'default', ...metadata }, ...object }) as KubeObject;
const clusterWide = (object: object, name = 'x'): KubeObject => ({ metadata: { name }, ...object }) as KubeObject;

function expectMistake(type: ResourceType, object: object, message: string, previous?: KubeObject): void {
  const mistakes = mistakesOf(type, object, previous);
  expect(mistakes.join('\n')).toContain(message);
  expect(mistakes).toHaveLength(1);
}

describe('services', () => {
  it.each([
    [{}],
    [
      {
        type: 'NodePort',
        ports: [
          { name: 'a', port: 80, targetPort: 'http', nodePort: 30_080 },
          { name: 'b', port: 80, protocol: 'UDP' },
        ],
      },
    ],
    [{ clusterIP: 'None', ports: undefined }],
    [{ type: 'ExternalName', externalName: 'db.example.com.', ports: undefined, selector: undefined }],
    [
      {
        type: 'LoadBalancer',
        loadBalancerSourceRanges: ['10.0.0.0/8'],
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 30_001,
      },
    ],
    [{ externalIPs: ['192.0.2.1'], sessionAffinity: 'ClientIP', trafficDistribution: 'PreferClose' }],
  ])('%j is right', (spec) => {
    expect(mistakesOf(resources.services, serviceWith(spec))).toEqual([]);
  });

  it.each([
    [{ ports: [] }, 'spec.ports: Required value'],
    [{ ports: [{ port: 0 }] }, 'spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive'],
    [{ ports: [{ port: 80, targetPort: 'http_1' }] }, 'spec.ports[0].targetPort: Invalid value: "http_1"'],
    [{ ports: [{ port: 80 }, { port: 81, name: 'b' }] }, 'spec.ports[0].name: Required value'],
    [
      {
        ports: [
          { port: 80, name: 'a' },
          { port: 81, name: 'a' },
        ],
      },
      'spec.ports[1].name: Duplicate value: "a"',
    ],
    [
      {
        ports: [
          { port: 80, name: 'a' },
          { port: 80, name: 'b' },
        ],
      },
      'spec.ports[1]: Duplicate value',
    ],
    [
      { ports: [{ port: 80, nodePort: 30_000 }] },
      "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ],
    [{ ports: [{ port: 80, protocol: 'tcp' }] }, 'did you mean "TCP"?'],
    [
      { type: 'Nodeport' },
      'spec.type: Unsupported value: "Nodeport": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"; did you mean "NodePort"?',
    ],
    [{ type: 'ExternalName' }, 'spec.externalName: Required value'],
    [{ type: 'ExternalName', externalName: 'a_b' }, 'spec.externalName: Invalid value: "a_b"'],
    [{ type: 'NodePort', clusterIP: 'None' }, "may not be set to 'None' for NodePort services"],
    [{ clusterIP: '10.96.0.300' }, 'spec.clusterIPs[0]: Invalid value: "10.96.0.300": must be a valid IP address'],
    [{ clusterIP: '010.96.0.3' }, 'must be a valid IP address'],
    [{ ipFamilies: ['IPv4', 'IPv4'] }, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'],
    [{ ipFamilies: ['IPv6'], clusterIP: '10.96.0.3' }, 'expected an IPv6 value as indicated by `ipFamilies[0]`'],
    [{ externalIPs: ['127.0.0.1'] }, 'may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    [{ selector: { 'a b': 'c' } }, 'spec.selector: Invalid value: "a b"'],
    [
      { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 90_000 } } },
      'must be greater than 0 and less than 86400',
    ],
    [{ externalTrafficPolicy: 'Local' }, 'may only be set for externally-accessible services'],
    [{ healthCheckNodePort: 30_000 }, "may only be set when `type` is 'LoadBalancer'"],
    [{ loadBalancerSourceRanges: ['10.0.0.0/8'] }, "may only be used when `type` is 'LoadBalancer'"],
    [{ type: 'LoadBalancer', loadBalancerSourceRanges: ['x'] }, 'must be a valid CIDR value'],
  ])('%j', (spec, message) => {
    expectMistake(resources.services, serviceWith(spec), message);
  });

  it('have names of RFC 1035', () => {
    expectMistake(resources.services, serviceWith({}, { name: '1web' }), 'a DNS-1035 label must consist of');
  });

  it('keep their address, but need not repeat it', () => {
    const stored = serviceWith({
      clusterIP: '10.96.0.7',
      clusterIPs: ['10.96.0.7'],
      ipFamilies: ['IPv4'],
      type: 'NodePort',
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_001 }],
    });
    expect(mistakesOf(resources.services, serviceWith({ type: 'NodePort' }), stored)).toEqual([]);
    expectMistake(
      resources.services,
      serviceWith({ type: 'NodePort', clusterIP: '10.96.0.8' }),
      'spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set',
      stored,
    );
    // What only the former type has goes by itself.
    expect(
      mistakesOf(
        resources.services,
        serviceWith({ ...stored.spec, type: 'ClusterIP', externalTrafficPolicy: 'Cluster' }),
        stored,
      ),
    ).toEqual([]);
    expect(
      mistakesOf(
        resources.services,
        serviceWith({ ...stored.spec, type: 'ExternalName', externalName: 'a.b' }),
        stored,
      ),
    ).toEqual([]);
  });
});

describe('endpoint slices', () => {
  const slice = (object: object): KubeObject => named({ addressType: 'IPv4', endpoints: [], ports: [], ...object });
  it('are right', () => {
    const endpoints = [{ addresses: ['10.0.0.1'], hostname: 'a', nodeName: 'n', hints: { forZones: [{ name: 'z' }] } }];
    expect(
      mistakesOf(resources.endpointslices, slice({ endpoints, ports: [{ port: 80, name: 'a' }, { name: 'b' }] })),
    ).toEqual([]);
    expect(
      mistakesOf(resources.endpointslices, slice({ addressType: 'FQDN', endpoints: [{ addresses: ['a.example'] }] })),
    ).toEqual([]);
  });
  it.each([
    [{ addressType: 'IPv5' }, 'addressType: Unsupported value: "IPv5"'],
    [{ addressType: '' }, 'addressType: Required value'],
    [{ endpoints: [{ addresses: [] }] }, 'endpoints[0].addresses: Required value: must contain at least 1 address'],
    [
      { endpoints: [{ addresses: ['fd00::1'] }] },
      'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address',
    ],
    [{ endpoints: [{ addresses: ['127.0.0.1'] }] }, 'may not be in the loopback range'],
    [{ endpoints: [{ addresses: ['10.0.0.1', '10.0.0.1'] }] }, 'Duplicate value: "10.0.0.1"'],
    [
      { endpoints: Array.from({ length: 1001 }, () => ({ addresses: ['10.0.0.1'] })) },
      'endpoints: Too many: 1001: must have at most 1000 items',
    ],
    [{ ports: [{ port: 80 }, { port: 81 }] }, 'ports[1].name: Duplicate value: ""'],
    [{ ports: [{ port: 80_000 }] }, 'ports[0].port: Invalid value: 80000'],
  ])('%#', (object, message) => {
    expectMistake(resources.endpointslices, slice(object), message);
  });
  it('keep their type', () => {
    expectMistake(
      resources.endpointslices,
      slice({ addressType: 'IPv6' }),
      'addressType: Invalid value: "IPv6": field is immutable',
      slice({}),
    );
  });
});

describe('config maps and secrets', () => {
  const big = 'x'.repeat(1_048_577);
  it.each([
    [
      resources.configmaps,
      { data: { 'a/b': '' } },
      'data[a/b]: Invalid value: "a/b": a valid config key must consist of',
    ],
    [resources.configmaps, { data: { '..': '' } }, 'data[..]: Invalid value: "..": must not be \'..\''],
    [resources.configmaps, { data: { a: big } }, 'Too long: may not be more than 1048576 bytes'],
    [
      resources.secrets,
      { data: { a: Buffer.from(big).toString('base64') } },
      'Too long: may not be more than 1048576 bytes',
    ],
    [
      resources.secrets,
      { type: 'kubernetes.io/dockerconfigjson', data: { '.dockerconfigjson': 'W10=' } },
      'must be a JSON object',
    ],
    [resources.secrets, { type: 'kubernetes.io/ssh-auth' }, 'data[ssh-privatekey]: Required value'],
    [resources.secrets, { type: 'kubernetes.io/tls', stringData: { 'tls.crt': 'x' } }, 'data[tls.key]: Required value'],
  ])('%#', (type, object, message) => {
    expectMistake(type, named(object), message);
  });

  it('freeze', () => {
    const frozen = named({ immutable: true, data: { a: 'YQ==' } });
    expectMistake(
      resources.configmaps,
      named({ immutable: true, data: { a: 'b' } }),
      'data: Forbidden: field is immutable when `immutable` is set',
      frozen,
    );
    expectMistake(resources.secrets, named({ data: { a: 'YQ==' } }), 'immutable: Forbidden', frozen);
    expectMistake(
      resources.secrets,
      named({ type: 'b' }),
      'type: Invalid value: "b": field is immutable',
      named({ type: 'a' }),
    );
    expect(mistakesOf(resources.configmaps, frozen, frozen)).toEqual([]);
  });
});

describe('volumes and claims', () => {
  const volume = (spec: object): KubeObject =>
    clusterWide({
      spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/x' }, ...spec },
    });
  const claim = (spec: object): KubeObject =>
    named({ spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...spec } });
  it.each([
    [resources.persistentvolumes, volume({ accessModes: [] }), 'spec.accessModes: Required value'],
    [
      resources.persistentvolumes,
      volume({ accessModes: ['ReadWriteAll'] }),
      'spec.accessModes[0]: Unsupported value: "ReadWriteAll"',
    ],
    [resources.persistentvolumes, volume({ capacity: {} }), 'spec.capacity: Required value'],
    [resources.persistentvolumes, volume({ capacity: { storage: '0' } }), 'must be greater than zero'],
    [resources.persistentvolumes, volume({ hostPath: undefined }), 'spec: Required value: must specify a volume type'],
    [
      resources.persistentvolumes,
      volume({ nfs: { server: 's', path: '/p' } }),
      'may not specify more than 1 volume type',
    ],
    [
      resources.persistentvolumes,
      volume({ hostPath: undefined, local: { path: '/x' } }),
      'Local volume requires node affinity',
    ],
    [resources.persistentvolumes, volume({ persistentVolumeReclaimPolicy: 'Keep' }), 'Unsupported value: "Keep"'],
    [resources.persistentvolumeclaims, claim({ accessModes: [] }), 'at least 1 access mode is required'],
    [resources.persistentvolumeclaims, claim({ resources: {} }), 'spec.resources[storage]: Required value'],
    [
      resources.persistentvolumeclaims,
      claim({ accessModes: ['ReadWriteOncePod', 'ReadWriteOnce'] }),
      'may not use ReadWriteOncePod with other access modes',
    ],
    [
      resources.persistentvolumeclaims,
      claim({ selector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }),
      "must be specified when `operator` is 'In' or 'NotIn'",
    ],
  ])('%#', (type, object, message) => {
    expectMistake(type, object, message);
  });
  it('keep what binding relies on', () => {
    expect(mistakesOf(resources.persistentvolumes, volume({}))).toEqual([]);
    expect(mistakesOf(resources.persistentvolumeclaims, claim({}))).toEqual([]);
    expectMistake(
      resources.persistentvolumes,
      volume({ hostPath: { path: '/y' } }),
      'spec.persistentvolumesource is immutable',
      volume({}),
    );
    expectMistake(
      resources.persistentvolumeclaims,
      claim({ storageClassName: 'b' }),
      'spec is immutable after creation',
      claim({}),
    );
    expect(mistakesOf(resources.persistentvolumeclaims, claim({ volumeName: 'v' }), claim({}))).toEqual([]);
  });
});

describe('other kinds', () => {
  it.each([
    [resources.namespaces, clusterWide({}, 'a.b'), 'a lowercase RFC 1123 label must consist of'],
    [resources.namespaces, named({}), 'metadata.namespace: Forbidden: not allowed on this type'],
    [
      resources.nodes,
      clusterWide({ spec: { taints: [{ key: 'a', effect: 'NoRun' }] } }),
      'spec.taints[0].effect: Unsupported value: "NoRun"',
    ],
    [
      resources.nodes,
      clusterWide({
        spec: {
          taints: [
            { key: 'a', effect: 'NoExecute' },
            { key: 'a', effect: 'NoExecute' },
          ],
        },
      }),
      'taints must be unique by key and effect pair',
    ],
    [
      resources.priorityclasses,
      clusterWide({ value: 2_000_000_000 }),
      'maximum allowed value of a user defined priority is 1000000000',
    ],
    [
      resources.priorityclasses,
      clusterWide({ value: 1 }, 'system-mine'),
      "priority class names with 'system-' prefix are reserved for system use only",
    ],
    [resources.servicecidrs, clusterWide({}), 'spec.cidrs: Required value: at least one CIDR required'],
    [
      resources.servicecidrs,
      clusterWide({ spec: { cidrs: ['10.0.0.0/24', 'fd00::/64', '10.1.0.0/24'] } }),
      'spec.cidrs: Invalid value: ["10.0.0.0/24","fd00::/64","10.1.0.0/24"]: may only hold up to 2 values',
    ],
    [
      resources.servicecidrs,
      clusterWide({ spec: { cidrs: ['10.0.0.0/24', '10.1.0.0/24'] } }),
      'may specify no more than one IP for each IP family',
    ],
    [
      resources.servicecidrs,
      clusterWide({ spec: { cidrs: ['fd00::/64', '10.0.0.7/24'] } }),
      'spec.cidrs[1]: Invalid value: "10.0.0.7/24": must be a valid CIDR value',
    ],
    [resources.runtimeclasses, clusterWide({ handler: '' }), 'handler: Required value'],
    [
      resources.runtimeclasses,
      clusterWide({ handler: 'Kata' }),
      'handler: Invalid value: "Kata": a lowercase RFC 1123',
    ],
    [
      resources.runtimeclasses,
      clusterWide({ handler: 'kata', scheduling: { nodeSelector: { 'a b': 'c' } } }),
      'scheduling.nodeSelector: Invalid value: "a b"',
    ],
    [
      resources.runtimeclasses,
      clusterWide({
        handler: 'kata',
        scheduling: {
          tolerations: [
            { key: 'a', operator: 'Exists' },
            { key: 'a', operator: 'Exists' },
          ],
        },
      }),
      'scheduling.tolerations[1]: Duplicate value',
    ],
    [
      resources.leases,
      named({ spec: { leaseDurationSeconds: 0 } }),
      'spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0',
    ],
    [
      resources.events,
      named({ involvedObject: { namespace: 'other' } }),
      'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
    ],
    [resources.serviceaccounts, named({ imagePullSecrets: [{}] }), 'imagePullSecrets[0].name: Required value'],
  ])('%#', (type, object, message) => {
    expectMistake(type, object, message);
  });
  it('may not change what others rely on', () => {
    expectMistake(
      resources.priorityclasses,
      clusterWide({ value: 2 }),
      'value: Forbidden: may not be changed in an update.',
      clusterWide({ value: 1 }),
    );
    expectMistake(
      resources.runtimeclasses,
      clusterWide({ handler: 'runc' }),
      'handler: Invalid value: "runc": field is immutable',
      clusterWide({ handler: 'kata' }),
    );
    const ranges = (...cidrs: string[]): KubeObject => clusterWide({ spec: { cidrs } });
    const [one, other, six] = ['10.0.0.0/24', '10.1.0.0/24', 'fd00::/64'];
    expectMistake(
      resources.servicecidrs,
      ranges(other),
      'spec.cidrs[0]: Invalid value: "10.1.0.0/24": field is immutable',
      ranges(one),
    );
    expectMistake(resources.servicecidrs, ranges(one), 'spec.cidrs: Invalid value', ranges(one, six));
    expectMistake(resources.servicecidrs, ranges(other, six), 'spec.cidrs[0]: Invalid value', ranges(one));
    // A second family may come.
    expect(mistakesOf(resources.servicecidrs, ranges(one, six), ranges(one))).toEqual([]);
    expectMistake(
      resources.nodes,
      clusterWide({ spec: { podCIDRs: ['10.1.0.0/24'] } }),
      'spec.podCIDRs: Forbidden',
      clusterWide({ spec: { podCIDRs: ['10.0.0.0/24'] } }),
    );
    expect(mistakesOf(resources.namespaces, clusterWide({}, 'b'), clusterWide({}, 'a'))).toEqual([
      'metadata.name: Invalid value: "b": field is immutable',
    ]);
  });
});
