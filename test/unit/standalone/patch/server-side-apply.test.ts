import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resources } from '../../../../src/model/resource.ts';
import { compare, FieldSet, fieldsOf, pathText } from '../../../../src/standalone/patch/field-set.ts';
import type { JsonObject } from '../../../../src/standalone/patch/json-value.ts';
import { serverSideApply, trackUpdate, type Writer } from '../../../../src/standalone/patch/server-side-apply.ts';
import { SchemaTree } from '../../../../src/standalone/schema/schema-tree.ts';

const schemas = new SchemaTree();
const podSchema = schemas.rootOf(resources.pods);
const mapSchema = schemas.rootOf(resources.configmaps);

const by = (manager: string, time = '2026-01-01T00:00:00Z'): Writer => ({
  manager,
  apiVersion: 'v1',
  subresource: '',
  time,
});
const withData = (data: JsonObject, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'm', ...metadata },
  data,
});

function apply(
  live: JsonObject | undefined,
  config: JsonObject,
  manager: string,
  schema = mapSchema,
  force = false,
): JsonObject {
  const result = serverSideApply(live, config, schema, by(manager), { force });
  if (result.conflicts !== undefined)
    throw new Error(result.conflicts.map(({ field, manager: who }) => `${who} ${field}`).join('; '));
  return result.object;
}

function owners(object: JsonObject): Record<string, unknown> {
  const { managedFields = [] } = object['metadata'] as {
    managedFields?: { manager: string; operation: string; fieldsV1: unknown }[];
  };
  return Object.fromEntries(
    managedFields.map(({ manager, operation, fieldsV1 }) => [`${manager}/${operation}`, fieldsV1]),
  );
}

describe('field sets', () => {
  it('are written as FieldsV1', () => {
    const fields = fieldsOf(
      {
        metadata: { labels: { a: '1' }, finalizers: ['x'] },
        spec: {
          nodeSelector: { disk: 'ssd' },
          containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80 }], command: ['a', 'b'] }],
          securityContext: {},
        },
      },
      podSchema,
    );
    expect(fields.toV1()).toEqual({
      'f:metadata': { 'f:labels': { 'f:a': {} }, 'f:finalizers': { 'v:"x"': {} } },
      'f:spec': {
        'f:nodeSelector': {},
        'f:containers': {
          'k:{"name":"c"}': {
            '.': {},
            'f:name': {},
            'f:image': {},
            'f:command': {},
            'f:ports': { 'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} } },
          },
        },
        'f:securityContext': {},
      },
    });
    expect(FieldSet.fromV1(fields.toV1()).equals(fields)).toBe(true);
    expect([...fields.paths()].map(pathText)).toContain(
      '.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort',
    );
  });

  it('obey the laws of sets', () => {
    const value = fc.letrec((tie) => ({
      tree: fc.dictionary(
        fc.constantFrom('a', 'b', 'c'),
        fc.oneof({ depthSize: 'small' }, fc.constant(1), tie('tree')),
        { maxKeys: 3 },
      ),
    })).tree;
    fc.assert(
      fc.property(value, value, (left, right) => {
        const [a, b] = [fieldsOf(left, undefined), fieldsOf(right, undefined)];
        expect(a.minus(b).union(a.intersect(b)).equals(a)).toBe(true);
        expect(a.minus(a).empty).toBe(true);
        expect(a.union(b).equals(b.union(a))).toBe(true);
        expect(a.minus(b).intersect(b).empty).toBe(true);
      }),
    );
  });

  it('compare by value, whatever the order of keys', () => {
    const { changed, removed } = compare(
      { data: { a: '1', b: '1', c: '1' }, spec: { nodeSelector: { x: '1', y: '2' } } },
      { data: { b: '2', c: '1', d: '1' }, spec: { nodeSelector: { y: '2', x: '1' } } },
      undefined,
    );
    expect([...changed.paths()].map(pathText)).toEqual(['.data.b', '.data.d']);
    expect([...removed.paths()].map(pathText)).toEqual(['.data.a']);
  });
});

