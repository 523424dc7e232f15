import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../../../../src/model/meta.ts';
import { type ResourceType, resources } from '../../../../src/model/resource.ts';
import { applyDefaults } from '../../../../src/standalone/defaults/object-defaults.ts';
import { mistakesOf } from './object-fixtures.ts';

const named = (object: object, name = 'd.test'): KubeObject => ({ metadata: { name }, ...object }) as KubeObject;
const attachment = { attacher: 'd.test', nodeName: 'n', source: { persistentVolumeName: 'pv' } };
const driver = { name: 'd.test', nodeID: 'n', topologyKeys: ['zone'], allocatable: { count: 3 } };

describe('storage.k8s.io', () => {
  it.each<[ResourceType, object]>([
    [resources.csidrivers, { spec: { tokenRequests: [{ audience: '', expirationSeconds: 600 }] } }],
    [resources.csinodes, { spec: { drivers: [driver, { name: 'e.test', nodeID: 'm' }] } }],
    [resources.volumeattachments, { spec: attachment }],
    [resources.storageclasses, { provisioner: 'd.test/x', parameters: { a: 'b' } }],
  ])('%j is right: %j', (type, object) => {
    expect(mistakesOf(type, named(object))).toEqual([]);
  });

  it.each<[ResourceType, object, string, object?]>([
    [
      resources.csidrivers,
      { spec: { tokenRequests: [{ audience: 'a', expirationSeconds: 10 }] } },
      'spec.tokenRequests[0].expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes',
    ],
    [
      resources.csidrivers,
      { spec: { tokenRequests: [{ audience: 'a' }, { audience: 'a' }] } },
      'spec.tokenRequests[1].audience: Duplicate value: "a"',
    ],
    [
      resources.csidrivers,
      { spec: { volumeLifecycleModes: ['Forever'] } },
      'spec.volumeLifecycleModes[0]: Unsupported value: "Forever"',
    ],
    [resources.csidrivers, { spec: { fsGroupPolicy: 'Some' } }, 'spec.fsGroupPolicy: Unsupported value: "Some"'],
    [
      resources.csidrivers,
      { spec: { attachRequired: false } },
      'spec.attachRequired: Invalid value: false: field is immutable',
      { spec: { attachRequired: true } },
    ],
    [resources.csinodes, { spec: { drivers: [driver, driver] } }, 'spec.drivers[1].name: Duplicate value: "d.test"'],
    [
      resources.csinodes,
      { spec: { drivers: [{ ...driver, nodeID: 'other' }] } },
      'spec.drivers: Invalid value',
      { spec: { drivers: [driver] } },
    ],
    [
      resources.csinodes,
      { spec: { drivers: [{ ...driver, allocatable: { count: -1 } }] } },
      'spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0',
    ],
    [
      resources.volumeattachments,
      { spec: { ...attachment, source: {} } },
      'spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName',
    ],
    [
      resources.volumeattachments,
      { spec: { ...attachment, nodeName: 'm' } },
      'spec: Invalid value',
      { spec: attachment },
    ],
    [
      resources.storageclasses,
      { provisioner: 'e.test' },
      'provisioner: Invalid value: "e.test": field is immutable',
      { provisioner: 'd.test' },
    ],
  ])('%#: says what is wrong', (type, object, message, previous) => {
    const mistakes = mistakesOf(type, named(object), previous === undefined ? undefined : named(previous));
    expect(mistakes.join('\n')).toContain(message);
    expect(mistakes).toHaveLength(1);
  });

  it('fills in what a driver and a class do not say', () => {
    const csiDriver = named({ spec: {} });
    applyDefaults(resources.csidrivers, csiDriver);
    expect(csiDriver).toMatchObject({
      spec: {
        attachRequired: true,
        podInfoOnMount: false,
        fsGroupPolicy: 'ReadWriteOnceWithFSType',
        volumeLifecycleModes: ['Persistent'],
        requiresRepublish: false,
      },
    });
    const cls = named({ provisioner: 'p' });
    applyDefaults(resources.storageclasses, cls);
    expect(cls).toMatchObject({ reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' });
  });
});
