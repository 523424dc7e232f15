import { describe, expect, it } from 'vitest';
import { parseDockerConfigJson, parseDockercfg } from '../../../../src/pods/images/docker-config.ts';
import { imageNameProblem, repositoryOf } from '../../../../src/pods/images/image-name.ts';
import { Keyring } from '../../../../src/pods/images/keyring.ts';
import { matchesImage } from '../../../../src/pods/images/match-image.ts';

const basic = (text: string): string => Buffer.from(text).toString('base64');

function keyringOf(...registries: string[]): Keyring {
  const keyring = new Keyring();
  const auths = Object.fromEntries(registries.map((name) => [name, { username: name, password: 'p' }]));
  keyring.add(undefined, parseDockerConfigJson(JSON.stringify({ auths })));
  return keyring;
}

const users = (keyring: Keyring, image: string): string[] =>
  keyring.lookup(repositoryOf(image) ?? '').map(({ username }) => username);

describe('repositoryOf', () => {
  it.each([
    ['busybox', 'docker.io/library/busybox'],
    ['busybox:1.36', 'docker.io/library/busybox'],
    ['team/app', 'docker.io/team/app'],
    ['docker.io/app', 'docker.io/library/app'],
    ['index.docker.io/team/app', 'docker.io/team/app'],
    ['localhost/app', 'localhost/app'],
    ['localhost:5000/a/b:c', 'localhost:5000/a/b'],
    [`registry.example.com/a@sha256:${'0'.repeat(64)}`, 'registry.example.com/a'],
  ])('%s is %s', (image, repository) => {
    expect(repositoryOf(image)).toBe(repository);
  });
});

describe('imageNameProblem', () => {
  it.each([
    ['Deckhand//BAD:::1', ': repository name (/BAD) must be lowercase'],
    ['Busybox', ': repository name (Busybox) must be lowercase'],
    ['r.io/Team/app:1', ': repository name (Team/app) must be lowercase'],
    ['a//b', ''],
    ['a:TAG:x', ''],
  ])('%s', (image, why) => {
    expect(imageNameProblem(image)).toBe(`couldn't parse image name "${image}": invalid reference format${why}`);
  });
});

describe('matchesImage', () => {
  it.each([
    ['registry.example.com', 'registry.example.com/a/b', true],
    ['registry.example.com/a', 'registry.example.com/a/b', true],
    ['registry.example.com/b', 'registry.example.com/a/b', false],
    ['*.example.com', 'registry.example.com/a', true],
    ['*.example.com', 'a.registry.example.com/a', false],
    ['*.*.example.com', 'a.registry.example.com/a', true],
    ['registry.*.com', 'registry.example.com/a', true],
    // A question mark begins a URL's query, so that this one is the host "reg".
    ['reg?stry.example.com', 'registry.example.com/a', false],
    ['[a-r]egistry.example.com', 'registry.example.com/a', true],
    ['[^r]egistry.example.com', 'registry.example.com/a', false],
    ['registry.example.com:5000', 'registry.example.com:5000/a', true],
    ['registry.example.com:5000', 'registry.example.com/a', false],
    ['registry.example.com', 'registry.example.com:5000/a', false],
    ['registry.example.com:*', 'registry.example.com:5000/a', false],
    ['registry', 'registryx/a', false],
    ['registry.example.com', 'registryxexample.com/a', false],
    ['[', '[/a', false],
    ['[::1]:5000', '[::1]:5000/a', true],
  ])('%s means %s: %s', (pattern, image, expected) => {
    expect(matchesImage(pattern, image)).toBe(expected);
  });
});

describe('Keyring', () => {
  it('tries the most specific path first, then the host, then globs as they sort', () => {
    const keyring = keyringOf('r.example.com', 'r.example.com/team/app', '*.example.com', 'r.example.com/team');
    expect(users(keyring, 'r.example.com/team/app:1')).toEqual([
      'r.example.com/team/app',
      'r.example.com/team',
      'r.example.com',
      '*.example.com',
    ]);
    expect(users(keyring, 'r.example.com/other')).toEqual(['r.example.com', '*.example.com']);
    expect(users(keyring, 'elsewhere.org/team')).toEqual([]);
  });

  it.each([
    ['https://index.docker.io/v1/', 'web'],
    ['https://index.docker.io/v1/', 'team/web'],
    ['index.docker.io', 'docker.io/web'],
    ['docker.io', 'web'],
    ['http://r.example.com/v2/', 'r.example.com/a'],
    ['https://r.example.com/', 'r.example.com/a'],
    ['https://r.example.com/v1/team', 'r.example.com/team/a'],
  ])('an entry %s opens %s', (entry, image) => {
    expect(users(keyringOf(entry), image)).toEqual([entry]);
  });

  it('what docker.io itself opens goes before the old name of Docker Hub', () => {
    expect(users(keyringOf('https://index.docker.io/v1/', 'docker.io/team'), 'team/web')).toEqual(['docker.io/team']);
  });

  it('keeps several of one registry, in the order in which they came', () => {
    const keyring = new Keyring();
    for (const name of ['old', 'new']) {
      keyring.add(undefined, parseDockercfg(JSON.stringify({ 'r.io': { username: name, password: 'p' } })));
    }
    expect(users(keyring, 'r.io/a')).toEqual(['old', 'new']);
  });

  it('tells credentials apart by the hash that kubelet writes', () => {
    // sha256 of {"username":"u","password":"p\u003c"}, as Go's json.Marshal of an AuthConfig has it.
    const keyring = new Keyring();
    keyring.add(undefined, parseDockercfg(JSON.stringify({ 'r.io': { auth: basic('u:p<') } })));
    expect(keyring.lookup('r.io/a')[0]?.hash).toBe('43613dbfa39e0fb6f3063b043db9971ece8a578c595a1818942ae332c4037ec5');
  });
});

describe('docker config', () => {
  it('reads the user from auth, with a password that has colons', () => {
    for (const auth of [basic('user:a:b'), basic('user:a:b').replace(/=+$/, '')]) {
      const found = parseDockerConfigJson(JSON.stringify({ auths: { r: { auth, username: 'other' } } })).get('r');
      expect(found).toMatchObject({ username: 'user', password: 'a:b' });
    }
  });

  it('no auths is no credentials', () => {
    expect(parseDockerConfigJson('{"HttpHeaders":{}}').size).toBe(0);
  });

  it.each([
    ['text', 'not json'],
    ['a list', '[]'],
    ['auths that are a list', '{"auths":[]}'],
    ['an entry that is text', '{"auths":{"r":"x"}}'],
    ['auth without a colon', JSON.stringify({ auths: { r: { auth: basic('user') } } })],
    ['auth that is no base64', '{"auths":{"r":{"auth":"!!secret!!"}}}'],
    ['a password that is a number', '{"auths":{"r":{"password":7}}}'],
  ])('refuses %s and quotes nothing of it', (_what, text) => {
    expect(() => parseDockerConfigJson(text)).toThrow(expect.objectContaining({ code: 'InvalidObject' }));
    expect(() => parseDockerConfigJson(text)).not.toThrow(/secret|not json/);
  });
});
