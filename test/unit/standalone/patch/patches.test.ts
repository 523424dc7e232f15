import { describe, expect, it } from 'vitest';
import { resources } from '../../../../src/model/resource.ts';
import { jsonMergePatch } from '../../../../src/standalone/patch/json-merge-patch.ts';
import { jsonPatch } from '../../../../src/standalone/patch/json-patch.ts';
import { strategicMergePatch } from '../../../../src/standalone/patch/strategic-merge-patch.ts';
import { SchemaTree } from '../../../../src/standalone/schema/schema-tree.ts';
import { strategicCases } from './strategic-cases.ts';

const schemas = new SchemaTree();
const podSchema = schemas.rootOf(resources.pods);
const serviceSchema = schemas.rootOf(resources.services);

describe('JSON merge patch', () => {
  // The examples of RFC 7386, appendix A.
  it.each([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j + %j = %j', (target, patch, result) => {
    const before = structuredClone(target);
    expect(jsonMergePatch(target, patch)).toEqual(result);
    expect(target).toEqual(before);
  });

  it('does not reach prototypes', () => {
    const patched = jsonMergePatch({}, JSON.parse('{"__proto__":{"polluted":true}}')) as object;
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(patched)).toBe(Object.prototype);
  });
});

describe('JSON patch', () => {
  it('carries out its operations in order, on a copy', () => {
    const target = Object.freeze({ a: { list: [1, 2] } });
    const result = jsonPatch(target, [
      { op: 'add', path: '/a/list/-', value: 3 },
      { op: 'move', from: '/a/list/0', path: '/first' },
      { op: 'test', path: '/a/list', value: [2, 3] },
      { op: 'add', path: '/metadata', value: { annotations: { 'a/b': '1' } } },
      { op: 'replace', path: '/metadata/annotations/a~1b', value: '2' },
    ]);
    expect(result).toEqual({ a: { list: [2, 3] }, first: 1, metadata: { annotations: { 'a/b': '2' } } });
    expect(target).toEqual({ a: { list: [1, 2] } });
  });

  it('names the operation that cannot be carried out', () => {
    expect(() => jsonPatch({}, [{ op: 'remove', path: '/a' }])).toThrow(/operation 0 .*remove \/a/);
    for (const bad of [
      {},
      [1],
      [{ op: 'grow', path: '/a' }],
      [{ op: 'add', path: 'a', value: 1 }],
      [{ op: 'add', path: '/a' }],
    ]) {
      expect(() => jsonPatch({}, bad), JSON.stringify(bad)).toThrow(
        expect.objectContaining({ code: 'InvalidArgument' }),
      );
    }
    expect(() => jsonPatch({}, [{ op: 'add', path: '/__proto__/x', value: 1 }])).not.toThrow();
    expect(({} as { x?: number }).x).toBeUndefined();
  });
});

describe('strategic merge patch', () => {
  it.each(strategicCases)('%s', (_title, target, patch, result) => {
    const before = structuredClone(target);
    expect(strategicMergePatch(target, patch, podSchema)).toEqual(result);
    expect(target).toEqual(before);
  });

  // apimachinery leaves $retainKeys in here, which is no good to anybody.
  it('leaves no directive in what it adds', () => {
    const patch = {
      spec: {
        containers: [{ name: 'a' }, { $patch: 'delete', name: 'b' }],
        volumes: [{ name: 'v', $retainKeys: ['name'] }],
      },
    };
    expect(strategicMergePatch({}, patch, podSchema)).toEqual({
      spec: { containers: [{ name: 'a' }], volumes: [{ name: 'v' }] },
    });
  });

  it('merges service ports by port alone', () => {
    const target = { spec: { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] } };
    const patch = { spec: { ports: [{ port: 53, protocol: 'TCP' }] } };
    expect(strategicMergePatch(target, patch, serviceSchema)).toEqual({
      spec: { ports: [{ name: 'dns', port: 53, protocol: 'TCP' }] },
    });
  });

  it.each<[string, object, RegExp]>([
    ['an item without its key', { spec: { containers: [{ image: 'x' }] } }, /lacks its merge key name/],
    ['an unknown directive', { spec: { $patch: 'grow' } }, /\$patch must be/],
    [
      'an order without an item of the patch',
      { spec: { '$setElementOrder/containers': [], containers: [{ name: 'a' }] } },
      /lacks an item/,
    ],
    ['retained keys that forget one', { spec: { $retainKeys: ['a'], b: 1 } }, /\$retainKeys lacks b/],
  ])('refuses %s', (_title, patch, message) => {
    expect(() =>
      strategicMergePatch({ spec: { containers: [{ name: 'a', image: 'a:1' }] } }, patch, podSchema),
    ).toThrow(message);
  });
});
