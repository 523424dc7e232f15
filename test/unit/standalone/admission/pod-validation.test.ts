import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../../src/model/pod.ts';
import { resources } from '../../../../src/model/resource.ts';
import { needsNewPod } from '../../../../src/standalone/validation/pod-update.ts';
import { mistakesOf, podMistakes, podWith, rules } from './object-fixtures.ts';

const volume = { name: 'data', emptyDir: {} };
const http = { httpGet: { path: '/', port: 80 } };

describe('a right pod', () => {
  it('has no mistakes, with all that it may have', () => {
    const spec = {
      volumes: [
        volume,
        { name: 'conf', configMap: { name: 'c', items: [{ key: 'k', path: 'a/b' }] } },
        {
          name: 'down',
          downwardAPI: {
            items: [
              { path: 'l', fieldRef: { fieldPath: 'metadata.labels' } },
              { path: 'm', resourceFieldRef: { containerName: 'app', resource: 'limits.memory', divisor: '1Mi' } },
            ],
          },
        },
        {
          name: 'all',
          projected: {
            sources: [{ secret: { name: 's' } }, { serviceAccountToken: { path: 'token', expirationSeconds: 600 } }],
          },
        },
      ],
      initContainers: [
        { name: 'setup', image: 'busybox' },
        {
          name: 'proxy',
          image: 'envoy:1',
          restartPolicy: 'Always',
          readinessProbe: http,
          lifecycle: { preStop: { sleep: { seconds: 5 } } },
        },
      ],
      tolerations: [{ operator: 'Exists' }, { key: 'a', value: 'b', effect: 'NoExecute', tolerationSeconds: 5 }],
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] }],
          },
        },
      },
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: 'zone',
          whenUnsatisfiable: 'DoNotSchedule',
          labelSelector: { matchLabels: { a: 'b' } },
        },
      ],
      securityContext: {
        runAsUser: 1000,
        sysctls: [{ name: 'net.core.somaxconn', value: '1' }],
        seccompProfile: { type: 'RuntimeDefault' },
      },
      dnsPolicy: 'None',
      dnsConfig: {
        nameservers: ['10.0.0.1'],
        searches: ['a.b.', '_tcp.x', '.'],
        options: [{ name: 'ndots', value: '2' }],
      },
      hostAliases: [{ ip: '10.0.0.9', hostnames: ['db'] }],
      readinessGates: [{ conditionType: 'example.com/ready' }],
    };
    const container = {
      ports: [
        { name: 'http', containerPort: 80 },
        { containerPort: 80, protocol: 'UDP' },
      ],
      env: [
        { name: 'A.B-C', value: 'x' },
        { name: 'L', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: 'K', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
      ],
      envFrom: [{ prefix: 'P_', configMapRef: { name: 'c' } }],
      volumeMounts: [
        { name: 'data', mountPath: '/data', subPath: 'a/b' },
        { name: 'conf', mountPath: '/conf', readOnly: true, recursiveReadOnly: 'IfPossible' },
      ],
      resources: { limits: { cpu: '1', memory: '1Gi', 'hugepages-2Mi': '4Mi', 'example.com/gpu': 1 } },
      livenessProbe: { exec: { command: ['true'] }, terminationGracePeriodSeconds: 5 },
      startupProbe: { grpc: { port: 9090 } },
      lifecycle: { postStart: { tcpSocket: { port: 'http' } } },
    };
    expect(podMistakes(spec, container)).toEqual([]);
  });
});

