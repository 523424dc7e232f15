import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CACHE, imagePath } from '../vm/host/image.ts';
import { cleanup } from './cleanup.ts';
import { type Leak, newSince, snapshot } from './leak-check.ts';
import { projectRoot } from './project-root.ts';
import { pause } from './wait-for.ts';

/** Names of runs that tests make. */
const PREFIX = 'deckhand-test';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { status: string; assertionResults: readonly unknown[] }[];
}

interface Tier {
  readonly name: string;
  /** Tests that touch nothing but memory share the processors; the others have the host to themselves. */
  readonly parallel: boolean;
}

const TIERS: readonly Tier[] = [
  { name: 'unit', parallel: true },
  { name: 'contract', parallel: false },
  { name: 'host', parallel: false },
  { name: 'scenario', parallel: false },
];

const CHECKS = ['check:types', 'check:lint', 'check:dead'];

const root = projectRoot();
const started = performance.now();
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const summary: string[] = [];
let current: ChildProcess | undefined;
let interrupted = false;

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const say = (text: string): void => console.log(`test  ${seconds(started).padStart(8)}  ${text}`);

function run(argv: readonly string[]): Promise<number> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    // A group of its own: an interrupt comes to this process, which passes it on once.
    current = spawn(file, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], detached: true });
    current.on('error', reject);
    current.on('exit', (code) => resolve(code ?? 128));
  });
}

function add(name: string, counts: Counts, since: number): void {
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
  summary.push(`${name.padEnd(10)} ${counts.passed} passed, ${counts.failed} failed${skipped} in ${seconds(since)}`);
}

async function runTier(tier: Tier, reports: string): Promise<void> {
  const directory = join(root, 'test', tier.name);
  const files = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }) : [];
  const count = files.filter((file) => file.endsWith('.test.ts')).length;
  if (count === 0) return;
  say(`tier ${tier.name}: ${count} files`);
  const since = performance.now();
  const report = join(reports, `${tier.name}.json`);
  const code = await run([
    process.execPath,
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    `test/${tier.name}/`,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    tier.parallel ? '--fileParallelism' : '--no-file-parallelism',
  ]);
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  if (existsSync(report)) {
    const result = JSON.parse(readFileSync(report, 'utf8')) as VitestReport;
    counts.passed = result.numPassedTests;
    counts.skipped = result.numPendingTests + result.numTodoTests;
    // A file that fails to load has no test to its name, yet it failed.
    const unloadable = result.testResults.filter(
      (file) => file.status === 'failed' && file.assertionResults.length === 0,
    );
    counts.failed = result.numFailedTests + unloadable.length;
  }
  // Unhandled errors and failing hooks fail the run although every test passed.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  add(tier.name, counts, since);
}

async function runChecks(): Promise<void> {
  for (const check of CHECKS) {
    if (interrupted) return;
    say(`npm run ${check}`);
    const since = performance.now();
    const ok = (await run(['npm', 'run', '--silent', check])) === 0;
    add(check, { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 }, since);
  }
}

/** The package in a virtual machine, for a moment, where there is an image of one already: to make it takes long. */
async function runMachine(reports: string): Promise<void> {
  const since = performance.now();
  const image = imagePath(CACHE);
  const lacks = ['qemu-system-x86_64', 'mke2fs', 'systemctl'].find((program) => !isInstalled(program));
  const reason =
    lacks !== undefined
      ? `no ${lacks} here`
      : existsSync(image)
        ? undefined
        : `no ${image}; \`npm run test:vm\` makes it`;
  if (reason !== undefined) {
    say(`virtual machine: skipped, ${reason}`);
    add('machine', { passed: 0, failed: 0, skipped: 1 }, since);
    return;
  }
  say('virtual machine: npm run test:vm -- --only short');
  const report = join(reports, 'machine.json');
  process.env['DECKHAND_VM_REPORT'] = report;
  await run([process.execPath, join(root, 'dist/test-vm.mjs'), '--only', 'short']);
  const none = { passed: 0, failed: 1 };
  const counts = existsSync(report) ? (JSON.parse(readFileSync(report, 'utf8')) as typeof none) : none;
  add('machine', { ...counts, skipped: 0 }, since);
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, program)));
}

async function checkLeaks(before: Awaited<ReturnType<typeof snapshot>>): Promise<void> {
  const since = performance.now();
  let leaks: Leak[] = [];
  // The kernel takes its time to drop namespaces and cgroups.
  for (let attempt = 0; attempt < 20; attempt++) {
    leaks = newSince(before, await snapshot());
    if (leaks.length === 0) break;
    await pause(250);
  }
  // Other programs come and go on any machine; what bears the tests' name is theirs.
  const ours = process.env['DECKHAND_STRICT_LEAKS'] ? leaks : leaks.filter((leak) => leak.what.includes(PREFIX));
  for (const leak of leaks)
    console.log(`${ours.includes(leak) ? 'LEFT BEHIND' : 'new, not ours?'}  ${leak.kind}  ${leak.what}`);
  add('leaks', { passed: ours.length === 0 ? 1 : 0, failed: ours.length === 0 ? 0 : 1, skipped: 0 }, since);
}

async function main(): Promise<void> {
  const arguments_ = process.argv.slice(2);
  const wanted = arguments_.filter((argument) => !argument.startsWith('--'));
  const unknown = wanted.filter((name) => !TIERS.some((tier) => tier.name === name));
  if (unknown.length > 0) {
    console.error(`test: no tier called ${unknown.join(', ')}; there are ${TIERS.map((tier) => tier.name).join(', ')}`);
    process.exit(2);
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      interrupted = true;
      say(`${name}: stopping`);
      if (current?.pid !== undefined) process.kill(-current.pid, 'SIGTERM');
    });
  }
  await cleanup(PREFIX, say);
  const before = await snapshot();
  const reports = mkdtempSync(join(tmpdir(), 'deckhand-test-'));
  try {
    if (arguments_.includes('--check')) await runChecks();
    for (const tier of TIERS) {
      if (!interrupted && (wanted.length === 0 || wanted.includes(tier.name))) await runTier(tier, reports);
    }
    if (!interrupted && arguments_.includes('--check') && wanted.length === 0) await runMachine(reports);
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
  const left = await cleanup(PREFIX, say);
  if (left.length > 0 && !interrupted) {
    add('clean-up', { passed: 0, failed: 1, skipped: 0 }, performance.now());
    say(`tests left runs behind that had to be cleaned up: ${left.join(', ')}`);
  }
  await checkLeaks(before);
  if (interrupted) total.failed++;
  console.log('');
  for (const line of summary) console.log(line);
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
}

await main();
