import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../../src/model/pod.ts';
import { resources } from '../../../src/model/resource.ts';
import { destroyRun } from '../cleanup.ts';
import { deckhandBundle } from '../deckhand.ts';
import { type HarnessNode, startNode } from '../harness-node.ts';
import { leaksOf } from '../leak-check.ts';
import { isSettled, summarize } from '../pod-summary.ts';
import { projectRoot } from '../project-root.ts';
import { tryCommand } from '../run-command.ts';
import { isOwnedByAnother, pathsOf, readRecord } from '../run-record.ts';
import { pause, waitFor } from '../wait-for.ts';
import { claims, type Stage } from './claims.ts';
import { Screen } from './screen.ts';

const NAME = 'deckhand-demo';
const EXAMPLE_PODS = 5;

const screen = new Screen();
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

let ending: Promise<void> | undefined;

/** Undoes everything, once. */
function undo(): Promise<void> {
  ending ??= destroyRun(NAME);
  return ending;
}

async function abandon(why: string, code: number): Promise<never> {
  if (isOwnedByAnother(readRecord(NAME))) {
    screen.bad(why);
    process.exit(code);
  }
  screen.say(`${why}: undoing everything`);
  try {
    await undo();
  } catch (error) {
    screen.bad(messageOf(error));
  }
  process.exit(code);
}

/** The manifests of examples/ but for the one that a claim adds later, in a folder of the run's own. */
function stageManifests(): string {
  const source = join(projectRoot(), 'examples');
  const target = `${pathsOf(NAME).libDir}/manifests`;
  mkdirSync(target, { recursive: true });
  for (const file of readdirSync(source)) {
    if (file.endsWith('.yaml') && !file.includes('memory-hog')) copyFileSync(join(source, file), join(target, file));
  }
  return target;
}

async function waitForPods({ node }: Stage): Promise<void> {
  const started = performance.now();
  const api = node.deckhand.api;
  await waitFor(
    'all pods to be ready',
    async () => {
      const pods = await api.list<Pod>(resources.pods, 'default');
      screen.table(pods.map(summarize));
      return pods.length >= EXAMPLE_PODS && pods.every(isSettled);
    },
    {
      timeoutMs: 120_000,
      intervalMs: 100,
      giveUp: () => (node.deckhand.alive ? undefined : new Error(`deckhand ended:\n${node.deckhand.logTail()}`)),
    },
  );
  screen.good(
    `all pods ready or completed ${((performance.now() - started) / 1000).toFixed(1)} s after deckhand was up`,
  );
}

function kubectlHint(node: HarnessNode): string {
  const command = `nsenter --net=/run/netns/${node.netns} kubectl --kubeconfig ${node.deckhand.kubeconfig}`;
  return `${command} get pods -o wide`;
}

async function showKubectl(node: HarnessNode): Promise<void> {
  const argv = kubectlHint(node).split(' ');
  const result = await tryCommand(argv, { timeoutMs: 20_000 }).catch(() => undefined);
  if (result === undefined || result.code === 127) return;
  screen.title('A stock kubectl');
  screen.detail(`# kubectl get pods -o wide\n${(result.code === 0 ? result.stdout : result.stderr).trimEnd()}`);
}

/** Returns the titles of the claims that did not hold. */
async function showAll(stage: Stage): Promise<string[]> {
  const failed: string[] = [];
  for (const { title, show } of claims) {
    screen.title(title);
    try {
      for (const line of (await show(stage)).split('\n')) screen.good(line);
    } catch (error) {
      failed.push(title);
      screen.bad(messageOf(error));
    }
  }
  return failed;
}

async function down(): Promise<never> {
  const record = readRecord(NAME);
  if (isOwnedByAnother(record)) {
    console.error(`demo: it is running as process ${record?.owner.pid}: end it there with Ctrl-C`);
    process.exit(1);
  }
  await undo();
  const leaks = await leaksOf(NAME);
  for (const leak of leaks) screen.bad(`left behind: ${leak.kind} ${leak.what}`);
  screen.say(record === undefined ? 'no node was up' : 'the node is down, nothing is left of it');
  process.exit(leaks.length === 0 ? 0 : 1);
}