describe('metadata', () => {
  it.each([
    [{ name: 'Web' }, 'metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of'],
    [{ name: '' }, 'metadata.name: Required value: name or generateName is required'],
    [{ name: 'a'.repeat(254) }, 'must be no more than 253 characters'],
    [{ namespace: 'a.b' }, 'metadata.namespace: Invalid value: "a.b": a lowercase RFC 1123 label must consist of'],
    [{ namespace: undefined }, 'metadata.namespace: Required value'],
    [{ labels: { '-a': 'b' } }, 'metadata.labels: Invalid value: "-a": name part must consist of'],
    [{ labels: { 'a/b/c': 'b' } }, 'metadata.labels: Invalid value: "a/b/c": a qualified name must consist of'],
    [{ labels: { a: 'b c' } }, 'Invalid value: "b c": a valid label must be an empty string or consist of'],
    [{ labels: { a: 'b'.repeat(64) } }, 'must be no more than 63 characters'],
    [{ annotations: { 'a b': 'c' } }, 'metadata.annotations: Invalid value: "a b"'],
    [{ annotations: { a: 'x'.repeat(262_145) } }, 'metadata.annotations: Too long: may not be more than 262144 bytes'],
    [{ finalizers: ['x y'] }, 'metadata.finalizers[0]: Invalid value: "x y"'],
    [
      { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'a', uid: '' }] },
      'metadata.ownerReferences[0].uid: Required value: must not be empty',
    ],
  ])('%#', (metadata, message) => {
    const [mistake, ...more] = podMistakes({}, {}, metadata);
    expect(more).toEqual([]);
    expect(mistake).toContain(message);
  });
});

describe('the spec', () => {
  it.each([
    [{ containers: [] }, 'spec.containers: Required value'],
    [
      {
        containers: [
          { name: 'a', image: 'i' },
          { name: 'a', image: 'i' },
        ],
      },
      'spec.containers[1].name: Duplicate value: "a"',
    ],
    [{ initContainers: [{ name: 'app', image: 'i' }] }, 'spec.initContainers[0].name: Duplicate value: "app"'],
    [
      { initContainers: [{ name: 'b', image: 'i', livenessProbe: http }] },
      'spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
    ],
    [
      { initContainers: [{ name: 'b', image: 'i', lifecycle: { preStop: { sleep: { seconds: 1 } } } }] },
      'spec.initContainers[0].lifecycle: Forbidden',
    ],
    [
      { ephemeralContainers: [{ name: 'd', image: 'i' }] },
      'spec.ephemeralContainers: Forbidden: cannot be set on create',
    ],
    [
      { restartPolicy: 'Sometimes' },
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ],
    [{ dnsPolicy: 'Clusterfirst' }, 'did you mean "ClusterFirst"?'],
    [{ dnsPolicy: 'None' }, 'spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None'],
    [
      { dnsConfig: { nameservers: ['dns.example'] } },
      'spec.dnsConfig.nameservers[0]: Invalid value: "dns.example": must be a valid IP address',
    ],
    [
      { dnsConfig: { nameservers: ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4'] } },
      'must not have more than 3 nameservers',
    ],
    [
      { terminationGracePeriodSeconds: -1 },
      'spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0',
    ],
    [
      { activeDeadlineSeconds: 0 },
      'spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive',
    ],
    [{ hostname: 'a.b' }, 'spec.hostname: Invalid value: "a.b"'],
    [{ hostnameOverride: 'A_b' }, 'spec.hostnameOverride: Invalid value: "A_b"'],
    [{ hostnameOverride: 'a'.repeat(65) }, 'spec.hostnameOverride: Too long: may not be more than 64 bytes'],
    [
      { hostnameOverride: 'a.b', setHostnameAsFQDN: true },
      'spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true',
    ],
    [
      { hostnameOverride: 'a.b', hostNetwork: true },
      'spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true',
    ],
    [{ nodeName: 'N1' }, 'spec.nodeName: Invalid value: "N1"'],
    [{ nodeSelector: { 'a b': 'c' } }, 'spec.nodeSelector: Invalid value: "a b"'],
    [{ imagePullSecrets: [{}] }, 'spec.imagePullSecrets[0].name: Required value'],
    [{ hostAliases: [{ ip: 'x' }] }, 'spec.hostAliases[0].ip: Invalid value: "x"'],
    [{ shareProcessNamespace: true, hostPID: true }, 'ShareProcessNamespace and HostPID cannot both be enabled'],
    [{ hostUsers: false, hostNetwork: true }, 'spec.hostNetwork: Forbidden: when `hostUsers` is false'],
    [
      { tolerations: [{ key: 'a', operator: 'Exists', value: 'b' }] },
      "value must be empty when `operator` is 'Exists'",
    ],
    [
      { tolerations: [{ key: 'a', tolerationSeconds: 5 }] },
      'spec.tolerations[0].effect: Invalid value: "": effect must be \'NoExecute\' when `tolerationSeconds` is set',
    ],
    [{ tolerations: [{ effect: 'NoSchedul', operator: 'Exists' }] }, 'did you mean "NoSchedule"?'],
    [{ tolerations: [{ value: 'b' }] }, 'operator must be Exists when `key` is empty'],
    [
      { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } } },
      'must have at least one node selector term',
    ],
    [
      {
        affinity: {
          podAntiAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 0, podAffinityTerm: { topologyKey: 'a' } }],
          },
        },
      },
      'weight: Invalid value: 0: must be in the range 1-100',
    ],
    [
      { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{}] } } },
      'topologyKey: Required value: can not be empty',
    ],
    [
      { topologySpreadConstraints: [{ maxSkew: 0, topologyKey: 'a', whenUnsatisfiable: 'ScheduleAnyway' }] },
      'maxSkew: Invalid value: 0: must be greater than zero',
    ],
    [{ schedulingGates: [{ name: 'g' }, { name: 'g' }] }, 'spec.schedulingGates[1]: Duplicate value: "g"'],
    [{ readinessGates: [{ conditionType: 'a b' }] }, 'spec.readinessGates[0].conditionType: Invalid value: "a b"'],
    [{ overhead: { cpu: '-1' } }, 'spec.overhead[cpu]: Invalid value: "-1": must be greater than or equal to 0'],
    [{ resources: { limits: { storage: '1Gi' } } }, 'spec.resources.limits[storage]: Invalid value: "storage"'],
    [
      { securityContext: { runAsUser: -1 } },
      'spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive',
    ],
    [
      { securityContext: { seccompProfile: { type: 'Localhost' } } },
      'spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost',
    ],
    [
      { securityContext: { sysctls: [{ name: 'net.a', value: '1' }] }, hostNetwork: true },
      'may not be specified when `hostNetwork` is true',
    ],
  ])('%j', (spec, message) => {
    const mistakes = podMistakes(spec);
    expect(mistakes.join('\n')).toContain(message);
    expect(mistakes).toHaveLength(1);
  });
});

