import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import type { Pod } from '../../../src/model/pod.ts';
import { Api } from './api.ts';

/** Software emulation is some twenty times slower than the machine that it runs on. */
export const SLOWLY = { timeoutMs: 900_000, intervalMs: 1000 };

export function must(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

/** Runs a program; throws with what it wrote when it fails. */
export function run(file: string, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${file} ${args.join(' ')}: ${error.message} ${stderr} ${stdout}`.slice(0, 2000)));
    });
  });
}

export const kubectl = (...args: readonly string[]): Promise<string> =>
  run('kubectl', '--kubeconfig', '/var/lib/deckhand/kubeconfig', ...args);

export const api = new Api('/var/lib/deckhand/kubeconfig');

export async function pods(): Promise<Pod[]> {
  return (await api.read<{ items: Pod[] }>('/api/v1/namespaces/default/pods')).items;
}

export const pod = (name: string): Promise<Pod> => api.read<Pod>(`/api/v1/namespaces/default/pods/${name}`);

/** A property of a unit, such as ActiveState. */
export async function unitProperty(unit: string, name: string): Promise<string> {
  return (await run('systemctl', 'show', unit, `--property=${name}`, '--value')).trim();
}

/** What identifies the containers of all pods, and how often they were restarted. */
export async function fingerprint(): Promise<string[]> {
  return (await pods())
    .filter(({ status }) => status?.phase === 'Running')
    .flatMap(({ metadata, status }) =>
      (status?.containerStatuses ?? []).map((one) => `${metadata.name} ${one.containerID} ${one.restartCount}`),
    )
    .sort();
}

/** A file of a cgroup on the unified hierarchy. */
export const cgroupFile = (path: string, file: string): string =>
  readFileSync(`/sys/fs/cgroup${path}/${file}`, 'utf8').trim();

/** Asks a URL again and again on new connections until stopped. */
export class Load {
  readonly failures: string[] = [];
  count = 0;
  private stopped = false;
  private readonly done: Promise<void>;

  constructor(url: string, everyMs = 40) {
    this.done = this.loop(url, everyMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.done;
  }

  private async loop(url: string, everyMs: number): Promise<void> {
    while (!this.stopped) {
      this.count++;
      await get(url).catch((error: Error) => this.failures.push(error.message));
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  }
}

export function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false, timeout: 20_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () =>
        response.statusCode === 200 ? resolve(body) : reject(new Error(`${response.statusCode}`)),
      );
      response.on('error', reject);
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('no answer within 20 s')));
  });
}
