import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CodedError } from '../../../../src/kit/errors.ts';
import { keyOf } from '../../../../src/model/meta.ts';
import { resources } from '../../../../src/model/resource.ts';
import { formatMistake } from '../../../../src/standalone/manifests/format-mistake.ts';
import { ManifestReader } from '../../../../src/standalone/manifests/manifest-reader.ts';
import { parseDocuments, stepsOf } from '../../../../src/standalone/manifests/parse-documents.ts';
import type { ReadManifests } from '../../../../src/standalone/manifests/port.ts';
import { podWith, rules, schemas } from '../admission/object-fixtures.ts';
import { GOOD, GOOD_JSON, GOOD_NAMESPACE, GOOD_OBJECTS, MISTAKEN } from './mistaken-manifests.ts';

let dir: string;
const reader = new ManifestReader(schemas);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dhadm-manifests-'));
});

afterEach(() => rm(dir, { recursive: true, force: true }));

const write = (file: string, text: string | Uint8Array): Promise<void> => writeFile(join(dir, file), text);
const objectsOf = ({ manifests }: ReadManifests): string[] =>
  manifests.map(({ type, object }) => `${type.kind} ${keyOf(object)}`).sort();

describe('a folder full of mistakes', () => {
  it('has each told with its place, and gives everything that is right', async () => {
    await write('good.yaml', GOOD);
    await write('good.json', GOOD_JSON);
    await write('namespace.yml', GOOD_NAMESPACE);
    const entries = Object.entries(MISTAKEN);
    expect(new Set(entries.map(([, { kind }]) => kind)).size).toBeGreaterThanOrEqual(40);
    for (const [name, { file = `${name}.yaml`, text }] of entries) await write(file, text);
    const read = await reader.read(dir);
    expect(objectsOf(read)).toEqual(GOOD_OBJECTS);
    const lines = read.mistakes.map(formatMistake);
    for (const [name, { kind, file = `${name}.yaml`, says }] of entries) {
      const own = lines.filter((line) => line.startsWith(file));
      expect(own, `${kind}: one mistake`).not.toEqual([]);
      if (kind !== 'deep nesting' && kind !== 'unclosed quote' && kind !== 'YAML indentation' && kind !== 'JSON')
        expect(own, kind).toHaveLength(1);
      for (const part of says) expect(own[0], kind).toContain(part);
    }
    expect(lines.filter((line) => line.startsWith('good') || line.startsWith('namespace'))).toEqual([]);
  });
});

