import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../../src/kit/manual-clock.ts';
import type { KubeObject } from '../../../../src/model/meta.ts';
import type { Pod } from '../../../../src/model/pod.ts';
import { type ResourceType, resources } from '../../../../src/model/resource.ts';
import type { Service } from '../../../../src/model/service.ts';
import { ObjectAdmission, type ObjectAdmissionOptions } from '../../../../src/standalone/admission.ts';
import { AddressRange } from '../../../../src/standalone/allocation/address-range.ts';
import { settleService } from '../../../../src/standalone/allocation/settle-service.ts';
import type { WalStore } from '../../../../src/standalone/store/wal-store.ts';
import { podWith, schemas, serviceWith } from './object-fixtures.ts';
import { temporaryStore } from './temporary-store.ts';

const OPTIONS: ObjectAdmissionOptions = {
  serviceCidrs: ['10.96.0.0/16'],
  nodePortRange: { from: 30_000, to: 32_767 },
  nodeName: 'n1',
  mountServiceAccountTokens: true,
};

let clock: ManualClock;
let store: WalStore;
let admission: ObjectAdmission;

function admissionWith(options: Partial<ObjectAdmissionOptions> = {}): ObjectAdmission {
  return new ObjectAdmission({ ...OPTIONS, ...options }, { store, schemas, clock, random: () => 0 });
}

/** The road of an object through the API. */
async function create<T extends KubeObject>(type: ResourceType, object: KubeObject, by = admission): Promise<T> {
  const defaulted = by.defaults(type, object);
  expect(by.validate(type, defaulted, undefined)).toEqual([]);
  return (await store.create(type, by.allocate(type, defaulted, undefined))) as T;
}

async function update<T extends KubeObject>(type: ResourceType, object: KubeObject): Promise<T> {
  const previous = store.get(type, object.metadata.namespace, object.metadata.name ?? '');
  const defaulted = admission.defaults(type, object);
  expect(admission.validate(type, defaulted, previous)).toEqual([]);
  return (await store.update(type, admission.allocate(type, defaulted, previous))) as T;
}

const service = (name: string, spec: object = {}): Service => serviceWith(spec, { name });

beforeEach(async () => {
  clock = new ManualClock();
  store = await temporaryStore(clock);
  await store.create(resources.namespaces, { metadata: { name: 'default' } });
  admission = admissionWith();
});

