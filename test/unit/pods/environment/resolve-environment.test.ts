import { describe, expect, it } from 'vitest';
import type { ConfigMap, Secret } from '../../../../src/model/objects.ts';
import type { Container, EnvVar, Pod } from '../../../../src/model/pod.ts';
import type { Service } from '../../../../src/model/service.ts';
import { quote } from '../../../../src/pods/environment/field-ref.ts';
import { environmentReferences, referencesOf } from '../../../../src/pods/environment/references.ts';
import {
  type EnvironmentContext,
  environmentRecord,
  resolveEnvironment,
} from '../../../../src/pods/environment/resolve-environment.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

function service(name: string, namespace: string, spec: Partial<Service['spec']>): Service {
  return { metadata: { name, namespace }, spec: { clusterIP: '10.0.0.9', ...spec } };
}

const services = [
  service('kubernetes', 'default', { clusterIP: '10.0.0.1', ports: [{ name: 'https', port: 443 }] }),
  service('web-1.x', 'ns', {
    ports: [
      { name: 'a-b', port: 80 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
  }),
  service('headless', 'ns', { clusterIP: 'None', ports: [{ port: 1 }] }),
  service('external', 'ns', { clusterIP: '', ports: [{ port: 1 }] }),
  service('other', 'elsewhere', { ports: [{ port: 1 }] }),
  service('6six', 'ns', { clusterIP: 'fd00::1', ports: [{ port: 90 }] }),
];

const context: EnvironmentContext = {
  configMaps: new Map<string, ConfigMap>([['cm', { metadata: {}, data: { k: 'v', z: 'zz', 'odd key': '1' } }]]),
  secrets: new Map<string, Secret>([['s', { metadata: {}, data: { pw: base64('hush'), k: base64('from secret') } }]]),
  services,
  podIPs: ['10.1.0.5', 'fd00::5'],
  hostIPs: ['192.0.2.1', '2001:db8::1'],
  nodeName: 'node-1',
  allocatable: { cpu: '4', memory: '8Gi', 'ephemeral-storage': '10G' },
};

const pod: Pod = {
  metadata: { name: 'p', namespace: 'ns', uid: 'u', labels: { 'app.k8s.io/name': 'web' }, annotations: { a: 'A' } },
  spec: {
    containers: [{ name: 'other', resources: { limits: { memory: '1500M' } } }],
    serviceAccountName: 'robot',
    enableServiceLinks: false,
  },
};

function env(
  container: Partial<Container>,
  spec: Partial<Pod['spec']> = {},
  overrides: Partial<EnvironmentContext> = {},
) {
  const given = { name: 'c', ...container };
  const its = { ...pod, spec: { ...pod.spec, containers: [...pod.spec.containers, given], ...spec } };
  return environmentRecord(resolveEnvironment(its, given, { ...context, ...overrides }));
}

describe('resolveEnvironment', () => {
  it('gives the API’s Service always, and the namespace’s with links', () => {
    expect(env({})).toEqual({
      KUBERNETES_SERVICE_HOST: '10.0.0.1',
      KUBERNETES_SERVICE_PORT: '443',
      KUBERNETES_SERVICE_PORT_HTTPS: '443',
      KUBERNETES_PORT: 'tcp://10.0.0.1:443',
      KUBERNETES_PORT_443_TCP: 'tcp://10.0.0.1:443',
      KUBERNETES_PORT_443_TCP_PROTO: 'tcp',
      KUBERNETES_PORT_443_TCP_PORT: '443',
      KUBERNETES_PORT_443_TCP_ADDR: '10.0.0.1',
    });
    const linked = env({}, { enableServiceLinks: true });
    expect(linked).toMatchObject({
      WEB_1_X_SERVICE_HOST: '10.0.0.9',
      WEB_1_X_SERVICE_PORT: '80',
      WEB_1_X_SERVICE_PORT_A_B: '80',
      WEB_1_X_SERVICE_PORT_DNS: '53',
      WEB_1_X_PORT: 'tcp://10.0.0.9:80',
      WEB_1_X_PORT_53_UDP: 'udp://10.0.0.9:53',
      WEB_1_X_PORT_53_UDP_PROTO: 'udp',
      _6SIX_SERVICE_HOST: 'fd00::1',
      _6SIX_PORT: 'tcp://[fd00::1]:90',
      _6SIX_PORT_90_TCP_ADDR: 'fd00::1',
      KUBERNETES_SERVICE_HOST: '10.0.0.1',
    });
    expect(Object.keys(linked).filter((key) => /HEADLESS|EXTERNAL|OTHER/.test(key))).toEqual([]);
    const own = service('kubernetes', 'ns', { clusterIP: '10.9.9.9', ports: [{ port: 1 }] });
    const both = (list: Service[], links: boolean): string | undefined =>
      env({}, { enableServiceLinks: links }, { services: list })['KUBERNETES_SERVICE_HOST'];
    for (const list of [
      [own, ...services],
      [...services, own],
    ]) {
      expect(both(list, true)).toBe('10.9.9.9');
      expect(both(list, false)).toBe('10.0.0.1');
    }
  });

  it('lets env win over envFrom over Services, and later envFrom over earlier', () => {
    const result = env({
      envFrom: [
        { configMapRef: { name: 'cm' } },
        { secretRef: { name: 's' } },
        { prefix: 'P_', configMapRef: { name: 'cm' } },
        { configMapRef: { name: 'absent', optional: true } },
        { secretRef: { name: 'absent', optional: true } },
      ],
      env: [
        { name: 'z', value: 'env' },
        { name: 'KUBERNETES_SERVICE_HOST', value: 'mine' },
        { name: 'twice', value: '1' },
        { name: 'twice', value: '2' },
        { name: 'none' },
      ],
    });
    expect(result).toMatchObject({ k: 'from secret', z: 'env', P_k: 'v', 'odd key': '1', pw: 'hush' });
    expect(result).toMatchObject({ KUBERNETES_SERVICE_HOST: 'mine', twice: '2', none: '' });
  });

  it('expands with what came before, envFrom first and Services last', () => {
    const result = env({
      envFrom: [{ configMapRef: { name: 'cm' } }],
      env: [
        { name: 'FIRST', value: '$(LATER)' },
        { name: 'LATER', value: '$(k)-$(KUBERNETES_SERVICE_PORT)-$$(k)-$(NOPE)' },
        { name: 'SELF', value: 'x' },
        { name: 'SELF', value: '$(SELF)$(SELF)' },
        { name: 'KUBERNETES_PORT', value: '<$(KUBERNETES_PORT)>' },
      ],
    });
    expect(result).toMatchObject({
      FIRST: '$(LATER)',
      LATER: 'v-443-$(k)-$(NOPE)',
      SELF: 'xx',
      KUBERNETES_PORT: '<tcp://10.0.0.1:443>',
    });
  });

  it('keeps order, one of each name', () => {
    const given = {
      name: 'c',
      env: [
        { name: 'B', value: '1' },
        { name: 'A', value: '2' },
        { name: 'B', value: '3' },
      ],
    };
    const list = resolveEnvironment(pod, given, { ...context, services: [] });
    expect(list).toEqual([
      { key: 'B', value: '3' },
      { key: 'A', value: '2' },
    ]);
  });

  it.each([
    ['metadata.name', 'p'],
    ['metadata.namespace', 'ns'],
    ['metadata.uid', 'u'],
    ["metadata.labels['app.k8s.io/name']", 'web'],
    ["metadata.labels['absent']", ''],
    ["metadata.annotations['a']", 'A'],
    ['spec.nodeName', 'node-1'],
    ['spec.serviceAccountName', 'robot'],
    ['status.podIP', '10.1.0.5'],
    ['status.podIPs', '10.1.0.5,fd00::5'],
    ['status.hostIP', '192.0.2.1'],
    ['status.hostIPs', '192.0.2.1,2001:db8::1'],
  ])('reads the field %s', (fieldPath, expected) => {
    expect(env({ env: [{ name: 'X', valueFrom: { fieldRef: { fieldPath } } }] })['X']).toBe(expected);
  });

  it.each([
    ['limits.cpu', undefined, undefined, '4'],
    ['limits.cpu', '1m', undefined, '4000'],
    ['limits.cpu', undefined, '250m', '1'],
    ['limits.cpu', '1m', '250m', '250'],
    ['limits.cpu', '0', '1500m', '2'],
    ['requests.cpu', '1m', '250m', '250'],
    ['requests.cpu', undefined, undefined, '0'],
    ['limits.memory', '1Mi', undefined, '8192'],
    ['limits.ephemeral-storage', '1Gi', undefined, '10'],
    ['limits.hugepages-2Mi', undefined, undefined, '0'],
  ])('reads the resource %s by %s with limit %s', (resource, divisor, cpu, expected) => {
    const ref = { resource, ...(divisor === undefined ? {} : { divisor }) };
    const resources = cpu === undefined ? {} : { limits: { cpu } };
    expect(env({ resources, env: [{ name: 'X', valueFrom: { resourceFieldRef: ref } }] })['X']).toBe(expected);
  });

  it('reads another container’s resources, and the pod’s own limit before the node’s', () => {
    const of = (containerName: string, resource: string, divisor: string): EnvVar[] => [
      { name: 'X', valueFrom: { resourceFieldRef: { containerName, resource, divisor } } },
    ];
    expect(env({ env: of('other', 'limits.memory', '1M') })['X']).toBe('1500');
    const spec = { resources: { limits: { memory: '2Gi', cpu: '64' } } };
    expect(env({ env: of('c', 'limits.memory', '1Gi') }, spec)['X']).toBe('2');
    expect(env({ env: of('c', 'limits.cpu', '1') }, spec)['X']).toBe('4');
  });

  it.each<[string, Partial<Container>, string]>([
    [
      'ConfigMap of a key',
      { env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'no', key: 'k' } } }] },
      'configmap "no" not found',
    ],
    [
      'key of a ConfigMap',
      { env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'cm', key: 'no' } } }] },
      "couldn't find key no in ConfigMap ns/cm",
    ],
    [
      'Secret of a key',
      { env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'no', key: 'k' } } }] },
      'secret "no" not found',
    ],
    [
      'key of a Secret',
      { env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 's', key: 'no' } } }] },
      "couldn't find key no in Secret ns/s",
    ],
    ['ConfigMap of envFrom', { envFrom: [{ configMapRef: { name: 'no' } }] }, 'configmap "no" not found'],
    ['Secret of envFrom', { envFrom: [{ secretRef: { name: 'no' } }] }, 'secret "no" not found'],
    [
      'field',
      { env: [{ name: 'X', valueFrom: { fieldRef: { fieldPath: 'spec.nope' } } }] },
      'unsupported fieldPath: spec.nope',
    ],
    [
      'resource',
      { env: [{ name: 'X', valueFrom: { resourceFieldRef: { resource: 'limits.gpu' } } }] },
      'unsupported container resource : limits.gpu',
    ],
    [
      'container',
      { env: [{ name: 'X', valueFrom: { resourceFieldRef: { containerName: 'no', resource: 'limits.cpu' } } }] },
      'container no not found',
    ],
    [
      'source',
      { env: [{ name: 'X', valueFrom: { nothingKnown: {} } as object }] },
      'valueFrom.nothingKnown is not supported',
    ],
  ])('fails on an absent %s', (_, container, why) => {
    try {
      env(container);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ name: 'CodedError', metadata: { reason: 'CreateContainerConfigError' } });
      expect(String(error)).toContain(why);
    }
  });

  it('leaves optional keys out', () => {
    const optional = (name: string, key: string) => ({ name, key, optional: true });
    const result = env({
      env: [
        { name: 'A', valueFrom: { configMapKeyRef: optional('no', 'k') } },
        { name: 'B', valueFrom: { configMapKeyRef: optional('cm', 'no') } },
        { name: 'C', valueFrom: { secretKeyRef: optional('s', 'constructor') } },
        { name: 'D', valueFrom: { secretKeyRef: optional('s', 'pw') } },
      ],
    });
    expect(result).not.toHaveProperty('A');
    expect(result).not.toHaveProperty('B');
    expect(result).not.toHaveProperty('C');
    expect(result['D']).toBe('hush');
  });
});