describe('reading', () => {
  it('follows the YAML of kubectl', async () => {
    await write(
      'a.yaml',
      'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  hostNetwork: yes\n  containers:\n  - &c {name: a, image: i}\n  - {<<: *c, name: b}\n  volumes: [{name: v, secret: {secretName: s, defaultMode: 0400}}]\n',
    );
    const { manifests, mistakes } = await reader.read(dir);
    expect(mistakes).toEqual([]);
    expect(manifests[0]?.object).toMatchObject({
      metadata: { name: 'a', namespace: 'default' },
      spec: {
        hostNetwork: true,
        containers: [
          { name: 'a', image: 'i' },
          { name: 'b', image: 'i' },
        ],
        volumes: [{ secret: { defaultMode: 256 } }],
      },
    });
  });

  it('strips what is the server’s, and status', async () => {
    await write(
      'a.yaml',
      'apiVersion: v1\nkind: Service\nmetadata: {name: a, uid: u, resourceVersion: "7", managedFields: [{}], generation: 3, labels: {tier: web}}\nspec: {ports: [{port: 1}]}\nstatus: {loadBalancer: {}}\n',
    );
    const { manifests } = await reader.read(dir);
    expect(manifests[0]?.object).toEqual({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'a', namespace: 'default', labels: { tier: 'web' } },
      spec: { ports: [{ port: 1 }] },
    });
  });

  it('looks at manifests only, and at links to them', async () => {
    const config = (name: string): string => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\n`;
    await write('.hidden.yaml', config('hidden'));
    await write('notes.txt', 'x');
    await write('a.yaml~', config('backup'));
    await mkdir(join(dir, 'folder.yaml'));
    await mkdir(join(dir, '..data'));
    await write('..data/real.yaml', config('linked'));
    await symlink('..data/real.yaml', join(dir, 'link.yaml'));
    await symlink('nowhere', join(dir, 'dangling.yaml'));
    const read = await reader.read(dir);
    expect(objectsOf(read)).toEqual(['ConfigMap default/linked']);
    expect(read.mistakes.map(({ file, message }) => `${file} ${message.slice(0, 16)}`)).toEqual([
      'dangling.yaml cannot be opened',
      'folder.yaml is no regular fi',
    ]);
    await expect(reader.read(join(dir, 'missing'))).rejects.toMatchObject({ code: 'Unavailable' });
  });

  it('keeps good documents beside broken ones', async () => {
    await write(
      'a.yaml',
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\na: [1\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n',
    );
    const read = await reader.read(dir);
    expect(objectsOf(read)).toEqual(['ConfigMap default/a', 'ConfigMap default/b']);
    expect(read.mistakes).toMatchObject([{ document: 2 }]);
  });

  it('finds the steps of paths', () => {
    expect(stepsOf('spec.containers[0].env[12].name')).toEqual(['spec', 'containers', 0, 'env', 12, 'name']);
    expect(stepsOf('metadata.labels[example.com/tier]')).toEqual(['metadata', 'labels', 'example.com/tier']);
    expect(stepsOf('')).toEqual([]);
  });
});

describe('anything at all', () => {
  const fragment = fc.constantFrom(
    'apiVersion: v1\n',
    'kind: Pod\n',
    'metadata:\n',
    '  name: a\n',
    'spec:\n',
    '  containers:\n',
    '  - name: x\n',
    '    image: y\n',
    '---\n',
    '...\n',
    '\t',
    '&a ',
    '*a ',
    '<<: ',
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    '|\n',
    '? ',
    '- ',
    '!!binary ',
    '%YAML 1.2\n',
    '# c\n',
    ': ',
    '\u0000',
    '\ud800',
    'é',
    '0o7',
    '1e999',
    '.nan',
    '~',
    'items:\n',
  );

  it('never crashes the reader of documents', async () => {
    const text = fc.oneof(
      fc.array(fragment, { maxLength: 40 }).map((parts) => parts.join('')),
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.json(),
    );
    await fc.assert(
      fc.asyncProperty(text, async (given) => {
        try {
          for (const document of await parseDocuments(given)) {
            document.positionOf(['spec', 'containers', 0]);
            if (document.errors.length === 0) JSON.stringify(document.value);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(CodedError);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('never crashes the reader of folders, whatever the bytes', async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fragment, { maxLength: 40 }).map((parts) => Buffer.from(parts.join(''))),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (given) => {
        await write('a.yaml', given);
        const { manifests, mistakes } = await reader.read(dir);
        for (const mistake of mistakes) expect(formatMistake(mistake)).toMatch(/^a\.yaml.*: \S/s);
        for (const { type, object } of manifests) expect(rules.review(type, object)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('never crashes the rules, wherever in a whole pod it stands', () => {
    const whole = podWith(
      {
        volumes: [{ name: 'v', projected: { sources: [{ secret: { name: 's', items: [{ key: 'k', path: 'p' }] } }] } }],
        initContainers: [{ name: 'i', image: 'x', restartPolicy: 'Always' }],
        tolerations: [{ key: 'a' }],
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] }],
            },
          },
        },
        securityContext: { sysctls: [{ name: 'a', value: 'b' }] },
        dnsConfig: { nameservers: ['1.1.1.1'], searches: ['a'] },
        resources: { limits: { cpu: '1' } },
      },
      {
        ports: [{ containerPort: 80, hostPort: 80 }],
        env: [{ name: 'a', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1' } } }],
        resources: { limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1' }, claims: [{ name: 'x' }] },
        livenessProbe: { httpGet: { port: 80, httpHeaders: [{ name: 'a', value: 'b' }] } },
        lifecycle: { preStop: { sleep: { seconds: 1 } } },
        volumeMounts: [{ name: 'v', mountPath: '/x' }],
      },
      { labels: { a: 'b' }, ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'x', uid: 'y' }] },
    );
    const paths: (string | number)[][] = [];
    const collect = (value: unknown, path: (string | number)[]): void => {
      paths.push(path);
      if (Array.isArray(value)) for (const [index, item] of value.entries()) collect(item, [...path, index]);
      else if (typeof value === 'object' && value !== null)
        for (const [key, item] of Object.entries(value)) collect(item, [...path, key]);
    };
    collect(whole, []);
    const odd = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        '',
        0,
        -1,
        1.5,
        true,
        [],
        {},
        [null],
        [[]],
        { a: null },
        { constructor: '1', toString: 'x' },
        JSON.parse('{"__proto__": "1", "valueOf": {}}'),
        'constructor',
        '\u0000',
        'x'.repeat(300),
        1e300,
      ),
      fc.jsonValue({ maxDepth: 2 }),
    );
    const change = fc.tuple(fc.constantFrom(...paths.filter(({ length }) => length > 0)), odd);
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const object = structuredClone(whole);
        for (const [path, value] of changes) {
          let target: unknown = object;
          for (const step of path.slice(0, -1))
            target =
              typeof target === 'object' && target !== null
                ? (target as Record<string, unknown>)[String(step)]
                : undefined;
          if (typeof target === 'object' && target !== null)
            (target as Record<string, unknown>)[String(path.at(-1))] = structuredClone(value);
        }
        for (const { field, message } of rules.review(resources.pods, object))
          expect([typeof field, message.length > 0]).toEqual(['string', true]);
      }),
      { numRuns: 3000 },
    );
  });
});