describe('server-side apply', () => {
  it('records what a manager applies, and nothing of the server’s own fields', () => {
    const object = apply(undefined, withData({ a: '1' }, { labels: { l: '1' }, uid: 'x' }), 'one');
    expect(owners(object)).toEqual({
      'one/Apply': { 'f:data': { 'f:a': {} }, 'f:metadata': { 'f:labels': { 'f:l': {} } } },
    });
  });

  it('shares a field that two managers agree on, and keeps it while one still wants it', () => {
    const first = apply(undefined, withData({ a: '1', b: '1' }), 'one');
    const second = apply(first, withData({ a: '1' }), 'two');
    expect(second['data']).toEqual({ a: '1', b: '1' });
    const third = apply(second, withData({}), 'one');
    expect(third['data']).toEqual({ a: '1' });
    const fourth = apply(third, withData({}), 'two');
    expect(fourth['data'] ?? {}).toEqual({});
  });

  it('conflicts on another’s value, and takes it over with force', () => {
    const first = apply(undefined, withData({ a: '1', b: '1' }), 'one');
    expect(() => apply(first, withData({ a: '2' }), 'two')).toThrow('one .data.a');
    const forced = apply(first, withData({ a: '2' }), 'two', mapSchema, true);
    expect(owners(forced)).toEqual({
      'two/Apply': { 'f:data': { 'f:a': {} } },
      'one/Apply': { 'f:data': { 'f:b': {} } },
    });
    // It is no longer the first one's to remove.
    expect(apply(forced, withData({}), 'one')['data']).toEqual({ a: '2' });
  });

  it('merges lists by their keys and removes only its own items', () => {
    const config = (...items: JsonObject[]): JsonObject => ({ metadata: { name: 'p' }, spec: { containers: items } });
    const first = apply(undefined, config({ name: 'a', image: '1' }, { name: 'b', image: '1' }), 'one', podSchema);
    const second = apply(first, config({ name: 'sidecar', image: '1' }, { name: 'a', tty: true }), 'two', podSchema);
    expect((second['spec'] as JsonObject)['containers']).toEqual([
      { name: 'sidecar', image: '1' },
      { name: 'a', image: '1', tty: true },
      { name: 'b', image: '1' },
    ]);
    const third = apply(second, config({ name: 'b', image: '2' }), 'one', podSchema);
    expect((third['spec'] as JsonObject)['containers']).toEqual([
      { name: 'sidecar', image: '1' },
      { name: 'a', tty: true },
      { name: 'b', image: '2' },
    ]);
  });

  it('replaces what is atomic as a whole', () => {
    const config = (nodeSelector: JsonObject): JsonObject => ({ metadata: { name: 'p' }, spec: { nodeSelector } });
    const first = apply(undefined, config({ a: '1', b: '1' }), 'one', podSchema);
    expect((apply(first, config({ a: '1' }), 'one', podSchema)['spec'] as JsonObject)['nodeSelector']).toEqual({
      a: '1',
    });
    expect(() => apply(first, config({ c: '1' }), 'two', podSchema)).toThrow('one .spec.nodeSelector');
  });

  it('takes an object that was never applied as owned by "before-first-apply"', () => {
    const live = withData({ a: '1', b: '1' });
    expect(() => apply(live, withData({ a: '2' }), 'one')).toThrow('before-first-apply .data.a');
    const object = apply(live, withData({ a: '1' }), 'one');
    expect(owners(object)).toMatchObject({
      'before-first-apply/Update': { 'f:data': { 'f:a': {}, 'f:b': {} } },
      'one/Apply': {},
    });
  });

  it('lets kubectl take over from kubectl apply what that had applied', () => {
    const annotation = JSON.stringify(withData({ a: '1' }));
    const live = withData(
      { a: '1', b: '1' },
      { annotations: { 'kubectl.kubernetes.io/last-applied-configuration': annotation } },
    );
    expect(apply(live, withData({ a: '2' }), 'kubectl')['data']).toEqual({ a: '2', b: '1' });
    expect(() => apply(live, withData({ b: '2' }), 'kubectl')).toThrow('.data.b');
  });

  it('changes nothing when the same is applied again, not even a time', () => {
    const first = apply(undefined, withData({ a: '1' }), 'one');
    const again = serverSideApply(first, withData({ a: '1' }), mapSchema, by('one', '2027-01-01T00:00:00Z'), {
      force: false,
    });
    expect(again).toEqual({ conflicts: undefined, object: first });
  });

  it('follows ordinary writes of objects that were applied', () => {
    const applied = apply(undefined, withData({ a: '1', b: '1', c: '1' }), 'one');
    const next = { ...applied, data: { a: '2', c: '1', d: '1' } };
    const tracked = trackUpdate(applied, next, mapSchema, by('kubectl-edit'));
    expect(owners(tracked)).toEqual({
      'one/Apply': { 'f:data': { 'f:c': {} } },
      'kubectl-edit/Update': { 'f:data': { 'f:a': {}, 'f:d': {} } },
    });
    expect(() => apply(tracked, withData({ a: '1', c: '1' }), 'one')).toThrow('kubectl-edit .data.a');
    const never = withData({ a: '1' });
    expect(trackUpdate(never, withData({ a: '2' }), mapSchema, by('x'))).toEqual(withData({ a: '2' }));
  });

  it('ends at what was applied last, whatever a lone manager applied before', () => {
    const data = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('1', '2'));
    fc.assert(
      fc.property(fc.array(data, { minLength: 1, maxLength: 6 }), (configs) => {
        let object: JsonObject | undefined;
        for (const one of configs) object = apply(object, withData(one), 'one');
        expect(object?.['data'] ?? {}).toEqual(configs.at(-1));
      }),
    );
  });
});
