import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sameInApi } from '../../../src/cluster/api-equality.ts';
import type { ResourceList } from '../../../src/model/meta.ts';
import type { Node, NodeAddress, NodeCondition, NodeStatus } from '../../../src/model/node.ts';
import { resources } from '../../../src/model/resource.ts';
import { pluggedResourcesOf } from '../../../src/node/extended-resources.ts';
import {
  initialNode,
  metadataUpkeep,
  type RegistrationOptions,
  reconciliation,
} from '../../../src/node/node-registration.ts';
import { nodeStatusPatch } from '../../../src/node/node-status-patch.ts';
import { shownRuntimeVersion } from '../../../src/node/runtime-version.ts';
import { strategicMergePatch } from '../../../src/standalone/patch/strategic-merge-patch.ts';
import { SchemaTree } from '../../../src/standalone/schema/schema-tree.ts';

const schema = new SchemaTree().rootOf(resources.nodes);
/** What the API server makes of a patch: its own strategic merge, over the node's real schema. */
const patched = (node: Node, patch: object): Node => strategicMergePatch(node, patch, schema) as Node;

const time = fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-01T00:05:00Z');
const condition = (type: string): fc.Arbitrary<NodeCondition> =>
  fc.record({
    type: fc.constant(type),
    status: fc.constantFrom('True', 'False', 'Unknown'),
    reason: fc.constantFrom('A', 'B'),
    message: fc.constantFrom('', 'why'),
    lastHeartbeatTime: time,
    lastTransitionTime: time,
  });
const own = ['MemoryPressure', 'DiskPressure', 'PIDPressure', 'Ready'];
const addresses: fc.Arbitrary<NodeAddress[]> = fc.uniqueArray(
  fc.record({
    type: fc.constantFrom('InternalIP', 'ExternalIP', 'Hostname'),
    address: fc.constantFrom('10.0.0.1', '10.0.0.2', '2001:db8::1', 'node-1'),
  }),
  { selector: ({ type, address }) => `${type} ${address}`, maxLength: 4 },
);
const resourceList: fc.Arbitrary<ResourceList> = fc.dictionary(
  fc.constantFrom('cpu', 'memory', 'hugepages-2Mi', 'example.com/gpu'),
  fc.constantFrom('1', '1024Ki', '1Mi', '0'),
);
const status = (conditions: fc.Arbitrary<NodeCondition[]>): fc.Arbitrary<NodeStatus> =>
  fc.record(
    {
      addresses,
      capacity: resourceList,
      allocatable: resourceList,
      conditions,
      images: fc.array(fc.record({ names: fc.constant(['a']), sizeBytes: fc.nat(3) }), { maxLength: 3 }),
      nodeInfo: fc.record(
        { bootID: fc.constantFrom('a', 'b'), swap: fc.record({ capacity: fc.nat(2) }) },
        { requiredKeys: ['bootID'] },
      ) as fc.Arbitrary<never>,
      features: fc.record({ supplementalGroupsPolicy: fc.boolean() }),
      declaredFeatures: fc.uniqueArray(fc.constantFrom('X', 'Y')),
      runtimeHandlers: fc.array(fc.record({ name: fc.constantFrom('', 'runc') }), { maxLength: 2 }),
      volumesInUse: fc.uniqueArray(fc.constantFrom('v', 'w')),
    },
    { requiredKeys: ['conditions'] },
  );
const wantedStatus = status(fc.tuple(...own.map(condition)).map((all) => [...all]));
const foundStatus = status(
  fc
    .subarray([...own, 'NetworkUnavailable', 'KernelDeadlock'])
    .chain((types) => fc.tuple(...types.map(condition)).map((all) => [...all])),
);

