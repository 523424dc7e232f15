import { existsSync, readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type HarnessNode, startNode } from '../../harness/harness-node.ts';
import { leaksOf } from '../../harness/leak-check.ts';
import { waitFor } from '../../harness/wait-for.ts';
import { podOf, STAY, sh, web } from '../node/support/manifest.ts';
import { NodePods } from '../node/support/node-pods.ts';
import { KUBECTL, Kubectl, type Started } from './support/kubectl.ts';

const NAME = 'deckhand-test-nodeapi-broken';
const missing = existsSync(KUBECTL) ? undefined : `${KUBECTL} is not installed`;
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

interface Streams {
  readonly clients: readonly Started[];
  readonly connection: Socket;
  /** Where the web server is reached. */
  readonly url: string;
}

describe.skipIf(missing !== undefined)(
  `streams that end badly${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    let node: HarnessNode;
    let pods: NodePods;
    const kubectls: Kubectl[] = [];

    beforeAll(async () => {
      node = await startNode(NAME);
      pods = new NodePods(node);
      for (const on of ['false', 'true']) {
        const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: on, KUBECTL_PORT_FORWARD_WEBSOCKETS: on };
        kubectls.push(await Kubectl.open(node, env));
      }
      await pods.create(podOf('shell', sh(`echo begun; ${STAY}`)));
      await pods.create(podOf('echo', sh('while read line; do echo "got $line"; done; sleep 1000', { stdin: true })));
      await pods.create(podOf('web', web()));
      for (const name of ['shell', 'echo', 'web']) await pods.ready(name);
    });
    afterAll(async () => {
      for (const kubectl of kubectls) kubectl.close();
      await node?.close();
      expect(await leaksOf(NAME)).toEqual([]);
    });

    const files = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
    const processes = async (): Promise<number> => pods.processes(await pods.get('shell')).length;

    /** One of each kind, all of them at work. */
    async function open(kubectl: Kubectl): Promise<Streams> {
      const held = (): Readable => new Readable({ read() {} });
      const exec = kubectl.start(['exec', '-i', 'shell', '--', 'sh', '-c', 'echo begun; exec cat'], held());
      // The runtime never tells a terminal's command that its client is gone; this one ends by itself.
      const terminal = kubectl.start(['exec', '-it', 'shell', '--', 'sh', '-c', 'echo begun; sleep 5'], held(), true);
      const logs = kubectl.start(['logs', '-f', 'shell']);
      const attach = kubectl.start(['attach', '-i', 'echo'], held());
      const forward = kubectl.start(['port-forward', 'web', ':8080', '--address', '127.0.0.1']);
      for (const one of [exec, terminal, logs]) await waitFor('the first word', () => one.stdout().includes('begun'));
      await waitFor(
        'an answer',
        () => {
          attach.child.stdin?.write('word\n');
          return attach.stdout().includes('got word');
        },
        { intervalMs: 300 },
      );
      const port = await waitFor('the port', () => /127\.0\.0\.1:(\d+) ->/.exec(forward.stdout())?.[1]);
      const connection = await node.local.connect('127.0.0.1', Number(port));
      connection.on('error', () => {});
      connection.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
      let answer = '';
      connection.on('data', (chunk) => {
        answer += chunk;
      });
      await waitFor('the web server', () => answer.includes('200 OK'));
      return { clients: [exec, terminal, logs, attach, forward], connection, url: `http://127.0.0.1:${port}/` };
    }

    it('leave nothing in deckhand, the runtime and the pods when their clients vanish', async () => {
      const base = await processes();
      const first = await open(kubectls[0] as Kubectl);
      for (const { child } of first.clients) child.kill('SIGKILL');
      await Promise.all(first.clients.map(({ done }) => done));
      first.connection.destroy();
      // What the first ones leave open for good (modules, connections of pools) is there before it is counted.
      await waitFor('their commands to end', async () => (await processes()) <= base);
      const before = { own: files(node.deckhand.pid), runtime: files(node.containerd.pid), pod: await processes() };
      for (const kubectl of kubectls) {
        const { clients, connection } = await open(kubectl);
        expect(files(node.deckhand.pid)).toBeGreaterThan(before.own + 5);
        expect(await processes()).toBeGreaterThan(before.pod);
        for (const { child } of clients) child.kill('SIGKILL');
        await Promise.all(clients.map(({ done }) => done));
        connection.destroy();
        await waitFor('all to be as before', async () => {
          const now = { own: files(node.deckhand.pid), runtime: files(node.containerd.pid), pod: await processes() };
          return now.own <= before.own + 1 && now.runtime <= before.runtime && now.pod <= before.pod;
        });
      }
    });

    it('leave nothing in the runtime and the pods when deckhand is killed, and their clients know at once', async () => {
      const before = { runtime: files(node.containerd.pid), pod: await processes() };
      const opened = await Promise.all(kubectls.map(open));
      expect(files(node.containerd.pid)).toBeGreaterThan(before.runtime);
      await node.deckhand.kill();
      for (const { clients, connection } of opened) {
        for (const { child, done } of clients) {
          // Who forwards ports listens on until somebody wants to connect.
          if (child === clients[4]?.child) child.kill();
          await done;
        }
        connection.destroy();
      }
      // Over SPDY kubectl takes a broken connection for an end that is good; over WebSockets it can tell.
      const [exec, , , attach] = opened[1]?.clients ?? [];
      expect([(await exec?.done)?.code, (await attach?.done)?.code]).toEqual([1, 1]);
      await node.deckhand.restart();
      await waitFor('all to be as before', async () => {
        // A new deckhand's connections may be one more than the old one's.
        return files(node.containerd.pid) <= before.runtime + 1 && (await processes()) <= before.pod;
      });
      for (const kubectl of kubectls) {
        expect(await kubectl.run(['exec', 'shell', '--', 'echo', 'again'])).toMatchObject({
          code: 0,
          stdout: 'again\n',
        });
      }
    });

    it('go on to their end while deckhand stops', async () => {
      const [kubectl] = kubectls as [Kubectl];
      const { clients, connection, url } = await open(kubectl);
      const [exec, , logs, attach] = clients as [Started, Started, Started, Started];
      const stopped = node.deckhand.stop();
      await waitFor('it to take no more', () =>
        node.local.connect('127.0.0.1', 10250).then(
          (socket) => {
            socket.destroy();
            return false;
          },
          () => true,
        ),
      );
      exec.child.stdin?.write('still there\n');
      attach.child.stdin?.write('late\n');
      expect((await node.local.request(url)).body.toString()).toBe('web\n');
      await waitFor('the echo', () => exec.stdout().includes('still there\n'));
      await waitFor('the answer of the container', () => attach.stdout().includes('got late\n'));
      exec.child.stdin?.end();
      expect(await exec.done).toMatchObject({ code: 0 });
      expect(await stopped).toBe(0);
      // Those that have no end are cut off with it.
      await logs.done;
      for (const { child } of clients) child.kill();
      connection.destroy();
      await node.deckhand.restart();
    });
  },
);
