import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { noJournal, TestJournal } from '../../harness/test-journal.ts';
import { pause, waitFor } from '../../harness/wait-for.ts';
import { KUBECTL, Kubectl } from './support/kubectl.ts';

const NAME = 'deckhand-test-nodeapi-diagnostics';
const SECURE = 'https://127.0.0.1:10250';
const PROXY = '/api/v1/nodes/node-1/proxy';
const missing = existsSync(KUBECTL) ? noJournal : `${KUBECTL} is not installed`;
vi.setConfig({ testTimeout: 60_000, hookTimeout: 180_000 });

describe.skipIf(missing !== undefined)(
  `what a node tells whoever looks for a fault${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let node: HarnessNode;
    let kubectl: Kubectl;
    let journal: TestJournal;
    let admin: ConnectionOptions;

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
      const { users } = parse(readFileSync(node.deckhand.kubeconfig, 'utf8')) as {
        users: { user: Record<string, string> }[];
      };
      const pem = (key: string): Buffer => Buffer.from(users[0]?.user[key] ?? '', 'base64');
      admin = { cert: pem('client-certificate-data'), key: pem('client-key-data'), rejectUnauthorized: false };
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

    it('profiles of V8, and what keeps the process going', async () => {
      const get = (path: string) =>
        node.local.request(`${SECURE}/debug/pprof/${path}`, { tls: admin, timeoutMs: 30_000 });
      expect((await get('')).body).toContain('<a href="profile">profile</a>');
      expect((await get('cmdline')).body.split('\0')).toContain('run');
      expect((await get('goroutine')).body).toMatch(/^\d+ TCPSocketWrap$/m);
      const [cpu, busy] = await Promise.all([get('profile?seconds=2'), later(500, () => get('profile?seconds=1'))]);
      expect([cpu.status, busy.status]).toEqual([200, 429]);
      const profile = JSON.parse(cpu.body) as { nodes: unknown[]; startTime: number; endTime: number };
      expect(profile.nodes.length).toBeGreaterThan(3);
      expect(profile.endTime - profile.startTime).toBeGreaterThan(1_900_000);
      expect(JSON.parse((await get('allocs?seconds=1')).body)).toMatchObject({ head: { callFrame: {} } });
      const heap = await get('heap');
      expect(heap.headers['content-disposition']).toBe('attachment; filename="deckhand.heapsnapshot"');
      expect(JSON.parse(heap.body)).toMatchObject({ snapshot: { node_count: expect.any(Number) } });
      expect((await get('profile?seconds=0')).status).toBe(400);
      expect((await get('block')).status).toBe(404);
      expect((await node.local.request(`${SECURE}/healthz`, { tls: admin })).body).toBe('ok');
    });

    it('more or less in its log, as it is told', async () => {
      const put = (body: string, method = 'PUT') =>
        node.local.request(`${SECURE}/debug/flags/v`, { tls: admin, method, body });
      const debugs = (): number => readFileSync(node.deckhand.logFile, 'utf8').split('"level":"debug"').length;
      expect(await put('4')).toMatchObject({ status: 200, body: 'successfully set klog.logging.verbosity to 4' });
      const before = debugs();
      await kubectl.run(['run', 'pod', '--image=deckhand.local/busybox:1', '--restart=Never', '--', 'true']);
      await waitFor('a decision in the log', () => debugs() > before, { timeoutMs: 30_000 });
      expect(await put('2')).toMatchObject({ status: 200 });
      expect(await put('much')).toMatchObject({
        status: 400,
        body: 'strconv.ParseUint: parsing "much": invalid syntax',
      });
      expect(await put('4', 'POST')).toMatchObject({ status: 406, body: 'unsupported http method' });
    });

    it('its state and its flags as objects', async () => {
      const get = (path: string, accept: string) =>
        node.local.request(`${SECURE}/${path}`, { tls: admin, headers: { accept } });
      const statusz = await get('statusz', 'application/json;as=Statusz;v=v1beta1;g=config.k8s.io');
      expect(JSON.parse(statusz.body)).toMatchObject({
        kind: 'Statusz',
        apiVersion: 'config.k8s.io/v1beta1',
        metadata: { name: 'kubelet' },
        startTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
        uptimeSeconds: expect.any(Number),
        binaryVersion: expect.stringMatching(/^v1\.\d+\.0\+deckhand/),
        paths: expect.arrayContaining(['/metrics']),
      });
      const flagz = await get('flagz', 'application/yaml;as=Flagz;v=v1alpha1;g=config.k8s.io');
      expect(flagz.headers['warning']).toMatch(/^299 - "This version of the flagz endpoint is deprecated/);
      expect(parse(flagz.body)).toMatchObject({ kind: 'Flagz', flags: { 'node-ip': '192.0.2.1' } });
      const refused = await get('flagz', 'application/json');
      expect([refused.status, JSON.parse(refused.body).reason]).toEqual([406, 'NotAcceptable']);
      expect((await raw('/flagz')).stdout).toContain('kubelet flagz');
    });
  },
);

async function later<T>(ms: number, run: () => Promise<T>): Promise<T> {
  await pause(ms);
  return await run();
}
