import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { noJournal, TestJournal } from '../../harness/test-journal.ts';
import { KUBECTL, Kubectl } from './support/kubectl.ts';

const NAME = 'deckhand-test-nodeapi-diagnostics';
const PROXY = '/api/v1/nodes/node-1/proxy';
const missing = existsSync(KUBECTL) ? noJournal : `${KUBECTL} is not installed`;
vi.setConfig({ testTimeout: 60_000, hookTimeout: 180_000 });

describe.skipIf(missing !== undefined)(
  `what a node tells whoever looks for a fault${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let node: HarnessNode;
    let kubectl: Kubectl;
    let journal: TestJournal;

    beforeAll(async () => {
      journal = await TestJournal.start();
      node = await startNode(NAME, {
        deckhand: {
          config: { enableSystemLogQuery: true },
          env: { PATH: `/run/${NAME}/bin:${process.env['PATH']}` },
        },
        beforeDeckhand: (run) => {
          // The real one, led to the tests' own journal.
          const journalctl = `${run.paths.runDir}/bin/journalctl`;
          mkdirSync(`${run.paths.runDir}/bin`);
          writeFileSync(journalctl, `#!/bin/sh\nexec ${journal.command.join(' ')} "$@"\n`);
          chmodSync(journalctl, 0o755);
        },
      });
      kubectl = await Kubectl.open(node);
    });
    afterAll(async () => {
      kubectl?.close();
      await node?.close();
      await journal?.stop();
      expect(await leaksOf(NAME)).toEqual([]);
    });

    const raw = (path: string) => kubectl.run(['get', '--raw', `${PROXY}${path}`]);

    it('logs of services from the journal, of others from their files', async () => {
      await journal.write('dh-service', ['one line', 'ANOTHER line', 'the last one']);
      const [file, out] = [`/var/log/${NAME}.log`, `/var/log/${NAME}-out.log`];
      writeFileSync(file, 'in a file\n');
      symlinkSync('/etc/passwd', out);
      try {
        const all = await raw('/logs/?query=dh-service');
        expect(all.stderr).toBe('');
        expect(all.stdout).toMatch(/: one line\n.*: ANOTHER line\n.*: the last one\n$/);
        const last = await raw('/logs/?query=dh-service&tailLines=1');
        expect(last.stdout).toMatch(/^[A-Z][a-z]{2} \d\d [\d:.]+ \S+ dh-service\[\d+\]: the last one\n$/);
        expect((await raw('/logs/?query=dh-service&pattern=another')).stdout).toMatch(/^.*: ANOTHER line\n$/);
        const later = new Date(Date.now() + 3_600_000).toISOString();
        expect((await raw(`/logs/?query=dh-service&sinceTime=${later}`)).stdout).toBe('-- No entries --\n');
        expect((await raw(`/logs/?query=${NAME}`)).stdout).toBe('in a file\n');
        expect((await raw(`/logs/?query=/${NAME}.log`)).stdout).toBe('in a file\n');
        expect((await raw('/logs/?query=dh-absent')).stdout).toBe('\nlog not found for dh-absent\n');
        const outside = await raw(`/logs/?query=${NAME}-out`);
        expect(outside.stdout).toMatch(new RegExp(`^\\nerror getting log for ${NAME}-out: `));
        expect((await raw('/logs/?query=dh-service&boot=1')).stderr).toContain(
          'boot: Invalid value: 1: must be less than 1',
        );
        expect((await raw('/logs/?query=../../etc/passwd')).stderr).toContain('Invalid value: ["../../etc/passwd"]');
      } finally {
        rmSync(file);
        rmSync(out);
      }
    });
  },
);