async function demo(keep: boolean): Promise<void> {
  const started = performance.now();
  deckhandBundle();
  if (readRecord(NAME)?.kept === true) screen.say('a node that --keep left up is ended first');
  const manifests = `${pathsOf(NAME).libDir}/manifests`;
  screen.title('A node on this machine, with no cluster behind it');
  const node = await startNode(NAME, {
    say: (step) => screen.say(step),
    beforeDeckhand: () => {
      stageManifests();
    },
    deckhand: { manifests, nodeName: 'demo' },
  });
  const stage: Stage = { node, screen, manifests };
  screen.good(`deckhand runs as process ${node.deckhand.pid}, embedded API on ${node.deckhand.api.server}`);

  screen.title('The pods of examples/');
  let failed: string[];
  try {
    await waitForPods(stage);
    failed = await showAll(stage);
    await showKubectl(node);
  } catch (error) {
    screen.bad(messageOf(error));
    failed = ['The pods of examples/ become ready'];
  }

  const { deckhand } = node;
  const figures = deckhand.alive
    ? `deckhand: ${(deckhand.rssBytes() / 2 ** 20).toFixed(0)} MiB resident, ${(deckhand.cpuMs() / 1000).toFixed(1)} s of CPU`
    : `deckhand is not running any more:\n${deckhand.logTail()}`;
  if (failed.length > 0) screen.detail(`the last lines of ${deckhand.logFile}:\n${deckhand.logTail(15)}`);

  let leaks = 0;
  if (keep) {
    await Promise.all([node.local.close(), node.client.close()]);
    node.run.keep();
  } else {
    screen.title('Undoing everything');
    await undo();
    const left = await leaksOf(NAME);
    leaks = left.length;
    for (const leak of left) screen.bad(`left behind: ${leak.kind} ${leak.what}`);
    if (leaks === 0) screen.good('no process, namespace, mount, cgroup, rule or file is left');
  }

  screen.title('Summary');
  for (const { title } of claims) (failed.includes(title) ? screen.bad : screen.good).call(screen, title);
  for (const line of figures.split('\n')) screen.say(line);
  const bad = failed.length + (leaks > 0 ? 1 : 0);
  const took = ((performance.now() - started) / 1000).toFixed(1);
  screen.say(bad === 0 ? `all ${claims.length} claims hold; ${took} s` : `${bad} claim(s) did not hold; ${took} s`);
  if (keep) {
    screen.title('The node stays up');
    screen.say(`use it:   ${kubectlHint(node)}`);
    screen.say(`its log:  ${deckhand.logFile}`);
    screen.say('end it:   npm run demo -- --down');
  }
  // A child that outlives this process (--keep) must not hold it.
  process.exit(bad === 0 ? 0 : 1);
}

const unknown = process.argv.slice(2).filter((argument) => argument !== '--keep' && argument !== '--down');
if (unknown.length > 0) {
  console.error(`demo: unknown argument ${unknown.join(' ')}; there are --keep and --down`);
  process.exit(2);
}
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (ending === undefined) void abandon(name === 'SIGINT' ? 'interrupted' : name, 130);
  });
}
process.on('uncaughtException', (error) => void abandon(error.stack ?? error.message, 1));
process.on(
  'unhandledRejection',
  (error) => void abandon(error instanceof Error ? (error.stack ?? '') : String(error), 1),
);

try {
  if (process.argv.includes('--down')) await down();
  else await demo(process.argv.includes('--keep'));
} catch (error) {
  // An interrupt takes the ground from under the demo: what then fails is no news.
  if (ending !== undefined) await pause(60_000);
  await abandon(messageOf(error), 1);
}
