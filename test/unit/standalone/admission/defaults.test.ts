import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../../../src/model/meta.ts';
import type { Container, Pod } from '../../../../src/model/pod.ts';
import { type ResourceType, resources } from '../../../../src/model/resource.ts';
import { pullPolicyFor } from '../../../../src/standalone/defaults/pod-defaults.ts';
import { podWith, rules, serviceWith } from './object-fixtures.ts';

function defaulted<T>(type: ResourceType, object: object): T {
  return rules.defaults(type, object as KubeObject) as unknown as T;
}

const containerOf = (container: object, spec: object = {}): Container | undefined =>
  defaulted<Pod>(resources.pods, podWith(spec, container)).spec.containers[0];

describe('pod defaults', () => {
  it('are those of Kubernetes', () => {
    expect(defaulted<Pod>(resources.pods, podWith())).toEqual({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        containers: [
          {
            name: 'app',
            image: 'nginx:1.27',
            imagePullPolicy: 'IfNotPresent',
            terminationMessagePath: '/dev/termination-log',
            terminationMessagePolicy: 'File',
            resources: {},
          },
        ],
        restartPolicy: 'Always',
        dnsPolicy: 'ClusterFirst',
        terminationGracePeriodSeconds: 30,
        schedulerName: 'default-scheduler',
        enableServiceLinks: true,
        securityContext: {},
      },
    });
  });

  it.each([
    ['nginx', 'Always'],
    ['nginx:latest', 'Always'],
    ['nginx:1.27', 'IfNotPresent'],
    ['registry:5000/nginx', 'Always'],
    ['registry:5000/nginx:1', 'IfNotPresent'],
    [`nginx@sha256:${'0'.repeat(64)}`, 'IfNotPresent'],
    [`nginx:latest@sha256:${'0'.repeat(64)}`, 'IfNotPresent'],
  ])('pulls %s %s', (image, policy) => {
    expect(pullPolicyFor(image)).toBe(policy);
  });

  it('fills probes, ports, env and lifecycle', () => {
    const container = containerOf({
      ports: [{ containerPort: 80 }],
      livenessProbe: { httpGet: { port: 80 } },
      startupProbe: { grpc: { port: 90 }, periodSeconds: 2 },
      lifecycle: { preStop: { httpGet: { port: 'http' } } },
      env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
    });
    const times = { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 };
    expect(container).toMatchObject({
      ports: [{ containerPort: 80, protocol: 'TCP' }],
      livenessProbe: { httpGet: { path: '/', port: 80, scheme: 'HTTP' }, ...times },
      startupProbe: { grpc: { port: 90, service: '' }, ...times, periodSeconds: 2 },
      lifecycle: { preStop: { httpGet: { path: '/', port: 'http', scheme: 'HTTP' } } },
      env: [{ name: 'IP', valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'status.podIP' } } }],
    });
  });

  it('takes requests from limits and spells quantities as the API does', () => {
    const container = containerOf({ resources: { limits: { cpu: 0.5, memory: '1024Mi' }, requests: { cpu: '100m' } } });
    expect(container?.resources).toEqual({
      limits: { cpu: '500m', memory: '1Gi' },
      requests: { cpu: '100m', memory: '1Gi' },
    });
    // Since 1.33 an absent policy stays absent, and means NotRequired.
    expect(container?.resizePolicy).toBeUndefined();
  });

  it('takes the requests of a pod from its containers, else from its limits, and its huge pages from the containers', () => {
    const pod = defaulted<Pod>(
      resources.pods,
      podWith(
        { resources: { limits: { cpu: '2', memory: '1Gi' } } },
        { resources: { requests: { memory: '64Mi' }, limits: { 'hugepages-2Mi': '4Mi', memory: '128Mi' } } },
      ),
    );
    expect(pod.spec.resources).toEqual({
      limits: { cpu: '2', memory: '1Gi', 'hugepages-2Mi': '4Mi' },
      requests: { cpu: '2', memory: '64Mi', 'hugepages-2Mi': '4Mi' },
    });
  });

  it('gives host ports on the host network, keeps zero grace, and knows the old name of the account', () => {
    const pod = defaulted<Pod>(
      resources.pods,
      podWith(
        { hostNetwork: true, terminationGracePeriodSeconds: 0, serviceAccount: 'robot' },
        { ports: [{ containerPort: 80 }] },
      ),
    );
    expect(pod.spec.containers[0]?.ports?.[0]?.hostPort).toBe(80);
    expect(pod.spec).toMatchObject({
      terminationGracePeriodSeconds: 0,
      serviceAccountName: 'robot',
      serviceAccount: 'robot',
    });
  });

  it('fills volumes', () => {
    const volumes = [
      { name: 'a' },
      { name: 'b', secret: { secretName: 's' } },
      {
        name: 'c',
        projected: {
          sources: [
            { serviceAccountToken: { path: 't' } },
            { downwardAPI: { items: [{ path: 'p', fieldRef: { fieldPath: 'metadata.name' } }] } },
          ],
        },
      },
      { name: 'd', hostPath: { path: '/x' } },
    ];
    const [a, b, c, d] = defaulted<Pod>(resources.pods, podWith({ volumes })).spec.volumes ?? [];
    expect(a).toEqual({ name: 'a', emptyDir: {} });
    expect(b?.secret?.defaultMode).toBe(420);
    expect(c?.projected).toMatchObject({
      defaultMode: 420,
      sources: [
        { serviceAccountToken: { expirationSeconds: 3600 } },
        { downwardAPI: { items: [{ fieldRef: { apiVersion: 'v1' } }] } },
      ],
    });
    expect(d?.hostPath?.type).toBe('');
  });

  it('drops nulls and unknown fields, copies deeply and is idempotent', () => {
    const given = podWith({ unknown: 1, hostname: null, nodeSelector: { a: null } }, { command: ['a', null] });
    const frozen = JSON.stringify(given);
    const once = defaulted<Pod>(resources.pods, given);
    expect(JSON.stringify(given)).toBe(frozen);
    expect(once.spec).not.toHaveProperty('unknown');
    expect(once.spec).not.toHaveProperty('hostname');
    expect(once.spec.nodeSelector).toEqual({ a: '' });
    expect(once.spec.containers[0]?.command).toEqual(['a', '']);
    expect(defaulted<Pod>(resources.pods, once)).toEqual(once);
  });

  it('survives any JSON', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.values(resources)), fc.object({ maxDepth: 4 }), (type, value) => {
        const object = { metadata: { name: 'x' }, spec: value, data: value, ...value };
        const once = rules.defaults(type, object as unknown as KubeObject);
        expect(rules.structural(type, once)).toEqual([]);
        rules.validate(type, once, undefined);
      }),
      { numRuns: 500 },
    );
  });
});