describe('addresses of services', () => {
  it('come from the range, one each, and the first is the API server’s', async () => {
    const first = await create<Service>(resources.services, service('a'));
    const second = await create<Service>(resources.services, service('b'));
    expect(first.spec).toMatchObject({
      clusterIP: '10.96.1.1',
      clusterIPs: ['10.96.1.1'],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
    });
    expect(second.spec.clusterIP).toBe('10.96.1.2');
    expect(admission.apiAddress).toBe('10.96.0.1');
    expect((await create<Service>(resources.services, service('kubernetes'))).spec.clusterIP).toBe('10.96.0.1');
  });

  it('can be chosen, but not twice, and not outside', async () => {
    expect((await create<Service>(resources.services, service('a', { clusterIP: '10.96.0.50' }))).spec.clusterIP).toBe(
      '10.96.0.50',
    );
    await expect(create(resources.services, service('b', { clusterIP: '10.96.0.50' }))).rejects.toMatchObject({
      code: 'InvalidObject',
      message:
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.50"]: failed to allocate IP 10.96.0.50: provided IP is already allocated',
    });
    await expect(create(resources.services, service('b', { clusterIP: '10.97.0.1' }))).rejects.toThrow(
      'The range of valid IPs is 10.96.0.0/16',
    );
    await expect(create(resources.services, service('b', { clusterIP: '10.96.0.0' }))).rejects.toThrow(
      'not in the valid range',
    );
    await expect(create(resources.services, service('b', { clusterIP: '10.96.0.1' }))).rejects.toThrow(
      'already allocated',
    );
  });

  it('are free again after a delete, and known after a restart', async () => {
    await create(resources.services, service('a', { clusterIP: '10.96.0.50' }));
    const restarted = admissionWith();
    await expect(create(resources.services, service('b', { clusterIP: '10.96.0.50' }), restarted)).rejects.toThrow(
      'already allocated',
    );
    await store.remove(resources.services, 'default', 'a');
    expect(
      (await create<Service>(resources.services, service('b', { clusterIP: '10.96.0.50' }), restarted)).spec.clusterIP,
    ).toBe('10.96.0.50');
  });

  it('are held for an object on its way, and lapse when it is never stored', async () => {
    const asked = admission.defaults(resources.services, service('a', { clusterIP: '10.96.0.50' }));
    admission.allocate(resources.services, asked, undefined);
    const other = service('b', { clusterIP: '10.96.0.50' });
    await expect(create(resources.services, other)).rejects.toThrow('already allocated');
    // The same object may try again.
    expect(() => admission.allocate(resources.services, asked, undefined)).not.toThrow();
    await clock.advance(30_001);
    await expect(create(resources.services, other)).resolves.toBeDefined();
  });

  it('run out in words', async () => {
    const small = admissionWith({ serviceCidrs: ['10.0.0.0/28'] });
    for (let count = 2; count <= 14; count++) await create(resources.services, service(`s${count}`), small);
    await expect(create(resources.services, service('last'), small)).rejects.toMatchObject({
      code: 'ResourceExhausted',
      message: expect.stringContaining('range is full (10.0.0.0/28, 13 in use)'),
    });
    const used = (store.list(resources.services) as Service[]).map(({ spec }) => spec.clusterIP);
    expect(new Set(used).size).toBe(13);
  });

  it('come in two families where the cluster has them', async () => {
    const dual = admissionWith({ serviceCidrs: ['10.96.0.0/16', 'fd00::/108'] });
    const spec = (await create<Service>(resources.services, service('a', { ipFamilyPolicy: 'PreferDualStack' }), dual))
      .spec;
    expect(spec).toMatchObject({
      ipFamilies: ['IPv4', 'IPv6'],
      clusterIPs: ['10.96.1.1', 'fd00::101'],
      clusterIP: '10.96.1.1',
    });
    expect(
      (await create<Service>(resources.services, service('b', { ipFamilies: ['IPv6'] }), dual)).spec,
    ).toMatchObject({
      ipFamilies: ['IPv6'],
      clusterIP: 'fd00::102',
      ipFamilyPolicy: 'SingleStack',
    });
    await expect(create(resources.services, service('c', { ipFamilies: ['IPv6'] }))).rejects.toThrow(
      'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
    );
    await expect(create(resources.services, service('c', { ipFamilyPolicy: 'RequireDualStack' }))).rejects.toThrow(
      'this cluster is not configured for dual-stack services',
    );
    expect((await create<Service>(resources.services, service('d', { clusterIP: 'None' }), dual)).spec).toMatchObject({
      clusterIPs: ['None'],
      ipFamilies: ['IPv4'],
    });
  });

  describe('with a ServiceCIDR more', () => {
    const range = (name: string, ...cidrs: string[]): KubeObject =>
      ({ metadata: { name }, spec: { cidrs } }) as KubeObject;

    it('can be chosen from it, from an IPv4 one of any size', async () => {
      await create(resources.servicecidrs, range('more', '10.111.0.0/24', 'fd00::/120'));
      await create(resources.servicecidrs, range('tiny', '10.112.0.4/30'));
      await create(resources.servicecidrs, range('single', '10.112.0.1/32'));
      const [a, b] = [service('a', { clusterIP: '10.111.0.9' }), service('b', { clusterIP: '10.112.0.6' })];
      expect((await create<Service>(resources.services, a)).spec.clusterIP).toBe('10.111.0.9');
      expect((await create<Service>(resources.services, b)).spec.clusterIP).toBe('10.112.0.6');
      await expect(create(resources.services, service('c', { clusterIP: '10.113.0.1' }))).rejects.toThrow(
        'The range of valid IPs is 10.96.0.0/16, 10.111.0.0/24, 10.112.0.1/32, 10.112.0.4/30',
      );
      await expect(create(resources.services, service('c', { ipFamilies: ['IPv6'] }))).rejects.toThrow(
        'not configured on this cluster',
      );
    });

    it('are taken from it when the others are full', async () => {
      const small = admissionWith({ serviceCidrs: ['10.0.0.0/28'] });
      for (let count = 2; count <= 14; count++) await create(resources.services, service(`s${count}`), small);
      await create(resources.servicecidrs, range('more', '10.111.0.0/29'), small);
      const next = await create<Service>(resources.services, service('next'), small);
      expect(next.spec.clusterIP).toMatch(/^10\.111\.0\.[1-6]$/);
      for (let count = 2; count <= 6; count++) await create(resources.services, service(`t${count}`), small);
      await expect(create(resources.services, service('last'), small)).rejects.toThrow(
        'range is full (10.0.0.0/28, 10.111.0.0/29, 19 in use)',
      );
    });

    it('are not taken from one that is going, and no longer from one that is gone', async () => {
      const more = await create(resources.servicecidrs, range('more', '10.111.0.0/24'));
      const metadata = { ...more.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
      await store.update(resources.servicecidrs, { ...more, metadata });
      const asked = service('a', { clusterIP: '10.111.0.9' });
      await expect(create(resources.services, asked)).rejects.toThrow('not in the valid range');
      await store.remove(resources.servicecidrs, undefined, 'more');
      await expect(create(resources.services, asked)).rejects.toThrow('not in the valid range');
    });

    it('are known after a restart', async () => {
      await create(resources.servicecidrs, range('more', '10.111.0.0/24'));
      const asked = service('a', { clusterIP: '10.111.0.9' });
      expect((await create<Service>(resources.services, asked, admissionWith())).spec.clusterIP).toBe('10.111.0.9');
    });
  });

  it('never leave their range', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('10.96.0.0/16', '192.168.7.0/24', '10.255.255.240/28', 'fd00:1::/112', 'fd00::/64'),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        (text, where) => {
          const range = new AddressRange(text);
          expect(range.contains(range.at(1 + Math.floor(where * range.size)))).toBe(true);
        },
      ),
    );
    expect(new AddressRange('10.96.0.0/16').contains('10.96.255.255')).toBe(false);
    expect(() => new AddressRange('10.0.0.0/30')).toThrow('has room for 2 addresses');
  });
});

