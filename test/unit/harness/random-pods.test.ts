import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resources } from '../../../src/model/resource.ts';
import type { Schema } from '../../../src/standalone/schema/port.ts';
import { SchemaTree } from '../../../src/standalone/schema/schema-tree.ts';
import { randomPods } from '../../harness/random-pods/random-pods.ts';
import { mistakesOf } from '../standalone/admission/object-fixtures.ts';

const FOLDER = '/var/lib/deckhand-test-random/host';
const pods = fc.sample(randomPods({ hostFolder: FOLDER }), { seed: 1, numRuns: 1_500 });

/** Fields that random pods do not have. */
const LEFT_OUT: readonly RegExp[] = [
  // Storage of clouds: no field of theirs matters to a node that has none of it.
  /^(GCE|AWS|Azure|GitRepo|ISCSI|Glusterfs|RBD|Flex|Cinder|CephFS|Flocker|FC|Vsphere|Quobyte|Photon|Portworx|ScaleIO|StorageOS)\w*\./,
  // Of a claim template: the claim is not this node's to make.
  /^(ObjectMeta|OwnerReference|ManagedFieldsEntry|PersistentVolumeClaimSpec|Typed\w+Reference|VolumeResourceRequirements)\./,
  /^LabelSelectorRequirement\.values$/,
  // Cannot be there when a pod is made; the test adds one later.
  /^(PodSpec\.ephemeralContainers$|EphemeralContainer\.)/,
  // Another scheduler's pods wait for it; pod groups are for schedulers.
  /^PodSpec\.(schedulerName|schedulingGroup|workloadRef)$|^(PodSchedulingGroup|WorkloadReference)\./,
  // Another name of serviceAccountName.
  /^PodSpec\.serviceAccount$/,
  // Alpha, and refused.
  /^Lifecycle\.stopSignal$/,
  // Claims of one container, which need a driver.
  /^(ResourceRequirements\.claims$|ResourceClaim\.)/,
];

/** Calls `see` with "Type.field" of every field that a value has. */
function walk(schema: Schema, value: unknown, see: (field: string) => void): void {
  if (schema.kind === 'list' && Array.isArray(value)) for (const item of value) walk(schema.item, item, see);
  if (schema.kind !== 'object' || typeof value !== 'object' || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    const field = schema.fields.get(name);
    if (field === undefined) continue;
    see(`${typeOf(schema.name)}.${name}`);
    walk(field.schema, inner, see);
  }
}

/** "Type.field" of every field that there may be below a type. */
function fieldsBelow(schema: Schema, found = new Set<string>()): Set<string> {
  if (schema.kind === 'list') return fieldsBelow(schema.item, found);
  if (schema.kind !== 'object') return found;
  for (const { name, schema: inner } of schema.fields.values()) {
    const field = `${typeOf(schema.name)}.${name}`;
    if (found.has(field)) continue;
    found.add(field);
    fieldsBelow(inner, found);
  }
  return found;
}

const typeOf = (name: string): string => name.replace(/^.*\./, '');

describe('random pods', () => {
  it('have, all together, every field that a pod may have', () => {
    const spec = new SchemaTree().named('PodSpec');
    const seen = new Set<string>();
    for (const { pod } of pods) walk(spec, pod.spec, (field) => seen.add(field));
    const missing = [...fieldsBelow(spec)].filter((field) => !seen.has(field));
    expect(missing.filter((field) => !LEFT_OUT.some((pattern) => pattern.test(field)))).toEqual([]);
    expect(seen.size).toBeGreaterThan(280);
  });

  it('are accepted by the API', () => {
    const wrong = pods.flatMap(({ pod }) => {
      return mistakesOf(resources.pods, { ...pod, metadata: { ...pod.metadata, name: 'random' } });
    });
    expect(wrong).toEqual([]);
  });

  it('can harm nothing but themselves', () => {
    const paths = pods.flatMap(({ pod }) => (pod.spec.volumes ?? []).flatMap(({ hostPath }) => hostPath?.path ?? []));
    expect(paths.length).toBeGreaterThan(20);
    expect(paths.filter((path) => !path.startsWith(`${FOLDER}/`) || path.includes('..'))).toEqual([]);
    const all = pods.flatMap(({ pod }) => [...(pod.spec.initContainers ?? []), ...pod.spec.containers]);
    const words = all.flatMap((one) => [...(one.command ?? []), ...(one.args ?? [])]).join('\n');
    expect(words).not.toMatch(/\b(kill|reboot|mount|rm|mknod|dd)\b|\/proc|\/sys\b|> *\/(?!dev\/termination-log)/);
    expect(all.flatMap((one) => one.volumeDevices ?? []).every(({ name }) => /^v\d+$/.test(name))).toBe(true);
  });

  it('are made again by their seed', () => {
    const again = fc.sample(randomPods({ hostFolder: FOLDER }), { seed: 1, numRuns: 20 });
    expect(again).toEqual(pods.slice(0, 20));
  });
});