describe('referencesOf', () => {
  it('names what every part of a pod reads, optional only when all uses are', () => {
    const container: Container = {
      name: 'c',
      envFrom: [{ configMapRef: { name: 'a' } }, { secretRef: { name: 'b', optional: true } }],
      env: [
        { name: 'x', valueFrom: { configMapKeyRef: { name: 'c', key: 'k', optional: true } } },
        { name: 'y', valueFrom: { secretKeyRef: { name: 'd', key: 'k' } } },
      ],
    };
    const full: Pod = {
      metadata: {},
      spec: {
        containers: [container],
        initContainers: [{ name: 'i', envFrom: [{ configMapRef: { name: 'init', optional: true } }] }],
        ephemeralContainers: [{ name: 'e', envFrom: [{ secretRef: { name: 'eph' } }] }],
        imagePullSecrets: [{ name: 'pull' }, { name: 'd' }, {}],
        volumes: [
          { name: '1', configMap: { name: 'c' } },
          { name: '2', secret: { secretName: 'vs', optional: true } },
          {
            name: '3',
            projected: { sources: [{ configMap: { name: 'pc' } }, { secret: { name: 'ps', optional: true } }] },
          },
        ],
      },
    };
    const sorted = (list: readonly { name: string; optional: boolean }[]): string[] =>
      list.map(({ name, optional }) => name + (optional ? '?' : '')).sort();
    expect(sorted(referencesOf(full).configMaps)).toEqual(['a', 'c', 'init?', 'pc']);
    expect(sorted(referencesOf(full).secrets)).toEqual(['b?', 'd', 'eph', 'ps?', 'pull?', 'vs?']);
    const startOnly = (list: readonly { name: string; onlyAtStart: boolean }[]): string[] =>
      list.flatMap(({ name, onlyAtStart }) => (onlyAtStart ? [name] : [])).sort();
    expect(startOnly(referencesOf(full).configMaps)).toEqual(['a', 'init']);
    expect(startOnly(referencesOf(full).secrets)).toEqual(['b', 'd', 'eph', 'pull']);
    expect(sorted(environmentReferences(container).configMaps)).toEqual(['a', 'c?']);
    expect(sorted(environmentReferences(container).secrets)).toEqual(['b?', 'd']);
  });
});

describe('quote', () => {
  it.each([
    ['plain', '"plain"'],
    ['a"b\\c', '"a\\"b\\\\c"'],
    ['\n\t\r\x00\x7f\x1b', '"\\n\\t\\r\\x00\\x7f\\x1b"'],
    ['é 世界 😀', '"é 世界 😀"'],
    ['\u00a0\u200b\u{e0001}', '"\\u00a0\\u200b\\U000e0001"'],
  ])('writes %j as Go does', (text, expected) => {
    expect(quote(text)).toBe(expected);
  });
});