describe('node ports', () => {
  it('are given, kept on update, and freed with the type', async () => {
    const made = await create<Service>(resources.services, service('a', { type: 'NodePort' }));
    expect(made.spec.ports?.[0]?.nodePort).toBe(30_086);
    const again = await update<Service>(
      resources.services,
      service('a', { type: 'NodePort', selector: { app: 'other' } }),
    );
    expect(again.spec).toMatchObject({ clusterIP: made.spec.clusterIP, ports: [{ nodePort: 30_086 }] });
    const plain = await update<Service>(resources.services, {
      ...again,
      spec: { ...again.spec, type: 'ClusterIP' },
    } as Service);
    expect(plain.spec.ports?.[0]).not.toHaveProperty('nodePort');
    expect(plain.spec).not.toHaveProperty('externalTrafficPolicy');
    expect(
      (await create<Service>(resources.services, service('b', { type: 'NodePort' }))).spec.ports?.[0]?.nodePort,
    ).toBe(30_086);
  });

  it('can be chosen, once for each protocol', async () => {
    const ports = [
      { name: 'a', port: 53, nodePort: 30_053 },
      { name: 'b', port: 53, protocol: 'UDP', nodePort: 30_053 },
    ];
    await create(resources.services, service('a', { type: 'NodePort', ports }));
    await expect(create(resources.services, service('b', { type: 'NodePort', ports: [ports[0]] }))).rejects.toThrow(
      'spec.ports[0].nodePort: Invalid value: 30053: provided port is already allocated',
    );
    await expect(
      create(resources.services, service('b', { type: 'NodePort', ports: [{ port: 80, nodePort: 80 }] })),
    ).rejects.toThrow('provided port is not in the valid range. The range of valid ports is 30000-32767');
  });

  it('are the same for one port of two protocols, and another for health checks', async () => {
    const ports = [
      { name: 'a', port: 53 },
      { name: 'b', port: 53, protocol: 'UDP' },
      { name: 'c', port: 80 },
    ];
    const made = await create<Service>(
      resources.services,
      service('a', { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports }),
    );
    expect(made.spec.ports?.map(({ nodePort }) => nodePort)).toEqual([30_086, 30_086, 30_087]);
    expect(made.spec.healthCheckNodePort).toBe(30_088);
  });
});

describe('settleService', () => {
  it('leaves what an update says', () => {
    const before = serviceWith({ type: 'ClusterIP', clusterIP: '10.96.0.7', clusterIPs: ['10.96.0.7'] });
    expect(settleService(serviceWith({ clusterIP: '10.96.0.8' }), before).spec.clusterIPs).toEqual(['10.96.0.8']);
    expect(
      settleService(serviceWith({ clusterIP: '10.96.0.8', clusterIPs: ['10.96.0.7'] }), before).spec.clusterIPs,
    ).toEqual(['10.96.0.8']);
    expect(settleService(serviceWith({ clusterIPs: ['10.96.0.9'] }), undefined).spec.clusterIP).toBe('10.96.0.9');
  });
});

