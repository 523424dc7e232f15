import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RealCri } from '../../../src/host/cri/real.ts';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { inNetns } from '../../harness/netns.ts';
import { containerId } from '../../harness/pod-summary.ts';
import { runCommand } from '../../harness/run-command.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { KUBECTL, Kubectl } from './support/kubectl.ts';

const NAME = 'deckhand-test-nodeapi-streams';
const MIB = 1_048_576;
const missing = existsSync(KUBECTL) ? undefined : `${KUBECTL} is not installed`;
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

/** 100 MiB that do not compress, and their SHA-256. */
function hundredMiB(): { readonly stream: () => Readable; readonly sha256: string } {
  const block = randomBytes(MIB);
  const hash = createHash('sha256');
  for (let i = 0; i < 100; i++) hash.update(block);
  return {
    stream: () =>
      Readable.from(
        (function* () {
          for (let i = 0; i < 100; i++) yield block;
        })(),
      ),
    sha256: hash.digest('hex'),
  };
}

describe.skipIf(missing !== undefined)(
  `streams by a stock kubectl${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let node: HarnessNode;
    let pods: NodePods;
    let folder: string;
    const kubectls = new Map<string, Kubectl>();
    const by = (transport: string): Kubectl => {
      const kubectl = kubectls.get(transport);
      if (kubectl === undefined) throw new Error(transport);
      return kubectl;
    };

    beforeAll(async () => {
      node = await startNode(NAME);
      pods = new NodePods(node);
      folder = mkdtempSync(join(tmpdir(), 'dh-nodeapi-'));
      for (const [transport, on] of [
        ['SPDY', 'false'],
        ['WebSocket', 'true'],
      ] as const) {
        const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: on, KUBECTL_PORT_FORWARD_WEBSOCKETS: on };
        kubectls.set(transport, await Kubectl.open(node, env));
      }
      await pods.create(podOf('shell', sh(STAY)));
      await pods.create(podOf('web', web()));
      await pods.create(
        podOf(
          'echo',
          sh('while read line; do echo "got $line"; done; echo over; sleep 1000', { stdin: true, tty: false }),
        ),
      );
      await pods.create(
        podOf('chatty', sh('i=0; while [ $i -lt 400 ]; do echo "line $i"; i=$((i+1)); usleep 5000; done; exit 1')),
      );
      for (const name of ['shell', 'web', 'echo']) await pods.ready(name);
    });
    afterAll(async () => {
      for (const kubectl of kubectls.values()) kubectl.close();
      await node?.close();
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
      expect(await leaksOf(NAME)).toEqual([]);
    });

    it('logs -f loses and doubles nothing over rotations, and ends with the container', async () => {
      const kubectl = by('SPDY');
      const pod = await pods.get('chatty');
      await waitFor('the first container', async () => containerId(await pods.get('chatty'), 'main'));
      const following = kubectl.start(['logs', '-f', 'chatty']);
      const cri = new RealCri({ endpoint: node.containerd.endpoint });
      const file = pods.logFile(pod, 'main', 0);
      for (const round of [1, 2]) {
        await waitFor(`line ${round * 100}`, () => following.stdout().includes(`line ${round * 100}\n`));
        // As kubelet rotates: a new name, then the runtime is told.
        await rename(file, `${file}.${round}`);
        await cri.reopenContainerLog(containerId(await pods.get('chatty'), 'main') ?? '');
      }
      cri.close();
      const ended = await following.done;
      expect(ended.stderr).toBe('');
      expect(ended.stdout).toBe(Array.from({ length: 400 }, (_, i) => `line ${i}\n`).join(''));
      const tail = await kubectl.run(['logs', 'chatty', '--tail=1', '--timestamps', '--previous']);
      const second = await kubectl.run(['logs', 'chatty', '--tail=1', '--timestamps']);
      expect([tail, second].some(({ stdout }) => /^\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z line 399\n$/.test(stdout))).toBe(
        true,
      );
    });

    it('logs says what is wrong', async () => {
      const kubectl = by('SPDY');
      const previous = await kubectl.run(['logs', 'shell', '--previous']);
      expect(previous.stderr).toContain('previous terminated container "main" in pod "shell" not found');
      const absent = await kubectl.run(['logs', 'shell', '-c', 'nope']);
      expect(absent.stderr).toContain('container nope is not valid for pod shell');
    });

    describe.each(['SPDY', 'WebSocket'])('over %s', (transport) => {
      it('exec keeps the exit code and the streams apart', async () => {
        const script = 'echo out; echo err >&2; exit 7';
        const ended = await by(transport).run(['exec', 'shell', '--', 'sh', '-c', script]);
        expect(ended).toMatchObject({ code: 7, stdout: 'out\n' });
        // Had the upgrade failed, kubectl would have gone on with SPDY and said nothing.
        const metrics = (await node.local.request('http://127.0.0.1:10248/metrics')).body.toString();
        const method = transport === 'SPDY' ? 'POST' : 'GET';
        expect(metrics).toMatch(new RegExp(`kubelet_http_requests_total{method="${method}",path="exec"`));
        expect(ended.stderr).toBe('err\ncommand terminated with exit code 7\n');
        const absent = await by(transport).run(['exec', 'shell', '--', '/no/such/program']);
        expect(absent.code).not.toBe(0);
        expect(absent.stderr).toContain('/no/such/program');
      });

      it('exec carries 100 MiB in each direction, and the end of the input', async () => {
        const blob = hundredMiB();
        const script = 'cat > /tmp/blob; sha256sum < /tmp/blob; exit 3';
        const sent = await by(transport).run(['exec', '-i', 'shell', '--', 'sh', '-c', script], blob.stream());
        expect(sent).toMatchObject({ code: 3, stdout: `${blob.sha256}  -\n` });
        const got = await by(transport).run(['exec', 'shell', '--', 'cat', '/tmp/blob']);
        expect(got).toMatchObject({ code: 0, bytes: 100 * MIB, sha256: blob.sha256 });
      });

      it('exec -it has a terminal', async () => {
        const script = 'tty; stty size; exit 4';
        const started = by(transport).start(['exec', '-it', 'shell', '--', 'sh', '-c', script], '', true);
        const ended = await started.done;
        expect(ended.stdout).toContain('/dev/pts/');
        expect(ended.code).toBe(4);
      });

      it('attach reaches the container itself', async () => {
        const attached = by(transport).start(['attach', '-i', 'echo'], new Readable({ read() {} }));
        const word = `hello-${transport}`;
        await waitFor(
          'an answer',
          () => {
            attached.child.stdin?.write(`${word}\n`);
            return attached.stdout().includes(`got ${word}\n`);
          },
          { intervalMs: 300 },
        );
        attached.child.kill();
        await attached.done;
      });

      it('cp carries files there and back', async () => {
        const data = randomBytes(3 * MIB);
        const [there, back] = [join(folder, `there-${transport}`), join(folder, `back-${transport}`)];
        writeFileSync(there, data);
        expect(await by(transport).run(['cp', there, 'shell:/tmp/copied'])).toMatchObject({ code: 0 });
        expect(await by(transport).run(['cp', 'shell:/tmp/copied', back])).toMatchObject({ code: 0 });
        expect(readFileSync(back).equals(data)).toBe(true);
      });

      it('port-forward carries 50 connections at once and 100 MiB', async () => {
        const kubectl = by(transport);
        const script = 'head -c 104857600 /dev/urandom > /www/blob; sha256sum < /www/blob';
        const made = await kubectl.run(['exec', 'web', '--', 'sh', '-c', script]);
        const forward = kubectl.start(['port-forward', 'web', ':8080', '--address', '127.0.0.1']);
        const port = await waitFor('the port', () => /127\.0\.0\.1:(\d+) ->/.exec(forward.stdout())?.[1]);
        const url = `http://127.0.0.1:${port}`;
        const one = async (): Promise<string> => (await node.local.request(`${url}/`)).body.toString();
        const answers = await Promise.all(Array.from({ length: 50 }, one));
        expect(new Set(answers)).toEqual(new Set(['web\n']));
        const fetch = ['sh', '-c', `busybox wget -qO- ${url}/blob | sha256sum`];
        expect(await runCommand(inNetns(node.netns, fetch))).toBe(made.stdout);
        forward.child.kill();
        await forward.done;
      });
    });

    it('attach ends the input of a container with stdinOnce when its client is done', async () => {
      const container = sh('cat; echo "the input has ended"', { stdin: true, stdinOnce: true });
      await pods.create(podOf('once', container, { restartPolicy: 'Never' }));
      await pods.until('once', 'run', (pod) => pod.status?.phase === 'Running');
      const attached = await by('WebSocket').run(['attach', '-i', 'once'], 'one word\n');
      expect(attached.stdout).toContain('one word\n');
      await pods.phase('once', 'Succeeded');
      expect((await by('SPDY').run(['logs', 'once'])).stdout).toBe('one word\nthe input has ended\n');
    });

    it('debug adds a container to a pod', async () => {
      const kubectl = by('SPDY');
      const image = 'deckhand.local/busybox:1';
      const added = await kubectl.run([
        'debug',
        'shell',
        `--image=${image}`,
        '-c',
        'dbg',
        '--',
        'sh',
        '-c',
        'echo here',
      ]);
      expect(added).toMatchObject({ code: 0 });
      const log = await waitFor('its log', async () => {
        const { code, stdout } = await kubectl.run(['logs', 'shell', '-c', 'dbg']);
        return code === 0 && stdout !== '' ? stdout : undefined;
      });
      expect(log).toBe('here\n');
    });

    it('lets streams end while deckhand stops, and cuts them when it is killed', async () => {
      const kubectl = by('WebSocket');
      const exec = (script: string) => kubectl.start(['exec', 'shell', '--', 'sh', '-c', script]);
      const short = exec('echo begun; sleep 2; echo ended; exit 5');
      await waitFor('the command', () => short.stdout().includes('begun'));
      const stopped = node.deckhand.stop();
      expect(await short.done).toMatchObject({ code: 5, stdout: 'begun\nended\n' });
      expect(await stopped).toBe(0);
      await node.deckhand.restart();
      const long = exec('echo begun; exec sleep 5');
      await waitFor('the command', () => long.stdout().includes('begun'));
      await node.deckhand.kill();
      expect((await long.done).code).not.toBe(0);
      await node.deckhand.restart();
    });
  },
);