describe('volumes', () => {
  it.each([
    [
      { name: 'data', emptyDir: {}, hostPath: { path: '/x' } },
      'spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type',
    ],
    [{ name: 'Data', emptyDir: {} }, 'spec.volumes[0].name: Invalid value: "Data"'],
    [{ emptyDir: {} }, 'spec.volumes[0].name: Required value'],
    [{ name: 'a', emptyDir: { sizeLimit: '-1' } }, 'spec.volumes[0].emptyDir.sizeLimit: Forbidden'],
    [{ name: 'a', hostPath: { path: '' } }, 'spec.volumes[0].hostPath.path: Required value'],
    [{ name: 'a', hostPath: { path: '/a/../b' } }, "must not contain '..'"],
    [{ name: 'a', hostPath: { path: '/a', type: 'Folder' } }, 'Unsupported value: "Folder"'],
    [{ name: 'a', secret: {} }, 'spec.volumes[0].secret.secretName: Required value'],
    [
      { name: 'a', configMap: { name: 'c', defaultMode: 512 } },
      'must be a number between 0 and 0777 (octal), both inclusive',
    ],
    [
      { name: 'a', configMap: { name: 'c', items: [{ key: 'k', path: '/abs' }] } },
      'spec.volumes[0].configMap.items[0].path: Invalid value: "/abs": must be a relative path',
    ],
    [
      { name: 'a', configMap: { name: 'c', items: [{ path: 'p' }] } },
      'spec.volumes[0].configMap.items[0].key: Required value',
    ],
    [{ name: 'a', downwardAPI: { items: [{ path: 'p' }] } }, 'one of fieldRef and resourceFieldRef is required'],
    [
      { name: 'a', downwardAPI: { items: [{ path: 'p', fieldRef: { fieldPath: 'status.podIP' } }] } },
      'fieldPath: Unsupported value: "status.podIP"',
    ],
    [
      { name: 'a', downwardAPI: { items: [{ path: 'p', resourceFieldRef: { resource: 'limits.cpu' } }] } },
      'containerName: Required value',
    ],
    [{ name: 'a', projected: { sources: [{}] } }, 'must specify one of the projected volume sources'],
    [
      { name: 'a', projected: { sources: [{ serviceAccountToken: { path: 't', expirationSeconds: 60 } }] } },
      'may not specify a duration less than 10 minutes',
    ],
    [
      {
        name: 'a',
        projected: {
          sources: [
            { secret: { name: 's', items: [{ key: 'k', path: 'p' }] } },
            { configMap: { name: 's', items: [{ key: 'k', path: 'p' }] } },
          ],
        },
      },
      'conflicting duplicate paths',
    ],
    [{ name: 'a', persistentVolumeClaim: {} }, 'spec.volumes[0].persistentVolumeClaim.claimName: Required value'],
    [{ name: 'a', nfs: { server: 's', path: 'x' } }, 'must be an absolute path'],
    [{ name: 'a', csi: {} }, 'spec.volumes[0].csi.driver: Required value'],
    [
      { name: 'a', ephemeral: { volumeClaimTemplate: { spec: { accessModes: ['ReadWriteOnce'] } } } },
      'resources[storage]: Required value',
    ],
  ])('%j', (one, message) => {
    const mistakes = podMistakes({ volumes: [one] });
    expect(mistakes.join('\n')).toContain(message);
    expect(mistakes).toHaveLength(1);
  });

  it('may not share a name', () => {
    expect(podMistakes({ volumes: [volume, volume] })).toEqual(['spec.volumes[1].name: Duplicate value: "data"']);
  });
});

