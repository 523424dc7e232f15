import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { imageToPull } from '../../../../src/pods/images/image-name.ts';

const sha256 = `sha256:${'0123456789abcdef'.repeat(4)}`;
const sha512 = `sha512:${'0123456789abcdef'.repeat(8)}`;

describe('imageToPull', () => {
  it.each([
    'busybox',
    'library/busybox',
    'docker.io/library/busybox',
    'localhost/x',
    'localhost:5000/x',
    'registry.example.com/team/app',
    'registry.example.com:443/team/app',
    '192.0.2.1:5000/app',
    '[2001:db8::1]:5000/app',
    '[2001:db8::1]/app',
    // A first part with capitals can only be a host.
    'MyRegistry/app',
    'a--b/c',
    'a__b/c_d.e-f',
    'a.b/c',
    '0/1',
  ])('%s gets the tag latest', (name) => {
    expect(imageToPull(name)).toBe(`${name}:latest`);
  });

  it.each([
    'busybox:1.36',
    'busybox:latest',
    'localhost:5000/x:y',
    'x:A_b.c-d',
    'x:_1',
    `busybox@${sha256}`,
    `busybox:1.36@${sha256}`,
    `registry.example.com:443/a/b:c@${sha512}`,
    `x:${'t'.repeat(128)}`,
  ])('%s is taken as it is', (name) => {
    expect(imageToPull(name)).toBe(name);
  });

  it.each([
    ['nothing', ''],
    ['a space', 'busybox latest'],
    ['capitals in the path', 'library/BusyBox'],
    ['capitals without a host', 'BusyBox'],
    ['an empty part', 'a//b'],
    ['a slash at the start', '/a'],
    ['a slash at the end', 'a/'],
    ['an empty tag', 'a:'],
    ['a tag with a bad start', 'a:-b'],
    ['a tag that is too long', `a:${'t'.repeat(129)}`],
    ['a separator at the start', '_a'],
    ['a separator at the end', 'a-'],
    ['three underscores', 'a___b'],
    ['two dots', 'a..b'],
    ['a host with an empty part', 'a..b/c'],
    ['a host part that ends with a hyphen', 'a-.b/c'],
    ['a port without a number', 'a.b:/c'],
    ['a port that is no number', 'a.b:x/c'],
    ['an address without brackets', '2001:db8::1/app'],
    ['a scheme', 'https://registry.example.com/a'],
    ['a digest of the wrong length', 'a@sha256:0123456789abcdef0123456789abcdef'],
    ['a digest in capitals', `a@${sha256.toUpperCase().replace('SHA256', 'sha256')}`],
    ['a digest of an unknown kind', `a@md5:${'0'.repeat(32)}`],
    ['no digest after the sign', 'a@'],
    ['an image id', '0123456789abcdef'.repeat(4)],
    ['a name that is too long', `a/${'b'.repeat(254)}`],
    ['a line break', 'a\n'],
    ['another alphabet', 'bücher'],
  ])('refuses %s', (_why, name) => {
    expect(imageToPull(name)).toBeUndefined();
  });

  it('a name may be 255 long, its tag not counted', () => {
    expect(imageToPull(`${'b'.repeat(255)}:${'t'.repeat(128)}`)).toBeDefined();
  });

  it('takes what the grammar makes (property)', () => {
    const part = fc
      .array(fc.stringMatching(/^[a-z0-9]{1,5}$/), { minLength: 1, maxLength: 3 })
      .chain((words) => fc.constantFrom('.', '_', '__', '-', '---').map((separator) => words.join(separator)));
    const host = fc
      .tuple(
        fc.array(fc.stringMatching(/^[A-Za-z0-9]{1,4}$/), { minLength: 2, maxLength: 3 }),
        fc.option(fc.nat(65_535)),
      )
      .map(([words, port]) => `${words.join('.')}${port === null ? '' : `:${port}`}/`);
    const name = fc
      .tuple(fc.option(host), fc.array(part, { minLength: 1, maxLength: 3 }))
      .map(([registry, path]) => `${registry ?? ''}${path.join('/')}`);
    fc.assert(
      fc.property(name, fc.option(fc.stringMatching(/^[\w][\w.-]{0,10}$/)), (image, tag) => {
        const whole = tag === null ? image : `${image}:${tag}`;
        expect(imageToPull(whole)).toBe(tag === null ? `${image}:latest` : whole);
      }),
      { seed: 2026 },
    );
  });

  it('answers quickly, whatever it is asked (property)', () => {
    const nasty = fc.array(fc.constantFrom('a', '-', '_', '.', ':', '/', '@', 'A', '0', '[', ']'), { maxLength: 4000 });
    fc.assert(
      fc.property(nasty, (letters) => {
        const began = performance.now();
        imageToPull(letters.join(''));
        expect(performance.now() - began).toBeLessThan(200);
      }),
      { seed: 2026 },
    );
    const began = performance.now();
    imageToPull(`${'a-'.repeat(50_000)}!`);
    expect(performance.now() - began).toBeLessThan(1000);
  });
});