describe('a new pod', () => {
  it('is bound, has a class, a priority, tolerations and a token', async () => {
    const pod = await create<Pod>(resources.pods, podWith());
    expect(pod.spec).toMatchObject({
      nodeName: 'n1',
      priority: 0,
      preemptionPolicy: 'PreemptLowerPriority',
      serviceAccountName: 'default',
    });
    expect(pod.spec.tolerations?.map(({ key, tolerationSeconds }) => [key, tolerationSeconds])).toEqual([
      ['node.kubernetes.io/not-ready', 300],
      ['node.kubernetes.io/unreachable', 300],
    ]);
    expect(pod.status).toMatchObject({
      phase: 'Pending',
      qosClass: 'BestEffort',
      conditions: [{ type: 'PodScheduled', status: 'True' }],
    });
    const [volume] = pod.spec.volumes ?? [];
    expect(volume?.name).toMatch(/^kube-api-access-\w{5}$/);
    expect(volume?.projected?.sources?.map((source) => Object.keys(source)[0])).toEqual([
      'serviceAccountToken',
      'configMap',
      'downwardAPI',
    ]);
    expect(pod.spec.containers[0]?.volumeMounts).toEqual([
      { name: volume?.name, readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
    ]);
  });

  it('has no token where pod, account or options say so', async () => {
    const volumesOf = async (pod: Pod, by = admission): Promise<number> =>
      (await create<Pod>(resources.pods, pod, by)).spec.volumes?.length ?? 0;
    expect(await volumesOf(podWith({ automountServiceAccountToken: false }, {}, { name: 'a' }))).toBe(0);
    expect(await volumesOf(podWith({}, {}, { name: 'b' }), admissionWith({ mountServiceAccountTokens: false }))).toBe(
      0,
    );
    await store.create(resources.serviceaccounts, {
      metadata: { namespace: 'default', name: 'quiet' },
      automountServiceAccountToken: false,
    } as KubeObject);
    expect(await volumesOf(podWith({ serviceAccountName: 'quiet' }, {}, { name: 'c' }))).toBe(0);
    await expect(
      create(resources.pods, podWith({ serviceAccountName: 'nobody' }, {}, { name: 'd' })),
    ).rejects.toMatchObject({
      code: 'Forbidden',
      message:
        'pods "d" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found',
    });
  });

  it('has the overhead and the scheduling rules of its RuntimeClass', async () => {
    const toleration = { key: 'vm', operator: 'Exists' };
    await store.create(resources.runtimeclasses, {
      metadata: { name: 'vm' },
      handler: 'kata',
      overhead: { podFixed: { cpu: '250m' } },
      scheduling: { nodeSelector: { vm: 'yes' }, tolerations: [toleration] },
    } as KubeObject);
    const { spec } = await create<Pod>(
      resources.pods,
      podWith({ runtimeClassName: 'vm', nodeSelector: { zone: 'a' }, tolerations: [toleration] }, {}, { name: 'a' }),
    );
    expect(spec.overhead).toEqual({ cpu: '250m' });
    expect(spec.nodeSelector).toEqual({ zone: 'a', vm: 'yes' });
    expect(spec.tolerations?.filter(({ key }) => key === 'vm')).toEqual([toleration]);
    const refused = (more: object, why: string) =>
      expect(create(resources.pods, podWith(more, {}, { name: 'b' }))).rejects.toThrow(why);
    await refused({ runtimeClassName: 'none' }, 'pod rejected: RuntimeClass "none" not found');
    await refused(
      { runtimeClassName: 'vm', overhead: { cpu: '1' } },
      "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
    );
    await refused(
      { overhead: { cpu: '1' } },
      'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
    );
    await refused(
      { runtimeClassName: 'vm', nodeSelector: { vm: 'no' } },
      'conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no',
    );
    const same = podWith({ runtimeClassName: 'vm', overhead: { cpu: '0.25' } }, {}, { name: 'c' });
    await expect(create(resources.pods, same)).resolves.toBeDefined();
  });

  it('has the priority of its class', async () => {
    const classes = [
      { metadata: { name: 'high' }, value: 1000, preemptionPolicy: 'Never' },
      { metadata: { name: 'usual' }, value: 5, globalDefault: true },
    ];
    for (const cls of classes) await store.create(resources.priorityclasses, cls as KubeObject);
    const priorityOf = async (name: string, spec: object): Promise<unknown> => {
      const { priority, priorityClassName, preemptionPolicy } = (
        await create<Pod>(resources.pods, podWith(spec, {}, { name }))
      ).spec;
      return [priority, priorityClassName, preemptionPolicy];
    };
    expect(await priorityOf('a', { priorityClassName: 'high' })).toEqual([1000, 'high', 'Never']);
    expect(await priorityOf('b', {})).toEqual([5, 'usual', 'PreemptLowerPriority']);
    expect(await priorityOf('c', { priorityClassName: 'system-node-critical' })).toEqual([
      2_000_001_000,
      'system-node-critical',
      'PreemptLowerPriority',
    ]);
    await expect(create(resources.pods, podWith({ priorityClassName: 'none' }, {}, { name: 'd' }))).rejects.toThrow(
      'no PriorityClass with name none was found',
    );
    await expect(create(resources.pods, podWith({ priority: 7 }, {}, { name: 'd' }))).rejects.toThrow(
      'priority admission controller computed 5',
    );
  });

  it('waits for its gates and is bound when the last is gone', async () => {
    const gated = await create<Pod>(resources.pods, podWith({ schedulingGates: [{ name: 'g' }] }));
    expect(gated.spec.nodeName).toBeUndefined();
    expect(gated.status?.conditions).toMatchObject([
      { type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' },
    ]);
    const open = await update<Pod>(resources.pods, { ...gated, spec: { ...gated.spec, schedulingGates: [] } } as Pod);
    expect(open.spec.nodeName).toBe('n1');
    expect(open.status?.conditions).toMatchObject([{ type: 'PodScheduled', status: 'True' }]);
  });

  it.each([
    [{ nodeSelector: { disk: 'ssd' } }, "node(s) didn't match Pod's node affinity/selector"],
    [{ containers: [{ name: 'a', image: 'i', resources: { requests: { cpu: '3' } } }] }, 'Insufficient cpu'],
    [
      { containers: [{ name: 'a', image: 'i', resources: { limits: { 'example.com/gpu': 1 } } }] },
      'Insufficient example.com/gpu',
    ],
    [
      { containers: [{ name: 'a', image: 'i', ports: [{ containerPort: 80, hostPort: 80 }] }] },
      "didn't have free ports",
    ],
    [
      {
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'NotIn', values: ['n1'] }] }],
            },
          },
        },
      },
      "didn't match",
    ],
  ])('stays pending with %j', async (spec, reason) => {
    await store.create(resources.nodes, {
      metadata: { name: 'n1', labels: { disk: 'hdd' } },
      status: { allocatable: { cpu: '2', memory: '1Gi', pods: '110' } },
    } as KubeObject);
    await create(resources.pods, podWith({}, { ports: [{ containerPort: 80, hostPort: 80 }] }, { name: 'other' }));
    const pod = await create<Pod>(resources.pods, podWith(spec));
    expect(pod.spec.nodeName).toBeUndefined();
    expect(pod.status?.conditions?.[0]).toMatchObject({
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
    });
    expect(pod.status?.conditions?.[0]?.message).toContain(reason);
  });

  it('tolerates taints or waits', async () => {
    await store.create(resources.nodes, {
      metadata: { name: 'n1' },
      spec: {
        taints: [
          { key: 'a', value: 'b', effect: 'NoSchedule' },
          { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' },
        ],
      },
    } as KubeObject);
    expect((await create<Pod>(resources.pods, podWith({}, {}, { name: 'a' }))).spec.nodeName).toBeUndefined();
    expect(
      (await create<Pod>(resources.pods, podWith({ tolerations: [{ key: 'a', value: 'b' }] }, {}, { name: 'b' }))).spec
        .nodeName,
    ).toBe('n1');
    expect(
      (await create<Pod>(resources.pods, podWith({ tolerations: [{ operator: 'Exists' }] }, {}, { name: 'c' }))).spec
        .nodeName,
    ).toBe('n1');
    expect((await create<Pod>(resources.pods, podWith({ nodeName: 'n1' }, {}, { name: 'd' }))).spec.nodeName).toBe(
      'n1',
    );
  });
});

describe('namespaces', () => {
  it('must be there, and to stay', async () => {
    await expect(create(resources.pods, podWith({}, {}, { namespace: 'nowhere' }))).rejects.toMatchObject({
      code: 'NotFound',
      message: 'namespaces "nowhere" not found',
    });
    await store.create(resources.namespaces, {
      metadata: { name: 'going', deletionTimestamp: '2026-01-01T00:00:00Z' },
    });
    await expect(create(resources.configmaps, { metadata: { name: 'a', namespace: 'going' } })).rejects.toMatchObject({
      code: 'Forbidden',
      message: expect.stringContaining('because it is being terminated'),
    });
  });

  it('begin active, with a finalizer', async () => {
    expect(await create(resources.namespaces, { metadata: { name: 'a' } })).toMatchObject({
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    });
  });
});