describe('a container', () => {
  it.each([
    [{ name: '' }, 'spec.containers[0].name: Required value'],
    [{ name: 'a_b' }, 'spec.containers[0].name: Invalid value: "a_b"'],
    [{ image: '' }, 'spec.containers[0].image: Required value'],
    [{ image: ' nginx' }, 'must not have leading or trailing whitespace'],
    [{ imagePullPolicy: 'IfNotpresent' }, 'did you mean "IfNotPresent"?'],
    [{ ports: [{}] }, 'spec.containers[0].ports[0].containerPort: Required value'],
    [
      { ports: [{ containerPort: 70_000 }] },
      'spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
    ],
    [{ ports: [{ containerPort: 80, name: 'http-port-number-one' }] }, 'must be no more than 15 characters'],
    [{ ports: [{ containerPort: 80, name: '80' }] }, 'must contain at least one letter (a-z)'],
    [
      {
        ports: [
          { containerPort: 80, name: 'a' },
          { containerPort: 81, name: 'a' },
        ],
      },
      'spec.containers[0].ports[1].name: Duplicate value: "a"',
    ],
    [
      { ports: [{ containerPort: 80, protocol: 'HTTP' }] },
      'spec.containers[0].ports[0].protocol: Unsupported value: "HTTP"',
    ],
    [
      {
        ports: [
          { containerPort: 80, hostPort: 8080 },
          { containerPort: 81, hostPort: 8080 },
        ],
      },
      'spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8080"',
    ],
    [{ ports: [{ containerPort: 80, hostIP: 'x' }] }, 'hostIP: Invalid value: "x"'],
    [{ env: [{ value: 'x' }] }, 'spec.containers[0].env[0].name: Required value'],
    [{ env: [{ name: 'A=B' }] }, "must consist only of printable ASCII characters other than '='"],
    [
      { env: [{ name: 'A', valueFrom: {} }] },
      'spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of',
    ],
    [
      { env: [{ name: 'A', value: 'x', valueFrom: { configMapKeyRef: { name: 'c', key: 'k' } } }] },
      'may not be specified when `value` is not empty',
    ],
    [
      {
        env: [
          { name: 'A', valueFrom: { configMapKeyRef: { name: 'c', key: 'k' }, secretKeyRef: { name: 'c', key: 'k' } } },
        ],
      },
      'may not have more than one field specified at a time',
    ],
    [
      { env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.creationTimestamp' } } }] },
      'fieldPath: Unsupported value: "metadata.creationTimestamp"',
    ],
    [{ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's' } } }] }, 'secretKeyRef.key: Required value'],
    [
      { env: [{ name: 'A', valueFrom: { resourceFieldRef: { resource: 'limits.gpu' } } }] },
      'resource: Unsupported value: "limits.gpu"',
    ],
    [
      { env: [{ name: 'A', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '2' } } }] },
      "only divisor's values 1m, 1 are supported with the cpu resource",
    ],
    [{ envFrom: [{ prefix: 'A=' }] }, 'envFrom'],
    [{ envFrom: [{ secretRef: {} }] }, 'spec.containers[0].envFrom[0].secretRef.name: Required value'],
    [
      { volumeMounts: [{ name: 'nope', mountPath: '/x' }] },
      'spec.containers[0].volumeMounts[0].name: Not found: "nope"',
    ],
    [{ volumeMounts: [{ name: 'data' }] }, 'spec.containers[0].volumeMounts[0].mountPath: Required value'],
    [
      {
        volumeMounts: [
          { name: 'data', mountPath: '/x' },
          { name: 'data', mountPath: '/x' },
        ],
      },
      'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique',
    ],
    [{ volumeMounts: [{ name: 'data', mountPath: '/x', subPath: '../y' }] }, "must not contain '..'"],
    [
      { volumeMounts: [{ name: 'data', mountPath: '/x', subPath: 'y', subPathExpr: 'z' }] },
      'subPathExpr and subPath are mutually exclusive',
    ],
    [
      { volumeMounts: [{ name: 'data', mountPath: '/x', mountPropagation: 'Bidirectional' }] },
      'available only to privileged containers',
    ],
    [
      { volumeMounts: [{ name: 'data', mountPath: '/x', recursiveReadOnly: 'Enabled' }] },
      'may only be specified when readOnly is true',
    ],
    [
      { resources: { requests: { cpu: '2' }, limits: { cpu: '1' } } },
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
    [
      { resources: { requests: { memory: '-1' } } },
      'spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
    ],
    [{ resources: { requests: { cpus: '1' } } }, 'must be a standard resource type or fully qualified'],
    [{ resources: { limits: { 'example.com/gpu': '500m' } } }, 'must be an integer'],
    [{ resources: { requests: { 'example.com/gpu': 1 } } }, 'Limit must be set for non overcommitable resources'],
    [{ resources: { limits: { 'hugepages-2Mi': '4Mi' } } }, 'HugePages require cpu or memory'],
    [{ livenessProbe: {} }, 'spec.containers[0].livenessProbe: Required value: must specify a handler type'],
    [
      { livenessProbe: { ...http, tcpSocket: { port: 1 } } },
      'spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type',
    ],
    [
      { livenessProbe: { ...http, successThreshold: 2 } },
      'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
    ],
    [{ readinessProbe: { ...http, terminationGracePeriodSeconds: 3 } }, 'must not be set for readinessProbes'],
    [{ readinessProbe: { ...http, periodSeconds: -3 } }, 'must be greater than or equal to 0'],
    [{ startupProbe: { httpGet: { port: 0 } } }, 'spec.containers[0].startupProbe.httpGet.port: Invalid value: 0'],
    [
      { startupProbe: { httpGet: { port: 'Not_a_port' } } },
      'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
    ],
    [{ startupProbe: { httpGet: { port: 80, scheme: 'FTP' } } }, 'Unsupported value: "FTP"'],
    [
      { startupProbe: { httpGet: { port: 80, httpHeaders: [{ name: 'a b', value: '' }] } } },
      'a valid HTTP header must consist of',
    ],
    [{ startupProbe: { exec: { command: [] } } }, 'spec.containers[0].startupProbe.exec.command: Required value'],
    [
      { lifecycle: { preStop: { sleep: { seconds: 31 } } } },
      'must be non-negative and less than terminationGracePeriodSeconds (30)',
    ],
    [
      { lifecycle: { stopSignal: 'SIGUSR1' } },
      'stopSignal: Forbidden: needs the feature gate ContainerStopSignals, which is alpha and not there',
    ],
    [
      { env: [{ name: 'A', valueFrom: { fileKeyRef: { volumeName: 'data', path: 'a', key: '' } } }] },
      'env[0].valueFrom.fileKeyRef.key: Required value',
    ],
    [
      { env: [{ name: 'A', valueFrom: { fileKeyRef: { volumeName: 'none', path: '../a', key: 'K' } } }] },
      'env[0].valueFrom.fileKeyRef.path: Invalid value: "../a": must not contain \'..\'',
    ],
    [
      { env: [{ name: 'A', valueFrom: { fileKeyRef: { volumeName: 'none', path: 'a', key: 'K' } } }] },
      'env[0].valueFrom.fileKeyRef.volumeName: Not found: "none"',
    ],
    [{ lifecycle: { stopSignal: 'SIGNOPE' } }, 'spec.containers[0].lifecycle.stopSignal: Unsupported value: "SIGNOPE"'],
    [
      { securityContext: { privileged: true, allowPrivilegeEscalation: false } },
      'cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
    ],
    [{ securityContext: { procMount: 'Unmasked' } }, '`hostUsers` must be false to use `Unmasked`'],
    [
      { restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [1] } }] },
      'must specify restartPolicy when restart rules are used',
    ],
    [
      { resizePolicy: [{ resourceName: 'disk', restartPolicy: 'NotRequired' }] },
      'resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"',
    ],
    [
      { resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'Perhaps' }] },
      'resizePolicy: Unsupported value: "Perhaps"',
    ],
  ])('%j', (container, message) => {
    const mistakes = podMistakes({ volumes: [volume] }, container);
    expect(mistakes.join('\n')).toContain(message);
    expect(mistakes.length).toBeLessThanOrEqual(2);
  });
});

