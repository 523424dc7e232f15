import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConfigMap } from '../../../src/model/objects.ts';
import { resources } from '../../../src/model/resource.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { pathsOf } from '../../harness/run-record.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { mistakes } from './support/manifest-mistakes.ts';
import { NodePods } from './support/node-pods.ts';

const NAME = 'deckhand-test-e2e-manifests';
const FOLDER = `${pathsOf(NAME).libDir}/manifests`;

interface Said {
  readonly file?: string;
  readonly object?: string;
  readonly field?: string;
  readonly message?: string;
  readonly msg?: string;
  readonly line?: number;
}

const goodPod = (name: string): string => `apiVersion: v1
kind: Pod
metadata:
  name: ${name}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: deckhand.local/busybox:1
      command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]
`;

describe('a folder of manifests, most of them wrong', () => {
  let node: HarnessNode;
  let pods: NodePods;

  /** The lines that deckhand logged about mistakes. */
  const said = (): Said[] =>
    readFileSync(node.deckhand.logFile, 'utf8')
      .split('\n')
      .filter((line) => line.includes('mistake in a manifest'))
      .map((line) => JSON.parse(line) as Said);

  beforeAll(async () => {
    node = await startNode(NAME, {
      beforeDeckhand: () => {
        mkdirSync(FOLDER, { recursive: true });
        for (const { file, text } of mistakes) writeFileSync(`${FOLDER}/${file}`, text);
        writeFileSync(`${FOLDER}/good-1.yaml`, goodPod('good-1'));
        writeFileSync(
          `${FOLDER}/good-2.json`,
          JSON.stringify({
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: { name: 'good-2' },
            data: { key: 'value' },
          }),
        );
        // Good and bad in one file: the good ones run.
        const bad = mistakes.find(({ file }) => file === 'no-image.yaml')?.text.replace('no-image', 'no-image-2') ?? '';
        writeFileSync(`${FOLDER}/mixed.yaml`, [goodPod('good-3'), bad, goodPod('good-4')].join('---\n'));
      },
      deckhand: { manifests: FOLDER },
    });
    pods = new NodePods(node);
  });

  afterAll(async () => {
    await node?.close();
    expect(await leaksOf(NAME)).toEqual([]);
  });

  it('runs all that are good', async () => {
    await Promise.all(['good-1', 'good-3', 'good-4'].map((name) => pods.ready(name)));
    expect((await node.deckhand.api.get<ConfigMap>(resources.configmaps, 'default', 'good-2')).data).toEqual({
      key: 'value',
    });
  });

  it(`has ${mistakes.length} kinds of mistakes, at least 30`, () => {
    expect(new Set(mistakes.map(({ file }) => file)).size).toBe(mistakes.length);
    expect(mistakes.length).toBeGreaterThanOrEqual(30);
  });

  it.each(mistakes)(
    '$file is reported with object, field and expectation',
    async ({ file, object, field, expects }) => {
      const found = await waitFor(`a report about ${file}`, () => said().find((line) => line.file === file), {
        timeoutMs: 10_000,
      });
      const all = said().filter((line) => line.file === file);
      const fitting = all.find((line) => field === undefined || line.field === field) ?? found;
      expect(all.map((line) => line.field)).toContain(field);
      if (object !== undefined) expect(fitting.object).toBe(object);
      expect(fitting.message).toMatch(expects);
      // The line for people says it all, and where.
      expect(fitting.msg).toContain(file);
      if (object !== undefined) expect(fitting.msg).toContain(object);
      if (field !== undefined) expect(fitting.msg).toContain(field);
      expect(fitting.line).toBeGreaterThan(0);
    },
  );

  it('a mistake harms only its own object, and is said once', async () => {
    const mixed = said().filter((line) => line.file === 'mixed.yaml');
    expect(mixed.map(({ object, field }) => `${object} ${field}`)).toEqual([
      'Pod default/no-image-2 spec.containers[0].image',
    ]);
    expect(await pods.find('no-image-2')).toBeUndefined();
  });

  it('goes on as soon as a mistake is mended', async () => {
    writeFileSync(`${FOLDER}/no-image.yaml`, goodPod('no-image'));
    await pods.ready('no-image', 15_000);
  });
});
