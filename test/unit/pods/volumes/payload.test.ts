import { describe, expect, it } from 'vitest';
import { addConfigMap, addSecret, PayloadBuilder } from '../../../../src/pods/volumes/payload.ts';

const file = { data: Buffer.from('x'), mode: 0o644 };

describe('PayloadBuilder', () => {
  it.each([
    ['', 'must not be empty'],
    ['/etc/passwd', 'must be relative'],
    ['..', "must not contain '..'"],
    ['../x', "must not contain '..'"],
    ['a/../../x', "must not contain '..'"],
    ['a/..', "must not contain '..'"],
    ['..data', 'must not start with'],
    ['..data/x', 'must not start with'],
    ['./..x', 'must not start with'],
    ['...', 'must not start with'],
    ['.', 'must name a file'],
    ['./', 'must name a file'],
    ['a\0b', 'zero byte'],
    ['n'.repeat(256), 'at most 255 bytes'],
    ['é'.repeat(128), 'at most 255 bytes'],
    [`${'d/'.repeat(2100)}x`, 'at most 4096 bytes'],
  ])('refuses the path %j', (path, why) => {
    expect(() => new PayloadBuilder().add(path, file)).toThrow(why);
  });

  it('takes odd but harmless paths in their shortest spelling', () => {
    const builder = new PayloadBuilder();
    for (const path of ['a//b', './c', '.hidden', 'd/..e', 'f..']) builder.add(path, file);
    expect([...builder.build().keys()]).toEqual(['a/b', 'c', '.hidden', 'd/..e', 'f..']);
  });

  it('finds conflicts', () => {
    const twice = new PayloadBuilder();
    twice.add('a', file, true);
    expect(() => twice.add('./a', file, true)).toThrow('is used twice');
    const mixed = new PayloadBuilder();
    mixed.add('a/b/c', file);
    mixed.add('a/b', file);
    expect(() => mixed.build()).toThrow('needs a directory where a/b is a file');
    const later = new PayloadBuilder();
    later.add('a', file);
    later.add('a', { ...file, mode: 0o600 });
    expect(later.build().get('a')?.mode).toBe(0o600);
  });
});

describe('addConfigMap and addSecret', () => {
  const configMap = {
    metadata: {},
    data: { a: 'A', b: 'B' },
    binaryData: { bin: Buffer.from([0, 255]).toString('base64') },
  };

  it('take all keys, or the items with their modes', () => {
    const all = new PayloadBuilder();
    addConfigMap(all, configMap, {}, 0o640);
    expect([...all.build()].map(([path, { data, mode }]) => [path, data.toString('latin1'), mode])).toEqual([
      ['a', 'A', 0o640],
      ['b', 'B', 0o640],
      ['bin', '\x00\xff', 0o640],
    ]);
    const some = new PayloadBuilder();
    addSecret(some, { metadata: {}, data: { k: 'c2VjcmV0' } }, { items: [{ key: 'k', path: 'x/y', mode: 0 }] }, 0o644);
    expect(some.build().get('x/y')).toEqual({ data: Buffer.from('secret'), mode: 0 });
  });

  it('refuse an absent key unless optional, also one that objects inherit', () => {
    for (const key of ['nope', 'constructor', '__proto__']) {
      const items = [{ key, path: 'x' }];
      expect(() => addConfigMap(new PayloadBuilder(), configMap, { items }, 0o644)).toThrow(
        `references non-existent config key: ${key}`,
      );
      const optional = new PayloadBuilder();
      addSecret(optional, { metadata: {} }, { items, optional: true }, 0o644);
      expect(optional.build().size).toBe(0);
    }
  });
});