describe('names that every JavaScript object knows', () => {
  it.each(['constructor', '__proto__', 'toString'])('%s is a name like any other', (name) => {
    const wanted = JSON.parse(`{"requests": {"${name}": "1"}, "limits": {"cpu": "1"}}`);
    expect(podMistakes({}, { resources: wanted }).join()).toContain(
      `spec.containers[0].resources.requests[${name}]: Invalid value`,
    );
    expect(podMistakes({}, {}, { labels: { constructor: 'a' } })).toEqual([]);
    expect(mistakesOf(resources.secrets, { metadata: { name: 'a', namespace: 'default' }, type: name })).toEqual([]);
  });
});

describe('an update', () => {
  const running = podWith({
    nodeName: 'n1',
    activeDeadlineSeconds: 60,
    tolerations: [{ key: 'a', operator: 'Exists' }],
  });
  const update = (spec: object, container: object = {}): string[] =>
    mistakesOf(resources.pods, podWith({ ...running.spec, containers: undefined, ...spec }, container), running);
  const specOf = (spec: object, container: object = {}): object => {
    const { containers: _containers, ...rest } = running.spec;
    return podWith({ ...rest, ...spec }, container);
  };

  it('may change the image, shorten the deadline, add tolerations', () => {
    expect(update({}, {})).not.toEqual([]);
    const next = specOf(
      {
        activeDeadlineSeconds: 30,
        tolerations: [
          { key: 'a', operator: 'Exists' },
          { key: 'b', operator: 'Exists' },
        ],
      },
      { image: 'nginx:2.0' },
    );
    expect(mistakesOf(resources.pods, next, running)).toEqual([]);
  });

  it.each([
    [specOf({}, { command: ['sh'] }), 'spec.containers[0].command'],
    [specOf({ restartPolicy: 'Never' }), 'spec.restartPolicy'],
    [specOf({ nodeName: 'n2' }), 'spec.nodeName'],
    [specOf({ hostNetwork: true }), 'spec.hostNetwork'],
    [specOf({ volumes: [volume] }), 'spec.volumes'],
  ])('may not change %#', (next, path) => {
    const [mistake, ...more] = mistakesOf(resources.pods, next, running);
    expect(mistake).toContain('spec: Forbidden: pod updates may not change fields other than');
    expect(mistake).toContain(path);
    expect(more).toEqual([]);
    const [before, after] = [
      rules.defaults(resources.pods, running),
      rules.defaults(resources.pods, next as typeof running),
    ];
    expect(needsNewPod(after, before)).toBe(true);
  });

  it('may not lengthen the deadline or drop tolerations', () => {
    expect(mistakesOf(resources.pods, specOf({ activeDeadlineSeconds: 90 }), running)).toEqual([
      'spec.activeDeadlineSeconds: Invalid value: 90: must be less than or equal to previous value',
    ]);
    expect(mistakesOf(resources.pods, specOf({ tolerations: [] }), running)).toEqual([
      'spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds',
    ]);
  });

  it('may bind and open gates', () => {
    const gated = podWith({ schedulingGates: [{ name: 'a' }, { name: 'b' }] });
    expect(
      mistakesOf(resources.pods, podWith({ schedulingGates: [{ name: 'b' }], nodeSelector: { a: 'b' } }), gated),
    ).toEqual([]);
    expect(mistakesOf(resources.pods, podWith({ schedulingGates: [{ name: 'c' }] }), gated)).toHaveLength(1);
    expect(mistakesOf(resources.pods, podWith({ nodeName: 'n1' }), podWith())).toEqual([]);
  });

  it('may add ephemeral containers by their subresource alone, and never change them', () => {
    const add = (next: Pod, before: Pod = podWith()) => mistakesOf(resources.pods, next, before, 'ephemeralcontainers');
    const debug = podWith({ ephemeralContainers: [{ name: 'd', image: 'busybox', targetContainerName: 'app' }] });
    expect(add(debug)).toEqual([]);
    expect(mistakesOf(resources.pods, debug, podWith())).toEqual([
      expect.stringMatching(/^spec: Forbidden: pod updates may not change .*changed: spec.ephemeralContainers/),
    ]);
    expect(add(podWith(), debug)).toEqual([
      'spec.ephemeralContainers: Forbidden: existing ephemeral containers ["d"] may not be removed',
    ]);
    const changed = podWith({ ephemeralContainers: [{ name: 'd', image: 'nginx', targetContainerName: 'app' }] });
    expect(add(changed, debug)).toEqual([
      'spec.ephemeralContainers: Forbidden: existing ephemeral containers ["d"] may not be changed',
    ]);
    const at = 'spec.ephemeralContainers[0]';
    const volumes = [{ name: 'v', emptyDir: {} }];
    const wrong = podWith({
      volumes,
      ephemeralContainers: [
        {
          name: 'app',
          image: 'busybox',
          targetContainerName: 'nope',
          ports: [{ containerPort: 1 }],
          restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [1] } }],
          resources: { limits: { cpu: '1' } },
          volumeMounts: [{ name: 'v', mountPath: '/v', subPath: 'a' }],
        },
      ],
    });
    expect(add(wrong, podWith({ volumes })).sort()).toEqual([
      `${at}.name: Duplicate value: "app"`,
      `${at}.ports: Forbidden: cannot be set for an Ephemeral Container`,
      `${at}.resources: Forbidden: cannot be set for an Ephemeral Container`,
      `${at}.restartPolicyRules: Forbidden: cannot be set for an Ephemeral Container`,
      `${at}.targetContainerName: Not found: "nope"`,
      `${at}.volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container`,
    ]);
    const mirror = podWith({}, {}, { annotations: { 'kubernetes.io/config.mirror': 'x' } });
    expect(add(debug, mirror)).toEqual([': Forbidden: static pods do not support ephemeral containers']);
  });

  it('rules of restarts are for every kind but ephemeral ones, also for sidecars', () => {
    const rule = (more: object = {}) => ({ action: 'Restart', exitCodes: { operator: 'In', values: [1] }, ...more });
    const sidecar = (rules: object[]) =>
      podMistakes({
        initContainers: [{ name: 's', image: 'i', restartPolicy: 'Always', restartPolicyRules: rules }],
      });
    expect(sidecar([rule({ action: 'RestartAllContainers' })])).toEqual([]);
    expect(sidecar([rule({ exitCodes: undefined })]).join()).toContain('exitCodes: Required value: must be specified');
    expect(sidecar([rule({ exitCodes: { operator: 'NotIn', values: [] } })])).toEqual([]);
    expect(sidecar(new Array(21).fill(rule())).join()).toContain('Too many: 21: must have at most 20 items');
    const codes = new Array(256).fill(0).map((_, code) => code);
    expect(sidecar([rule({ exitCodes: { operator: 'In', values: codes } })]).join()).toContain('Too many: 256');
    expect(sidecar([rule({ action: 'Stop' })]).join()).toContain('Unsupported value: "Stop"');
  });

  it('is nothing when nothing changes', () => {
    fc.assert(
      fc.property(fc.constantFrom({}, { hostNetwork: true }, { tolerations: [{ operator: 'Exists' }] }), (spec) => {
        expect(mistakesOf(resources.pods, podWith(spec), podWith(spec))).toEqual([]);
      }),
    );
  });
});