describe('defaults of other kinds', () => {
  it('services', () => {
    const spec = (given: object): object => defaulted<{ spec: object }>(resources.services, serviceWith(given)).spec;
    expect(spec({})).toEqual({
      selector: { app: 'web' },
      ports: [{ port: 80, protocol: 'TCP', targetPort: 80 }],
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
    });
    expect(spec({ type: 'NodePort', sessionAffinity: 'ClientIP' })).toMatchObject({
      externalTrafficPolicy: 'Cluster',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } },
    });
    expect(spec({ type: 'LoadBalancer' })).toMatchObject({ allocateLoadBalancerNodePorts: true });
    expect(spec({ type: 'ExternalName', externalName: 'x.y' })).not.toHaveProperty('internalTrafficPolicy');
  });

  it('secrets fold stringData over data', () => {
    const secret = {
      metadata: { name: 's', namespace: 'default' },
      data: { a: 'b2xk', b: 'Yg==\n' },
      stringData: { a: 'new', c: 'é' },
    };
    expect(defaulted(resources.secrets, secret)).toMatchObject({
      type: 'Opaque',
      data: { a: 'bmV3', b: 'Yg==', c: Buffer.from('é').toString('base64') },
    });
    expect(defaulted(resources.secrets, secret)).not.toHaveProperty('stringData');
  });

  it('namespaces, volumes, claims, slices, nodes, classes', () => {
    expect(defaulted(resources.namespaces, { metadata: { name: 'n' } })).toMatchObject({
      metadata: { labels: { 'kubernetes.io/metadata.name': 'n' } },
    });
    expect(
      defaulted(resources.persistentvolumes, { metadata: { name: 'n' }, spec: { hostPath: { path: '/x' } } }),
    ).toMatchObject({
      spec: { persistentVolumeReclaimPolicy: 'Retain', volumeMode: 'Filesystem', hostPath: { type: '' } },
      status: { phase: 'Pending' },
    });
    expect(defaulted(resources.persistentvolumeclaims, { metadata: { name: 'n' } })).toMatchObject({
      spec: { volumeMode: 'Filesystem' },
    });
    expect(
      defaulted(resources.endpointslices, { metadata: { name: 'n' }, addressType: 'IPv4', ports: [{ port: 1 }] }),
    ).toMatchObject({
      endpoints: [],
      ports: [{ name: '', protocol: 'TCP', port: 1 }],
    });
    expect(
      defaulted(resources.nodes, { metadata: { name: 'n' }, status: { capacity: { cpu: '2000m' } } }),
    ).toMatchObject({ status: { allocatable: { cpu: '2' } } });
    expect(defaulted(resources.priorityclasses, { metadata: { name: 'n' }, value: 5 })).toMatchObject({
      preemptionPolicy: 'PreemptLowerPriority',
    });
  });
});
