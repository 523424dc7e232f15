import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { HarnessNode } from '../../../harness/harness-node.ts';
import { inNetns } from '../../../harness/netns.ts';

export const KUBECTL = '/usr/bin/kubectl';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** SHA-256 of what came on stdout, and how much it was. */
  readonly sha256: string;
  readonly bytes: number;
}

export interface Started {
  readonly child: ChildProcess;
  /** What it said so far, at most 1 MiB of it. */
  stdout(): string;
  readonly done: Promise<Ended>;
}

/** A stock kubectl in a node's network namespace. */
export class Kubectl {
  private readonly node: HarnessNode;
  private readonly home: string;
  private readonly env: NodeJS.ProcessEnv;
  private readonly children: ChildProcess[] = [];

  private constructor(node: HarnessNode, home: string, env: NodeJS.ProcessEnv) {
    this.node = node;
    this.home = home;
    this.env = env;
  }

  static async open(node: HarnessNode, env: NodeJS.ProcessEnv = {}): Promise<Kubectl> {
    return new Kubectl(node, await mkdtemp(join(tmpdir(), 'dh-nodeapi-kubectl-')), env);
  }

  /** `input`: undefined is no input at all. `terminal`: it runs in one, made by script(1). */
  start(args: readonly string[], input?: string | Readable, terminal = false): Started {
    const command = [KUBECTL, '--cache-dir', `${this.home}/cache`, ...args];
    const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    const argv = inNetns(this.node.netns, terminal ? ['script', '-qec', quoted, '/dev/null'] : command);
    const [program = '', ...rest] = argv;
    const child = spawn(program, rest, {
      env: {
        PATH: process.env['PATH'],
        HOME: this.home,
        KUBECONFIG: this.node.deckhand.kubeconfig,
        ...this.env,
      },
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    this.children.push(child);
    let stdout = '';
    let stderr = '';
    let bytes = 0;
    const hash = createHash('sha256');
    child.stdout?.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      hash.update(chunk);
      if (stdout.length < 1_048_576) stdout += chunk;
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk;
    });
    child.stdin?.on('error', () => {});
    if (typeof input === 'string') child.stdin?.end(input);
    else if (child.stdin !== null) input?.pipe(child.stdin);
    const done = new Promise<Ended>((resolve) => {
      child.on('close', (code) => resolve({ code: code ?? -1, stdout, stderr, sha256: hash.digest('hex'), bytes }));
    });
    return { child, stdout: () => stdout, done };
  }

  run(args: readonly string[], input?: string | Readable): Promise<Ended> {
    return this.start(args, input).done;
  }

  close(): void {
    for (const child of this.children) child.kill('SIGKILL');
    rmSync(this.home, { recursive: true, force: true });
  }
}