describe('nodeStatusPatch', () => {
  test('the server makes the wanted status of it, and leaves what is not ours', () => {
    fc.assert(
      fc.property(foundStatus, wantedStatus, (found, wanted) => {
        const before: Node = {
          metadata: { name: 'n' },
          status: { ...found, volumesAttached: [{ name: 'v', devicePath: 'd' }] },
        };
        const { patch } = nodeStatusPatch(before.status ?? {}, wanted);
        const after = patched(before, patch).status ?? {};
        for (const field of [
          'addresses',
          'images',
          'nodeInfo',
          'features',
          'declaredFeatures',
          'runtimeHandlers',
          'volumesInUse',
        ] as const) {
          expect(sameInApi(after[field], wanted[field]), field).toBe(true);
        }
        for (const type of own) {
          expect(after.conditions?.find((one) => one.type === type)).toEqual(
            wanted.conditions?.find((one) => one.type === type),
          );
        }
        const foreign = (conditions: NodeCondition[] | undefined) =>
          conditions?.filter(({ type }) => !own.includes(type));
        expect(foreign(after.conditions)).toEqual(foreign(found.conditions));
        expect(after.volumesAttached).toEqual(before.status?.volumesAttached);
        // What was written is what is wanted: the next round has nothing to say.
        expect(nodeStatusPatch(after, wanted).changed).toBe(false);
      }),
      { numRuns: 400 },
    );
  });

  test('a heartbeat alone is no change; another status, reason or message is', () => {
    const ready = { type: 'Ready', status: 'True', reason: 'A', message: 'm', lastHeartbeatTime: 'x' } as const;
    const changed = (given: Partial<NodeCondition>) =>
      nodeStatusPatch({ conditions: [ready] }, { conditions: [{ ...ready, ...given }] }).changed;
    expect(changed({ lastHeartbeatTime: 'y' })).toBe(false);
    expect([changed({ status: 'False' }), changed({ reason: 'B' }), changed({ message: 'n' })]).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe('reconciliation', () => {
  const platform = { operatingSystem: 'linux', architecture: 'amd64' } as const;
  const options: RegistrationOptions = {
    nodeName: 'n',
    labels: { 'topology.kubernetes.io/zone': 'z1', mine: 'yes', 'kubernetes.io/hostname': 'given' },
    taints: [{ key: 'k', effect: 'NoSchedule' }],
    providerID: 'cloud://1',
    register: true,
    externalCloudProvider: false,
    nodeIPs: [],
  };
  const capacity = { cpu: '2', 'hugepages-2Mi': '4Mi' };
  const status: NodeStatus = { capacity, allocatable: capacity };

  test('a new Node has all that was asked for', () => {
    const node = initialNode(
      { ...options, externalCloudProvider: true, nodeIPs: ['10.0.0.1', '2001:db8::1'] },
      platform,
      status,
    );
    expect(node.metadata.labels).toMatchObject({
      mine: 'yes',
      'kubernetes.io/hostname': 'given',
      'kubernetes.io/os': 'linux',
    });
    expect(node.metadata.annotations).toEqual({
      'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
      'alpha.kubernetes.io/provided-node-ip': '10.0.0.1,2001:db8::1',
    });
    expect(node.spec).toEqual({ taints: options.taints, providerID: 'cloud://1' });
  });

  const found: Node = {
    metadata: { name: 'n', labels: { 'topology.kubernetes.io/zone': 'z0', theirs: 'x' } },
    spec: { taints: [{ key: 'other', effect: 'NoExecute' }] },
    status: {
      capacity: { cpu: '2', 'hugepages-1Gi': '1Gi', 'hugepages-2Mi': '0', 'example.com/gpu': '2', 'acme.io/x': '3' },
      allocatable: { cpu: '1', 'hugepages-1Gi': '1Gi', 'example.com/gpu': '2' },
    },
  };

  test('one that is there: labels that describe the machine, sizes of huge pages, extended resources at 0; nothing else', () => {
    const after = patched(found, reconciliation(found, options, platform, status) ?? {});
    expect(after.metadata.labels).toEqual({
      'topology.kubernetes.io/zone': 'z1',
      'kubernetes.io/hostname': 'given',
      'kubernetes.io/os': 'linux',
      'kubernetes.io/arch': 'amd64',
      'beta.kubernetes.io/os': 'linux',
      'beta.kubernetes.io/arch': 'amd64',
      theirs: 'x',
    });
    expect(after.spec).toEqual(found.spec);
    expect(after.status?.capacity).toEqual({
      cpu: '2',
      'hugepages-2Mi': '4Mi',
      'example.com/gpu': '0',
      'acme.io/x': '0',
    });
    expect(after.status?.allocatable).toMatchObject({ cpu: '1', 'hugepages-2Mi': '4Mi', 'example.com/gpu': '0' });
    expect(reconciliation(after, options, platform, status)).toBeUndefined();
  });

  test('with a device manager’s checkpoint only what plugins had goes to 0', () => {
    const pluggedResources = pluggedResourcesOf(
      '{"Data":{"RegisteredDevices":{"example.com/gpu":["0","1"]}},"Checksum":1}',
    );
    const after = patched(found, reconciliation(found, { ...options, pluggedResources }, platform, status) ?? {});
    expect(after.status?.capacity).toMatchObject({ 'example.com/gpu': '0', 'acme.io/x': '3' });
    expect(pluggedResourcesOf('')).toEqual([]);
  });

  test('upkeep: platform labels, and the address for the cloud controller manager', () => {
    const external = { ...options, externalCloudProvider: true, nodeIPs: ['10.0.0.1'] };
    const metadata = metadataUpkeep(found, external, platform);
    const after = patched(found, { metadata });
    expect(after.metadata.annotations).toEqual({ 'alpha.kubernetes.io/provided-node-ip': '10.0.0.1' });
    expect(metadataUpkeep(after, external, platform)).toBeUndefined();
    const without = patched(after, { metadata: metadataUpkeep(after, options, platform) });
    expect(without.metadata.annotations ?? {}).toEqual({});
  });
});

test.each([
  ['1.7.24~ds1', '1.7.24'],
  ['v2.1.0-rc.1', '2.1.0-rc.1'],
  ['1.6.20', '1.6.20'],
  ['1.30.0+build5', '1.30.0+build5'],
  ['main', 'Unknown'],
])('the version %s is shown as %s', (version, shown) => {
  expect(shownRuntimeVersion(version)).toBe(shown);
});
